//! An HdrHistogram interval log (`.hlog`): what its Java, JavaScript and Python tools read.
//!
//! # The lines
//!
//! Comments and a legend come first. `StartTime` and `BaseTime` are when the first run started, in seconds since 1970; both are
//! left out where the recording does not say it. Every other line is an interval:
//!
//! ```text
//! [Tag=TAG,]START,LENGTH,MAX,HISTOGRAM
//! ```
//!
//! `START` counts from `BaseTime`, and both it and `LENGTH` are seconds; `MAX` is the exact maximum in milliseconds, 0 where there
//! is no value; `HISTOGRAM` is base64 of an HdrHistogram in nanoseconds, V2 with DEFLATE. Runs follow each other as they ran, so
//! time runs on from mode to mode and from round to round, with a gap where nothing was measured.
//!
//! | line | what | covers |
//! |---|---|---|
//! | untagged | poll durations, of whatever mode ran then | an interval |
//! | `MODE.polls` | the same, of one mode | an interval |
//! | `MODE.lag` | loop lag, corrected for coordinated omission | an interval |
//! | `MODE.schedule_latency`, `.lag_raw`, `.response_time`, `.write_latency`, `.busy_stretches` | as in the recording | a run |
//! | `MODE.site.FILE:LINE` | poll durations of one spawn site | a run |
//!
//! Every interval has its untagged line: tools that are given no tag read those alone, and some fail without any. Lines are sorted
//! by `START`, since readers stop at the first one beyond the range that they were asked for; a line that covers a run therefore
//! stands at the run's beginning. Rounds of a mode share their tags. A measure that a run lacks has no line, and what a tag cannot
//! hold is `_` in it: commas, blanks, and what [`crate::escape`] spells out elsewhere, such as what reverses the order of text.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::ser::Error;

use super::timeline::Timeline;
use crate::dist::blob;
use crate::escape::is_unsafe;
use crate::recording::{Dist, Interval, Recording, Run};

const LEGEND: &str = r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#;

/// The log of all runs.
///
/// # Errors
/// When a histogram cannot be encoded: one of its counts is 2⁶³ or more.
pub fn render(recording: &Recording) -> serde_json::Result<String> {
    let timeline = Timeline::of(&recording.runs);
    let mut log = format!("#[Logged with pollscope {}]\n", tag(&recording.environment.pollscope));
    log.push_str("#[Histogram log format version 1.3]\n");
    if let Some(ms) = timeline.epoch_ms {
        for name in ["StartTime", "BaseTime"] {
            log.push_str(&format!("#[{name}: {}.{:03} (seconds since epoch)]\n", ms / 1_000, ms % 1_000));
        }
    }
    log.push_str(&format!("#[MaxValueDivisor: 1000000.000]\n{LEGEND}\n"));
    for (run, start_ns) in recording.runs.iter().zip(timeline.starts_ns) {
        write_run(&mut log, run, start_ns)?;
    }
    Ok(log)
}

fn write_run(log: &mut String, run: &Run, start_ns: u64) -> serde_json::Result<()> {
    let named = |measure: &str| format!("Tag={},", tag(&format!("{}.{measure}", run.group)));
    let whole = Interval {
        start_ns: 0,
        polls: run.polls.clone(),
        lag: run.lag.clone(),
        busy_ns: run.loop_busy_ns,
        longest_stretch_ns: None,
        queued: None,
        pool: None,
        slow: None,
    };
    let intervals = if run.intervals.is_empty() { std::slice::from_ref(&whole) } else { &run.intervals };
    for (measure, dist) in measures(run) {
        log.push_str(&format!("{}{}", named(&measure), line((start_ns, run.elapsed_ns), dist)?));
    }
    for (index, interval) in intervals.iter().enumerate() {
        let next = intervals.get(index + 1).map_or(run.elapsed_ns, |next| next.start_ns);
        let span = (start_ns.saturating_add(interval.start_ns), next.saturating_sub(interval.start_ns));
        if let Some(polls) = &interval.polls {
            let polls = line(span, polls)?;
            log.push_str(&format!("{polls}{}{polls}", named("polls")));
        }
        if let Some(lag) = &interval.lag {
            log.push_str(&format!("{}{}", named("lag"), line(span, lag)?));
        }
    }
    Ok(())
}

/// What is known only of the run as a whole.
fn measures(run: &Run) -> impl Iterator<Item = (String, &Dist)> {
    let measured = [
        ("schedule_latency", &run.schedule_latency),
        ("lag_raw", &run.lag_raw),
        ("response_time", &run.response_time),
        ("write_latency", &run.write_latency),
        ("busy_stretches", &run.busy_stretches),
    ];
    let measured = measured.into_iter().filter_map(|(name, dist)| Some((name.to_owned(), dist.as_ref()?)));
    measured.chain(run.known_sites().iter().map(|site| (format!("site.{}", site.spawned_at), &site.polls)))
}

