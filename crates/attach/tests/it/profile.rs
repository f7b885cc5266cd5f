//! Where loops' threads are, whatever they do.

use std::time::Duration;

use pollscope_record::feed::run_of;
use pollscope_record::recording::{BusyBy, Profile, ProfilePlace, Run, Subject, Target, ThreadState};

use crate::service::{self, Service};
use crate::{STARTED_AT, at, is_of_a_poll, seen_for, seen_of, slow_polls};

fn profile(run: &Run) -> &Profile {
    run.profile.as_deref().expect("loops' threads were looked at")
}

/// Those of it that are in a function of the service.
fn places_in<'p>(profile: &'p Profile, function: &str) -> Vec<&'p ProfilePlace> {
    let is_in = |place: &&ProfilePlace| place.function.as_deref().is_some_and(|name| name.contains(function));
    profile.places.iter().filter(is_in).collect()
}

fn looks(places: &[&ProfilePlace]) -> u64 {
    places.iter().map(|place| place.looks).sum()
}

/// A look is of one thing: nothing is counted twice, and nothing left out.
fn check_sums(profile: &Profile) {
    let off_cpu = profile.count(|state| matches!(state, ThreadState::PollOffCpu | ThreadState::SchedulerOffCpu));
    let others = profile.count(|state| state == ThreadState::Other);
    let known = profile.parked + profile.running + profile.moved + off_cpu;
    assert!(known <= profile.looks && profile.looks <= known + others + profile.dropped, "{profile:#?}");
    assert!(profile.looks > 0 && profile.period_ns > 0 && profile.dropped == 0, "{profile:#?}");
}

#[test]
fn a_poll_that_waits_is_off_the_cpu_and_a_worker_without_work_parked() {
    let run = seen_of(&Service::start("sleeps multi"), |seen| slow_polls(seen) >= 4);
    let profile = profile(&run);
    check_sums(profile);
    assert!(profile.parked > 0, "the other worker has nothing to do: {profile:#?}");
    let places = places_in(profile, "service::nap");
    assert!(looks(&places) > 0 && looks(&places) <= profile.in_polls(), "{profile:#?}");
    for place in places {
        assert_eq!(
            (place.state, place.call.as_deref()),
            (ThreadState::PollOffCpu, Some("clock_nanosleep")),
            "{place:#?}"
        );
        assert_eq!(place.line.as_deref().map(at), Some(service::line_of("sleeps here")));
        assert!(place.future.as_deref().is_some_and(|future| future.contains("sleeper")), "{place:#?}");
        assert!(place.stack.iter().any(|frame| frame.function.as_deref().is_some_and(|name| name.contains("nap"))));
    }
    let share = run.busy_share.expect("by looks");
    assert_eq!((share.how, Some(share.value)), (BusyBy::Looks, profile.share(profile.in_polls())));
}

#[test]
fn a_poll_that_computes_is_on_the_cpu_as_its_threads_clock_says() {
    let run = seen_of(&Service::start("computes current"), |seen| slow_polls(seen) >= 4);
    let profile = profile(&run);
    check_sums(profile);
    // Where samples are not to be had, what is not known is said.
    let is_sampled = !run.coverage.missing.iter().any(|note| note.contains("polls that compute are not seen"));
    let places = places_in(profile, "service::compute");
    assert_eq!(looks(&places) > 0, is_sampled, "{profile:#?} {:?}", run.coverage);
    assert!(places.iter().all(|place| place.state == ThreadState::PollOnCpu), "{places:#?}");
    let samples = profile.count(ThreadState::is_on_cpu);
    let cpu_ns = profile.cpu_ns.expect("the kernel tells");
    assert!(profile.ns(samples) <= cpu_ns + 2 * profile.period_ns, "no more than its time on a CPU: {profile:#?}");
}

/// What is seen of one in some time, in which no poll is slow.
fn quiet(how: &str) -> Run {
    let seen = seen_for(&Service::start(how), Duration::from_secs(3));
    assert!(!seen.iter().any(is_of_a_poll), "{seen:#?}");
    run_of(Run::unknown(how, Subject::Process(Target::default()), STARTED_AT), seen)
}

#[test]
fn what_the_blocking_pool_does_is_no_loops() {
    let run = quiet("pool multi");
    let profile = profile(&run);
    check_sums(profile);
    assert!(profile.parked > 0 && places_in(profile, "service::nap").is_empty(), "{profile:#?}");
}

#[test]
fn many_short_polls_are_seen_as_well() {
    for how in ["hot current", "hot multi"] {
        let run = quiet(how);
        let profile = profile(&run);
        check_sums(profile);
        let is_sampled = !run.coverage.missing.iter().any(|note| note.contains("polls that compute are not seen"));
        let places = places_in(profile, "service::warm");
        assert_eq!(looks(&places) > 0, is_sampled, "{how}: {profile:#?} {:?}", run.coverage);
        assert!(places.iter().all(|place| place.state == ThreadState::PollOnCpu), "{places:#?}");
    }
}
