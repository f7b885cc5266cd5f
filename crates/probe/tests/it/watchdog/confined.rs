//! A host under a seccomp filter that ends the process for every call that it does not know: it knows those that the README lists, and
//! what the host itself needs. Each runs in a process of its own: this test program again, with the one test and a variable that tells
//! it so.

use pollscope_probe::{CaptureNote, Snapshot};

use super::alone::{is_alone, survives};
use super::*;

/// What this test program calls itself, with Tokio and the standard library, and no probe.
const HOST: &str = "brk clock_nanosleep clone3 close exit exit_group futex getrandom gettid madvise mmap mprotect mremap munmap \
                    poll prctl read rseq rt_sigprocmask sched_getaffinity sched_yield set_robust_list sigaltstack write";

macro_rules! numbers {
    ($($name:ident)*) => {
        /// The number of a call, by the name of its constant.
        fn number(name: &str) -> libc::c_long {
            match name {
                $(stringify!($name) => libc::$name,)*
                _ => panic!("`{name}` is not in the list of names"),
            }
        }
    };
}

numbers! {
    SYS_accept4 SYS_arch_prctl SYS_bind SYS_brk SYS_clock_gettime SYS_clock_nanosleep SYS_clone3 SYS_close SYS_exit SYS_exit_group
    SYS_fcntl SYS_fstat SYS_futex SYS_getcwd SYS_getpid SYS_getrandom SYS_getsockname SYS_gettid SYS_getuid SYS_ioctl SYS_listen
    SYS_lseek SYS_madvise SYS_mmap SYS_mprotect SYS_mremap SYS_munmap SYS_newfstatat SYS_openat SYS_poll SYS_prctl SYS_pread64
    SYS_process_vm_readv SYS_read SYS_readlink SYS_recvfrom SYS_rseq SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn
    SYS_rt_tgsigqueueinfo SYS_sched_getaffinity SYS_sched_getattr SYS_sched_setaffinity SYS_sched_setattr SYS_sched_yield
    SYS_sendto SYS_set_robust_list SYS_setsockopt SYS_shutdown SYS_sigaltstack SYS_socket SYS_statx SYS_write
}

/// The calls that the README lists in the rows of the table that begin so.
fn listed(rows: &[&str]) -> Vec<libc::c_long> {
    let readme = include_str!("../../../README.md");
    let row = |begins: &&str| {
        let begins = format!("| {begins} |");
        let line = readme.lines().find_map(|line| line.strip_prefix(&begins)).expect("the README has the row");
        line.split('`').skip(1).step_by(2).map(|name| number(&format!("SYS_{name}"))).collect::<Vec<_>>()
    };
    rows.iter().flat_map(row).collect()
}

fn host() -> Vec<libc::c_long> {
    HOST.split_ascii_whitespace().map(|name| number(&format!("SYS_{name}"))).collect()
}

/// Ends this process from now on for any other call, of any of its threads.
fn permit_only(calls: &[libc::c_long]) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const ANSWER: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    // The number of the call is the first word that a filter is given.
    let mut steps = vec![step(LOAD, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        steps.push(step(IS, u8::try_from(calls.len() - index).unwrap(), u32::try_from(*call).unwrap()));
    }
    steps.push(step(ANSWER, 0, libc::SECCOMP_RET_KILL_PROCESS));
    steps.push(step(ANSWER, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog { len: u16::try_from(steps.len()).unwrap(), filter: steps.as_mut_ptr() };
    // SAFETY: the kernel only reads the filter, which is as long as it says.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let all = libc::SECCOMP_FILTER_FLAG_TSYNC;
        let set = libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, all, &raw const filter);
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Blocks a poll and computes in another, on both flavours of runtime; the probe is made `before` the filter or after it.
fn blocks_and_computes(probe: ProbeBuilder, is_first: bool, calls: &[libc::c_long]) -> Snapshot {
    if !is_first {
        permit_only(calls);
    }
    let (runtime, probe) = current_thread(probe);
    if is_first {
        run(&runtime, &probe, async { thread::sleep(BLOCK) }).unwrap();
        permit_only(calls);
    }
    runtime.block_on(async { spawn(&probe, async { thread::sleep(BLOCK) }).await.unwrap() });
    runtime.block_on(async { spawn(&probe, async { computes() }).await.unwrap() });
    drop(runtime);
    assert!(probe.flush(LONG));
    let mut snapshot = probe.snapshot();
    let all = snapshot.slow_polls.len();
    snapshot.slow_polls = snapshot.slow_polls.split_off(all - 2);
    snapshot
}

#[test]
fn the_host_alone() {
    if !is_alone() {
        return survives("confined::the_host_alone");
    }
    permit_only(&host());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { tokio::spawn(async { thread::sleep(BLOCK) }).await.unwrap() });
    thread::spawn(|| vec![0_u8; 1 << 20].len()).join().unwrap();
    println!("alive");
}

const WATCHING: [&str; 3] = ["a probe", "lines", "`capture`"];

fn check_unpermitted(is_first: bool) {
    let calls = [host(), listed(&WATCHING)].concat();
    let snapshot = blocks_and_computes(watching().log_to(std::io::stderr()), is_first, &calls);
    let [blocked, computed] = &snapshot.slow_polls[..] else { panic!("{snapshot:#?}") };
    let seen = &blocked.evidence;
    assert_eq!((seen.cause, seen.stack_complete), (Some(Cause::BlockingCall), Some(true)), "{blocked:#?}");
    assert!(seen.blocking_line.as_ref().is_some_and(|line| line.contains("confined.rs")), "{blocked:#?}");
    assert_eq!((computed.evidence.cause, &computed.evidence.blocking_line), (Some(Cause::Cpu), &None), "{computed:#?}");
    assert_eq!(snapshot.capture_notes, [CaptureNote::SignalFiltered]);
}

#[test]
fn a_filter_that_was_there_before() {
    if !is_alone() {
        return survives("confined::a_filter_that_was_there_before");
    }
    check_unpermitted(false);
}

#[test]
fn a_filter_that_comes_later() {
    if !is_alone() {
        return survives("confined::a_filter_that_comes_later");
    }
    check_unpermitted(true);
}

#[test]
fn a_filter_that_lets_all_calls_through() {
    if !is_alone() {
        return survives("confined::a_filter_that_lets_all_calls_through");
    }
    let calls = [host(), listed(&WATCHING), listed(&["`permitted_by_seccomp`"])].concat();
    let snapshot = blocks_and_computes(watching().permitted_by_seccomp(true), false, &calls);
    for poll in &snapshot.slow_polls {
        let line = poll.evidence.blocking_line.as_deref();
        assert!(line.is_some_and(|line| line.starts_with("tests/it/watchdog")), "{poll:#?}");
    }
    assert_eq!(snapshot.capture_notes, []);
}
