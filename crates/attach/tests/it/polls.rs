//! Where a poll begins and ends, whatever its thread does meanwhile.

use std::time::Duration;

use pollscope_record::feed::Update;
use pollscope_record::recording::{Precision, Run, SlowPoll};

use super::service::{self, Service};
use super::{at, is_of_a_poll, seen_for, seen_of, slow_polls};

/// Whether the kernel lets this user see more than waits; says so when it does not.
fn has_perf_events(run: &Run) -> bool {
    let refused = run.coverage.missing.iter().find(|note| note.contains("polls that compute are not seen"));
    if let Some(refused) = refused {
        println!("SKIP: {refused}");
    }
    refused.is_none()
}

fn end_of(poll: &SlowPoll) -> Precision {
    poll.detail.as_ref().map_or(Precision::Exact, |detail| detail.end_is)
}

fn lines(poll: &SlowPoll) -> Vec<Option<u32>> {
    let more = poll.detail.iter().flat_map(|detail| &detail.more_places);
    let all = std::iter::once(poll.blocking_line.as_deref()).chain(more.map(|place| place.line.as_deref()));
    all.map(|line| line.map(at)).collect()
}

#[test]
fn a_poll_that_computes_is_found_where_it_computes() {
    for on in ["multi", "current"] {
        let run = seen_of(&Service::start(&format!("computes {on}")), |seen| slow_polls(seen) >= 4);
        if !has_perf_events(&run) {
            return;
        }
        assert!(run.slow_polls.len() >= 4, "{:?}", run.coverage);
        let line = service::line_of("computes here");
        for poll in &run.slow_polls {
            assert!(lines(poll).iter().flatten().all(|at| (line - 3..=line + 1).contains(at)), "{poll:#?}");
            assert!(poll.function.as_deref().is_some_and(|name| name.contains("compute")), "{poll:#?}");
            assert!(poll.future.as_deref().is_some_and(|name| name.contains("computer")), "{poll:#?}");
            assert_eq!(poll.syscall, None);
        }
        let exact = run.slow_polls.iter().filter(|poll| end_of(poll) == Precision::Exact).count();
        assert!(2 * exact > run.slow_polls.len(), "{:#?}", run.slow_polls);
    }
}

#[test]
fn many_short_waits_are_one_poll_and_two_polls_are_two() {
    let service = Service::start("pieces multi");
    let run = seen_of(&service, |seen| slow_polls(seen) >= 6);
    if !has_perf_events(&run) {
        return;
    }
    // Each poll of it naps sixteen times, and the next one begins two milliseconds after it.
    assert!(run.slow_polls.len() >= 6, "{:?}", run.coverage);
    let told = service.ends();
    let numbers: Vec<u64> = told.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [task, longest] = numbers[..] else { panic!("its task, and how long its longest poll was: {told}") };
    for poll in &run.slow_polls {
        assert_eq!(poll.blocking_line.as_deref().map(at), Some(service::line_of("naps here")), "{poll:#?}");
        let (start, end) = (poll.start_ns, poll.start_ns + poll.duration_ns);
        let over =
            run.slow_polls.iter().filter(|other| other.start_ns < end && start < other.start_ns + other.duration_ns);
        assert_eq!(over.count(), 1, "one task is in one poll: {:#?}", run.slow_polls);
        assert_eq!(poll.task_id.get(), Some(task), "{poll:#?}");
        assert!(poll.duration_ns <= longest, "longer than any was, {longest} ns: {poll:#?}");
    }
}

#[test]
fn a_poll_that_waits_for_a_lock_is_told_who_has_it() {
    let run = seen_of(&Service::start("locks multi"), |seen| slow_polls(seen) >= 4);
    assert!(run.slow_polls.len() >= 4, "{:?}", run.coverage);
    for poll in &run.slow_polls {
        assert_eq!(poll.blocking_line.as_deref().map(at), Some(service::line_of("waits here")), "{poll:#?}");
        assert_eq!(poll.cause.as_deref(), Some("lock"), "{poll:#?}");
    }
    // Until the program's debug information was read, it is too late to look who has it.
    let holders = run.slow_polls.iter().filter_map(|poll| poll.detail.as_ref()?.holder.as_ref());
    let lines: Vec<u32> = holders.filter_map(|holder| holder.line.as_deref()).map(at).collect();
    assert!(!lines.is_empty(), "{:#?}", run.slow_polls);
    assert!(lines.iter().all(|line| *line == service::line_of("holds here")), "{:#?}", run.slow_polls);
}

#[test]
fn tasks_that_are_woken_all_the_time_are_no_long_polls() {
    for on in ["multi", "current"] {
        let seen = seen_for(&Service::start(&format!("hot {on}")), Duration::from_secs(2));
        let polls: Vec<&Update> = seen.iter().filter(|update| is_of_a_poll(update)).collect();
        // One that the machine held up for so long was a slow poll.
        let is_held_up = |update: &&Update| match update {
            Update::SlowPoll(poll) | Update::Stall(poll) => {
                poll.run_delay_ns.get().is_some_and(|ns| 2 * ns > poll.duration_ns)
            }
            _ => false,
        };
        assert!(polls.iter().all(is_held_up), "{polls:#?}");
    }
}
