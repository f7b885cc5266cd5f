//! Processes that may have no perf events: each in a process of its own, as what forbids them stays.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use pollscope_stacks::perf::{Breakpoint, CpuSampler, Hindrance, PerfError};
use pollscope_stacks::process::Process;
use pollscope_stacks::seccomp;
use pollscope_stacks::thread::{ThreadRef, current_tid};

/// Runs one of those below, and says what it skipped.
fn run(role: &str) {
    let role = format!("perf::forbidden::{role}");
    let output = Command::new(std::env::current_exe().unwrap())
        .args([role.as_str(), "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
    said.lines().filter(|line| line.contains("SKIP")).for_each(|line| eprintln!("{line}"));
}

fn this_thread() -> ThreadRef {
    Process::current().thread(current_tid())
}

/// Why neither can be had.
fn hindrances(thread: &ThreadRef) -> [Hindrance; 2] {
    let why = |error: PerfError| {
        let text = error.to_string();
        assert!(text.contains(&format!("thread `{}`: ", thread.tid)), "{text}");
        error.why
    };
    let sampler = CpuSampler::open(thread, Duration::from_millis(1)).map_err(why);
    let breakpoint = Breakpoint::open(thread, hindrances as *const () as u64).map_err(why);
    [sampler.unwrap_err(), breakpoint.unwrap_err()]
}

/// Has the kernel answer `perf_event_open` with this action, for good; whether it may be done.
fn filter(action: u32) -> bool {
    let [load, jump, end] = [libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_RET];
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        step(load, 0, 0, 0),
        step(jump, 0, 1, libc::SYS_perf_event_open as u32),
        step(end, 0, 0, action),
        step(end, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: it takes numbers, and the kernel reads a program that is there.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if result != 0 {
        eprintln!("SKIP: no filter can be set: {}", io::Error::last_os_error());
    }
    result == 0
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn under_a_filter_that_refuses() {
    if filter(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32) {
        seccomp::permit();
        assert_eq!(hindrances(&this_thread()), [Hindrance::Filtered; 2]);
    }
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn under_a_filter_that_hides() {
    if filter(libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32) {
        seccomp::permit();
        assert_eq!(hindrances(&this_thread()), [Hindrance::NoPerf; 2]);
    }
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn under_a_filter_that_kills() {
    if filter(libc::SECCOMP_RET_KILL_PROCESS) {
        assert_eq!(hindrances(&this_thread()), [Hindrance::Filtered; 2]);
    }
}

#[test]
#[ignore = "what a child process of the other tests does"]
fn without_a_file_left() {
    let thread = this_thread();
    let is_forbidden = |error: PerfError| !matches!(error.why, Hindrance::NoDescriptor);
    if let Err(error) = CpuSampler::open(&thread, Duration::from_millis(1))
        && is_forbidden(error)
    {
        return eprintln!("SKIP: {error}");
    }
    let limit = libc::rlimit { rlim_cur: 30, rlim_max: 30 };
    // SAFETY: the kernel reads `limit`.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
    let files: Vec<File> = std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok).collect();
    assert!(!files.is_empty());
    let none_left = hindrances(&thread);
    drop(files);
    assert_eq!(none_left, [Hindrance::NoDescriptor; 2]);
}

#[test]
fn a_process_of_another_user_is_not_looked_at() {
    // SAFETY: takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    let is_others = std::fs::metadata("/proc/1").is_ok_and(|first| first.uid() != own);
    let Ok(first) = Process::open(1) else { return eprintln!("SKIP: `/proc` hides the first process") };
    if own == 0 || !is_others {
        return eprintln!("SKIP: this user may look at the first process");
    }
    for why in hindrances(&first.thread(1)) {
        let is_said = matches!(
            why,
            Hindrance::Denied
                | Hindrance::Paranoid(_)
                | Hindrance::Filtered
                | Hindrance::NoPerf
                | Hindrance::NoBreakpoints
                | Hindrance::BreakpointsTaken
        );
        assert!(is_said, "{why:?}");
    }
}

#[test]
fn a_filter_that_refuses_is_told() {
    run("under_a_filter_that_refuses");
}

#[test]
fn a_filter_that_hides_them_is_told() {
    run("under_a_filter_that_hides");
}

#[test]
fn nothing_is_asked_for_that_a_filter_may_kill_for() {
    run("under_a_filter_that_kills");
}

#[test]
fn that_no_file_is_left_is_told() {
    run("without_a_file_left");
}
