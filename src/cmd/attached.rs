//! A process that tells nothing of itself is recorded by what is seen of it from outside, until it ends, its time is over, or somebody
//! has enough.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use pollscope_attach::{Attached, Settings, Target};
use pollscope_record::feed::Update;
use pollscope_record::growing::{Head, LineWriter};

use super::CmdError;
use super::output::Terminal;
use super::over::Over;
use super::passed;
use crate::args::{Outside, RecordRequest};
use crate::environment::environment;
use crate::exit::Exit;
use crate::recording::{Ended, Environment, Run};
use crate::signal_mask::without_signals;
use crate::stderr::say;

/// What counts as slow if nobody says.
const SLOW: Duration = Duration::from_millis(100);
/// How long the last lines may take: until then the first names of a large program are found.
pub(super) const LAST_LINES: Duration = Duration::from_secs(10);

/// Begins to look at a process: what is seen of it, and what a recording of that begins with.
pub(super) fn begin(
    target: Target,
    (slow, label): (Option<Duration>, Option<&String>),
    outside: &Outside,
    terminal: &Terminal,
) -> Result<(Attached, Head), CmdError> {
    let notes = target.notes();
    if !terminal.quiet {
        notes.iter().for_each(|note| say(format!("note: {note}")));
    }
    let settings = Settings { hz: outside.hz, slow: slow.unwrap_or(SLOW) };
    let now = Run::written(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok());
    let attached = without_signals(|| Attached::to(target, settings, &now)).map_err(CmdError::Wait)?;
    let mut head = head(attached.start(), terminal.typed.clone());
    head.coverage.missing.extend(notes);
    if let Some(label) = label {
        head.group.clone_from(label);
    }
    Ok((attached, head))
}

/// Records it.
pub(super) fn record(pid: u32, request: &RecordRequest, to: &Path, terminal: &Terminal) -> Result<Over, CmdError> {
    let target = Target::open(pid, &request.outside.symbols).map_err(CmdError::Obstacle)?;
    let path = file(to, pid);
    let failed = |error| CmdError::CannotRecord { path: path.clone(), error };
    let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
    // From now on a signal ends the recording, and what was seen is reported.
    let coming = passed::listen().map_err(CmdError::Signals)?;
    let (attached, head) = begin(target, (request.slow, request.label.as_ref()), &request.outside, terminal)?;
    if !terminal.quiet {
        let end = if request.lasts.is_some() { "its time" } else { "Ctrl-C" };
        let why = if request.outside.always { "" } else { ", as it has no probe that tells" };
        say(format!("looking at process `{pid}` from outside{why}: {end} ends it, and its own end"));
    }
    let stop = attached.stop();
    let (tell, done) = channel();
    let write = move || _ = tell.send(written(attached, &head, file, |_| true));
    without_signals(|| thread::Builder::new().name("feed".to_owned()).spawn(write)).map_err(CmdError::Wait)?;
    let ended = coming.until_over(request.lasts.map(|lasts| Instant::now() + lasts), || match done.try_recv() {
        Ok(written) => Ok(Some(written)),
        Err(TryRecvError::Empty) => Ok(None),
        Err(TryRecvError::Disconnected) => Err(CmdError::Wait(io::ErrorKind::BrokenPipe.into())),
    })?;
    stop.stop();
    let written = match ended {
        Some(written) => written,
        None => done.recv_timeout(LAST_LINES).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    };
    coming.program_is_gone();
    written.map_err(failed)?;
    Ok(Over { pid: None, told: (Ended::Interrupted, None), note: None, exit: Exit::Pass })
}

/// Where a recording goes: in a folder it has the name of a service's.
pub(super) fn file(to: &Path, pid: u32) -> PathBuf {
    if to.is_dir() { to.join(format!("pollscope-{pid}-000000.pollscope")) } else { to.to_owned() }
}

/// What a recording begins with.
pub(super) fn head(start: &Run, command: Vec<String>) -> Head {
    // What this program was built with says nothing of the other.
    let environment = Environment {
        tokio: None,
        tokio_unstable: None,
        console_compiled: None,
        console_on: None,
        ..environment(false, command)
    };
    Head {
        environment,
        group: start.group.clone(),
        subject: start.subject.clone(),
        started_at: start.started_at.clone(),
        coverage: start.coverage.clone(),
        slow_poll_threshold_ns: start.slow_poll_threshold_ns,
        slow_polls_are: start.slow_polls_are,
        segment: 1,
    }
}

/// Writes what is seen, as it becomes known, but for what is left out.
pub(super) fn written(
    attached: Attached,
    head: &Head,
    mut file: File,
    is_told: impl Fn(&Update) -> bool,
) -> io::Result<()> {
    let mut writer = LineWriter::default();
    file.write_all(writer.head(head)?.as_bytes())?;
    for mut update in attached.filter(is_told) {
        // What is known of the whole does not know what it is called here.
        if let Update::Known(known) = &mut update {
            known.group.clone_from(&head.group);
        }
        file.write_all(writer.lines(&update, 0)?.as_bytes())?;
    }
    Ok(())
}
