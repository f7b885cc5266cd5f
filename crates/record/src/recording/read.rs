//! Reading a saved recording: a JSON file, or a page that carries one. It may be torn, foreign or made to do harm.
//!
//! What is read takes little more memory than it takes in the file, whatever it says; and what it says is checked before anybody
//! adds it up.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::shared::sharing;
use super::wire;
use super::wire::bounded::within;
use super::{Dist, Recording, Run};

/// What a page's recording stands behind.
pub const PAGE_MARK: &str = "<script type=\"application/json\" id=\"recording\">";
/// No sum of durations in a recording reaches it: 146 years.
const MOST: u128 = 1 << 62;

/// No text is longer: each is kept, put into sentences and wrapped.
const LONGEST_TEXT: usize = 1 << 20;
/// Bytes of memory that what is read may take besides one for each byte of the file. Real recordings take less than their text.
const FREE: u64 = 32 << 20;
/// A mode is one of pollscope's; reports have a row for each.
const MOST_MODES: usize = 64;

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
    /// It is not JSON, or not a recording's: what, and where.
    Format(String),
    /// It ends before its first run does.
    Torn,
    /// It says what cannot be.
    Impossible(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io(error) => error.fmt(f),
            ReadError::Format(what) => write!(f, "{what}; give a file that `--json` or `--html` wrote"),
            ReadError::Torn => f.write_str("it ends before its first run does; nothing of it can be shown"),
            ReadError::Impossible(what) => write!(f, "{what}, which cannot be; make the recording again"),
        }
    }
}

impl std::error::Error for ReadError {}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> ReadError {
        ReadError::Io(error)
    }
}

/// Reads a recording. A file that ends early gives the runs that are whole, if there are any.
///
/// ```
/// use pollscope_record::recording::read::{ReadError, read};
/// let error = read(std::io::Cursor::new("{}")).unwrap_err();
/// assert!(matches!(error, ReadError::Format(_)));
/// ```
///
/// # Errors
/// See [`ReadError`].
pub fn read(file: impl Read + Seek) -> Result<Saved, ReadError> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let room = usize::try_from(FREE + length).unwrap_or(usize::MAX);
    let start = if is_page(&mut file)? { after_mark(&mut file)? } else { 0 };
    file.seek(SeekFrom::Start(start))?;
    let texts = BufReader::with_capacity(64 << 10, Texts::of(&mut file));
    let (recording, is_torn) = match within(room, || sharing(length, || wire::from_json(texts))) {
        Ok(recording) => (recording, false),
        Err(error) if error.io_error_kind() == Some(io::ErrorKind::InvalidData) => {
            return Err(ReadError::Format(io::Error::from(error).to_string()));
        }
        Err(error) if error.is_io() => return Err(ReadError::Io(error.into())),
        Err(error) if error.is_eof() => {
            file.seek(SeekFrom::Start(start))?;
            let whole = whole_runs(&mut file)?.ok_or(ReadError::Torn)?;
            file.seek(SeekFrom::Start(start))?;
            let closed = (&mut file).take(whole).chain(&b"],\"findings\":[],\"gates\":[]}"[..]);
            let closed = BufReader::with_capacity(64 << 10, closed);
            let mut recording = within(room, || sharing(length, || wire::from_json(closed))).map_err(format_error)?;
            check(&recording).map_err(ReadError::Impossible)?;
            recording.findings = crate::findings::findings(&recording.runs);
            (recording, true)
        }
        Err(error) => return Err(format_error(error)),
    };
    check(&recording).map_err(ReadError::Impossible)?;
    Ok(Saved { recording, is_torn })
}

fn format_error(error: serde_json::Error) -> ReadError {
    let text = error.to_string();
    // A name out of a hostile file can be as long as the file.
    let shown: String = text.chars().take(200).collect();
    ReadError::Format(if shown.len() < text.len() { shown + "…" } else { text })
}

/// Whether the first character is that of a page.
fn is_page(file: &mut impl BufRead) -> io::Result<bool> {
    let start = file.fill_buf()?;
    let first = start.iter().find(|byte| !byte.is_ascii_whitespace() && !b"\xef\xbb\xbf".contains(byte));
    Ok(first == Some(&b'<'))
}

