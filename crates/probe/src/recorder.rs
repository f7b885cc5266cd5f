//! A recording that the probe writes itself, while the service runs: what becomes known, line by line.
//!
//! The reporter hears of slow polls and stalls and passes them on; a thread of the recorder's own writes them, and takes intervals.
//! Whatever the disk does, nobody waits for that thread but, for a moment, whoever drops the last handle: what it has no room for is
//! counted, and is in no list.

mod around;
mod beside;
mod files;
mod hidden;
#[cfg(target_os = "linux")]
mod listener;
#[cfg(target_os = "linux")]
mod now;
mod numbers;
#[cfg(feature = "whole-process")]
mod others;
mod outlets;
mod seen;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, io, thread};

use pollscope_base::{duration, reason};
use pollscope_record::feed::Update;
use pollscope_record::growing::{Head, LineWriter};
use pollscope_record::recording::{Completeness, Coverage, Ended, Environment, Run, Subject, Target};

use crate::shared::Shared;
use crate::snapshot::{Polling, SlowPoll, Snapshot};
use crate::tokio_api::TOKIO_UNSTABLE;
use around::{Around, Glance, STEP, TOO_MANY};
use beside::{Beside, OfOthers};
use files::{Files, MOST_BYTES, Place};
use numbers::Numbers;

pub(crate) use outlets::{Listen, Outlets};
pub use seen::{interval_of, record_of};

/// How often an interval is written.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often everything that is known of the run as a whole is, but for its first minutes, in which it is more often: of a recording that
/// breaks off, the time since is known by its lists and intervals alone.
const KNOWN_EVERY: u32 = 600;
/// What waits to be written while a disk is slow; some 10 kB each.
const QUEUE: usize = 1_024;

/// What is said in the recording itself of lines that were lost. How many slow polls are not listed, reading counts.
const LOST: &str = "some slow polls are not listed: the disk of the recording was full, gone or slow";

/// The reporter's side.
pub(crate) struct Recorder {
    queue: SyncSender<Told>,
    ended: Receiver<()>,
    dropped: Arc<AtomicU64>,
    trouble: Arc<Trouble>,
}

/// What is passed on.
enum Told {
    SlowPoll(Box<SlowPoll>),
    Stall(Box<Polling>, u64),
    /// An interval is over, as somebody else counts.
    Totals(Arc<Snapshot>),
    /// Of threads that no probe knows.
    #[cfg_attr(not(feature = "whole-process"), expect(dead_code, reason = "nobody looks at other threads"))]
    OfOthers(Arc<OfOthers>),
    End,
}

/// What went wrong with writing, for the one who tells.
#[derive(Default)]
struct Trouble(Mutex<Option<String>>);

impl Recorder {
    /// Starts the thread. Whether it takes intervals itself, or is told them by a [`Told::Totals`].
    fn spawn(shared: Arc<Shared>, path: PathBuf, counts: bool) -> io::Result<Recorder> {
        let (queue, told) = mpsc::sync_channel(QUEUE);
        let (end, ended) = mpsc::channel();
        let (dropped, trouble) = (Arc::default(), Arc::default());
        let mut recording = Recording::new(shared, path, Arc::clone(&dropped), Arc::clone(&trouble));
        thread::Builder::new().name("pollscope-record".to_owned()).spawn(move || {
            recording.run(&told, counts);
            // Nobody may wait any more.
            let _ = end.send(());
        })?;
        Ok(Recorder { queue, ended, dropped, trouble })
    }

    /// A slow poll was delivered.
    pub(crate) fn slow_poll(&self, poll: &SlowPoll) {
        self.tell(Told::SlowPoll(Box::new(poll.clone())));
    }

    /// A poll goes on for long.
    pub(crate) fn stall(&self, stall: &Polling, now_ns: u64) {
        self.tell(Told::Stall(Box::new(stall.clone()), now_ns));
    }

