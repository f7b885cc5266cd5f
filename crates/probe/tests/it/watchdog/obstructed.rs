//! What stands in the way of seeing: slow polls keep their exact durations, what is missing is `None`, and one line says why,
//! once. Each runs in a process of its own: this test program again, or a copy, with the one test and a variable that tells it so;
//! one at a time, as other tests need the processors.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pollscope_probe::{CaptureNote, Probe, Snapshot};

use super::alone::{ALONE, is_alone};
use super::*;
use crate::support::{elapsed_ns, ns};

/// A folder that any user can read, with a copy of this program.
struct Copied(PathBuf);

impl Copied {
    fn new(test: &str) -> Copied {
        let folder = std::env::temp_dir().join(format!("pollscope-{}-{}", std::process::id(), test.replace(':', "-")));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let copied = Copied(folder);
        fs::copy(this(), copied.program()).unwrap();
        copied
    }

    fn program(&self) -> PathBuf {
        self.0.join("program")
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs one test in the process that `start` starts.
fn alone(test: &str, mut start: Command) -> Output {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    start.args(["--exact", &format!("watchdog::obstructed::{test}"), "--nocapture"]);
    start.env(ALONE, "1").current_dir("/").output().unwrap()
}

/// This program itself.
fn this() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// That the test succeeded in the other process, with one line that says why something is missing, or, for `None`, without.
fn succeeded(output: &Output, says: Option<&str>) -> Result<(), String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    must(output.status.success(), "it succeeds", &said)?;
    let reasons: Vec<&str> = said.lines().filter(|line| line.starts_with("WARN pollscope: ")).collect();
    match says {
        None => must(reasons.is_empty(), "nothing is in the way", &said),
        Some(says) => must(reasons.len() == 1 && reasons[0].contains(says), says, &said),
    }
}

/// Blocks three polls in the two ways, so that what is said once could have been said more often. They are reported, each with
/// its duration.
fn three_slow_polls(are_seen: bool) -> Snapshot {
    three_slow_polls_of(watching(), are_seen)
}

fn three_slow_polls_of(probe: ProbeBuilder, are_seen: bool) -> Snapshot {
    let (runtime, probe) = current_thread(probe.log_to(std::io::stderr()));
    let mut lasted = Vec::new();
    for computes_too in [false, true, false] {
        let task = async move {
            let start = Instant::now();
            if computes_too {
                computes();
            } else {
                thread::sleep(BLOCK);
            }
            elapsed_ns(start)
        };
        lasted.push(runtime.block_on(async { spawn(&probe, task).await.unwrap() }));
        // One after the other: naming what is seen of one can take longer than the next one lasts.
        if are_seen {
            slow_polls(&probe);
        }
    }
    drop(runtime);
    assert!(probe.flush(LONG));
    let polls = probe.snapshot().slow_polls;
    assert_eq!(polls.len(), 3);
    // Exact: no shorter than what the task measured itself.
    assert!(polls.iter().zip(&lasted).all(|(poll, lasted)| ns(poll.duration) >= *lasted), "{lasted:?} {polls:#?}");
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.slow_polls_total, snapshot.lines.printed), (3, 3));
    snapshot
}

fn nothing_seen(snapshot: &Snapshot) {
    for poll in &snapshot.slow_polls {
        let evidence = &poll.evidence;
        let seen = (&evidence.call, &evidence.blocking_line, &evidence.function, evidence.stack_complete);
        assert_eq!(seen, (&None, &None, &None, None));
        assert!(evidence.stack.is_empty());
    }
}

/// Its files in /proc are root's: another user may not read what its own threads do.
#[test]
fn a_process_that_is_not_dumpable() {
    if is_alone() {
        // SAFETY: it sets a flag of this process and takes no pointer.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) }, 0);
        let snapshot = three_slow_polls(false);
        nothing_seen(&snapshot);
        assert_eq!(snapshot.capture_notes, [CaptureNote::ThreadUnreadable(std::io::ErrorKind::PermissionDenied)]);
        return;
    }
    eventually(|| {
        let copied = Copied::new("dumpable");
        let mut start = Command::new(copied.program());
        if is_root() {
            start.uid(65_534).gid(65_534);
        }
        succeeded(&alone("a_process_that_is_not_dumpable", start), Some("permission denied"))
    });
}

