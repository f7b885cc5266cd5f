use pollscope_base::{Hold, Leaf, LeafKind, Progress, RunBy, SeenThread, TaskState, WaitingTask};

use super::*;

/// A task that waits for something at a line of its own.
fn waiting(id: u64, leaves: &[(LeafKind, Option<&str>, Option<u64>)], holds: &[(&str, &str)]) -> WaitingTask {
    let leaf = |(kind, address, task): &(LeafKind, Option<&str>, Option<u64>)| Await {
        future: "leaf".to_owned(),
        progress: Progress::Unknown,
        file: None,
        line: None,
        leaf: Some(Leaf { kind: *kind, address: address.map(str::to_owned), left_ns: None, task: *task }),
        inside: Vec::new(),
    };
    let hold = |(guard, address): &(&str, &str)| Hold {
        guard: (*guard).to_owned(),
        variable: "guard".to_owned(),
        address: (*address).to_owned(),
        at: Some("src/a.rs:4".to_owned()),
        is_polled: true,
    };
    WaitingTask {
        id,
        state: TaskState::Idle,
        runtime: Some(1),
        run_by: None,
        future: Some("shop::serve".to_owned()),
        size_bytes: 640,
        spawned_at: None,
        is_cancelled: false,
        waits: Some(Await {
            future: "shop::serve".to_owned(),
            progress: Progress::Suspended,
            file: Some("src/serve.rs".to_owned()),
            line: Some(12),
            leaf: None,
            inside: leaves.iter().map(leaf).collect(),
        }),
        holds: holds.iter().map(hold).collect(),
    }
}

fn list(tasks: Vec<WaitingTask>) -> TaskList {
    TaskList { tasks_schema: TaskList::SCHEMA, pid: 4711, name: "shop".to_owned(), tasks, ..TaskList::default() }
}

const MUTEX: &str = "tokio::sync::mutex::MutexGuard";
const READ: &str = "tokio::sync::rwlock::read_guard::RwLockReadGuard";
const WRITE: &str = "tokio::sync::rwlock::write_guard::RwLockWriteGuard";
const RECEIVER: &str = "tokio::sync::mpsc::bounded::Receiver";

fn mutex(address: &str) -> (LeafKind, Option<&str>, Option<u64>) {
    (LeafKind::Mutex, Some(address), None)
}

fn stuck_of(tasks: Vec<WaitingTask>) -> Vec<(Vec<u64>, Vec<u64>)> {
    list(tasks).stuck().into_iter().map(|stuck| (stuck.cycle, stuck.behind)).collect()
}

#[test]
fn those_that_wait_for_each_other_are_stuck_and_those_behind_them() {
    let order = || vec![waiting(1, &[mutex("0xb")], &[(MUTEX, "0xa")]), waiting(2, &[mutex("0xa")], &[(MUTEX, "0xb")])];
    assert_eq!(stuck_of(order()), [(vec![1, 2], vec![])]);
    let behind = waiting(3, &[mutex("0xa")], &[]);
    let behind_that = waiting(4, &[(LeafKind::Join, None, Some(3))], &[]);
    assert_eq!(stuck_of([order(), vec![behind, behind_that]].concat()), [(vec![1, 2], vec![3, 4])]);
    assert_eq!(stuck_of(vec![waiting(5, &[mutex("0xa")], &[(MUTEX, "0xa")])]), [(vec![5], vec![])], "it has it itself");
    assert_eq!(stuck_of(vec![waiting(5, &[(LeafKind::Join, None, Some(5))], &[])]), [(vec![5], vec![])]);
    let write = |id| waiting(id, &[(LeafKind::RwLockWrite, Some("0xa"), None)], &[(READ, "0xa")]);
    assert_eq!(stuck_of(vec![write(1), write(2)]), [(vec![1, 2], vec![])], "both read, and both want to write");
    let send = |id, to, from| waiting(id, &[(LeafKind::MpscSend, Some(to), None)], &[(RECEIVER, from)]);
    let given = "tokio::sync::batch_semaphore::Acquire";
    assert_eq!(
        stuck_of(vec![waiting(5, &[mutex("0xa")], &[(given, "0xa")])]),
        [(vec![5], vec![])],
        "nobody polls that"
    );
    assert_eq!(stuck_of(vec![send(1, "0xb", "0xa"), send(2, "0xa", "0xb")]), [(vec![1, 2], vec![])], "full channels");
}

