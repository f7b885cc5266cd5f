//! A program that is recorded: it has what this one was given (stdin, stdout, stderr, the terminal, signals), and the probe's variables.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use pollscope_record::message::Message;
use rustix::process::{Pid, Signal, kill_process};

use super::CmdError;
use super::output::Terminal;
use super::passed::{self, Coming, Passed};
use super::targets::is_stdout;
use crate::args::{Outputs, RecordRequest};
use crate::escape::escape_path;
use crate::exit::Exit;
use crate::recording::Ended as RunEnded;
use crate::redact::HIDDEN;
use crate::report::Format;
use crate::stderr::say;
use crate::units::setting_duration;

/// So many signals to end are passed on; the next one kills.
const PATIENCE: u32 = 2;

/// The program while it runs.
pub(super) struct Program {
    child: Child,
    name: String,
    lasts: Option<Duration>,
    grace: Duration,
    quiet: bool,
    coming: Coming,
    began: Instant,
    /// The signals that were to end it.
    asked: Vec<Signal>,
    /// How many of them came from outside.
    ends: u32,
    /// Whether its time was over.
    is_over: bool,
}

impl Program {
    /// Starts it; it records to `to`.
    pub(super) fn start(
        words: &[OsString],
        request: &RecordRequest,
        to: &Path,
        terminal: &Terminal,
    ) -> Result<Program, CmdError> {
        let word = words.first().map_or(OsStr::new(""), |word| word.as_os_str());
        // From now on, no signal ends this program while that one runs.
        let coming = passed::listen().map_err(CmdError::Signals)?;
        let mut command = Command::new(word);
        command.args(words.iter().skip(1));
        if !request.outside.always {
            tell_probe(&mut command, request, to);
        }
        if takes_stdout(&request.outputs)
            && let Ok(stderr) = io::stderr().as_fd().try_clone_to_owned()
        {
            command.stdout(stderr);
        }
        let child = command.spawn().map_err(|error| CmdError::Start { program: word.to_owned(), error })?;
        Ok(Program {
            child,
            name: if request.outputs.redact { HIDDEN.to_owned() } else { escape_path(Path::new(word)) },
            lasts: request.lasts,
            grace: request.grace,
            quiet: terminal.quiet,
            coming,
            began: Instant::now(),
            asked: Vec::new(),
            ends: 0,
            is_over: false,
        })
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it was started by.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Waits for its end; passes on what signals come, and ends it when its time is over.
    pub(super) fn wait(&mut self) -> Result<Ended, CmdError> {
        let mut until = self.lasts.map(|lasts| self.began + lasts);
        loop {
            if let Some(status) = self.child.try_wait().map_err(CmdError::Wait)? {
                self.coming.program_is_gone();
                return Ok(self.ended(status));
            }
            match next(self.coming.signals(), until) {
                Ok(passed) => self.take(passed),
                Err(RecvTimeoutError::Timeout) => until = self.time_is_over(),
                // The thread that takes signals never ends.
                Err(RecvTimeoutError::Disconnected) => return Err(CmdError::Wait(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        let by = status.signal().and_then(Signal::from_named_raw);
        Ended {
            pid: u64::from(self.child.id()),
            status,
            is_asked: by.is_some_and(|by| self.asked.contains(&by)),
            is_over: self.is_over && by == Some(Signal::TERM),
        }
    }

    /// A signal came.
    fn take(&mut self, Passed { signal, is_theirs_too }: Passed) {
        if signal == Signal::CHILD {
            return;
        }
        if passed::ENDS.contains(&signal) {
            self.ends += 1;
            self.asked.push(signal);
            if self.ends > PATIENCE {
                say(format!("killing `{}`: it did not end after {PATIENCE} signals", self.name));
                self.asked.push(Signal::KILL);
                return self.send(Signal::KILL);
            }
            if self.ends == 1 && !self.quiet {
                say(format!("stopping: waiting until `{}` ends (the third Ctrl-C kills it)", self.name));
            }
        }
        if !is_theirs_too {
            self.send(signal);
        }
    }

    /// Asks it to end, and the second time kills it; when it is time for that.
    fn time_is_over(&mut self) -> Option<Instant> {
        if self.is_over {
            say(format!(
                "killing `{}`: it did not end within {} of SIGTERM (`--grace` gives it longer)",
                self.name,
                setting_duration(self.grace)
            ));
            self.asked.push(Signal::KILL);
            self.send(Signal::KILL);
            return None;
        }
        if !self.quiet {
            say(format!("stopping: the time of `{}` is over, it gets SIGTERM", self.name));
        }
        self.is_over = true;
        self.asked.push(Signal::TERM);
        self.send(Signal::TERM);
        Some(Instant::now() + self.grace)
    }

    /// Sends a signal. It was not waited for yet: its number is no other process's.
    fn send(&self, signal: Signal) {
        // One that ended meanwhile, or became another user, takes none.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

/// Tells the probe of a program, if it has one, to record it.
fn tell_probe(command: &mut Command, request: &RecordRequest, to: &Path) {
    command.env("POLLSCOPE", "1").env("POLLSCOPE_RECORD", to);
    if let Some(slow) = request.slow {
        command.env("POLLSCOPE_SLOW_POLL", setting_duration(slow));
    }
    if let Some(label) = &request.label {
        command.env("POLLSCOPE_LABEL", label);
    }
}

/// The next signal, or that it is time.
fn next(signals: &Receiver<Passed>, until: Option<Instant>) -> Result<Passed, RecvTimeoutError> {
    match until {
        Some(until) => signals.recv_timeout(until.saturating_duration_since(Instant::now())),
        None => signals.recv().map_err(|_| RecvTimeoutError::Disconnected),
    }
}

/// Whether what goes to stdout is a file for a program: nobody else may write into it.
fn takes_stdout(outputs: &Outputs) -> bool {
    let is_there = |path: &Path| path == Path::new("-") || is_stdout(path);
    outputs.stdout.is_some_and(|format| format != Format::Text) || outputs.paths().any(is_there)
}

/// How a program ended.
pub(super) struct Ended {
    pid: u64,
    status: ExitStatus,
    /// Whether by a signal that was meant to end it.
    is_asked: bool,
    /// Whether as `--for` wants it.
    is_over: bool,
}

impl Ended {
    pub(super) fn pid(&self) -> u64 {
        self.pid
    }

    /// As a sentence goes on: `ended with exit code 3`.
    pub(super) fn words(&self) -> String {
        words_of(self.status)
    }

    /// By which signal.
    fn by(&self) -> Option<String> {
        killed_by(self.status)
    }

    /// How it was cut short: by a signal that nobody sent to end the recording.
    pub(super) fn cut_short(&self) -> Option<String> {
        self.by().filter(|_| !self.is_asked).map(|by| format!("killed by {by}"))
    }

    /// What that comes to for a recording that breaks off. One whose program ended by itself, or when it was asked to, is all that
    /// there was to record, but for what the probe counted in its last second.
    pub(super) fn told(&self) -> (RunEnded, Option<Message>) {
        match self.cut_short() {
            Some(why) => (RunEnded::Gone, Some(Message::text(why))),
            None => (RunEnded::Done, None),
        }
    }

    /// How this program ends if it has nothing else to say.
    pub(super) fn exit(&self) -> Exit {
        // A shell's: a code has eight bits.
        let program = |code: i32| u8::try_from(code).map_or(Exit::Error, Exit::Program);
        match (self.status.code(), self.status.signal()) {
            (Some(0), _) => Exit::Pass,
            _ if self.is_over => Exit::Pass,
            (Some(code), _) => program(code),
            (None, Some(signal)) => program(128 + signal),
            (None, None) => Exit::Error,
        }
    }
}

/// How a program ended, as a sentence goes on: `ended with exit code 3`.
pub(super) fn words_of(status: ExitStatus) -> String {
    match (status.code(), killed_by(status)) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(by)) => format!("was killed by {by}"),
        (None, None) => "ended".to_owned(),
    }
}

fn killed_by(status: ExitStatus) -> Option<String> {
    let by = status.signal()?;
    Some(signal_hook::low_level::signal_name(by).map_or_else(|| format!("signal {by}"), str::to_owned))
}