#[test]
fn no_proc() {
    if is_alone() {
        assert!(!Path::new("/proc/self").exists());
        let snapshot = three_slow_polls(false);
        nothing_seen(&snapshot);
        assert!(snapshot.slow_polls.iter().all(|poll| poll.evidence.cpu_time.is_none()));
        assert_eq!(snapshot.capture_notes, [CaptureNote::ThreadUnreadable(std::io::ErrorKind::NotFound)]);
        return;
    }
    let private = || {
        let mut start = Command::new("unshare");
        start.arg(if is_root() { "-m" } else { "-rm" });
        start.args(["sh", "-c", r#"mount -t tmpfs none /proc && exec "$0" "$@""#]);
        start
    };
    if !private().arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("SKIP: `/proc` cannot be covered here, which takes `unshare` and the right to mount");
        return;
    }
    eventually(|| {
        let mut start = private();
        start.arg(this());
        succeeded(&alone("no_proc", start), Some("mount `/proc`"))
    });
}

/// The stack is whole, but has no lines; without debug information it has functions, and without symbols nothing.
fn without(option: &str, test: &str, says: &str) {
    eventually(|| {
        let copied = Copied::new(test);
        let strip = Command::new("strip").arg(option).arg(copied.program()).output();
        if !strip.is_ok_and(|output| output.status.success()) {
            println!("SKIP: there is no `strip`");
            return Ok(());
        }
        succeeded(&alone(test, Command::new(copied.program())), Some(says))
    });
}

fn stack_without_lines(expected: CaptureNote, functions: bool) {
    let snapshot = three_slow_polls(true);
    for poll in &snapshot.slow_polls {
        let evidence = &poll.evidence;
        assert_eq!((evidence.stack_complete, &evidence.blocking_line), (Some(true), &None), "{evidence:#?}");
        assert!(!evidence.stack.is_empty() && evidence.cause.is_some(), "{evidence:#?}");
        let named = evidence
            .stack
            .iter()
            .any(|frame| frame.function.as_deref().is_some_and(|function| function.contains("watchdog::obstructed")));
        assert_eq!(named, functions, "{evidence:#?}");
        let sentence = evidence.sentence(poll.duration).unwrap();
        assert_eq!(sentence.contains(" in it::"), functions, "{sentence}");
    }
    assert_eq!(snapshot.capture_notes, [expected]);
}

#[test]
fn a_stripped_program() {
    if is_alone() {
        return stack_without_lines(CaptureNote::Stripped, false);
    }
    without("--strip-all", "a_stripped_program", "`strip = false`");
}

#[test]
fn a_program_with_symbols_only() {
    if is_alone() {
        return stack_without_lines(CaptureNote::SymbolsOnly, true);
    }
    without("--strip-debug", "a_program_with_symbols_only", r#"`debug = "line-tables-only"`"#);
}

/// Removed, and another one put in its place, before anything of it was read: what runs is still there, and is what is read.
#[test]
fn a_program_that_was_replaced() {
    if is_alone() {
        let program = std::env::current_exe().unwrap();
        fs::remove_file(&program).unwrap();
        fs::copy("/bin/sh", &program).unwrap();
        let snapshot = three_slow_polls(true);
        for poll in &snapshot.slow_polls {
            let line = poll.evidence.blocking_line.as_deref();
            assert!(line.is_some_and(|line| line.starts_with("tests/it/watchdog")), "{poll:#?}");
        }
        assert_eq!(snapshot.capture_notes, []);
        return;
    }
    eventually(|| {
        let copied = Copied::new("replaced");
        succeeded(&alone("a_program_that_was_replaced", Command::new(copied.program())), None)
    });
}

/// Somebody took all real-time signals: threads that compute cannot be asked; blocked ones are seen all the same.
#[test]
fn no_signal_is_free() {
    extern "C" fn theirs(_: libc::c_int) {}
    if is_alone() {
        for signal in libc::SIGRTMIN()..=libc::SIGRTMAX() {
            // SAFETY: the handler does nothing, which it may at any time.
            let before = unsafe { libc::signal(signal, theirs as *const () as libc::sighandler_t) };
            assert_ne!(before, libc::SIG_ERR);
        }
        let snapshot = three_slow_polls(true);
        let lines: Vec<bool> = snapshot.slow_polls.iter().map(|poll| poll.evidence.blocking_line.is_some()).collect();
        assert_eq!(lines, [true, false, true]);
        assert_eq!(snapshot.slow_polls[1].evidence.stack_complete, None);
        assert!(
            matches!(&snapshot.capture_notes[..], [CaptureNote::SignalUnusable(_)]),
            "{:?}",
            snapshot.capture_notes
        );
        return;
    }
    eventually(|| {
        let output = alone("no_signal_is_free", Command::new(this()));
        succeeded(&output, Some("every real-time signal is in use"))
    });
}

/// All descriptors are in use; what is freed later is used again.
#[test]
fn no_descriptor_is_left() {
    if is_alone() {
        let (runtime, probe) = current_thread(watching().log_to(std::io::stderr()));
        let all = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
        // SAFETY: the kernel reads `all`.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const all) }, 0);
        let taken: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/").ok()).collect();
        assert!(!taken.is_empty());
        runtime.block_on(async { spawn(&probe, async { block(90) }).await.unwrap() });
        assert!(probe.flush(LONG));
        let snapshot = probe.snapshot();
        nothing_seen(&snapshot);
        assert_eq!(snapshot.capture_notes, [CaptureNote::NoDescriptor]);
        drop(taken);
        runtime.block_on(async { spawn(&probe, async { block(90) }).await.unwrap() });
        let start = Instant::now();
        // A watchdog that came too late ends this attempt.
        while probe.snapshot().slow_polls[1].evidence.captures == 0 {
            assert!(start.elapsed() < LONG && probe.snapshot().slow_polls[1].evidence.missing.is_none());
            thread::sleep(Duration::from_millis(5));
        }
        let seen = &probe.snapshot().slow_polls[1].evidence;
        assert!(seen.blocking_line.is_some() && seen.stack_complete == Some(true), "{seen:#?}");
        return;
    }
    eventually(|| succeeded(&alone("no_descriptor_is_left", Command::new(this())), Some("`ulimit -n`")));
}

/// As some containers have it: the call that copies memory is forbidden, and so is the file that would do instead.
#[test]
fn memory_that_cannot_be_read() {
    if is_alone() {
        forbid([libc::SYS_process_vm_readv, libc::SYS_pread64]);
        // The filter refuses with an error, which the host says: so all calls are tried.
        let snapshot = three_slow_polls_of(watching().permitted_by_seccomp(true), true);
        for poll in [&snapshot.slow_polls[0], &snapshot.slow_polls[2]] {
            assert!(is(poll, Cause::BlockingCall, Some("clock_nanosleep")), "{poll:#?}");
            let evidence = &poll.evidence;
            assert_eq!((evidence.stack_complete, &evidence.blocking_line), (Some(false), &None), "{evidence:#?}");
        }
        assert_eq!(snapshot.slow_polls[1].evidence.blocking_line, None);
        assert_eq!(snapshot.capture_notes, [CaptureNote::MemoryUnreadable]);
        return;
    }
    eventually(|| succeeded(&alone("memory_that_cannot_be_read", Command::new(this())), Some("`process_vm_readv`")));
}

/// From now on these calls fail with EPERM, in this thread and in those that it starts.
fn forbid(calls: [libc::c_long; 2]) {
    let step = |code: u32, k: u32, jt, jf| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let number = |call: libc::c_long| u32::try_from(call).unwrap();
    let is = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        // The call's number comes first in what a filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(is, number(calls[0]), 2, 0),
        step(is, number(calls[1]), 1, 0),
        step(answer, libc::SECCOMP_RET_ALLOW, 0, 0),
        step(answer, libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned(), 0, 0),
    ];
    let program = libc::sock_fprog { len: 5, filter: filter.as_mut_ptr() };
    // SAFETY: the first call takes no pointer; the second one reads `program`, of which the length is that of the filter.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// Seen, but without a folder of where it was built or of what it wrote to.
#[test]
fn paths_are_hidden_where_asked() {
    eventually(|| {
        let written = Arc::new(Mutex::new(Vec::new()));
        let probe =
            Probe::builder().slow_poll_threshold(THRESHOLD).redact_paths(true).log_to(Shared(Arc::clone(&written)));
        let (runtime, probe) = current_thread(probe);
        let folder = Copied::new("planted-secret");
        let fifo = folder.0.join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status();
        if !made.is_ok_and(|status| status.success()) {
            println!("SKIP: there is no `mkfifo`");
            return Ok(());
        }
        let reads = fs::File::options().read(true).write(true).open(&fifo).unwrap();
        let mut writes = reads.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut reads = reads;
            thread::sleep(BLOCK);
            reads.read_exact(&mut [0; 64 << 10]).unwrap();
        });
        let task = async move {
            // As much as fits, and a little more.
            writes.write_all(&[7; (64 << 10) + 4]).unwrap();
        };
        let (_, poll) = run(&runtime, &probe, task)?;
        reader.join().unwrap();
        let call = poll.evidence.call.clone();
        let call = call.ok_or_else(|| format!("a call: {poll:#?}"))?;
        must(call.path.as_deref() == Some("<path>") && call.fd.is_some() && call.bytes.is_some(), "the call", &poll)?;
        let at = poll.evidence.blocking_line.clone().unwrap_or_default();
        must(at.starts_with("<path>/obstructed.rs:"), "the line", &poll)?;
        drop(probe);
        let lines = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        must(lines.contains("\"<path>\", ") && lines.contains(&at), "lines", &lines)?;
        let all = format!("{lines} {:?}", poll.evidence);
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_str().unwrap();
        must(!all.contains("planted-secret") && !all.contains(workspace), "nothing of a folder", &all)
    });
}