#[test]
fn whoever_may_go_on_is_not_stuck() {
    let none = Vec::<(Vec<u64>, Vec<u64>)>::new();
    let sleep = (LeafKind::Sleep, None, None);
    let of = |leaves: &[(LeafKind, Option<&str>, Option<u64>)]| {
        stuck_of(vec![waiting(1, leaves, &[(MUTEX, "0xa")]), waiting(2, &[mutex("0xa")], &[(MUTEX, "0xb")])])
    };
    assert_eq!(of(&[mutex("0xb"), sleep]), none, "a timeout ends it");
    assert_eq!(of(&[sleep]), none);
    assert_eq!(of(&[mutex("0xc")]), none, "nobody is known to have that");
    assert_eq!(of(&[]), none, "it is not known what it waits for");
    assert_eq!(of(&[mutex("0xb"), mutex("0xa")]).len(), 1, "neither can come");
    let two = vec![
        waiting(1, &[mutex("0xb")], &[(MUTEX, "0xa")]),
        waiting(2, &[mutex("0xa")], &[(MUTEX, "0xb")]),
        waiting(3, &[sleep], &[(MUTEX, "0xb")]),
    ];
    assert_eq!(stuck_of(two), none, "one of two that seem to have it has let go of it");
    let read = vec![waiting(1, &[(LeafKind::RwLockRead, Some("0xa"), None)], &[(READ, "0xa")])];
    assert_eq!(stuck_of(read), none, "who reads keeps nobody from reading");
    let reader = vec![waiting(1, &[(LeafKind::RwLockRead, Some("0xa"), None)], &[(WRITE, "0xa")])];
    assert_eq!(stuck_of(reader), [(vec![1], vec![])]);
    let mut running =
        vec![waiting(1, &[mutex("0xb")], &[(MUTEX, "0xa")]), waiting(2, &[mutex("0xa")], &[(MUTEX, "0xb")])];
    running[1].state = TaskState::Ready;
    assert_eq!(stuck_of(running), none, "it was woken");
}

#[test]
fn permits_are_likely_to_be_had_by_those_who_are_seen_to_have_them() {
    const PERMIT: &str = "tokio::sync::semaphore::OwnedSemaphorePermit";
    let wants = |id, of: &str, has: &str| waiting(id, &[(LeafKind::Semaphore, Some(of), None)], &[(PERMIT, has)]);
    let both = || vec![wants(1, "0xb", "0xa"), wants(2, "0xa", "0xb")];
    assert_eq!(list(both()).stuck(), [Stuck { cycle: vec![1, 2], behind: vec![], probable: true }]);
    let gives_it_back = waiting(3, &[(LeafKind::Sleep, None, None)], &[(PERMIT, "0xa")]);
    assert_eq!(list([both(), vec![gives_it_back]].concat()).stuck(), [], "another one has a permit, too");
    assert_eq!(list(vec![waiting(1, &[(LeafKind::Semaphore, Some("0xa"), None)], &[])]).stuck(), [], "nobody is seen");
    let certain = waiting(5, &[mutex("0xc")], &[(MUTEX, "0xc")]);
    let found = list([both(), vec![certain]].concat()).stuck();
    assert_eq!(found.iter().map(|stuck| stuck.probable).collect::<Vec<bool>>(), [true, false]);
}

/// A task whose poll waits for a lock of the standard library's, the thread that polls it, and a task that keeps the lock.
fn of_one_thread(run_by: RunBy) -> TaskList {
    let sleep = (LeafKind::Sleep, None, None);
    let mut tasks = vec![
        waiting(1, &[sleep], &[("std::sync::poison::mutex::MutexGuard", "0x7f10")]),
        WaitingTask { state: TaskState::Running, waits: None, ..waiting(2, &[], &[]) },
        waiting(3, &[sleep], &[]),
        WaitingTask { runtime: Some(2), ..waiting(4, &[sleep], &[]) },
    ];
    tasks.iter_mut().for_each(|task| task.run_by = Some(run_by));
    let thread = SeenThread {
        tid: 77,
        does: None,
        task: Some(2),
        future: None,
        call: None,
        futex: Some("0x7f10".to_owned()),
        line: Some("src/job.rs:9".to_owned()),
        function: None,
        stack: Vec::new(),
    };
    TaskList { threads: vec![thread], ..list(tasks) }
}

