//! Running the program as a user does.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything here takes, so that a hang becomes a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The program, in a neutral environment.
pub(crate) fn pollscope() -> Command {
    neutral(Command::new(env!("CARGO_BIN_EXE_pollscope")))
}

/// A shell command in which `"$POLLSCOPE_BIN"` is the program.
pub(crate) fn shell(script: &str) -> Command {
    let mut command = neutral(Command::new("sh"));
    command.args(["-c", script]).env("POLLSCOPE_BIN", env!("CARGO_BIN_EXE_pollscope"));
    command
}

fn neutral(mut command: Command) -> Command {
    for name in [
        "NO_COLOR",
        "CLICOLOR_FORCE",
        "COLUMNS",
        "RUST_LOG",
        "POLLSCOPE",
        "POLLSCOPE_LISTEN",
        "POLLSCOPE_LABEL",
        "POLLSCOPE_RECORD",
        "POLLSCOPE_SLOW_POLL",
        "LC_ALL",
    ] {
        command.env_remove(name);
    }
    command.env("LANG", "C.UTF-8").env("TERM", "xterm-256color").stdin(Stdio::null());
    command.env("XDG_STATE_HOME", state());
    command
}

/// Where runs are kept, for as long as the tests run: not among the user's own.
fn state() -> &'static Path {
    static STATE: OnceLock<TempDir> = OnceLock::new();
    STATE.get_or_init(|| tempfile::tempdir().expect("a folder")).path()
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What a program wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command to its end, with both outputs captured unless they were set otherwise.
pub(crate) fn run(command: &mut Command) -> Output {
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
}

/// Waits for a program, but not forever.
pub(crate) fn finish(child: Child) -> Output {
    let pid = pid(&child);
    let (send, ended) = mpsc::channel();
    thread::spawn(move || send.send(child.wait_with_output()));
    match ended.recv_timeout(DEADLINE) {
        Ok(output) => output.expect("it was waited for"),
        Err(_) => {
            let _ = kill_process(pid, Signal::KILL);
            panic!("it hangs");
        }
    }
}

/// A child's id, for signals.
pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

/// Sends a signal to a child that has not been waited for.
pub(crate) fn send(child: &Child, signal: Signal) {
    kill_process(pid(child), signal).expect("it runs");
}

/// Whether what this process starts ignores a signal: a shell has what it starts in the background ignore interrupts.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("it is there");
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("a mask");
    let mask = u64::from_str_radix(ignored.trim(), 16).expect("hexadecimal");
    mask >> (signal.as_raw() - 1) & 1 == 1
}

/// Whether a process that is no child can be looked at from outside: Yama may forbid it to all but root.
pub(crate) fn looks_from_outside() -> bool {
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    pollscope_stacks::SUPPORTED
        && (rustix::process::geteuid().is_root() || yama.map_or(true, |level| level.trim() == "0"))
}

/// A system call, by its number on x86-64.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Call {
    Write = 1,
    OpenAt = 257,
}

/// The program as it runs, with what it says on stderr so far: a test that sends it a signal waits until it is where the signal is to
/// find it, however long that takes.
pub(crate) struct Running {
    child: Child,
    said: tempfile::NamedTempFile,
}

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Running {
        let said = tempfile::NamedTempFile::new().expect("a file");
        command.stdout(Stdio::piped()).stderr(said.reopen().expect("it opens"));
        Running { child: command.spawn().expect("it starts"), said }
    }

    pub(crate) fn send(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Likewise, of these lines in this order, whatever is between them.
    pub(crate) fn wait_until_told(&self, lines: &str) {
        let has_all =
            |said: String| lines.lines().try_fold(said.as_str(), |rest, line| Some(rest.split_once(line)?.1)).is_some();
        wait_until(lines, || fs::read_to_string(self.said.path()).is_ok_and(has_all));
    }

    pub(crate) fn wait_until_said(&self, text: &str) {
        wait_until(text, || fs::read_to_string(self.said.path()).is_ok_and(|said| said.contains(text)));
    }

    /// A file of each of its threads.
    fn of_threads(&self, file: &str) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join(file)).ok()).collect()
    }

    pub(crate) fn wait_for_thread(&self, name: &str) {
        wait_until(name, || self.of_threads("comm").iter().any(|thread| thread.trim_end() == name));
    }

    /// Waits until a thread stays in that call.
    pub(crate) fn wait_until_blocked_in(&self, call: Call) {
        if !cfg!(target_arch = "x86_64") {
            return thread::sleep(Duration::from_secs(2));
        }
        let number = format!("{} ", call as u32);
        let within = || self.of_threads("syscall").into_iter().filter(|state| state.starts_with(&number));
        wait_until("a call that blocks", || {
            let before: Vec<String> = within().collect();
            // One that ends is over by then, or another one.
            thread::sleep(Duration::from_millis(100));
            within().any(|state| before.contains(&state))
        });
    }

    pub(crate) fn finish(self) -> Output {
        let output = finish(self.child);
        Output { stderr: fs::read(self.said.path()).expect("it is there"), ..output }
    }
}

/// Waits until something is true.
pub(crate) fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < DEADLINE, "waited too long for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An empty folder for one test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Folder {
        Folder(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("written");
        path
    }

    pub(crate) fn read(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.path(name)).expect("it is there")
    }

    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("a FIFO");
        path
    }

    /// The program with these arguments, in this folder.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = pollscope();
        command.args(args).current_dir(self.0.path());
        command
    }

    /// Runs a line of arguments, split at blanks, in this folder.
    pub(crate) fn run(&self, line: &str) -> Output {
        run(&mut self.command(line.split_whitespace()))
    }

    /// Runs a shell's script in this folder.
    pub(crate) fn shell(&self, script: &str) -> Output {
        run(shell(script).current_dir(self.0.path()))
    }

    /// What is in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("it can be listed");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// That a program ended as documented, and said so: with this code, with each of these on stderr, without a panic.
#[track_caller]
pub(crate) fn assert_ends(output: &Output, code: i32, says: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{}\n{said}", output.status);
    for text in says {
        assert!(said.contains(text), "no `{text}` in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert!(!said.contains('\u{1b}'), "an escape sequence got through: {said:?}");
}

/// One at a time: what is expected of a loop, or of what is seen of it, holds for one that only its own work blocks.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads from a terminal on until a text was read; an empty one never is.
pub(crate) fn read_until(terminal: &mut impl Read, shown: &mut String, text: &str) {
    let mut bytes = [0; 4096];
    while text.is_empty() || !shown.contains(text) {
        match terminal.read(&mut bytes) {
            // Linux ends it with an error.
            Ok(0) | Err(_) => break,
            Ok(length) => shown.push_str(&String::from_utf8_lossy(&bytes[..length])),
        }
    }
}
