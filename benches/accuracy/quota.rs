//! Polls under a CPU quota: in a process of its own, in a control group that is made for it where this machine lets that be.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use pollscope_stacks::quota::limited::{self, LimitedGroup};
use rustix::time::{ClockId, clock_gettime};

use super::cases::{BLOCK, CALL, Case, Load, NONE};
use super::truth::Did;

const GROUP: &str = "POLLSCOPE_ACCURACY_GROUP";
/// The control group that this process is in, if one was made for it.
static JOINED: OnceLock<PathBuf> = OnceLock::new();

pub(crate) const CASES: [Case; 3] = [
    Case { name: "a quota of 0.05 CPUs, computing", off_cpu: NONE, prepare: |_| under(5, || computes(BLOCK / 3)) },
    Case { name: "a quota of 0.2 CPUs, computing", off_cpu: NONE, prepare: |_| under(20, || computes(BLOCK)) },
    Case { name: "a quota of 0.5 CPUs, sleeping", off_cpu: CALL, prepare: |_| under(50, sleep) },
];

/// For how long its quota kept that group off the CPUs, by the group's own count; zero where there is no group.
pub(crate) fn throttled() -> Duration {
    let Some(group) = JOINED.get() else { return Duration::ZERO };
    let stat = fs::read_to_string(group.join("cpu.stat")).expect("the group's counters");
    let of = |key: &str| stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    let ns = of("throttled_time ").map(Duration::from_nanos);
    ns.or_else(|| of("throttled_usec ").map(Duration::from_micros)).expect("a group counts that")
}

/// Runs this benchmark again in such a group, with that argument.
pub(crate) fn run(argument: &str) {
    let group = match LimitedGroup::make(limited::PERIOD) {
        Ok(group) => group,
        Err(error) => return println!("under a quota: not measured, as no control group can be made: {error}"),
    };
    let this = std::env::current_exe().expect("this program has a path");
    let status = Command::new(this).args(["--bench", argument]).env(GROUP, group.folder()).status();
    assert!(status.is_ok_and(|status| status.success()), "the part under a quota failed");
}

/// Joins the group that was made for this process.
pub(crate) fn join() {
    let group = PathBuf::from(std::env::var_os(GROUP).expect("the group"));
    fs::write(group.join("cgroup.procs"), std::process::id().to_string()).expect("it can be joined");
    JOINED.set(group).expect("it is joined once");
}

/// Under a quota in hundredths of a CPU. What is found out afterwards takes more than that gives: it ends with the poll.
fn under(percent: u32, run: fn() -> Did) -> Load {
    let group = JOINED.get().expect("it is joined");
    limited::limit(group, limited::PERIOD * percent / 100).expect("a group's quota can be set");
    Box::new(move || {
        let did = run();
        limited::lift(group).expect("a group's quota can be lifted");
        did
    })
}

fn computes(time: Duration) -> Did {
    let used = || {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).expect("less than a second"))
    };
    let first = line!() - 5;
    let end = used() + time;
    while used() < end {}
    Did::at((first, line!()))
}

fn sleep() -> Did {
    super::cases::at((std::thread::sleep(BLOCK), line!()).1)
}
