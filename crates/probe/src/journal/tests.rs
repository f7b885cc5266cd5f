use super::*;

const NS: Duration = Duration::from_nanos(1);
const PATIENCE: Duration = Duration::from_nanos(EVIDENCE_PATIENCE_NS);

fn polling(task_id: u64) -> Polling {
    Polling {
        task_id: Some(task_id),
        task_name: None,
        spawned_at: std::panic::Location::caller(),
        worker: None,
        thread_name: None,
        elapsed: NS,
        evidence: Evidence::default(),
    }
}

fn poll(id: u64) -> SlowPoll {
    SlowPoll {
        id,
        task_id: None,
        task_name: None,
        spawned_at: std::panic::Location::caller(),
        worker: None,
        thread_name: None,
        start: Duration::ZERO,
        duration: NS,
        evidence: Evidence::default(),
        blame: None,
        waiter_span: None,
    }
}

#[test]
fn delivery_waits_for_the_watchdog_and_the_list_does_not() {
    let mut journal = Journal::new(10);
    let (key, nobody): (Key, BlameOf<'_>) = ((0, Moment(5)), &|_| None);
    journal.watched.begin(key);
    journal.add(key, 100, poll(1));
    journal.add((0, Moment(50)), 101, poll(2));
    assert_eq!(journal.list().len(), 2);
    assert!(journal.deliver(102, false, nobody).is_empty(), "in order: the second waits for the first");
    journal.seen(key, seen(Cause::Lock, 1), 103);
    let delivered = journal.deliver(104, false, nobody);
    assert_eq!(delivered.iter().map(|poll| poll.evidence.cause).collect::<Vec<_>>(), [Some(Cause::Lock), None]);
    assert_eq!(journal.list(), delivered);
}

fn seen(cause: Cause, captures: u32) -> Evidence {
    let mut evidence = Evidence::default();
    (evidence.cause, evidence.captures) = (Some(cause), captures);
    (evidence.cpu_time, evidence.run_delay) = (Some(7 * NS), Some(7 * NS));
    evidence
}

/// The first names of a program's functions can take longer than anybody waits.
#[test]
fn what_is_seen_after_the_delivery_still_reaches_the_list() {
    let (mut journal, nobody): (_, BlameOf<'_>) = (Journal::new(10), &|_| None);
    journal.watched.begin((0, Moment(5)));
    journal.add((0, Moment(5)), 100, poll(1));
    let awaited = Some(Missing::WatchdogAwaited { after: NS });
    let mut told = Evidence::default();
    told.missing = awaited;
    assert_eq!(journal.deliver(101, true, nobody)[0].evidence, told);
    journal.seen((0, Moment(5)), seen(Cause::Lock, 1), 102);
    let listed = &journal.list()[0].evidence;
    assert_eq!(listed.cause, Some(Cause::Lock));
    assert_eq!((listed.cpu_time, listed.run_delay), (Some(NS), Some(Duration::ZERO)), "no more than the poll lasted");
    assert!(journal.late.is_empty() && journal.watched.found.is_empty());
}

/// A writer that hangs holds up the delivery, and threads forget who waited.
#[test]
fn what_was_known_once_is_not_forgotten() {
    let mut journal = Journal::new(10);
    journal.watched.begin((0, Moment(5)));
    journal.add((0, Moment(5)), 100, poll(1));
    journal.seen((0, Moment(5)), seen(Cause::Cpu, 1), 102);
    let mut waited = Blame::default();
    (waited.tasks, waited.wait, waited.wait_most) = (2, 9 * NS, 9 * NS);
    journal.charge(0, &|_| Some((waited, true)));
    assert_eq!(journal.list()[0].blame, Some(waited));
    let (later, nobody): (u64, BlameOf<'_>) = (100 * ORPHAN_NS, &|_| None);
    journal.seen((9, Moment(9)), seen(Cause::Cpu, 1), later);
    let delivered = journal.deliver(later, false, nobody);
    assert_eq!((delivered[0].evidence.cause, delivered[0].blame), (Some(Cause::Cpu), Some(waited)));
    assert_eq!(journal.list(), delivered);
}

/// A poll with polls in it is looked at before and after them; it ends once.
#[test]
fn the_look_that_saw_most_of_a_poll_counts() {
    let mut journal = Journal::new(10);
    for (cause, captures) in [(Cause::Lock, 1), (Cause::Cpu, 3), (Cause::BlockingCall, 1)] {
        journal.watched.begin((0, Moment(5)));
        journal.seen((0, Moment(5)), seen(cause, captures), 10);
    }
    journal.add((0, Moment(5)), 100, poll(1));
    assert_eq!(journal.list()[0].evidence.cause, Some(Cause::Cpu));
    assert!(journal.watched.found.is_empty() && journal.watched.active.is_empty());
}

/// As of polls that found no room in their ring while the watchdog looked at them.
#[test]
fn what_is_seen_of_polls_that_never_come_is_bounded() {
    let mut journal = Journal::new(10);
    for n in 0..10 * ORPHANS as u64 {
        journal.watched.begin((0, Moment(n + 1)));
        journal.seen((0, Moment(n + 1)), seen(Cause::Cpu, 1), n);
    }
    assert_eq!((journal.watched.found.len(), journal.watched.active.len()), (ORPHANS, 0));
    journal.add((0, Moment(10 * ORPHANS as u64)), 100, poll(1));
    assert_eq!(journal.list()[0].evidence.cause, Some(Cause::Cpu), "the latest are kept");
}

/// Nobody takes what is waiting, the list is full, and the watchdog is at work on all: everything is counted all the same.
#[test]
fn slow_polls_beyond_the_list_and_the_queue_are_counted() {
    let (mut journal, nobody): (_, BlameOf<'_>) = (Journal::new(10), &|_| None);
    let total = QUEUE_CAPACITY as u64 + 1_000;
    for n in 1..=total {
        journal.watched.begin((0, Moment(n)));
        journal.add((0, Moment(n)), n, poll(n));
    }
    assert_eq!((journal.taken(), journal.queue_dropped(), journal.list().len()), (total, 1_000, 10));
    assert_eq!((journal.waiting.len(), journal.late.len()), (QUEUE_CAPACITY, 0));
    assert_eq!(journal.deliver(total, true, nobody).len(), QUEUE_CAPACITY);
    assert_eq!(journal.late.len(), 10, "of those that are listed");
    (1..=total).for_each(|n| journal.seen((0, Moment(n)), seen(Cause::Cpu, 1), n));
    assert!(journal.late.is_empty() && journal.is_quiet());
    assert!(journal.watched.found.len() <= ORPHANS);
    assert!(journal.list().iter().all(|poll| poll.evidence.cause == Some(Cause::Cpu)));
}

const SECOND: u64 = 1_000_000_000;

/// A poll that the watchdog looked at, and that is over; not named yet.
fn unnamed(journal: &mut Journal, key: Key) {
    journal.watched.begin(key);
    journal.add(key, 100, poll(1));
    journal.watched.unnamed(key, seen(Cause::Lock, 1));
}

fn named() -> Evidence {
    let mut evidence = seen(Cause::Lock, 1);
    evidence.blocking_line = Some("src/main.rs:7".to_owned());
    evidence
}

#[test]
fn names_that_take_seconds_come_with_the_delivery() {
    let (mut journal, nobody): (_, BlameOf<'_>) = (Journal::new(10), &|_| None);
    unnamed(&mut journal, (0, Moment(5)));
    assert!(journal.deliver(3 * SECOND, false, nobody).is_empty());
    journal.seen((0, Moment(5)), named(), 3 * SECOND);
    let told = journal.deliver(3 * SECOND, false, nobody);
    assert_eq!((told[0].evidence.blocking_line.as_deref(), told[0].evidence.missing), (Some("src/main.rs:7"), None));
    assert_eq!(journal.shortfalls.all(), []);
}

#[test]
fn names_that_do_not_come_leave_what_is_known_and_the_reason() {
    let (mut journal, nobody): (_, BlameOf<'_>) = (Journal::new(10), &|_| None);
    unnamed(&mut journal, (0, Moment(5)));
    assert!(journal.deliver(99 + EVIDENCE_PATIENCE_NS, false, nobody).is_empty());
    let told = journal.deliver(100 + EVIDENCE_PATIENCE_NS, false, nobody);
    let missing = Missing::NamesLate { after: PATIENCE };
    assert_eq!((told[0].evidence.cause, told[0].evidence.missing), (Some(Cause::Lock), Some(missing)));
    assert_eq!(journal.list(), told);
    journal.seen((0, Moment(5)), named(), 100 * SECOND);
    let listed = &journal.list()[0].evidence;
    assert_eq!((listed.blocking_line.as_deref(), listed.missing), (Some("src/main.rs:7"), None), "they came after all");
    assert_eq!(journal.shortfalls.all().iter().map(|of| (of.polls, of.worst)).collect::<Vec<_>>(), [(1, missing)]);
}

/// It became slow 10 ms before its end; the watchdog came 70 ms after that.
#[test]
fn a_poll_that_the_watchdog_missed_is_told_with_how_late_it_came() {
    const MS: u64 = 1_000_000;
    let (mut journal, nobody): (_, BlameOf<'_>) = (Journal::new(10), &|_| None);
    journal.watched.start();
    journal.add((0, Moment(5)), 500 * MS, SlowPoll { duration: Duration::from_millis(110), ..poll(1) });
    assert!(journal.deliver(501 * MS, false, nobody).is_empty(), "it may still have been seen");
    journal.looked(499 * MS, 100 * MS, None, &mut |_, _| unreachable!("it may still have been seen"));
    assert!(journal.awaits_look(), "that look began before its end");
    journal.looked(570 * MS, 100 * MS, Some(200 * MS), &mut |_, _| seen(Cause::Preempted, 0));
    assert!(!journal.awaits_look());
    let told = journal.deliver(571 * MS, false, nobody);
    let missing =
        Missing::WatchdogLate { late: Duration::from_millis(80), without_cpu: Some(Duration::from_millis(80)) };
    assert_eq!((told[0].evidence.cause, told[0].evidence.missing), (Some(Cause::Preempted), Some(missing)));
    assert_eq!(journal.list(), told);
    assert_eq!(journal.shortfalls.all().iter().map(|of| of.polls).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_watchdog_that_does_not_come_back_is_not_waited_for_without_end() {
    let (mut journal, nobody): (_, BlameOf<'_>) = (Journal::new(10), &|_| None);
    journal.watched.start();
    journal.add((0, Moment(5)), 0, poll(1));
    assert!(journal.deliver(EVIDENCE_PATIENCE_NS - 1, false, nobody).is_empty());
    let told = journal.deliver(EVIDENCE_PATIENCE_NS, false, nobody);
    let missing = Missing::WatchdogAwaited { after: PATIENCE };
    assert_eq!(told[0].evidence.missing, Some(missing));
    journal.add((0, Moment(6)), 0, poll(2));
    journal.watched.abandon();
    assert_eq!(journal.deliver(1, false, nobody)[0].evidence.missing, None, "it is gone, and a note says so");
}

#[test]
fn lines_that_nobody_takes_are_counted() {
    let mut journal = Journal::default();
    let still = |n: usize| Still { stall: polling(n as u64), is_first: n.is_multiple_of(2) };
    (0..SAID_CAPACITY + 5).for_each(|n| journal.say(still(n)));
    let (said, unsaid) = journal.take_said();
    let told: Vec<Option<u64>> = said.iter().map(|still| still.stall.task_id).collect();
    assert_eq!(told, (0..SAID_CAPACITY as u64).map(Some).collect::<Vec<_>>(), "the first ones, in order");
    assert_eq!((unsaid, journal.untold()), (5, 3));
    let (said, unsaid) = journal.take_said();
    assert_eq!((said.len(), unsaid, journal.untold()), (0, 0, 3));
}

#[test]
fn nobody_waits_for_ever() {
    let mut journal = Journal::new(0);
    journal.watched.begin((0, Moment(5)));
    journal.add((0, Moment(5)), 0, poll(1));
    assert!(journal.deliver(EVIDENCE_PATIENCE_NS - 1, false, &|_| None).is_empty());
    assert_eq!(journal.deliver(EVIDENCE_PATIENCE_NS, false, &|_| None).len(), 1);
    journal.watched.begin((0, Moment(8)));
    journal.add((0, Moment(8)), 0, poll(2));
    journal.watched.abandon();
    assert_eq!(journal.deliver(1, false, &|_| None).len(), 1, "the watchdog is gone");
    journal.add((0, Moment(6)), 0, poll(3));
    let open: BlameOf<'_> = &|_| Some((Blame::default(), false));
    assert!(journal.deliver(BLAME_PATIENCE_NS - 1, false, open).is_empty());
    assert_eq!(journal.deliver(0, true, open)[0].blame, Some(Blame::default()));
}

fn waited(tasks: u64) -> Blame {
    let mut blame = Blame::default();
    blame.tasks = tasks;
    blame
}

/// A hundred thousand tasks are polled for longer than a delivery waits: the ledger had 100,000 of them, and the slow poll 94,752.
#[test]
fn who_is_found_after_the_delivery_is_still_listed() {
    let (mut journal, key) = (Journal::new(10), (0, Moment(5)));
    journal.add(key, 0, poll(1));
    let more = |tasks: u64| move |_: Key| Some((waited(tasks), false));
    for (at_ns, tasks) in [(10, 1), (BLAME_PATIENCE_NS, 2), (2 * BLAME_PATIENCE_NS - 1, 3)] {
        assert!(journal.deliver(at_ns, false, &more(tasks)).is_empty(), "more came since");
    }
    let delivered = journal.deliver(4 * BLAME_PATIENCE_NS, false, &more(3));
    assert_eq!(delivered[0].blame, Some(waited(3)));
    journal.charge(5 * BLAME_PATIENCE_NS, &more(4));
    assert_eq!(journal.list()[0].blame, Some(waited(4)));
    // Nobody is added any more, but once the thread goes on after all.
    journal.charge(6 * BLAME_PATIENCE_NS, &|_| Some((waited(4), true)));
    journal.charge(7 * BLAME_PATIENCE_NS, &more(5));
    journal.charge(8 * BLAME_PATIENCE_NS, &|_| Some((waited(5), true)));
    journal.charge(9 * BLAME_PATIENCE_NS + CLOSED_NS, &|_| Some((waited(5), true)));
    assert_eq!((journal.list()[0].blame, journal.charging.len()), (Some(waited(5)), 0));
}

#[test]
fn delivery_does_not_wait_for_ever_for_who_waited() {
    let (mut journal, mut tasks) = (Journal::new(1), 0);
    journal.add((0, Moment(5)), 0, poll(1));
    let mut at_ns = 0;
    loop {
        (at_ns, tasks) = (at_ns + BLAME_PATIENCE_NS - 1, tasks + 1);
        if !journal.deliver(at_ns, false, &|_| Some((waited(tasks), false))).is_empty() {
            break;
        }
    }
    assert!((EVIDENCE_PATIENCE_NS..EVIDENCE_PATIENCE_NS + BLAME_PATIENCE_NS).contains(&at_ns), "{at_ns}");
}

#[test]
fn those_who_are_known_do_not_pass_for_all() {
    let (mut journal, key) = (Journal::new(10), (0, Moment(5)));
    journal.add(key, 0, poll(1));
    journal.charge(1, &|_| Some((waited(3), false)));
    assert_eq!(journal.list()[0].blame, Some(waited(3)), "so far");
    journal.charge(2, &|_| None);
    assert_eq!(journal.list()[0].blame, None, "the thread forgot it before all were known");
    assert_eq!(journal.deliver(3, false, &|_| None)[0].blame, None);
}