/// The offset behind the mark.
fn after_mark(file: &mut impl BufRead) -> Result<u64, ReadError> {
    let mark = PAGE_MARK.as_bytes();
    let (mut offset, mut matched) = (0, 0);
    loop {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            return Err(ReadError::Format("it is a page without a recording".to_owned()));
        }
        for (index, byte) in chunk.iter().enumerate() {
            // The mark's first byte occurs in it only once, so a mismatch can only be a new beginning.
            matched = if *byte == mark[matched] { matched + 1 } else { usize::from(*byte == mark[0]) };
            if matched == mark.len() {
                return Ok(offset + index as u64 + 1);
            }
        }
        let length = chunk.len();
        offset += length as u64;
        file.consume(length);
    }
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
fn check(recording: &Recording) -> Result<(), &'static str> {
    let total: u128 = recording.runs.iter().map(total).sum();
    if total >= MOST {
        return Err("its durations or counts add up to more than 146 years' nanoseconds");
    }
    let mut modes = BTreeSet::new();
    for run in &recording.runs {
        modes.insert(&run.mode);
        if modes.len() > MOST_MODES {
            return Err("it has more than 64 modes");
        }
        if run.slow_polls.len() as u64 + run.slow_polls_dropped != run.slow_polls_total {
            return Err("its slow polls are not as many as it says");
        }
        if run.mode.is_empty() {
            return Err("one of its modes has no name");
        }
    }
    Ok(())
}