/// What a child is told, what the environment holds and what is written are nobody's business: only names are told.
#[test]
fn nothing_of_arguments_environment_or_buffers_is_seen() {
    const SECRET: &str = "hunter2-correct-horse";
    let written = Arc::new(Mutex::new(Vec::new()));
    let probe = watching().log_to(Shared(Arc::clone(&written)));
    let (runtime, probe) = current_thread(probe);
    runtime.block_on(async {
        let starts = async {
            let mut child = Command::new("sh");
            let ended = child.args(["-c", "sleep 0.09", SECRET]).env("API_TOKEN", SECRET).status();
            assert!(ended.unwrap().success());
        };
        let writes = async {
            let (mut reader, mut writer) = std::io::pipe().unwrap();
            let reader = thread::spawn(move || {
                thread::sleep(BLOCK);
                std::io::copy(&mut reader, &mut std::io::sink()).unwrap();
            });
            writer.write_all(SECRET.repeat(10_000).as_bytes()).unwrap();
            drop(writer);
            reader.join().unwrap();
        };
        spawn(&probe, starts).await.unwrap();
        spawn(&probe, writes).await.unwrap();
    });
    let polls = slow_polls(&probe);
    assert_eq!(polls.len(), 2);
    drop(probe);
    let lines = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert!(lines.lines().count() >= 2, "{lines}");
    let all = format!("{lines} {polls:?}");
    assert!(!all.contains("hunter2"), "{all}");
}

/// A writer that others look at.
struct Shared(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
