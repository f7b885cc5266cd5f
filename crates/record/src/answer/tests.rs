use super::*;
use crate::compare::{Rounds, Side, change, compare};
use crate::findings::findings;
use crate::fixture::{self, MS, blocked, in_round, recording_of, run};
use crate::message::Message;
use crate::recording::{Blame, Cause as Because, Completeness, Detail, Kind, Run, Span, Syscall, Waiter};
use crate::units::{format_ns, plural};
use pollscope_base::Cause as Known;

/// All slow polls of a run were seen at that line, in that call.
fn at(mut run: Run, line: &str, call: &str, cause: Option<Known>) -> Run {
    for poll in &mut run.slow_polls {
        let path = Some("/var/log/merged".into());
        let call = Syscall { name: call.into(), fd: Some(9), path, peer: None, bytes: None, text: call.into() };
        let caller = Some("src/tail.rs:88".into());
        let (blocking_line, cause) = (Some(line.into()), cause.map(Because::Known));
        let kind = Kind { caller, blocking_line, cause, syscall: Some(call.into()), ..(*poll.kind).clone() };
        (poll.kind, poll.looks) = (kind.into(), Some(2));
        let blame = Some(Blame { tasks: 3, wait_ns: 5 * MS, late_tasks: 0, wait_most_ns: 5 * MS, lifo_tasks: 0 });
        let waiter = Waiter {
            task_id: 4,
            spawned_at: "src/echo.rs:7".to_owned(),
            ready_ns: 10 * MS,
            polled_ns: 160 * MS,
            span: None,
        };
        poll.detail = Detail { blame, worst_waiter: Some(Box::new(waiter)), ..Detail::default() }.boxed();
    }
    run
}

fn naive() -> Run {
    at(blocked("naive", &[503 * MS, 168 * MS, 120 * MS]), "src/sink.rs:41", "write", Some(Known::BlockingCall))
}

fn of(runs: Vec<Run>) -> Answer {
    let mut recording = recording_of(runs);
    recording.gates.clear();
    answer(&recording)
}

#[test]
fn what_where_how_often_who_waited_and_what_to_do() {
    let runs = vec![naive(), run("offloaded")];
    let groups = by_group(&runs);
    let p99 = |group: usize| {
        let dist = groups[group].response_time.as_ref().expect("clients");
        format_ns(dist.shown_quantile_ns(0.99).expect("a value"))
    };
    let [bad, good] = [0, 1].map(p99);
    let answer = of(runs.clone());
    assert_eq!(answer.lead.place.as_deref(), Some("src/sink.rs:41"));
    assert_eq!(
        answer.lead.words,
        "write() on merged blocked the loop in naive mode (the loop itself blocks) 3 times: worst 503 ms, 26.2 % of the run"
    );
    let caller = Some("src/tail.rs:88".to_owned());
    assert_eq!(answer.seen, Some(Seen { looks: Some((6, 6)), caller }));
    let waited =
        format!("up to 3 other tasks waited at a time, the longest 150 ms; outside clients: response p99 {bad}");
    assert_eq!(answer.meanwhile, Some(waited));
    let fix = answer.fix.expect("something to do");
    assert!(fix.starts_with("hand the write to a thread that owns the file"), "{fix}");
    assert!(
        fix.contains(&format!("in offloaded mode (a thread of its own does): response p99 {good} instead of {bad}")),
        "{fix}"
    );
    assert!(fix.ends_with("(1 round: no interval; `--rounds 5` gives one)"), "{fix}");
    assert!(answer.others.is_empty() && answer.facts.is_empty() && answer.gates.is_empty());
}

