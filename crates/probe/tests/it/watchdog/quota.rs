//! Polls under a real CPU quota: in a control group that the test makes, where this machine lets it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pollscope_probe::{Cause, Quota, SlowPoll};
use pollscope_stacks::quota::limited::{LimitedGroup, lift, limit};
use pollscope_stacks::usage::Usage;

use super::alone::{again, is_alone};
use super::{run, watching};
use crate::support::current_thread;

const GROUP: &str = "POLLSCOPE_TEST_GROUP";
/// On a busy machine, what others take can be more than what the quota does.
const ATTEMPTS: usize = 5;
const BUSY: &str = "other programs took more of the time than the quota";

/// Runs the calling test in a group of its own with a quota, again and again until it succeeds; in that process, gives the group's
/// folder once it is joined.
fn in_group(test: &str, allowed: Duration) -> Option<PathBuf> {
    if is_alone() {
        let folder = PathBuf::from(std::env::var_os(GROUP).expect("the group"));
        fs::write(folder.join("cgroup.procs"), std::process::id().to_string()).expect("it can be joined");
        return Some(folder);
    }
    let mut errors = Vec::new();
    while errors.len() < ATTEMPTS {
        let group = match LimitedGroup::make(allowed) {
            Ok(group) => group,
            Err(error) => {
                println!("SKIP: no group with a CPU quota can be made here: {error}");
                return None;
            }
        };
        let output = again(&format!("watchdog::quota::{test}")).env(GROUP, group.folder()).output().unwrap();
        let folder = group.folder().to_owned();
        drop(group);
        assert!(!folder.exists(), "{} is left behind", folder.display());
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            assert!(said.contains("1 passed"), "{said}");
            return None;
        }
        errors.push(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    if errors.iter().all(|error| error.contains(BUSY)) {
        println!("SKIP: {BUSY}, each of {ATTEMPTS} times");
        return None;
    }
    panic!("{}", errors.join("\n"));
}

/// Fails where the quota was not what the time went for: the group's own counter says so, which the probe does not read here.
fn assert_is_quotas(throttled_before: Duration, group: &Path, poll: &SlowPoll) {
    let throttled = throttled(group) - throttled_before;
    assert!(throttled >= poll.duration.mul_f64(0.6), "{BUSY}: {throttled:?} of {:?}", poll.duration);
}

/// How long the group was kept from running so far.
fn throttled(group: &Path) -> Duration {
    let stat = fs::read_to_string(group.join("cpu.stat")).unwrap();
    let of = |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    match (of("throttled_usec "), of("throttled_time ")) {
        (Some(us), _) => Duration::from_micros(us),
        (None, ns) => Duration::from_nanos(ns.unwrap()),
    }
}

/// Computes until this thread has had so much CPU time.
fn computes_for(time: Duration) {
    let used = || {
        Usage::of_this_thread().map_or(Duration::ZERO, |usage| Duration::from_nanos(usage.user_ns + usage.system_ns))
    };
    let end = used() + time;
    while used() < end {}
}

#[test]
fn a_quota_that_comes_while_the_service_runs_is_the_cause() {
    let (test, allowed) = ("a_quota_that_comes_while_the_service_runs_is_the_cause", Duration::from_millis(5));
    let Some(group) = in_group(test, allowed) else { return };
    lift(&group).unwrap();
    let (runtime, probe) = current_thread(watching());
    // The watchdog is there, and has seen that there is none.
    runtime.block_on(async { probe.spawn("first", tokio::task::yield_now()).await.unwrap() });
    limit(&group, allowed).unwrap();
    let (before, limited) = (throttled(&group), group.clone());
    let task = async move {
        computes_for(Duration::from_millis(30));
        lift(&limited).unwrap();
    };
    let ((), poll) = run(&runtime, &probe, task).unwrap();
    assert_is_quotas(before, &group, &poll);
    assert_eq!(poll.evidence.cause, Some(Cause::Throttled), "{poll:#?}");
    assert_eq!(poll.evidence.quota.unwrap().allowed, allowed);
}

#[test]
fn a_quota_that_is_used_up_is_the_cause() {
    let Some(group) = in_group("a_quota_that_is_used_up_is_the_cause", Duration::from_millis(5)) else { return };
    let (runtime, probe) = current_thread(watching());
    let (before, limited) = (throttled(&group), group.clone());
    let task = async move {
        computes_for(Duration::from_millis(25));
        // What is found out afterwards takes more than such a quota gives.
        lift(&limited).unwrap();
    };
    let ((), poll) = run(&runtime, &probe, task).unwrap();
    assert_is_quotas(before, &group, &poll);
    let evidence = &poll.evidence;
    assert_eq!(evidence.cause, Some(Cause::Throttled), "{poll:#?}");
    let quota = evidence.quota.as_deref().unwrap();
    assert_eq!((quota.cpus(), quota.period), (0.05, Duration::from_millis(100)));
    assert!(quota.throttled_periods > 0 && quota.throttled_periods <= quota.periods, "{quota:?}");
    // The watchdog has the same quota: where it looked too late to tell how long the thread waited, that is not told.
    if let Some(run_delay) = evidence.run_delay {
        assert!(quota.throttled >= run_delay / 2, "{evidence:#?}");
    }
    let said = evidence.sentence(poll.duration).unwrap();
    // The watchdog shares the quota: where it saw no place for that, it says why.
    let is_placed = said.starts_with("throttled by its CPU quota of 0.05 CPUs at ");
    assert!(said.starts_with("throttled by its CPU quota of 0.05 CPUs"), "{said}");
    assert!(is_placed || evidence.missing.is_some(), "{poll:#?}");
}

#[test]
fn a_quota_that_is_not_used_up_is_told_and_is_not_the_cause() {
    let test = "a_quota_that_is_not_used_up_is_told_and_is_not_the_cause";
    let Some(_) = in_group(test, Duration::from_millis(6_400)) else { return };
    let (runtime, probe) = current_thread(watching());
    let ((), poll) = run(&runtime, &probe, async { computes_for(Duration::from_millis(50)) }).unwrap();
    match poll.evidence.cause {
        Some(Cause::Cpu | Cause::Preempted) => {}
        // Where others took about half of it, neither was most of it for sure.
        None => assert!(
            [poll.evidence.cpu_time, poll.evidence.run_delay].iter().flatten().all(|time| *time <= poll.duration / 2)
        ),
        Some(_) => panic!("{poll:#?}"),
    }
    let Quota { allowed, throttled_periods, throttled, .. } = *poll.evidence.quota.unwrap();
    assert_eq!((allowed, throttled_periods, throttled), (Duration::from_millis(6_400), 0, Duration::ZERO));
}
