//! Reading a recording's JSON. It may be torn, foreign or made to do harm.
//!
//! What is read takes little more memory than it takes in the file, whatever it says; and what it says is checked before anybody
//! adds it up.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use pollscope_base::reason;

use super::shared::sharing;
use super::wire;
use super::wire::bounded::within;
use super::{Dist, Recording, Run};
use crate::dist::apart::Histograms;

/// No sum of durations in a recording reaches it: 146 years.
const MOST: u128 = 1 << 62;

/// No text is longer: each is kept, put into sentences and wrapped.
const LONGEST_TEXT: usize = 1 << 20;
/// Bytes of memory that what is read may take besides one for each byte of the file. Real recordings take less than their text.
pub(crate) const FREE: u64 = 32 << 20;
/// Reports have a row for each group.
pub(crate) const MOST_GROUPS: usize = 64;

/// A recording that was read.
#[derive(Debug, Clone)]
pub struct Saved {
    /// What could be read.
    pub recording: Recording,
    /// Whether the file ends before the recording does: its later runs, its findings and its gates are missing.
    pub is_torn: bool,
}

/// Why a file is no recording.
#[derive(Debug)]
pub enum ReadError {
    /// It cannot be read.
    Io(io::Error),
    /// It begins as nothing that can be read: neither JSON, nor a page, nor an interval log.
    Foreign,
    /// It is not JSON, or not a recording's: what, and where.
    Format(String),
    /// It is a folder without a file of a recording.
    NoFiles,
    /// It ends before its first run does.
    Torn,
    /// It says what cannot be.
    Impossible(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => write!(f, "{}; {}", reason(error), way_out(error)),
            ReadError::Foreign => f.write_str(
                "it is neither a recording nor a page with one nor an interval log; give a file that `--json` or `--html` wrote",
            ),
            ReadError::Format(what) => write!(f, "{what}; give a file that `--json` or `--html` wrote"),
            ReadError::NoFiles => {
                f.write_str("it is a folder without a `.pollscope` file; name one that a recording was written to, or a file")
            }
            ReadError::Torn => f.write_str("it ends before its first run does, and nothing of it can be shown; make it again"),
            ReadError::Impossible(what) => write!(f, "{what}, which cannot be; make the recording again"),
        }
    }
}

/// What to do about a file that cannot be read.
pub(crate) fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "name a file that exists",
        io::ErrorKind::PermissionDenied => "make it readable for this user",
        io::ErrorKind::IsADirectory => "name a file in it",
        _ => "name a file that can be read",
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReadError::Io(error) => Some(error),
            ReadError::Foreign
            | ReadError::Format(_)
            | ReadError::NoFiles
            | ReadError::Torn
            | ReadError::Impossible(_) => None,
        }
    }
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

/// Where a recording is read from, from its beginning, more than once if need be.
pub(crate) trait Source {
    /// Its JSON.
    type Reader<'a>: BufRead
    where
        Self: 'a;

    /// Bytes that the whole file has.
    fn length(&self) -> u64;

    /// The JSON from its beginning, and the histograms that stand apart from it, if they do.
    fn open(&mut self) -> Result<(Self::Reader<'_>, Option<Histograms>), ReadError>;
}

/// A file in which a recording's JSON begins at a byte.
pub(crate) struct Plain<'f, F> {
    file: &'f mut F,
    start: u64,
    length: u64,
}

impl<F: BufRead + Seek> Plain<'_, F> {
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn at(file: &mut F, start: u64) -> io::Result<Plain<'_, F>> {
        let length = file.seek(SeekFrom::End(0))?;
        Ok(Plain { file, start, length })
    }
}

impl<F: BufRead + Seek> Source for Plain<'_, F> {
    type Reader<'a>
        = &'a mut F
    where
        Self: 'a;

    fn length(&self) -> u64 {
        self.length
    }

    fn open(&mut self) -> Result<(&mut F, Option<Histograms>), ReadError> {
        self.file.seek(SeekFrom::Start(self.start))?;
        Ok((self.file, None))
    }
}

