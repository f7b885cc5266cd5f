//! A program that is started here and has no probe that tells is looked at from outside: from when Tokio is found in it, until it ends.
//!
//! It may begin as another program, such as a shell that ends in `exec`: that is waited for. If a probe of its tells after all, what was
//! seen from outside is given up: the recording is one.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_attach::{Obstacle, Stop, Target, has_probe};
use pollscope_record::feed::Update;
use pollscope_record::growing::{Fed, follow};

use super::CmdError;
use super::attached::{LAST_LINES, begin, written};
use super::output::Terminal;
use crate::args::{Outside, RecordRequest};
use crate::recording::Subject;
use crate::signal_mask::without_signals;
use crate::stderr::say;
use crate::units::parse_duration;

/// How often it is looked whether Tokio is in the program by now.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often it is looked whether its probe tells after all.
const TICK: Duration = Duration::from_millis(100);
/// So long the probe of a program that has one may take until it tells.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread that looks.
pub(super) struct Beside {
    is_over: Arc<AtomicBool>,
    done: Receiver<Result<Looked, CmdError>>,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Looked {
    /// What was seen is recorded.
    Seen,
    /// Its probe tells.
    Told,
    /// Nothing was looked at, and why where that is known: it may have ended before.
    Not(Option<Obstacle>),
}

/// What is looked at, and how.
struct Of {
    pid: u32,
    name: String,
    slow: Option<Duration>,
    outside: Outside,
    label: Option<String>,
    /// Where its recording goes, in whatever way it is made.
    to: PathBuf,
    terminal: Terminal,
    is_over: Arc<AtomicBool>,
    /// Files of others' recordings.
    others: HashSet<PathBuf>,
}

/// The program that the process is now.
struct Program {
    path: PathBuf,
    /// When it is to be looked at: its probe, if it has one, comes first.
    due: Instant,
    is_tried: bool,
}

impl Beside {
    /// Begins to look at a program that was started: as soon as that is possible, and of one with a probe, when that has nothing to tell.
    pub(super) fn start(
        pid: u32,
        name: &str,
        request: &RecordRequest,
        to: &Path,
        terminal: &Terminal,
    ) -> Result<Beside, CmdError> {
        let is_over = Arc::new(AtomicBool::new(false));
        let by_variable = || parse_duration(std::env::var("POLLSCOPE_SLOW_POLL").ok()?.trim()).ok();
        let mut of = Of {
            pid,
            name: name.to_owned(),
            slow: request.slow.or_else(by_variable),
            outside: request.outside.clone(),
            label: request.label.clone(),
            to: to.to_owned(),
            terminal: terminal.clone(),
            is_over: Arc::clone(&is_over),
            others: HashSet::new(),
        };
        let (tell, done) = channel();
        let look = move || _ = tell.send(of.look());
        without_signals(|| thread::Builder::new().name("outside".to_owned()).spawn(look)).map_err(CmdError::Wait)?;
        Ok(Beside { is_over, done })
    }

    /// The program has ended: what was seen of it.
    pub(super) fn finish(self) -> Result<Looked, CmdError> {
        self.is_over.store(true, Relaxed);
        self.done.recv().unwrap_or_else(|_| Err(CmdError::Wait(io::ErrorKind::BrokenPipe.into())))
    }
}

impl Looked {
    /// Why nothing was seen from outside, as a sentence goes on; nothing if something was.
    pub(super) fn why_not(&self) -> String {
        match self {
            Looked::Seen | Looked::Told => String::new(),
            Looked::Not(None) => ", and before it could be looked at from outside".to_owned(),
            Looked::Not(Some(Obstacle::NoTokio { .. })) => {
                ", and there was no Tokio in it to look at from outside".to_owned()
            }
            Looked::Not(Some(obstacle)) => {
                let said = obstacle.to_string();
                let why = said.split_once("`: ").map_or(said.as_str(), |(_, why)| why);
                format!(", and could not be looked at from outside ({why})")
            }
        }
    }
}

impl Of {
    fn look(&mut self) -> Result<Looked, CmdError> {
        let (mut program, mut why) = (None, None);
        loop {
            if self.is_over.load(Relaxed) {
                return Ok(Looked::Not(why));
            }
            if self.tells().is_some() {
                return Ok(Looked::Told);
            }
            match self.find(&mut program) {
                Some(Ok(target)) => return self.record(target),
                Some(Err(obstacle)) => why = Some(obstacle),
                None => thread::sleep(LOOK_EVERY),
            }
        }
    }