/// Everything that somebody adds up.
fn total(run: &Run) -> u128 {
    let dist = |dist: &Dist| {
        [dist.sum_ns, dist.count(), dist.max_ns.unwrap_or(0), dist.clamped].map(u128::from).iter().sum::<u128>()
    };
    let dists = run.dists().chain(run.sites.iter().map(|site| &site.polls));
    let intervals = run.intervals.iter().flat_map(|interval| [Some(&interval.polls), interval.lag.as_ref()]).flatten();
    let polls = run.slow_polls.iter().flat_map(|poll| {
        let blame = poll.blame.map_or([0; 5], |blame| {
            [blame.tasks, blame.wait_ns, blame.late_tasks, blame.wait_most_ns, blame.lifo_tasks]
        });
        let parts = [poll.cpu_ns, poll.run_delay_ns, poll.off_cpu_ns].map(|part| part.unwrap_or(0));
        let waiter = poll.worst_waiter.as_ref().map_or([0; 2], |waiter| [waiter.ready_ns, waiter.polled_ns]);
        [poll.start_ns, poll.duration_ns].into_iter().chain(blame).chain(parts).chain(waiter)
    });
    let charges = run.ledger.iter().flat_map(|ledger| &ledger.charges);
    let charges = charges.flat_map(|charge| [charge.tasks, charge.wait_ns, charge.late_tasks, charge.wait_most_ns]);
    let merge = run.merge.iter().flat_map(|m| {
        [m.inputs, m.lines, m.long_lines, m.bytes, m.lost, m.duplicated, m.reordered, m.torn, m.foreign, m.unterminated]
    });
    let whole = [
        run.elapsed_ns,
        run.loop_busy_ns,
        run.slow_polls_total,
        run.slow_polls_dropped,
        run.slow_poll_lines.printed,
        run.slow_poll_lines.suppressed,
        run.slow_poll_threshold_ns,
        run.runtime.workers,
        run.unanswered.unwrap_or(0),
        run.throughput_bytes_per_s.unwrap_or(0),
        run.cpu_user_ns.unwrap_or(0),
        run.cpu_system_ns.unwrap_or(0),
        run.context_switches_voluntary.unwrap_or(0),
        run.context_switches_involuntary.unwrap_or(0),
        run.ledger.as_ref().map_or(0, |ledger| ledger.unattributed_ns),
    ];
    let sites = run.sites.iter().map(|site| site.slow);
    let starts = run.intervals.iter().flat_map(|interval| [interval.start_ns, interval.busy_ns]);
    let told = run.input_events.events.iter().map(|event| event.at_ns);
    let told = told.chain([run.input_events.dropped, run.input_events.possible_losses]);
    let numbers = polls.chain(told).chain(charges).chain(merge).chain(whole).chain(sites).chain(starts);
    numbers.map(u128::from).sum::<u128>() + dists.chain(intervals).map(dist).sum::<u128>()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::fixture;

    fn saved(text: impl AsRef<[u8]>) -> Result<Saved, ReadError> {
        read(Cursor::new(text.as_ref().to_vec()))
    }

    fn json() -> String {
        wire::to_json(&fixture::recording()).unwrap()
    }

    #[test]
    fn what_was_written_is_read_back_whole() {
        let read = saved(json()).unwrap();
        assert!(!read.is_torn);
        assert_eq!(wire::to_json(&read.recording).unwrap(), json());
    }

    /// Found by fuzzing: it was read as 0.9872981294820717.
    #[test]
    fn a_number_is_read_as_it_was_written() {
        let mut recording = fixture::recording();
        recording.gates[0].value = Some(0.987_298_129_482_071_6);
        let value = saved(wire::to_json(&recording).unwrap()).unwrap().recording.gates[0].value;
        assert_eq!(value, recording.gates[0].value);
    }

    #[test]
    fn a_page_gives_its_recording() {
        let json = wire::to_compact_json(&fixture::recording()).unwrap();
        let page = format!("<!doctype html><script>let a;</script>{PAGE_MARK}{json}</script></html>");
        assert_eq!(wire::to_json(&saved(page).unwrap().recording).unwrap(), self::json());
        assert!(matches!(saved("<html></html>"), Err(ReadError::Format(_))));
    }

    #[test]
    fn a_torn_file_gives_the_runs_that_are_whole() {
        let json = json();
        let whole = fixture::recording();
        assert!(whole.runs.len() > 1);
        let (mut none, mut some) = (0, 0);
        for end in (0..json.trim_end().len()).step_by(97) {
            match saved(&json[..end]) {
                Err(ReadError::Torn) => none += 1,
                Ok(read) => {
                    some += 1;
                    assert!(read.is_torn && !read.recording.runs.is_empty());
                    let first = serde_json::to_string(&read.recording.runs[0]).unwrap();
                    assert_eq!(first, serde_json::to_string(&whole.runs[0]).unwrap());
                }
                Err(error) => panic!("at {end}: {error}"),
            }
        }
        assert!(none > 0 && some > 0, "{none} {some}");
    }

    /// Found by fuzzing: its findings added up what had not been checked.
    #[test]
    fn a_torn_file_is_checked_too() {
        let mut recording = fixture::recording();
        recording.runs = vec![fixture::run("naive"), fixture::run("naive"), fixture::run("naive")];
        recording.runs[0].polls.clamped = u64::MAX;
        recording.runs[1].polls.clamped = u64::MAX;
        let json = wire::to_json(&recording).unwrap();
        assert!(matches!(saved(&json[..json.len() - 1_000]), Err(ReadError::Impossible(_))));
    }

    #[test]
    fn what_is_foreign_says_what_it_is_not() {
        let json = json();
        for (text, expected) in [
            ("[1]", "expected a string"),
            ("{\"a\":1}", "missing field `schema`"),
            ("nonsense", "expected ident"),
            (&json.replace("recording/1", "recording/2"), "its schema is `pollscope.recording/2`"),
            (&json.replacen("\"round\": 1", "\"round\": -1", 1), "invalid value: integer `-1`"),
            (&json.replacen("\"round\": 1", "\"round\": NaN", 1), "expected value"),
            (&"[".repeat(100_000), "expected a string"),
        ] {
            let error = saved(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.len() < 400, "{expected}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let changed = |change: fn(&mut Recording)| {
            let mut recording = fixture::recording();
            change(&mut recording);
            saved(wire::to_json(&recording).unwrap())
        };
        let refused = |change| matches!(changed(change), Err(ReadError::Impossible(_)));
        assert!(refused(|recording| recording.runs[0].elapsed_ns = u64::MAX));
        assert!(refused(|recording| recording.runs[0].slow_polls_dropped += 1));
        assert!(refused(|recording| recording.runs[0].mode.clear()));
        // Found by fuzzing.
        assert!(refused(|recording| recording.runs[0].polls.clamped = u64::MAX));
        assert!(refused(|recording| recording.runs[0].merge.as_mut().unwrap().unterminated = u64::MAX));
        for change in [(|recording| recording.runs[0].polls.max_ns = Some(1)) as fn(&mut Recording), |recording| {
            recording.runs[0].polls.min_ns = None
        }] {
            assert!(matches!(changed(change), Err(ReadError::Format(_))));
        }
    }

    #[test]
    fn an_element_takes_no_more_room_than_its_text() {
        let json = json();
        let frames = format!("\"stack\": [{}", "{},".repeat(5));
        assert!(saved(json.replacen("\"stack\": [", &frames, 1)).unwrap_err().to_string().contains("missing field"));
        let errors = format!("\"errors\": [{}\"\"", "\"\",".repeat(10_000));
        let error = saved(json.replacen("\"errors\": [", &errors, 1)).unwrap_err().to_string();
        assert!(error.contains("a list of at most 10000"), "{error}");
    }
}