/// Reads a recording. One that ends early gives the runs that are whole, if there are any, without findings and gates.
///
/// # Errors
/// See [`ReadError`].
pub(crate) fn read_from(source: &mut impl Source) -> Result<Saved, ReadError> {
    let length = source.length();
    let (mut reader, histograms) = source.open()?;
    let is_apart = histograms.is_some();
    let (recording, is_torn) = match of_json(&mut reader, histograms, length) {
        Ok(recording) => {
            // Whether what was compressed is what comes out is told at its end.
            if is_apart {
                io::copy(&mut reader, &mut io::sink()).map_err(|error| ReadError::Format(error.to_string()))?;
            }
            (recording, false)
        }
        Err(error) if error.io_error_kind() == Some(io::ErrorKind::InvalidData) => {
            return Err(ReadError::Format(io::Error::from(error).to_string()));
        }
        Err(error) if error.is_io() => return Err(ReadError::Io(error.into())),
        Err(error) if error.is_eof() => {
            drop(reader);
            let whole = whole_runs(&mut source.open()?.0)?.ok_or(ReadError::Torn)?;
            let (reader, histograms) = source.open()?;
            let closed = reader.take(whole).chain(&b"],\"findings\":[],\"gates\":[]}"[..]);
            (of_json(closed, histograms, length).map_err(format_error)?, true)
        }
        Err(error) => return Err(format_error(error)),
    };
    check(&recording).map_err(ReadError::Impossible)?;
    Ok(Saved { recording, is_torn })
}

/// Reads JSON of a file of so many bytes.
fn of_json(json: impl Read, histograms: Option<Histograms>, length: u64) -> serde_json::Result<Recording> {
    let taken: usize = histograms.iter().flat_map(Histograms::parts).map(<[u8]>::len).sum();
    let room = usize::try_from(FREE + length).unwrap_or(usize::MAX).saturating_sub(taken);
    let texts = BufReader::with_capacity(64 << 10, Texts::of(json));
    let read = || within(room, || sharing(length, || wire::from_json(texts)));
    wire::apart(histograms, read).0
}

pub(crate) fn format_error(error: serde_json::Error) -> ReadError {
    let text = error.to_string();
    // A name out of a hostile file can be as long as the file.
    let shown: String = text.chars().take(200).collect();
    ReadError::Format(if shown.len() < text.len() { shown + "…" } else { text })
}

/// JSON, up to a text that is too long.
struct Texts<R> {
    from: R,
    is_in_text: bool,
    is_escaped: bool,
    length: usize,
}

impl<R: Read> Texts<R> {
    fn of(from: R) -> Texts<R> {
        Texts { from, is_in_text: false, is_escaped: false, length: 0 }
    }
}

impl<R: Read> Read for Texts<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        let mut rest = &into[..count];
        while !rest.is_empty() {
            // Most bytes are none of those that begin or end something.
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(rest.len());
            self.is_escaped &= plain == 0;
            self.length += if self.is_in_text { plain } else { 0 };
            if self.length > LONGEST_TEXT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "one of its texts is longer than 1 MiB"));
            }
            let Some(byte) = rest.get(plain) else { break };
            if *byte == b'"' && !self.is_escaped {
                self.is_in_text = !self.is_in_text;
                self.length = 0;
            }
            self.is_escaped = *byte == b'\\' && !self.is_escaped;
            self.length += usize::from(self.is_in_text);
            rest = &rest[plain + 1..];
        }
        Ok(count)
    }
}

/// How many bytes go up to the end of the last run that is whole; `None` without one.
fn whole_runs(file: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut scan = Scan::default();
    let mut offset = 0;
    loop {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            return Ok(scan.last_run);
        }
        for byte in chunk {
            offset += 1;
            scan.byte(*byte, offset);
        }
        let length = chunk.len();
        file.consume(length);
    }
}

/// Where runs end, in JSON whose values need not be understood.
#[derive(Default)]
struct Scan {
    depth: u32,
    is_in_text: bool,
    is_escaped: bool,
    /// The last text at the document's own level: `runs`, when that list begins.
    key: Vec<u8>,
    is_in_runs: bool,
    last_run: Option<u64>,
}

impl Scan {
    fn byte(&mut self, byte: u8, end: u64) {
        if self.is_in_text {
            match byte {
                _ if std::mem::take(&mut self.is_escaped) => {}
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_text = false,
                _ if self.depth == 1 && self.key.len() < 8 => self.key.push(byte),
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => {
                self.is_in_text = true;
                if self.depth == 1 {
                    self.key.clear();
                }
            }
            b'{' | b'[' => {
                self.depth += 1;
                self.is_in_runs |= self.depth == 2 && byte == b'[' && self.key == b"runs";
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.is_in_runs && self.depth == 2 && byte == b'}' {
                    self.last_run = Some(end);
                }
                self.is_in_runs &= self.depth >= 2;
            }
            _ => {}
        }
    }
}

/// Whether what is said can be: no sum of it can overflow, and counts agree with lists.
pub(crate) fn check(recording: &Recording) -> Result<(), &'static str> {
    let total: u128 = recording.runs.iter().map(total).sum();
    let latest = recording.runs.iter().map(latest).max().unwrap_or(0);
    if total + latest >= MOST {
        return Err("its durations or counts add up to more than 146 years' nanoseconds");
    }
    let mut groups = BTreeSet::new();
    for run in &recording.runs {
        groups.insert(&run.group);
        if groups.len() > MOST_GROUPS {
            return Err("it has more than 64 groups");
        }
        if run.slow_polls.len() as u64 + run.slow_polls_dropped != run.slow_polls_total {
            return Err("its slow polls are not as many as it says");
        }
        if run.group.is_empty() {
            return Err("one of its groups has no name");
        }
    }
    Ok(())
}