fn line((start_ns, length_ns): (u64, u64), dist: &Dist) -> serde_json::Result<String> {
    let histogram = BASE64_STANDARD.encode(blob::encode(dist).map_err(serde_json::Error::custom)?);
    let thousandth = |units: u64, most: u64| format!("{}.{:0width$}", units / most, units % most, width = digits(most));
    // The format has no word for an empty histogram's maximum but 0.
    let max = thousandth(dist.max_ns.unwrap_or_default(), 1_000_000);
    let (start, length) = (thousandth(start_ns, 1_000_000_000), thousandth(length_ns, 1_000_000_000));
    Ok(format!("{start},{length},{max},{histogram}\n"))
}

fn digits(power_of_ten: u64) -> usize {
    power_of_ten.ilog10() as usize
}

fn tag(text: &str) -> String {
    let held = |c: char| if c == ',' || c.is_whitespace() || is_unsafe(c) { '_' } else { c };
    text.chars().map(held).collect::<String>().replace("##", "#_")
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::fixture::{self, MS, dist};

    fn recording() -> Recording {
        let mut recording = fixture::recording();
        let mut second = recording.runs[0].clone();
        second.started_at = "2026-05-04T10:11:20Z".to_owned();
        let slice = |start_ns, count| Interval {
            start_ns,
            polls: Some(dist(3, &[(count, 1_000, 2_000_000)])),
            lag: Some(dist(3, &[(count, 1_000, MS)])),
            busy_ns: Some(0),
            pool: None,
            slow: None,
            longest_stretch_ns: None,
            queued: None,
        };
        recording.runs[0].intervals = vec![slice(2 * MS, 10), slice(1_000 * MS, 20), slice(2_000 * MS, 30)];
        recording.runs[1].group = "off, loaded\n".to_owned();
        recording.runs.push(second);
        recording
    }

    /// Start in ms, length in ms, tag, count of a log's intervals.
    fn read(log: &str) -> Vec<(u128, u128, String, u64)> {
        let entries = IntervalLogIterator::new(log.as_bytes()).map(|entry| entry.expect("a line of the format"));
        let interval = |entry| match entry {
            LogEntry::Interval(interval) => {
                let bytes = BASE64_STANDARD.decode(interval.encoded_histogram()).unwrap();
                let tag = interval.tag().map(|tag| tag.as_str().to_owned()).unwrap_or_default();
                let (start, length) = (interval.start_timestamp(), interval.duration());
                Some((start.as_millis(), length.as_millis(), tag, blob::decode(&bytes).unwrap().count()))
            }
            _ => None,
        };
        entries.filter_map(interval).collect()
    }

    #[test]
    fn untagged_lines_are_all_polls_in_their_order() {
        let recording = recording();
        let lines = read(&render(&recording).unwrap());
        let untagged: Vec<_> =
            lines.iter().filter(|line| line.2.is_empty()).map(|line| (line.0, line.1, line.3)).collect();
        let polls = |run: usize| recording.runs[run].polls.as_ref().unwrap().count();
        assert_eq!(
            untagged,
            [(2, 998, 10), (1_000, 1_000, 20), (2_000, 1_020, 30), (3_020, 3_020, polls(1)), (8_000, 3_020, polls(2))]
        );
        assert!(lines.is_sorted_by_key(|line| line.0));
    }

    #[test]
    fn tags_hold_nothing_that_separates() {
        let lines = read(&render(&recording()).unwrap());
        let of = |tag: &str| lines.iter().filter(|line| line.2 == tag).count();
        assert_eq!((of("naive.polls"), of("naive.lag"), of("off__loaded_.lag")), (4, 4, 1));
        assert_eq!((of("naive.response_time"), of("naive.site.src/pipeline/merge.rs:88")), (2, 2));
    }

    #[test]
    fn tags_hold_nothing_that_is_not_to_be_shown() {
        let mut recording = recording();
        let odd = "a\u{202e}b\u{200b}c\u{1b}[2Jd\u{2066}##[error]e\u{feff}ü日";
        recording.runs[0].group = odd.to_owned();
        fixture::sites(&mut recording.runs[0])[0].spawned_at = format!("{odd}:7");
        recording.environment.pollscope = odd.to_owned();
        let log = render(&recording).unwrap();
        assert!(!log.chars().any(|c| c != '\n' && is_unsafe(c)) && !log.contains("##["), "{log}");
        assert!(log.contains("Tag=a_b_c_[2Jd_#_[error]e_ü日.polls,"), "{log}");
    }

    #[test]
    fn the_first_lines_are_the_header() {
        let mut recording = recording();
        let log = render(&recording).unwrap();
        let header: Vec<&str> = log.lines().take(6).collect();
        assert_eq!(
            header,
            [
                "#[Logged with pollscope 0.1.0]",
                "#[Histogram log format version 1.3]",
                "#[StartTime: 1777889472.000 (seconds since epoch)]",
                "#[BaseTime: 1777889472.000 (seconds since epoch)]",
                "#[MaxValueDivisor: 1000000.000]",
                LEGEND,
            ]
        );
        assert!(log.contains("\n0.002000000,0.998000000,2.000000,HISTFAAAA"));
        recording.runs[0].started_at.clear();
        assert!(!render(&recording).unwrap().contains("Time:"), "an unknown start is not 1970");
    }
}
