//! Reading an HdrHistogram interval log: pollscope's own ([`crate::report::hlog`]) or another program's. It may be torn, foreign
//! or made to do harm.
//!
//! Intervals are put together by tag as they are read, so a log takes no more memory than its tags do. The format does not say
//! what a value is: values are taken for nanoseconds, as tools that follow HdrHistogram's own example write them.

mod gathering;

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use pollscope_base::reason;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use self::gathering::Gathering;
use crate::dist::{Dist, blob};
use crate::recording::read::way_out;

/// No line that can be decoded is longer, in bytes.
const LONGEST_LINE: u64 = 16 << 20;
/// Bytes that histograms may take besides one for each byte of the log.
const FREE: usize = 8 << 20;
/// A tag's bytes.
const LONGEST_TAG: usize = 1_000;
const MOST_TAGS: usize = 10_000;
/// No tag's count, and no sum in nanoseconds, reaches it: 146 years.
const MOST: u64 = 1 << 62;
/// Time stamps are below it, in seconds: the year 2286.
const LATEST: f64 = 1e10;

/// A log that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalLog {
    /// Its tags, in the order in which they first occur; never empty.
    pub tags: Vec<Tagged>,
    /// Whether the last line is cut short, and so left out.
    pub is_torn: bool,
}

/// All lines of one tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// `None` for lines without a tag.
    pub tag: Option<String>,
    /// How many lines.
    pub lines: u64,
    /// When the first began, in nanoseconds since the log's `BaseTime`, or since 1970 where it has none.
    pub start_ns: u64,
    /// When the last to end ended, on the same clock.
    pub end_ns: u64,
    /// All their values, to the digits of the first line; minimum and maximum are ends of buckets.
    pub values: Dist,
}

/// Why a file is no interval log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It cannot be read.
    #[error("{}; {}", reason(.0), way_out(.0))]
    Io(#[from] io::Error),
    /// A line that is not the last is none of the format: its number, from 1, and what is wrong with it.
    #[error("line {0}: {1}; write the log again, or remove that line")]
    Line(u64, String),
    /// No line of it is a whole interval.
    #[error("it has no whole interval; let its program log one first")]
    Empty,
    /// It has more than 10,000 tags.
    #[error("it has more than {MOST_TAGS} tags; give a part of it, such as `grep -e '^#' -e 'Tag=x,'`")]
    TooManyTags,
}

/// Whether a file that begins so is an interval log: with a comment, the legend, a tag or a time stamp.
///
/// ```
/// use pollscope_record::interval_log::is_log;
/// assert!(is_log(b"#[StartTime: 1.0 (seconds since epoch)]\n") && is_log(b"0.127,1.007,2.769,HISTFAAA"));
/// assert!(!is_log(b"{\"schema\":") && !is_log(b"<html>") && !is_log(b"17") && !is_log(b""));
/// ```
pub fn is_log(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let number = start.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
    [&b"#"[..], b"\"StartTimestamp\"", b"Tag="].iter().any(|prefix| start.starts_with(prefix))
        || (number > 0 && start.get(number) == Some(&b','))
}