    /// The process, if it is time to look at the program that it is now; `None` if not. `known` is what it was before.
    fn find(&self, known: &mut Option<Program>) -> Option<Result<Target, Obstacle>> {
        let path = fs::read_link(format!("/proc/{}/exe", self.pid)).ok()?;
        let program = match known {
            Some(known) if known.path == path => known,
            _ => {
                let waits = !self.outside.always && has_probe(self.pid);
                let due = Instant::now() + if waits { PATIENCE } else { Duration::ZERO };
                known.insert(Program { path, due, is_tried: false })
            }
        };
        if program.is_tried || Instant::now() < program.due {
            return None;
        }
        let found = Target::open(self.pid, &self.outside.symbols);
        // One that ends, or becomes another program, has nothing to be read for a moment.
        let is_told = |obstacle: &Obstacle| {
            use Obstacle::{Ended, Kernel, NoProcess, Unreadable};
            !matches!(obstacle, NoProcess { .. } | Ended { .. } | Kernel { .. } | Unreadable { .. })
        };
        program.is_tried = found.as_ref().map_or_else(is_told, |_| true);
        program.is_tried.then_some(found)
    }

    fn record(&mut self, target: Target) -> Result<Looked, CmdError> {
        let (path, file) = self.file()?;
        let failed = |error| CmdError::CannotRecord { path: path.clone(), error };
        let (attached, head) = begin(target, (self.slow, self.label.as_ref()), &self.outside, &self.terminal)?;
        if !self.terminal.quiet {
            let why = if self.outside.always { "" } else { ", as no probe tells of it" };
            say(format!("looking at `{}` from outside{why}", self.name));
        }
        let stop = attached.stop();
        let (tell, done) = channel();
        // How it ended is known here.
        let is_told = |update: &Update| !matches!(update, Update::End(..));
        let write = move || _ = tell.send(written(attached, &head, file, is_told));
        without_signals(|| thread::Builder::new().name("feed".to_owned()).spawn(write)).map_err(CmdError::Wait)?;
        loop {
            match done.recv_timeout(TICK) {
                Ok(written) => return written.map(|()| Looked::Seen).map_err(failed),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(failed(io::ErrorKind::BrokenPipe.into())),
            }
            if self.is_over.load(Relaxed) {
                return end(&stop, &done).map(|()| Looked::Seen).map_err(failed);
            }
            if let Some(theirs) = self.tells() {
                // What it told is exact, and has to do with the same polls.
                let _ = end(&stop, &done);
                let given_up = fs::remove_file(&path);
                if path == self.to {
                    given_up.and_then(|()| fs::rename(&theirs, &path)).map_err(failed)?;
                }
                if !self.terminal.quiet {
                    say(format!("the probe of `{}` tells by now: that is recorded", self.name));
                }
                return Ok(Looked::Told);
            }
        }
    }

    /// Where what is seen goes: beside what another process has begun.
    fn file(&self) -> Result<(PathBuf, File), CmdError> {
        let failed = |path: &Path, error| CmdError::CannotRecord { path: path.to_owned(), error };
        let first = super::attached::file(&self.to, self.pid);
        let name = first.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for again in 0..100 {
            let path =
                if again == 0 { first.clone() } else { first.with_file_name(format!("{name}-{again}.pollscope")) };
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Err(failed(&first, io::ErrorKind::AlreadyExists.into()))
    }

    /// The file in which a probe of the process tells, if one does: not of a process that it started, nor one of ours.
    fn tells(&mut self) -> Option<PathBuf> {
        if self.outside.always {
            return None;
        }
        let (folder, name) = if self.to.is_dir() {
            (self.to.clone(), None)
        } else {
            (self.to.parent()?.to_owned(), Some(self.to.file_stem()?.to_string_lossy().into_owned()))
        };
        for path in fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()) {
            let is_recording = path.extension().is_some_and(|extension| extension == "pollscope");
            if !is_recording || !is_named(&path, name.as_deref()) || self.others.contains(&path) {
                continue;
            }
            match is_told_by(self.pid, &path) {
                Some(true) => return Some(path),
                Some(false) => _ = self.others.insert(path),
                // Its first line is not whole yet.
                None => {}
            }
        }
        None
    }
}

/// Whether a file may be the recording of that name: with a number behind it, if another process has that file. Without a name it may.
fn is_named(path: &Path, name: Option<&str>) -> bool {
    let Some(name) = name else { return true };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let Some(rest) = stem.strip_prefix(name) else { return false };
    rest.is_empty() || rest.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok())
}