#[test]
fn a_lock_that_is_kept_across_an_await_stops_the_only_thread() {
    for run_by in [RunBy::CurrentThread, RunBy::LocalSet] {
        let list = of_one_thread(run_by);
        assert_eq!(list.stuck(), [Stuck { cycle: vec![1, 2], behind: vec![3], probable: true }]);
        assert_eq!(list.keeper(&list.threads[0]).map(|(id, hold)| (id, hold.variable.as_str())), Some((1, "guard")));
        assert_eq!(list.blocked(&list.tasks[1]).map(|thread| thread.tid), Some(77));
        assert!(list.blocked(&list.tasks[0]).is_none());
    }
    assert_eq!(of_one_thread(RunBy::MultiThread).stuck(), [], "another worker polls the one that keeps it");
    let with = |change: fn(&mut TaskList)| {
        let mut list = of_one_thread(RunBy::LocalSet);
        change(&mut list);
        list.stuck()
    };
    assert_eq!(with(|list| list.threads[0].futex = Some("0x7f18".to_owned())), [], "it waits for something else");
    assert_eq!(with(|list| list.tasks[1].state = TaskState::Idle), [], "that poll is over");
    assert_eq!(with(|list| list.tasks[0].runtime = Some(9)), [], "another thread polls the one that keeps it");
    let guard = |list: &mut TaskList, name: &str| list.tasks[0].holds[0].guard = name.to_owned();
    assert_eq!(with(|list| list.tasks[2].holds = list.tasks[0].holds.clone()), [], "two seem to have it");
    let mut written = of_one_thread(RunBy::LocalSet);
    guard(&mut written, "std::sync::poison::rwlock::RwLockReadGuard");
    assert_eq!(written.stuck(), [], "who reads waits at the lock's own word");
    written.threads[0].futex = Some("0x7f14".to_owned());
    assert_eq!(written.stuck().len(), 1, "who writes waits at the next one");
    guard(&mut written, MUTEX);
    assert_eq!(written.stuck(), [], "no thread waits like that for a lock of Tokio's");
}

#[test]
fn what_is_but_likely_is_said_to_be_that() {
    let mut list = of_one_thread(RunBy::LocalSet);
    list.deadlocks = list.stuck();
    let style = crate::report::Style { width: 200, color: false, unicode: true };
    let text = crate::report::tasks::render(&list, crate::report::tasks::Shown::Groups, &style);
    let told: Vec<&str> = text.lines().skip_while(|line| !line.contains("deadlock")).take(5).collect();
    assert_eq!(
        told,
        [
            "Probably a deadlock: 2 tasks wait for each other, and none of them can ever go on",
            "  task 1 (shop::serve) waits at src/serve.rs:12 for a sleep, and only the thread that polls task 2 can poll it",
            "  task 2 (shop::serve) is polled by thread 77, which waits at src/job.rs:9 for a lock of the standard library's, which \
             task 1 keeps while it is at src/a.rs:4 (`guard`)",
            "  1 more task behind them: task 3",
            "  This is likely and not certain: locks of the standard library's and semaphores do not say who has them, and what is \
             kept outside of tasks is not seen.",
        ]
    );
    list.deadlocks[0].probable = false;
    let text = crate::report::tasks::render(&list, crate::report::tasks::Shown::Groups, &style);
    assert!(text.contains("\nDeadlock: 2 tasks") && !text.contains("likely"), "{text}");
}

