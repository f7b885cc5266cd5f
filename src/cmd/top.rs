//! `pollscope top`: a service that listens, as it runs; any other process, from outside; or a program that is started for it.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use pollscope_attach::Target;
use pollscope_stacks::process::Process;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::{NamedTempFile, TempDir};

use super::output::Terminal;
use super::program::words_of;
use super::{CmdError, attached};
use crate::args::{Recorded, TopRequest};
use crate::escape::escape_path;
use crate::exit::Exit;
use crate::service::{NoFeed, Service};
use crate::stderr::say;
use crate::top::{Done, How, Listener, Outside, Source, run};
use crate::units::setting_duration;

/// How long a program may take to end when nobody looks at it any more.
const GRACE: Duration = Duration::from_secs(5);
/// The rows of a printed frame.
const ROWS: usize = 40;

pub(super) fn execute(request: &TopRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    match &request.of {
        Recorded::Process(pid) => process(*pid, request, terminal),
        Recorded::Program(words) => {
            let mut program = Program::start(words, request.slow)?;
            let output = program.output.path().to_string_lossy().into_owned();
            let source = Source::Listens(Listener::Folder(program.folder.path().to_owned()));
            let done = run(source, how(request, terminal, Some(output)), || program.ended().map(Some));
            program.end(done.map_err(CmdError::Screen)?, terminal)
        }
    }
}

/// One that runs already: what its probe tells, or what is seen of it.
fn process(pid: u32, request: &TopRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let service = Arc::new(Service::find(pid).map_err(CmdError::NoFeed)?);
    let listens = || service.sockets().map(|sockets| !sockets.is_empty()).map_err(CmdError::NoFeed);
    let is_gone = Arc::clone(&service);
    let is_gone = || is_gone.is_gone().then_some(None);
    if request.outside.always || !listens()? {
        let target = Target::open(pid, &request.outside.symbols).map_err(CmdError::Obstacle)?;
        let up_ns = up_ns(&target.process());
        let (attached, head) = attached::begin(target, (request.slow, None), &request.outside, terminal)?;
        let source = Source::Outside(Box::new(Outside::new(head, attached, up_ns)));
        return Ok(run(source, how(request, terminal, None), is_gone).map_err(CmdError::Screen)?.exit);
    }
    if request.slow.is_some() {
        return Err(CmdError::SlowOfItsOwn { pid });
    }
    let source = Source::Listens(Listener::Process(Arc::clone(&service)));
    let done = run(source, how(request, terminal, None), is_gone).map_err(CmdError::Screen)?;
    match done.trouble {
        Some(why) if !done.has_begun => Err(CmdError::NoFeed(NoFeed::Refused { pid, why })),
        _ if !done.has_begun && done.exit == Exit::Pass && request.once => Err(CmdError::NothingTold { pid }),
        _ => Ok(done.exit),
    }
}

/// How long a process runs already, in nanoseconds; `None` where the machine does not tell.
fn up_ns(process: &Process) -> Option<u64> {
    /// In which the kernel tells programs of times, on every architecture that there is.
    const TICKS_PER_S: f64 = 100.0;
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let up_s: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let lasted_s = up_s - process.start_ticks()? as f64 / TICKS_PER_S;
    (lasted_s > 0.0).then_some((lasted_s * 1e9) as u64)
}

fn how(request: &TopRequest, terminal: &Terminal, output: Option<String>) -> How {
    let style = terminal.style();
    let on_screen = !request.once && io::stdout().is_terminal();
    How { on_screen, once: request.once, color: style.color, size: (style.width, ROWS), output }
}

/// A program that is looked at. It has no part of the terminal: what it prints goes to a file.
struct Program {
    child: Child,
    name: String,
    folder: TempDir,
    output: NamedTempFile,
    /// How it ended, once it has.
    how: Option<String>,
}

impl Program {
    fn start(words: &[OsString], slow: Option<Duration>) -> Result<Program, CmdError> {
        let word = words.first().map_or(OsStr::new(""), |word| word.as_os_str());
        let temporary =
            |error: io::Error| CmdError::CannotRecord { path: std::env::temp_dir(), error: error.kind().into() };
        // Closed to others, or no probe listens there.
        let closed = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("pollscope-").permissions(closed).tempdir().map_err(temporary)?;
        let output = tempfile::Builder::new().prefix("pollscope-top-").suffix(".log").tempfile().map_err(temporary)?;
        // Both append: one does not write over the other.
        let append = || std::fs::OpenOptions::new().append(true).open(output.path());
        let (stdout, stderr) = (append().map_err(temporary)?, append().map_err(temporary)?);
        let mut command = Command::new(word);
        command.args(words.iter().skip(1)).env("POLLSCOPE", "1").env("POLLSCOPE_LISTEN", folder.path());
        if let Some(slow) = slow {
            command.env("POLLSCOPE_SLOW_POLL", setting_duration(slow));
        }
        // In a group of its own, with all that it starts.
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        let child = command.spawn().map_err(|error| CmdError::Start { program: word.to_owned(), error })?;
        Ok(Program { child, name: escape_path(Path::new(word)), folder, output, how: None })
    }

    /// How it ended, if it has.
    fn ended(&mut self) -> Option<String> {
        if self.how.is_none() {
            self.how = self.child.try_wait().ok().flatten().map(words_of);
        }
        self.how.clone()
    }

    /// Nobody looks at it any more: it is asked to end, and killed if it does not.
    fn end(mut self, done: Done, terminal: &Terminal) -> Result<Exit, CmdError> {
        let was_over = self.ended();
        let until = Instant::now() + GRACE;
        if was_over.is_none() {
            self.send(Signal::TERM);
        }
        while self.ended().is_none() {
            if Instant::now() >= until {
                say(format!("killing `{}`: it did not end within {} of SIGTERM", self.name, setting_duration(GRACE)));
                self.send(Signal::KILL);
                let _ = self.child.wait();
            }
            thread::sleep(Duration::from_millis(20));
        }
        let is_empty = self.output.as_file().metadata().is_ok_and(|file| file.len() == 0);
        if !is_empty
            && let Ok((_, path)) = self.output.keep()
            && !terminal.quiet
        {
            say(format!("note: what `{}` printed is in `{}`", self.name, escape_path(&path)));
        }
        match was_over {
            Some(how) if !done.has_begun => {
                Err(CmdError::NothingRecorded { program: self.name, how, besides: String::new() })
            }
            _ => Ok(done.exit),
        }
    }

    /// Sends a signal to it and what it started. It was not waited for yet: its number is no other process's.
    fn send(&self, signal: Signal) {
        let _ = kill_process_group(Pid::from_child(&self.child), signal);
    }
}
