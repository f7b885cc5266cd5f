//! Deep stacks, of programs as they are built for use: every frame is compared with what the program itself says.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use pollscope_base::Frame;
use pollscope_stacks::capture::{Capture, Capturer};
use pollscope_stacks::look::{Looker, Namer};
use pollscope_stacks::memory;
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::ThreadRef;
use pollscope_stacks::unwind::{End, LeftOut, Obstacle};

use crate::support::capture_in;

/// Ways to build a program, and the compiler's flags.
const PROFILES: [(&str, &[&str]); 5] = [
    ("units", &["-Copt-level=3", "-Ccodegen-units=16"]),
    ("lto", &["-Copt-level=3", "-Ccodegen-units=1", "-Clto=fat"]),
    ("abort", &["-Copt-level=3", "-Cpanic=abort"]),
    ("size", &["-Copt-level=s", "-Cdebuginfo=1"]),
    ("debug", &["-Copt-level=0", "-Cdebuginfo=1"]),
];

/// The victim, built so.
struct Program(PathBuf);

impl Program {
    fn build((name, flags): (&str, &[&str])) -> Program {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/victims/deep.rs");
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let program = format!("deep-{name}-{}-{number}", std::process::id());
        let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(program);
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let status =
            Command::new(compiler).arg("--edition=2024").args(flags).arg(source).arg("-o").arg(&program).status();
        assert!(status.expect("the compiler").success());
        Program(program)
    }

    /// Runs it until it is about to block.
    fn run(&self, frame: &str, levels: usize, how: &'static str) -> Victim {
        let mut child = Command::new(&self.0)
            .args([frame, &levels.to_string(), how])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut truth = Vec::new();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
        let tid = lines.find_map(|line| match line.strip_prefix("thread: ") {
            Some(tid) => tid.parse().ok(),
            None => {
                truth.push(u64::from_str_radix(&line, 16).unwrap());
                None
            }
        });
        let thread = Process::open(child.id()).unwrap().thread(tid.expect("it tells"));
        let call = match how {
            "sleep" => "clock_nanosleep",
            "condvar" => "futex",
            call => call,
        };
        Victim { child, thread, call, truth }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A thread that blocks in this call, and what it said of its stack. It ends with the test, whatever happens to it.
struct Victim {
    child: Child,
    thread: ThreadRef,
    call: &'static str,
    truth: Vec<u64>,
}

impl Victim {
    fn capture(&self) -> Capture {
        capture_in(&mut Capturer::new(), &self.thread, self.call)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every frame is the one that the program says is there; returns how many of its own were followed.
#[track_caller]
fn check(capture: &Capture, truth: &[u64], what: &str) -> usize {
    let frames: Vec<u64> = capture.stack.frames.iter().map(|frame| frame.raw()).collect();
    assert_eq!(capture.stack.guessed, None, "{what}");
    // Further in than the blocking function's caller are that function itself and those that it called meanwhile.
    let own = frames.iter().position(|address| *address == truth[1]);
    let own = own.unwrap_or_else(|| panic!("{what}: not even the caller: {:x?} {:?}", frames, capture.stack.end));
    assert!((2..16).contains(&own), "{what}: {own}");
    let LeftOut { after, count } = capture.stack.left_out.unwrap_or(LeftOut { after: frames.len(), count: 0 });
    for (index, frame) in frames.iter().enumerate().skip(own) {
        let number = 1 + index - own + if index < after { 0 } else { count };
        assert_eq!(Some(frame), truth.get(number), "{what}: frame {index} of {}", frames.len());
    }
    1 + frames.len() - own + count
}

#[test]
fn up_to_the_depth_that_is_copied_a_stack_is_complete_and_beyond_it_is_right() {
    for profile in PROFILES {
        let program = Program::build(profile);
        for how in ["sleep", "condvar", "read"] {
            // 8 KiB each; a thread has 2 MiB by default, and the main one 8 MiB.
            for levels in [3, 33, 250, 900] {
                let what = format!("{} {how} {levels}", profile.0);
                let victim = program.run("large", levels, how);
                let capture = victim.capture();
                assert_eq!(capture.stack.end, End::Root, "{what}");
                assert_eq!(check(&capture, &victim.truth, &what), victim.truth.len(), "{what}");
            }
            let what = format!("{} {how}, deeper", profile.0);
            let victim = program.run("large", 2_000, how);
            let capture = victim.capture();
            let End::Incomplete { why, .. } = capture.stack.end else { panic!("{what}") };
            assert_eq!(why, Obstacle::NotCopied(memory::MOST), "{what}");
            assert!((900..1_100).contains(&check(&capture, &victim.truth, &what)), "{what}");
        }
    }
}

#[test]
fn of_very_many_frames_both_ends_are_kept_and_the_rest_is_counted() {
    let program = Program::build(PROFILES[0]);
    for levels in [30_000, 100_000] {
        let victim = program.run("small", levels, "sleep");
        let capture = victim.capture();
        assert_eq!(capture.stack.end, End::Root, "{levels}");
        assert_eq!(check(&capture, &victim.truth, "many"), victim.truth.len());
        assert!(victim.truth.len() > levels && capture.stack.frames.len() <= 4096);

        let process = victim.thread.process;
        let look = Looker::new(process).look(&victim.thread, 0).unwrap();
        let named = Namer::new(process, Vec::new(), false).name(&look);
        assert_eq!(named.is_complete, Some(true));
        let functions = named.stack.iter().filter_map(|frame| frame.function.as_deref());
        let left_out: Vec<usize> = functions
            .filter_map(|function| function.strip_prefix("[at least ")?.strip_suffix(" frames left out]")?.parse().ok())
            .collect();
        let [left_out] = left_out[..] else { panic!("{left_out:?}") };
        // What is inlined has no frame of its own in the truth.
        assert!(left_out < victim.truth.len() && left_out + named.stack.len() >= victim.truth.len(), "{left_out}");
        let names =
            |frames: &[Frame]| frames.iter().filter_map(|frame| frame.function.clone()).collect::<Vec<_>>().join("\n");
        assert!(names(&named.stack[..16]).contains("deep::bottom"), "{}", names(&named.stack[..16]));
        assert!(named.blocking_line.is_none() && named.function.is_some_and(|name| name.contains("deep::")));
    }
    let victim = program.run("small", 500_000, "condvar");
    let capture = victim.capture();
    let End::Incomplete { why, .. } = capture.stack.end else { panic!("{:?}", capture.stack.left_out) };
    assert!(matches!(why, Obstacle::TooManyFrames(_) | Obstacle::NotCopied(_)), "{why}");
    assert!(check(&capture, &victim.truth, "very many") > 100_000);
    assert!(capture.stack.frames.len() <= 4096);
}