    fn tell(&self, told: Told) {
        if self.queue.try_send(told).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Passes on what is told of other threads.
    #[cfg(feature = "whole-process")]
    fn of_others(&self) -> others::Tell {
        let (queue, dropped) = (self.queue.clone(), Arc::clone(&self.dropped));
        Box::new(move |told| {
            if queue.try_send(Told::OfOthers(Arc::clone(told))).is_err() {
                dropped.fetch_add(1, Relaxed);
            }
        })
    }

    /// Why nothing can be written, once each time that it begins.
    pub(crate) fn take_trouble(&self) -> Option<String> {
        self.trouble.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends the recording, and waits for so long that its last line is written.
    pub(crate) fn end(&self, patience: Duration) {
        let start = Instant::now();
        // Before it there may be no room.
        while matches!(self.queue.try_send(Told::End), Err(mpsc::TrySendError::Full(_))) {
            if start.elapsed() >= patience {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = self.ended.recv_timeout(patience.saturating_sub(start.elapsed()));
    }
}

/// The thread's side.
struct Recording {
    shared: Arc<Shared>,
    path: PathBuf,
    head: Head,
    writer: LineWriter,
    files: Files,
    last: Snapshot,
    around: Around,
    intervals: u32,
    numbers: Numbers,
    /// The run of other threads, if they are looked at.
    beside: Option<Beside>,
    dropped: Arc<AtomicU64>,
    /// How many of them are told of in the recording.
    dropped_told: u64,
    /// Whether the recording says that there were too many very long polls.
    said_too_many: bool,
    /// Whether the last line could not be written.
    is_in_trouble: bool,
    trouble: Arc<Trouble>,
}

impl Recording {
    fn new(shared: Arc<Shared>, path: PathBuf, dropped: Arc<AtomicU64>, trouble: Arc<Trouble>) -> Recording {
        let last = shared.totals();
        let around = Around::from(Glance::of(&shared));
        let head = head(&shared, &last, Duration::ZERO);
        // Wherever the program goes afterwards.
        let path = std::path::absolute(&path).unwrap_or(path);
        let name = head.subject.name().unwrap_or(&head.group);
        let place = Place::of(path.clone(), &file_name(name), &head.started_at.replace(['-', ':'], ""));
        Recording {
            shared,
            path,
            head,
            writer: LineWriter::default(),
            files: Files::new(place, MOST_BYTES),
            last,
            around,
            intervals: 0,
            numbers: Numbers::default(),
            beside: None,
            dropped,
            dropped_told: 0,
            said_too_many: false,
            is_in_trouble: false,
            trouble,
        }
    }

    fn run(&mut self, told: &Receiver<Told>, counts: bool) {
        self.write_known();
        let mut next = Instant::now() + INTERVAL;
        let mut next_look = Instant::now() + STEP;
        loop {
            match told.recv_timeout(next_look.min(next).saturating_duration_since(Instant::now())) {
                Ok(Told::SlowPoll(poll)) => self.slow_poll(&poll),
                Ok(Told::Stall(stall, now_ns)) => self.stall(&stall, now_ns),
                Ok(Told::Totals(now)) => self.interval(Arc::unwrap_or_clone(now)),
                Ok(Told::OfOthers(told)) => self.of_others(&told),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Told::End) | Err(RecvTimeoutError::Disconnected) => return self.end(),
            }
            if Instant::now() >= next_look {
                self.look(false);
                next_look = Instant::now() + STEP;
            }
            if Instant::now() >= next {
                if counts {
                    self.interval(self.shared.totals());
                }
                // A late one is longer, not followed by empty ones.
                next = Instant::now() + INTERVAL;
            }
        }
    }

    /// Looks at what is now, for the time around very long polls, and writes what is to be kept of it.
    fn look(&mut self, is_end: bool) {
        self.around.look(Glance::of(&self.shared));
        let kept = self.around.take(is_end);
        if !kept.is_empty() {
            self.write(&Update::Fine(kept), 0);
        }
        if self.around.take_too_many() && !std::mem::replace(&mut self.said_too_many, true) {
            self.write(&Update::Note(TOO_MANY.to_owned()), 0);
        }
    }

    fn slow_poll(&mut self, poll: &SlowPoll) {
        let id = self.numbers.of_slow_poll(poll);
        let start_ns = duration::to_ns(poll.start);
        let end_ns = start_ns.saturating_add(duration::to_ns(poll.duration));
        self.around.poll(start_ns, end_ns, self.shared.threshold_ns());
        let poll = pollscope_record::recording::SlowPoll { id, ..poll.into() };
        self.write(&Update::SlowPoll(Box::new(self.shown(poll))), 0);
    }

    fn stall(&mut self, stall: &Polling, now_ns: u64) {
        let id = self.numbers.of_stall(stall, now_ns);
        let start_ns = now_ns.saturating_sub(duration::to_ns(stall.elapsed));
        self.around.poll(start_ns, now_ns, self.shared.threshold_ns());
        let stall = seen::stall(stall, id, now_ns);
        self.write(&Update::Stall(Box::new(self.shown(stall))), 0);
    }

    fn interval(&mut self, now: Snapshot) {
        let interval = interval_of(&self.last, &now);
        let end_ns = duration::to_ns(now.at);
        // One that could not be written is part of the next: those that are there add up.
        let before = std::mem::replace(&mut self.last, now);
        if !self.write(&Update::Interval(Box::new(interval)), end_ns) {
            self.last = before;
        }
        self.intervals += 1;
        let is_early = self.intervals < KNOWN_EVERY && self.intervals.is_power_of_two();
        if is_early || self.intervals.is_multiple_of(KNOWN_EVERY) {
            self.write_known();
        }
    }

    /// What is known of all of it, up to the last interval.
    fn write_known(&mut self) {
        let known = self.known();
        self.write(&Update::Known(Box::new(known)), 0);
        self.write_known_of_others();
    }

    fn known(&self) -> Run {
        hidden::run(record_of(&self.last, self.head.run()), self.shared.redacted)
    }

    fn shown(&self, poll: pollscope_record::recording::SlowPoll) -> pollscope_record::recording::SlowPoll {
        hidden::poll(poll, self.shared.redacted)
    }

    fn end(&mut self) {
        self.look(true);
        self.interval(self.shared.totals());
        self.end_of_others();
        self.write_known();
        self.write(&Update::End(Ended::Done, None), 0);
    }

    /// Writes it, in a file that begins by itself if need be; whether that was done.
    fn write(&mut self, update: &Update, now_ns: u64) -> bool {
        self.put(|writer| Ok(writer.lines(update, now_ns)?))
    }

    /// The same of lines that are made when there is a file for them.
    fn put(&mut self, lines: impl FnOnce(&mut LineWriter) -> io::Result<String>) -> bool {
        let written = self.try_put(lines);
        if let Err(error) = &written {
            if !self.is_in_trouble {
                self.tell_trouble(error);
            }
            self.is_in_trouble = true;
            self.writer.forget();
        }
        written.is_ok()
    }

    fn try_put(&mut self, lines: impl FnOnce(&mut LineWriter) -> io::Result<String>) -> io::Result<()> {
        if !self.files.is_open() {
            self.head.segment = self.files.next_segment();
            let mut first = self.writer.head(&self.head)?;
            if self.head.segment > 1 {
                let known = self.known();
                first += &self.writer.lines(&Update::Known(Box::new(known)), 0)?;
            }
            if let Some(beside) = &self.beside {
                first += &beside.head(&mut self.writer, self.head.segment)?;
                first += &self.writer.beside(&beside.known(duration::to_ns(self.last.at)), 0)?;
            }
            self.files.begin(&first)?;
        }
        let dropped = self.dropped.load(Relaxed);
        if self.is_in_trouble || dropped > self.dropped_told {
            self.files.write(&self.writer.lines(&Update::Note(LOST.to_owned()), 0)?)?;
            (self.is_in_trouble, self.dropped_told) = (false, dropped);
        }
        self.files.write(&lines(&mut self.writer)?)
    }

    fn tell_trouble(&self, error: &io::Error) {
        let path = if self.shared.redacted { "<path>".into() } else { self.path.to_string_lossy() };
        let path = pollscope_base::escape::Escaped(&path).to_string();
        let line = format!(
            "WARN pollscope: cannot write the recording `{path}`: {}; what could not be written is counted in it, make room or name \
             another place\n",
            reason(error)
        );
        *self.trouble.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
    }
}

/// What a run begins with that begins so long after the probe's installation.
fn head(shared: &Shared, now: &Snapshot, from: Duration) -> Head {
    let exe = env::current_exe().ok();
    let name = exe.as_deref().and_then(Path::file_name).map_or("service".into(), |name| name.to_string_lossy());
    let target = Target {
        name: name.clone().into_owned(),
        pid: (!shared.redacted).then(|| std::process::id().into()),
        exe: exe.as_ref().filter(|_| !shared.redacted).map(|exe| exe.to_string_lossy().into_owned()),
        tokio_unstable: Some(TOKIO_UNSTABLE),
        runtimes: seen::runtimes(now),
        ..Target::default()
    };
    Head {
        environment: environment(now),
        group: shared.label.clone().unwrap_or_else(|| name.into_owned()),
        subject: Subject::Service(target),
        started_at: Run::written(since_1970(SystemTime::now().checked_sub(now.at.saturating_sub(from)))),
        coverage: Coverage::from(now),
        slow_poll_threshold_ns: duration::to_ns(now.slow_poll_threshold),
        slow_polls_are: Completeness::All,
        segment: 1,
    }
}

fn environment(snapshot: &Snapshot) -> Environment {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    Environment {
        pollscope: env!("CARGO_PKG_VERSION").to_owned(),
        tokio: None,
        os: format!("{} {}", env::consts::OS, env::consts::ARCH),
        kernel: kernel.map(|kernel| kernel.trim().to_owned()),
        cpus: thread::available_parallelism().ok().map(|cpus| cpus.get() as u64),
        clock: snapshot.clock.as_str().to_owned(),
        tokio_unstable: None,
        console_compiled: None,
        console_on: None,
        command: Vec::new(),
    }
}

fn since_1970(time: Option<SystemTime>) -> Option<Duration> {
    time?.duration_since(UNIX_EPOCH).ok()
}

/// A program's name as part of a file's.
fn file_name(program: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    program.chars().map(safe).take(64).collect()
}

#[cfg(test)]
mod tests;