#[test]
fn with_enough_rounds_the_gain_is_what_a_comparison_claims() {
    let rounds = 1..=3;
    let runs: Vec<Run> =
        rounds.flat_map(|round| [in_round(naive(), round), in_round(run("offloaded"), round)]).collect();
    let recording = recording_of(runs.clone());
    let [a, b] = ["naive", "offloaded"].map(|mode| Side::of(&recording, mode, mode));
    let compared = compare(&a, &b, Rounds::Interleaved, 1);
    let row = compared.row("response_time.p99").expect("a row");
    let fix = of(runs).fix.expect("something to do");
    assert!(fix.contains(&change(row)), "{fix}");
    assert!(!fix.contains("no interval"), "{fix}");
}

#[test]
fn polls_of_one_place_are_one_whatever_is_known_of_each() {
    let mut run = naive();
    run.slow_polls[2].kind_mut().cause = None;
    let answer = of(vec![run]);
    assert!(
        answer.lead.words.starts_with("write() on merged held the loop"),
        "not all are known to have blocked: {answer:?}"
    );
    assert!(answer.lead.words.contains(" 3 times") && answer.others.is_empty(), "{answer:?}");
    assert!(
        answer.fix.is_some_and(|fix| fix.starts_with("hand the write")),
        "what is to be done is known of the others"
    );
}

#[test]
fn the_dearest_comes_first_and_the_others_follow() {
    let mut run = naive();
    for poll in &mut run.slow_polls[1..] {
        poll.kind_mut().blocking_line = Some("src/db.rs:7".into());
    }
    let second = at(blocked("tokio-fs", &[900 * MS]), "src/lock.rs:9", "futex", Some(Known::Lock));
    let answer = of(vec![run, second]);
    let places: Vec<Option<&str>> =
        std::iter::once(&answer.lead).chain(&answer.others).map(|item| item.place.as_deref()).collect();
    assert_eq!(places, [Some("src/lock.rs:9"), Some("src/sink.rs:41"), Some("src/db.rs:7")]);
    assert!(answer.lead.words.contains("waiting for a lock or another thread blocked the loop"), "{answer:?}");
}

#[test]
fn what_had_not_ended_is_told_with_how_long_it_lasted_by_then() {
    let mut run = run("naive");
    run.stalls_open = naive().slow_polls.split_off(2);
    let answer = of(vec![run]);
    assert_eq!(answer.lead.place.as_deref(), Some("src/sink.rs:41"));
    assert!(answer.lead.words.ends_with("and had not ended when the run did: 120 ms by then"), "{answer:?}");
}

#[test]
fn what_may_have_been_more_is_at_least_that() {
    let words = |durations: &[u64]| {
        let mut run = at(blocked("naive", durations), "src/sink.rs:41", "write", Some(Known::BlockingCall));
        run.slow_polls_are = Completeness::AtLeast;
        of(vec![run]).lead.words
    };
    assert!(words(&[503 * MS]).contains(" at least once: 503 ms, "), "{}", words(&[503 * MS]));
    assert!(words(&[503 * MS, 120 * MS]).contains(" at least 2 times: worst 503 ms, "));
}

#[test]
fn a_machine_that_is_at_fault_has_no_place_in_the_code() {
    for (cause, says) in [
        (Known::Preempted, "the machine gave the loop no CPU"),
        (Known::Throttled, "a CPU quota that was used up stopped the loop"),
        (Known::Suspended, "the process was stopped"),
    ] {
        let answer = of(vec![at(blocked("naive", &[300 * MS]), "src/sink.rs:41", "write", Some(cause))]);
        assert_eq!(answer.lead.place, None, "{cause:?}");
        assert!(answer.lead.words.starts_with(says), "{answer:?}");
        assert!(!answer.fix.is_some_and(|fix| fix.contains("a thread that owns")), "{cause:?}");
    }
}