#[test]
fn what_moved_is_told_with_how_long_the_others_did_not() {
    let sleep = |left_ns: i64| {
        let mut task = waiting(1, &[(LeafKind::Sleep, None, None)], &[]);
        task.waits.as_mut().unwrap().inside[0].leaf.as_mut().unwrap().left_ns = Some(left_ns);
        task
    };
    let ready = |id| WaitingTask { state: TaskState::Ready, ..waiting(id, &[mutex("0xa")], &[]) };
    let mut moves = Moves::default();
    assert!(
        moves
            .add(list(vec![sleep(900), waiting(2, &[mutex("0xa")], &[]), waiting(3, &[mutex("0xa")], &[])]), 10)
            .is_none()
    );
    let stuck = Stuck { cycle: vec![2], behind: vec![], probable: false };
    let now = TaskList {
        deadlocks: vec![stuck.clone()],
        ..list(vec![sleep(500), ready(2), waiting(4, &[mutex("0xa")], &[])])
    };
    let moved = moves.add(now.clone(), 30).unwrap();
    let counts = |moved: &Moved| {
        moved.changes.iter().map(|change| (change.state, change.before, change.now)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&moved), [(TaskState::Ready, 0, 1), (TaskState::Idle, 2, 1)], "a sleep that goes on is the same");
    assert_eq!((moved.began, moved.ended, moved.still, moved.longest), (Some(1), Some(1), 1, Some((1, 20))));
    assert_eq!(moved.deadlocks, [stuck]);
    let last = moves.add(now, 70).unwrap();
    assert_eq!(
        (last.changes.len(), last.still, last.longest, last.deadlocks.len()),
        (0, 3, Some((1, 60)), 0),
        "{last:?}"
    );
    assert_eq!(moves.add(list(Vec::new()), 80).unwrap().longest, None);
    let torn = moves.add(TaskList { torn: 1, ..list(Vec::new()) }, 90).unwrap();
    assert_eq!((torn.began, torn.ended), (None, None), "one that was left out did not end");
    let style = crate::report::Style { width: 100, color: false, unicode: true };
    let told = TaskList { read_at: "2026-12-01T02:03:04.000Z".to_owned(), ..list(vec![sleep(1)]) };
    assert_eq!(
        crate::report::tasks::render_moved(&told, &Moved { deadlocks: vec![], ..moved }, &style),
        "02:03:04.000Z · 1 task · 1 began · 1 ended · 1 where it was at the last reading, 1 at each for 20 ns\n  \
         0 → 1 waits for a worker at src/serve.rs:12 (shop::serve)\n  \
         2 → 1 waits at src/serve.rs:12 for a `Mutex` (shop::serve)\n"
    );
}

#[test]
fn a_cycle_of_many_is_told_in_its_order_from_the_smallest_id() {
    let order = [4, 9, 2, 7];
    let tasks = (0..4).map(|index| waiting(order[index], &[(LeafKind::Join, None, Some(order[(index + 1) % 4]))], &[]));
    let mut tasks: Vec<WaitingTask> = tasks.collect();
    tasks.sort_by_key(|task| task.id);
    assert_eq!(stuck_of(tasks), [(vec![2, 7, 4, 9], vec![])]);
}

#[test]
fn those_that_wait_alike_are_one_group() {
    let tasks = vec![
        waiting(1, &[mutex("0xa")], &[]),
        waiting(2, &[(LeafKind::Sleep, None, None)], &[(MUTEX, "0xa")]),
        waiting(3, &[mutex("0xa")], &[]),
        waiting(4, &[mutex("0xb")], &[]),
    ];
    let list = list(tasks);
    let groups = list.groups();
    let told: Vec<_> =
        groups.iter().map(|group| (group.tasks.len(), group.address, group.waits_for.join(" "))).collect();
    assert_eq!(told, [(3, None, "a `Mutex`".to_owned()), (1, None, "a sleep".to_owned())]);
    assert_eq!(groups[0].place.as_deref(), Some("src/serve.rs:12"));
    let same = super::group::groups(&list.tasks[..3]);
    assert_eq!(same[0].address, Some("0xa"), "it is one");
    assert_eq!(list.holders("0xa").map(|(task, _)| task.id).collect::<Vec<_>>(), [2]);
}

#[test]
fn the_place_is_the_innermost_of_the_users_own_code() {
    let mut task = waiting(1, &[mutex("0xa")], &[]);
    let chain = task.waits.as_mut().unwrap();
    let inner =
        Await { file: Some("tokio-1.54.1/src/sync/mutex.rs".to_owned()), line: Some(455), ..chain.inside[0].clone() };
    chain.inside[0] = inner.clone();
    assert_eq!(place(chain).as_deref(), Some("src/serve.rs:12"));
    assert_eq!(place(&inner).as_deref(), Some("tokio-1.54.1/src/sync/mutex.rs:455"));
    for (file, fetched) in [
        ("core/src/future.rs", true),
        ("my-2d-lib/src/lib.rs", false),
        ("a-1.0.0-rc.1/src/b.rs", true),
        ("src/a-1.rs", false),
        ("/x/src/a.rs", false),
    ] {
        assert_eq!(is_fetched(file), fetched, "{file}");
    }
}
