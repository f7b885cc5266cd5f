//! A service that runs already is recorded: its feeds, each copied into a file, until it ends, its time is over, or somebody has enough.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_record::message::Message;

use super::CmdError;
use super::output::Terminal;
use super::over::Over;
use super::passed::{self, Coming};
use crate::exit::Exit;
use crate::recording::Ended as RunEnded;
use crate::service::{NoFeed, Service};
use crate::signal_mask::without_signals;
use crate::stderr::say;

/// How often it is looked whether somebody cannot wait for the last lines.
const TICK: Duration = Duration::from_millis(100);
/// How long the last lines may take when they were asked for.
const LAST_LINES: Duration = Duration::from_secs(5);
/// No line of a feed is longer, in bytes.
const LONGEST_LINE: u64 = 16 << 20;

/// Records a process that tells of itself, until it is over.
pub(super) fn record(
    service: &Service,
    lasts: Option<Duration>,
    to: &Path,
    terminal: &Terminal,
) -> Result<Over, CmdError> {
    let pid = service.pid();
    // From now on a signal ends the recording, and what was recorded is reported.
    let coming = passed::listen().map_err(CmdError::Signals)?;
    let mut copies = Copies::new(service, to);
    if copies.begin()? == 0 {
        return Err(CmdError::NoFeed(service.silent()));
    }
    if !terminal.quiet {
        let end = if lasts.is_some() { "its time" } else { "Ctrl-C" };
        say(format!("recording process `{pid}`: {end} ends it, and its own end"));
    }
    let why = coming.until_over(lasts.map(|lasts| Instant::now() + lasts), || copies.look())?.unwrap_or(Why::Asked);
    copies.finish(&coming, why);
    coming.program_is_gone();
    copies.over(why)
}

/// Why a recording is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The service ended.
    Gone,
    /// It was asked to.
    Asked,
}

/// The feeds of a service.
struct Copies<'s> {
    service: &'s Service,
    to: &'s Path,
    known: Vec<PathBuf>,
    all: Vec<Copy>,
}

/// One feed that is copied.
struct Copy {
    stream: UnixStream,
    done: Receiver<io::Result<Told>>,
    /// How it ended, once it has.
    told: Option<Told>,
}

/// What was in a feed, as far as one must know to copy it.
#[derive(Debug, Default)]
struct Told {
    has_begun: bool,
    has_ended: bool,
    refused: Option<String>,
}