#[test]
fn without_a_slow_poll_that_is_said_with_what_was_watched() {
    let answer = of(vec![run("naive")]);
    assert_eq!(answer.lead.mark, GateVerdict::Pass);
    let polls = run("naive").polls.expect("polls");
    let watched =
        format!("nothing held the loop for 100 ms or longer: {} watched in 3.02 s", plural(polls.count(), "poll"));
    assert!(answer.lead.words.starts_with(&watched), "{answer:?}");
    assert_eq!((answer.fix, answer.seen), (None, None));

    let mut attached = run("naive");
    (attached.slow_polls_are, attached.polls) = (Completeness::AtLeast, None);
    attached.coverage.source = "attached".to_owned();
    let mut broken_off = run("naive");
    broken_off.slow_polls_are = Completeness::AtLeast;
    for (run, may_be) in [(attached, "between two looks"), (broken_off, "in the last moments")] {
        let answer = of(vec![run]);
        assert_eq!(answer.lead.mark, GateVerdict::Inconclusive, "nobody knows");
        assert!(answer.lead.words.contains(may_be), "{answer:?}");
    }
}

#[test]
fn many_short_polls_have_a_place_too() {
    let mut run = run("naive");
    let busy = fixture::dist(3, &[(40, 100 * MS, 400 * MS)]);
    (run.lag, run.lag_raw, run.busy_stretches) = (Some(busy.clone()), Some(busy.clone()), Some(busy));
    let answer = of(vec![run.clone()]);
    assert_eq!(answer.lead.code.as_deref(), Some("PS002"));
    assert_eq!(answer.lead.place.as_deref(), Some(run.known_sites()[0].spawned_at.as_str()));
    assert!(answer.lead.words.contains("of the time in polls is of tasks spawned here"), "{answer:?}");
    assert!(answer.fix.is_some_and(|fix| fix.contains("yield_now")));
}

#[test]
fn an_output_that_cannot_be_trusted_comes_before_all_else() {
    let mut run = naive();
    let merge = run.merge.as_mut().expect("a merge");
    (merge.verdict, merge.lost, merge.reason) = (Verdict::Failed, 3, Some(Message::from("`a` line 7 is missing")));
    let answer = of(vec![run]);
    assert_eq!(answer.lead.code.as_deref(), Some("PS004"));
    assert!(answer.lead.words.contains("3 lost; `a` line 7 is missing"), "{answer:?}");
    assert_eq!(answer.others.len(), 1, "the line that blocks is told as well");
    assert!(answer.facts.is_empty(), "nothing is said twice: {answer:?}");
}

#[test]
fn a_line_that_is_not_known_is_told_with_the_reason() {
    let mut run = blocked("naive", &[503 * MS]);
    run.coverage.missing = vec!["cannot name lines: the program is stripped".to_owned()];
    let answer = of(vec![run]);
    assert_eq!(answer.lead.place.as_deref(), Some("task of src/pipeline/merge.rs:88"));
    assert!(answer.facts.iter().any(|fact| fact.words.contains("stripped")), "{answer:?}");
}

#[test]
fn the_answer_says_nothing_that_no_finding_says() {
    for runs in [vec![naive(), run("offloaded")], vec![run("naive"), run("offloaded")], vec![naive()]] {
        let (answer, found) = (of(runs.clone()), findings(&runs));
        let codes = std::iter::once(&answer.lead).chain(&answer.others).filter_map(|item| item.code.as_deref());
        for code in codes {
            assert!(found.iter().any(|finding| finding.code == code), "{code}");
        }
    }
}

#[test]
fn of_very_many_places_the_dearest_are_told_and_the_others_counted() {
    let mut run = blocked("naive", &[120 * MS]);
    let one = run.slow_polls[0].clone();
    let places = 50_000;
    run.slow_polls = (0..places)
        .map(|nth| {
            let line = format!("src/a.rs:{nth}");
            crate::recording::SlowPoll::of(Kind { blocking_line: Some(line.as_str().into()), ..(*one.kind).clone() })
        })
        .collect();
    let answer = of(vec![run]);
    assert_eq!((answer.others.len(), answer.left_out), (OTHERS, places - OTHERS - 1));
}