/// Reads a log to its end. A last line that is cut short is left out.
///
/// ```
/// use pollscope_record::interval_log::{LogError, read};
/// let error = read(&b"#a comment\n"[..]).unwrap_err();
/// assert!(matches!(error, LogError::Empty));
/// ```
///
/// # Errors
/// See [`LogError`]. Nothing that lines say makes it take more than about 64 MiB beyond the log's size.
pub fn read(mut file: impl BufRead) -> Result<IntervalLog, LogError> {
    let mut tags: Vec<Gathering> = Vec::new();
    let mut places: HashMap<Option<String>, usize> = HashMap::new();
    let mut is_torn = false;
    let mut line = Vec::new();
    let (mut room, mut held) = (FREE, 0);
    for number in 1.. {
        line.clear();
        if (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let is_whole = line.ends_with(b"\n");
        if !is_whole && line.len() as u64 == LONGEST_LINE {
            return Err(LogError::Line(number, "it is longer than 16 MiB".to_owned()));
        }
        room += line.len();
        if held > room / 2 {
            // Histograms that hold far more than their text: nothing of the room is for what could be less.
            tags.iter_mut().for_each(Gathering::put_together);
            held = tags.iter().map(Gathering::size).sum();
        }
        let added = match interval(&line, room.saturating_sub(held)) {
            Ok(None) => continue,
            Ok(Some((interval, count))) => match places.get(&interval.tag) {
                Some(place) => {
                    let same = &mut tags[*place];
                    held -= same.size();
                    let added = same.add(interval, count);
                    held += same.size();
                    added
                }
                None => {
                    held += interval.values.size();
                    places.insert(interval.tag.clone(), tags.len());
                    tags.push(Gathering::of(interval, count));
                    Ok(())
                }
            },
            Err(_) if !is_whole => {
                is_torn = true;
                break;
            }
            Err(what) => Err(what),
        };
        added.map_err(|what| LogError::Line(number, what))?;
        if tags.len() > MOST_TAGS {
            return Err(LogError::TooManyTags);
        }
    }
    let tags: Vec<Tagged> = tags.into_iter().map(Gathering::finish).collect();
    if tags.is_empty() { Err(LogError::Empty) } else { Ok(IntervalLog { tags, is_torn }) }
}

/// What a line says, whose histogram has so much room, and how many values it has; `None` for a comment, the legend and a blank one.
fn interval(line: &[u8], room: usize) -> Result<Option<(Tagged, u64)>, String> {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_start_matches('\u{feff}').trim();
    if line.is_empty() || line.starts_with('#') || line.starts_with("\"StartTimestamp\"") {
        return Ok(None);
    }
    let (tag, fields) = match line.strip_prefix("Tag=") {
        Some(tagged) => tagged.split_once(',').map(|(tag, fields)| (Some(tag), fields)).ok_or("it ends in its tag")?,
        None => (None, line),
    };
    if tag.is_some_and(|tag| tag.len() > LONGEST_TAG) {
        return Err(format!("its tag is longer than {LONGEST_TAG} bytes"));
    }
    let fields: Vec<&str> = fields.splitn(4, ',').map(str::trim).collect();
    let [start, length, _max, histogram] = fields[..] else {
        return Err("it is not `start,length,max,histogram`".to_owned());
    };
    let (start_ns, length_ns) = (nanos(start)?, nanos(length)?);
    let bytes = BASE64_STANDARD.decode(histogram).map_err(|_| "its histogram is not base64")?;
    let values = blob::decode_any_at_most(&bytes, room).map_err(|error| error.to_string())?;
    let count = values.count();
    if count >= MOST || values.sum_ns >= MOST {
        return Err("its values add up to more than 146 years' nanoseconds".to_owned());
    }
    let tag = tag.map(str::to_owned);
    Ok(Some((Tagged { tag, lines: 1, start_ns, end_ns: start_ns.saturating_add(length_ns), values }, count)))
}

fn nanos(seconds: &str) -> Result<u64, String> {
    let seconds: Option<f64> = seconds.parse().ok();
    let seconds = seconds.filter(|seconds| (0.0..LATEST).contains(seconds)).ok_or("its start or length is no time")?;
    Ok((seconds * 1e9).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::recording::Recording;
    use crate::report::hlog;

    /// Of jHiccup, in Java: the beginning of a log that HdrHistogram's implementations are tested with. Its histograms have two
    /// digits and begin at 20 µs.
    const JAVA: &str = r##"#[Logged with jHiccup version 2.0.7-SNAPSHOT, manually edited to duplicate contents with Tag=A]
#[Histogram log format version 1.2]
#[StartTime: 1441812279.474 (seconds since epoch), Wed Sep 09 08:24:39 PDT 2015]
"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
0.127,1.007,2.769,HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZkKmcCAEf2CsI=
Tag=A,0.127,1.007,2.769,HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZkKmcCAEf2CsI=
1.134,0.999,0.442,HISTFAAAAEJ42pNpmSzMwMAgxwABTBDKT4GBgdnNYMcCBvsPEBEWLj45FTExAT4pBSEBKa6UkAgBi1uM7xjfMMlwMDABAC0CCjM=
Tag=A,1.134,0.999,0.442,HISTFAAAAEJ42pNpmSzMwMAgxwABTBDKT4GBgdnNYMcCBvsPEBEWLj45FTExAT4pBSEBKa6UkAgBi1uM7xjfMMlwMDABAC0CCjM=
"##;

    fn recording() -> Recording {
        fixture::recording()
    }

    fn log() -> String {
        hlog::render(&recording()).unwrap()
    }

    fn of<'a>(log: &'a IntervalLog, tag: Option<&str>) -> &'a Tagged {
        log.tags.iter().find(|tagged| tagged.tag.as_deref() == tag).unwrap_or_else(|| panic!("{tag:?}"))
    }

    #[test]
    fn what_was_written_is_read_back() {
        let (recording, log) = (recording(), read(log().as_bytes()).unwrap());
        let [naive, offloaded] = &recording.runs[..] else { panic!("two runs") };
        let polls = of(&log, None);
        let count = |run: &crate::recording::Run| run.polls.as_ref().unwrap().count();
        assert_eq!((polls.lines, polls.values.count()), (2, count(naive) + count(offloaded)));
        assert_eq!((polls.start_ns, polls.end_ns), (0, 6_040_000_000));
        let response = &of(&log, Some("offloaded.response_time")).values;
        assert!(response.buckets().eq(offloaded.response_time.as_ref().unwrap().buckets()));
        assert!(!log.is_torn);
    }

    #[test]
    fn another_program_s_log_has_the_percentiles_that_other_readers_find() {
        let log = read(JAVA.as_bytes()).unwrap();
        assert_eq!(log.tags.len(), 2);
        for tag in [None, Some("A")] {
            let Tagged { lines, start_ns, end_ns, values, .. } = of(&log, tag);
            assert_eq!((*lines, *start_ns, *end_ns, values.count()), (2, 127_000_000, 2_133_000_000, 1_490));
            // As hdr-histogram-js reads them.
            let percentiles = [0.5, 0.9, 0.99, 0.999].map(|q| values.quantile_ns(q));
            assert_eq!(percentiles, [344_063, 376_831, 409_599, 1_769_471].map(Some));
        }
    }

    #[test]
    fn whatever_a_log_says_there_is_an_answer() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..300 {
            let mut changed = JAVA.as_bytes().to_vec();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..changed.len());
                changed[at] = random.u8(..);
            }
            let _ = read(&changed[..]);
        }
    }

    #[test]
    fn a_last_line_that_is_cut_short_is_left_out() {
        let log = log();
        let whole = read(log.as_bytes()).unwrap();
        let last = log.trim_end().rfind('\n').unwrap() + 1;
        for end in (last + 1..log.len() - 1).step_by(7) {
            let torn = read(&log.as_bytes()[..end]).unwrap();
            assert!(torn.is_torn && torn.tags[..] != whole.tags[..], "at {end}");
        }
        assert_eq!(read(log.trim_end().as_bytes()).unwrap(), whole, "only the newline is missing");
        let torn_within = format!("{}\n{}", &log[..log.len() - 20], &log[last..]);
        let number = log.lines().count() as u64;
        assert!(matches!(read(torn_within.as_bytes()), Err(LogError::Line(n, _)) if n == number));
    }

    #[test]
    fn what_is_no_interval_says_why() {
        let blob = log().lines().last().unwrap().rsplit(',').next().unwrap().to_owned();
        for (line, why) in [
            ("0.1,0.2,3", "not `start,length,max,histogram`"),
            ("Tag=x", "ends in its tag"),
            ("NaN,1,1,AAAA", "no time"),
            ("-1,1,1,AAAA", "no time"),
            ("1e300,1,1,AAAA", "no time"),
            ("1,1,1,****", "not base64"),
            ("1,1,1,AAAA", "ends early"),
            ("1,1,1,AAAAAAAAAAAA", "encoding is not V2"),
            (&format!("Tag={},1,1,1,{blob}", "x".repeat(1_001)), "tag is longer"),
        ] {
            let error = read(format!("#\n{line}\n").as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(why), "{line}: {error}");
        }
        let blob = BASE64_STANDARD.encode(blob::encode(&Dist::empty(1)).unwrap());
        let many: String = (0..=MOST_TAGS).map(|tag| format!("Tag={tag},1,1,1,{blob}\n")).collect();
        assert!(matches!(read(many.as_bytes()), Err(LogError::TooManyTags)));
        assert!(read(format!("\u{feff}#\r\n1,1,1,{blob}\r\n").as_bytes()).is_ok());
    }
}