impl<'s> Copies<'s> {
    fn new(service: &'s Service, to: &'s Path) -> Copies<'s> {
        Copies { service, to, known: Vec::new(), all: Vec::new() }
    }

    /// Begins to copy feeds that are not copied yet; how many those are.
    fn begin(&mut self) -> Result<usize, CmdError> {
        let sockets = self.service.sockets().map_err(CmdError::NoFeed)?;
        let new: Vec<PathBuf> = sockets.iter().filter(|path| !self.known.contains(path)).cloned().collect();
        // One that is gone can come again, under the same name.
        self.known = sockets;
        let mut begun = 0;
        for path in &new {
            match self.service.connect(path) {
                Ok(stream) => self.copy(stream)?,
                // It may end at this moment.
                Err(_) if !self.all.is_empty() => continue,
                Err(error) => return Err(CmdError::NoFeed(error)),
            }
            begun += 1;
        }
        Ok(begun)
    }

    fn copy(&mut self, stream: UnixStream) -> Result<(), CmdError> {
        let path = self.file(self.all.len());
        let failed = |error| CmdError::CannotRecord { path: path.clone(), error };
        let file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(failed)?;
        let feed = stream.try_clone().map_err(CmdError::Wait)?;
        let (tell, done) = channel();
        let copy = move || _ = tell.send(copied(BufReader::new(feed), file));
        without_signals(|| thread::Builder::new().name("feed".to_owned()).spawn(copy)).map_err(CmdError::Wait)?;
        self.all.push(Copy { stream, done, told: None });
        Ok(())
    }

    /// Where a feed goes: names are in the order in which they begin.
    fn file(&self, index: usize) -> PathBuf {
        if self.to.is_dir() {
            return self.to.join(format!("pollscope-{}-{index:06}.pollscope", self.service.pid()));
        }
        let name = self.to.file_stem().unwrap_or_default().to_string_lossy();
        let again = if index == 0 { String::new() } else { format!("-{index}") };
        self.to.with_file_name(format!("{name}{again}.pollscope"))
    }

    /// Learns what happened, and copies what feeds there are now: whether the service is gone.
    fn look(&mut self) -> Result<Option<Why>, CmdError> {
        self.settle()?;
        if self.service.is_gone() {
            return Ok(Some(Why::Gone));
        }
        self.begin().map(|_| None)
    }

    /// Learns which feeds have ended.
    fn settle(&mut self) -> Result<(), CmdError> {
        for index in 0..self.all.len() {
            let Ok(done) = self.all[index].done.try_recv() else { continue };
            let told = done.map_err(|error| CmdError::CannotRecord { path: self.file(index), error })?;
            if let Some(why) = told.refused.clone().filter(|_| index == 0) {
                return Err(CmdError::NoFeed(NoFeed::Refused { pid: self.service.pid(), why }));
            }
            self.all[index].told = Some(told);
        }
        Ok(())
    }

    /// Asks for the last lines, and waits for them, unless somebody cannot wait.
    fn finish(&mut self, coming: &Coming, why: Why) {
        if why == Why::Asked {
            // Whoever writes no more wants no more.
            self.all.iter().for_each(|copy| _ = copy.stream.shutdown(Shutdown::Write));
        }
        let until = Instant::now() + LAST_LINES;
        for copy in &mut self.all {
            while copy.told.is_none() && Instant::now() < until {
                match copy.done.recv_timeout(TICK) {
                    Ok(done) => copy.told = Some(done.unwrap_or_default()),
                    Err(RecvTimeoutError::Disconnected) => break,
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if coming.signals().try_iter().any(|passed| passed::ENDS.contains(&passed.signal)) {
                    return;
                }
            }
        }
    }

    /// How it ended.
    fn over(&self, why: Why) -> Result<Over, CmdError> {
        let pid = self.service.pid();
        if !self.all.iter().any(|copy| copy.told.as_ref().is_none_or(|told| told.has_begun)) {
            return Err(CmdError::NothingTold { pid });
        }
        let broke_off = self.all.iter().any(|copy| !copy.told.as_ref().is_some_and(|told| told.has_ended));
        let (told, note) = match why {
            Why::Gone => {
                let note = format!("process `{pid}` is gone: what it told by then is shown");
                ((RunEnded::Gone, None), broke_off.then_some(note))
            }
            Why::Asked => {
                let why = "its probe did not tell its last lines in time";
                ((RunEnded::Interrupted, Some(Message::text(why.to_owned()))), broke_off.then(|| why.to_owned()))
            }
        };
        Ok(Over { pid: None, told, note, exit: Exit::Pass })
    }
}

/// Copies whole lines, but for those of what is so at one moment.
fn copied(mut feed: impl BufRead, mut file: File) -> io::Result<Told> {
    let mut told = Told::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        // A feed that breaks off is one that ends.
        let read = (&mut feed).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.is_err() || !line.ends_with(b"\n") {
            return Ok(told);
        }
        if line.starts_with(b"{\"live\":") {
            continue;
        }
        if line.starts_with(b"{\"refused\":") {
            let said = serde_json::from_slice::<serde_json::Value>(&line).ok();
            let why = said.as_ref().and_then(|said| said["refused"].as_str()).unwrap_or("its probe refuses");
            told.refused = Some(crate::escape::escape(why).into_owned());
            return Ok(told);
        }
        file.write_all(&line)?;
        told.has_begun = true;
        told.has_ended = line.starts_with(b"{\"end\":");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copy(feed: &str) -> (Told, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let told = copied(feed.as_bytes(), File::create(&path).expect("a file")).expect("it is written");
        (told, std::fs::read_to_string(path).expect("text"))
    }

    #[test]
    fn whole_lines_are_copied_but_for_those_of_one_moment() {
        let (told, text) = copy("{\"recording\":{}}\n{\"live\":{}}\n{\"note\":\"a\"}\n{\"end\":{}}\n{\"note\":\"cut");
        assert_eq!(text, "{\"recording\":{}}\n{\"note\":\"a\"}\n{\"end\":{}}\n");
        assert!(told.has_begun && told.has_ended && told.refused.is_none());
        let (told, text) = copy("{\"recording\":{}}\n");
        assert!(told.has_begun && !told.has_ended && text.len() == 17);
    }

    #[test]
    fn a_refusal_is_no_recording() {
        let (told, text) = copy("{\"refused\":\"four others\\u001b[2J read it\"}\n");
        assert_eq!((told.refused.as_deref(), text.as_str()), (Some("four others\\u{1b}[2J read it"), ""));
        assert!(!told.has_begun);
    }
}