#[test]
fn a_mode_that_did_much_less_harm_shows_what_the_fix_is_worth() {
    let once = at(
        Run { response_time: run("offloaded").response_time, ..blocked("offloaded", &[101 * MS]) },
        "src/a.rs:1",
        "write",
        None,
    );
    let fix = of(vec![naive(), once.clone()]).fix.expect("a fix");
    assert!(fix.contains("; in offloaded mode (a thread of its own does): response p99 "), "{fix}");
    let as_bad = Run { response_time: naive().response_time, ..once };
    let fix = of(vec![naive(), as_bad]).fix.expect("a fix");
    assert!(fix.ends_with(" (`--mode offloaded`)"), "{fix}");
}

/// Nothing is compared with a run that ended early.
#[test]
fn where_nothing_can_be_compared_no_worth_is_begun() {
    let mut cut = run("offloaded");
    fixture::interrupt(&mut cut, "asked to stop");
    let fix = of(vec![naive(), cut]).fix.expect("a fix");
    assert!(!fix.contains(": (") && !fix.contains("gives one"), "{fix}");
}

#[test]
fn a_line_to_mend_comes_before_what_the_machine_did() {
    let machines = |ns: &[u64]| {
        let mut run = blocked("offloaded", ns);
        run.slow_polls.iter_mut().for_each(|poll| poll.kind_mut().cause = Some(Because::Known(Known::Preempted)));
        run
    };
    let of_code = at(blocked("naive", &[120 * MS]), "src/sink.rs:41", "write", Some(Known::BlockingCall));
    let answer = of(vec![of_code.clone(), machines(&[503 * MS, 503 * MS])]);
    assert_eq!(answer.shown_place(), Some("src/sink.rs:41"), "{:?}", answer.lead);
    let answer = of(vec![of_code, machines(&[503 * MS; 4])]);
    assert_eq!(answer.shown_place(), None, "more than ten times as long: {:?}", answer.lead);
}

#[test]
fn whose_request_the_longest_was_is_told_in_few_words() {
    let in_span = |mut run: Run, longest: Option<Span>| {
        let other = Span { name: "other".into(), fields: Default::default(), trace_id: None, span_id: None };
        for poll in &mut run.slow_polls {
            let span = if poll.duration_ns == 503 * MS { longest.clone() } else { Some(other.clone()) };
            poll.detail_mut().span = span.map(Box::new);
        }
        of(vec![run]).lead.words
    };
    let fields = [("http.route", "/items/{id}"), ("user", "ann")].map(|(name, value)| (name.into(), value.into()));
    let trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
    let span = Span { name: "GET".into(), fields: fields.into(), trace_id, span_id: None };
    let words = in_span(naive(), Some(span.clone()));
    assert!(words.ends_with(", the longest in span `GET` (/items/{id}, trace 4bf92f3577b34da6…)"), "{words}");
    assert!(!in_span(naive(), None).contains("span"), "another's is not the longest one's");
    let one = at(blocked("naive", &[503 * MS]), "src/sink.rs:41", "write", None);
    let bare = Span { fields: Default::default(), trace_id: None, ..span };
    let words = in_span(one, Some(bare));
    assert!(words.ends_with(" of the run, in span `GET`"), "{words}");
    let mut waited = naive();
    let waiter = waited.slow_polls[1].detail_mut().worst_waiter.as_mut().expect("somebody waited");
    (waiter.polled_ns, waiter.span) =
        (170 * MS, Some(Box::new(Span { trace_id: Some("4bf9".into()), ..bare_of("PUT") })));
    let meanwhile = of(vec![waited]).meanwhile.expect("somebody waited");
    assert!(meanwhile.contains(", the longest 160 ms in span `PUT` (trace 4bf9)"), "{meanwhile}");
}

fn bare_of(name: &str) -> Span {
    Span { name: name.into(), fields: Default::default(), trace_id: None, span_id: None }
}