/// Everything that somebody adds up.
fn total(run: &Run) -> u128 {
    let dist = |dist: &Dist| {
        [dist.sum_ns, dist.count(), dist.max_ns.unwrap_or(0), dist.clamped].map(u128::from).iter().sum::<u128>()
    };
    let dists = run.dists().chain(run.known_sites().iter().map(|site| &site.polls));
    let intervals =
        run.intervals.iter().flat_map(|interval| [interval.polls.as_ref(), interval.lag.as_ref()]).flatten();
    let polls = run.slow_polls.iter().chain(&run.stalls_open).flat_map(|poll| {
        let blame = poll.blame().map_or([0; 5], |blame| {
            [blame.tasks, blame.wait_ns, blame.late_tasks, blame.wait_most_ns, blame.lifo_tasks]
        });
        let parts = [poll.cpu_ns.get(), poll.run_delay_ns.get(), poll.off_cpu_ns()].map(|part| part.unwrap_or(0));
        [poll.duration_ns].into_iter().chain(blame).chain(parts)
    });
    let charges = run.ledger.iter().flat_map(|ledger| &ledger.charges);
    let charges = charges.flat_map(|charge| [charge.tasks, charge.wait_ns, charge.late_tasks, charge.wait_most_ns]);
    let merge = run.merge.iter().flat_map(|m| {
        [m.inputs, m.lines, m.long_lines, m.bytes, m.lost, m.duplicated, m.reordered, m.torn, m.foreign, m.unterminated]
    });
    let whole = [
        run.elapsed_ns,
        run.loop_busy_ns.unwrap_or(0),
        run.slow_polls_total,
        run.slow_polls_dropped,
        run.slow_poll_lines.map_or(0, |lines| lines.printed),
        run.slow_poll_lines.map_or(0, |lines| lines.suppressed),
        run.slow_poll_threshold_ns,
        run.subject.workers().unwrap_or(0),
        run.unanswered.unwrap_or(0),
        run.throughput_bytes_per_s.unwrap_or(0),
        run.cpu_user_ns.unwrap_or(0),
        run.cpu_system_ns.unwrap_or(0),
        run.context_switches_voluntary.unwrap_or(0),
        run.context_switches_involuntary.unwrap_or(0),
        run.ledger.as_ref().map_or(0, |ledger| ledger.unattributed_ns),
    ];
    let sites = run.known_sites().iter().map(|site| site.slow);
    let slices = run.intervals.iter().flat_map(|slice| [slice.busy_ns.unwrap_or(0), slice.slow.unwrap_or(0)]);
    let fine = run.fine.iter().flat_map(|fine| {
        let queued = fine.queued.map_or([0; 2], |queued| [queued.global, queued.local.unwrap_or(0)]);
        [fine.busy_ns, fine.late, fine.pool_queued.unwrap_or(0)].into_iter().chain(queued)
    });
    let input_events = [run.input_events.dropped, run.input_events.possible_losses];
    let numbers =
        polls.chain(input_events).chain(charges).chain(merge).chain(whole).chain(sites).chain(slices).chain(fine);
    numbers.map(u128::from).sum::<u128>() + dists.chain(intervals).map(dist).sum::<u128>()
}

/// The latest moment in it. Moments are not added up, but durations are added to them.
fn latest(run: &Run) -> u128 {
    let polls = run.slow_polls.iter().chain(&run.stalls_open).flat_map(|poll| {
        let waiter = poll.worst_waiter().map_or([0; 2], |waiter| [waiter.ready_ns, waiter.polled_ns]);
        [poll.start_ns].into_iter().chain(waiter)
    });
    let slices = run.intervals.iter().map(|slice| slice.start_ns);
    let fine = run.fine.iter().map(|fine| fine.end_ns.max(fine.start_ns));
    let events = run.input_events.events.iter().map(|event| event.at_ns);
    polls.chain(slices).chain(fine).chain(events).max().unwrap_or(0).into()
}