/// Ends the looking, and waits until all is written.
fn end(stop: &Stop, done: &Receiver<io::Result<()>>) -> io::Result<()> {
    stop.stop();
    done.recv_timeout(LAST_LINES).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Whether the probe of a process tells in a file; one that hides its number may be that of any. `None` where nothing is told yet.
fn is_told_by(pid: u32, path: &Path) -> Option<bool> {
    let mut is_its = None;
    let head = |fed| {
        if let Fed::Head(head) = fed {
            let service = if let Subject::Service(target) = &head.subject { Some(target) } else { None };
            is_its = Some(service.is_some_and(|target| target.pid.is_none_or(|its| its == u64::from(pid))));
        }
        ControlFlow::Break(())
    };
    // What cannot be read is nobody's.
    let _ = follow(BufReader::new(File::open(path).ok()?), head);
    is_its
}

#[cfg(test)]
mod tests {
    use pollscope_record::growing::LineWriter;

    use super::*;
    use crate::recording::{Run, Target};

    #[test]
    fn what_its_probe_tells_is_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.pollscope");
        let told = |subject| {
            let run = Run::unknown("api", subject, "2026-01-01T00:00:00Z");
            let head = super::super::attached::head(&run, Vec::new());
            fs::write(&path, LineWriter::default().head(&head).expect("JSON")).expect("written");
            is_told_by(7, &path)
        };
        let of = |pid| Target { pid, ..Target::default() };
        assert_eq!(told(Subject::Service(of(Some(7)))), Some(true));
        assert_eq!(told(Subject::Service(of(Some(8)))), Some(false), "it started that one");
        assert_eq!(told(Subject::Service(of(None))), Some(true));
        assert_eq!(told(Subject::Process(of(Some(7)))), Some(false), "it is looked at");
        fs::write(&path, "{\"recording\":").expect("written");
        assert_eq!(is_told_by(7, &path), None);
        assert_eq!(is_told_by(7, &folder.path().join("none")), None);
    }

    #[test]
    fn a_recording_has_its_name_or_a_number_behind_it() {
        let is = |file: &str, name| is_named(Path::new(file), name);
        assert!(is("/x/a.pollscope", Some("a")) && is("/x/a-1.pollscope", Some("a")) && is("/x/b.pollscope", None));
        assert!(
            !is("/x/ab.pollscope", Some("a")) && !is("/x/a-b.pollscope", Some("a")) && !is("/x/b.pollscope", Some("a"))
        );
    }

    #[test]
    fn why_nothing_was_seen_goes_on_a_sentence() {
        let name = || "sleep".to_owned();
        for (looked, says) in [
            (Looked::Seen, ""),
            (Looked::Told, ""),
            (Looked::Not(None), ", and before it could be looked at from outside"),
            (
                Looked::Not(Some(Obstacle::NoTokio { pid: 7, name: name() })),
                ", and there was no Tokio in it to look at",
            ),
            (
                Looked::Not(Some(Obstacle::NoNames { pid: 7, name: name(), build_id: None, refused: Vec::new() })),
                ", and could not be looked at from outside (the names of functions were stripped",
            ),
        ] {
            let said = looked.why_not();
            assert!(said.starts_with(says) && said.is_empty() == says.is_empty(), "{said}");
        }
    }
}
