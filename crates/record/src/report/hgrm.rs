//! A percentile distribution (`.hgrm`): what HdrHistogram's plotter draws.
//!
//! Four columns, `Value Percentile TotalCount 1/(1-Percentile)`, the last row without the fourth, and a footer; values in
//! milliseconds with as many decimals as the histogram has significant digits. It is, byte for byte, what hdr-histogram-js prints
//! with `outputPercentileDistribution(5, 1e6)`: mean and deviation are those of the buckets' middles, and `Max` is the upper end of
//! the last bucket. (Of a log whose histograms were laid out otherwise than pollscope's, the rows are still the same; the footer
//! speaks of pollscope's layout.)
//!
//! The plotter draws one distribution a file, named as the file. So a recording of several modes becomes a file each, with the
//! mode before the extension; on stdout they follow each other, each behind a comment that names it. What is shown of a recording
//! is its poll durations, all rounds of a mode together. Any other measure is in the interval log: `pollscope report run.hlog
//! --format hgrm` gives every tag of it.

use std::path::{Path, PathBuf};

use crate::by_group::by_group;
use crate::escape::escape;
use crate::recording::{Dist, MAX_NS, Recording};

/// Rows for each half of the distance to 100 %.
const TICKS: f64 = 5.0;
/// Nanoseconds in the unit of values.
const UNIT_NS: f64 = 1e6;

/// Where polls are not seen one by one.
const NOTHING: &str = "#[no poll durations are known]\n";

/// One distribution and its name: a mode's, or a tag's.
pub type Named = (String, Dist);

/// The poll durations of each group, where they are known.
pub fn of_recording(recording: &Recording) -> Vec<Named> {
    by_group(&recording.runs).into_iter().filter_map(|mode| Some((mode.name.to_owned(), mode.polls?))).collect()
}

/// All of them in one text: one alone as it is, several each behind a comment with its name.
pub fn render(all: &[Named]) -> String {
    match all {
        [] => NOTHING.to_owned(),
        [(_, dist)] => distribution(dist),
        _ => all.iter().map(|(name, dist)| format!("#[{}]\n{}\n", escape(name), distribution(dist))).collect(),
    }
}

/// A file for each, and of none one that says so: of one alone `path` as it is, of several with the name before the extension.
///
/// ```
/// use pollscope_record::dist::Dist;
/// use pollscope_record::report::hgrm::files;
/// let all = ["naive", "off/loaded"].map(|name| (name.to_owned(), Dist::empty(3)));
/// let names: Vec<_> = files(&all, "out/polls.hgrm".as_ref()).into_iter().map(|(path, _)| path).collect();
/// assert_eq!(names, ["out/polls.naive.hgrm", "out/polls.off_loaded.hgrm"].map(std::path::PathBuf::from));
/// ```
pub fn files(all: &[Named], path: &Path) -> Vec<(PathBuf, String)> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for (name, dist) in all {
        let mut file = if all.len() == 1 { path.to_owned() } else { beside(path, &file_name(name)) };
        if files.iter().any(|(other, _)| *other == file) {
            file = beside(path, &format!("{}-{}", file_name(name), files.len() + 1));
        }
        files.push((file, distribution(dist)));
    }
    if files.is_empty() {
        files.push((path.to_owned(), NOTHING.to_owned()));
    }
    files
}

/// A name may come from any recording: nothing of it leads to another folder.
fn file_name(name: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.chars().map(safe).take(100).collect()
}

fn beside(path: &Path, name: &str) -> PathBuf {
    let mut file = path.file_stem().unwrap_or_default().to_owned();
    file.push(format!(".{name}"));
    if let Some(extension) = path.extension() {
        file.push(".");
        file.push(extension);
    }
    path.with_file_name(file)
}

/// The text of one.
///
/// ```
/// use pollscope_record::dist::Dist;
/// let mut dist = Dist::empty(3);
/// dist.record(1_500_000);
/// let text = pollscope_record::report::hgrm::distribution(&dist);
/// assert!(text.contains("\n       1.500 0.000000000000          1           1.00\n"), "in milliseconds");
/// assert!(text.ends_with("#[Buckets =           32, SubBuckets     =         2048]\n"));
/// ```
pub fn distribution(dist: &Dist) -> String {
    let decimals = usize::from(dist.digits());
    let value = |ns: f64| format!("{:>12}", rounded(ns / UNIT_NS, decimals));
    let mut text = "       Value     Percentile TotalCount 1/(1-Percentile)\n\n".to_owned();
    for Row { high_ns, percent, below } in rows(dist) {
        let percentile = percent / 100.0;
        text.push_str(&format!("{} {} {below:>10}", value(high_ns as f64), rounded(percentile, 12)));
        if percent < 100.0 {
            text.push_str(&format!(" {:>14}", rounded(1.0 / (1.0 - percentile), 2)));
        }
        text.push('\n');
    }
    let (mean, deviation) = mean_and_deviation(dist);
    let max = dist.buckets().last().map_or(0, |bucket| bucket.high_ns);
    let (buckets, sub_buckets) = layout(dist.digits());
    text.push_str(&format!("#[Mean    = {}, StdDeviation   = {}]\n", value(mean), value(deviation)));
    text.push_str(&format!("#[Max     = {}, Total count    = {:>12}]\n", value(max as f64), dist.count()));
    text.push_str(&format!("#[Buckets = {buckets:>12}, SubBuckets     = {sub_buckets:>12}]\n"));
    text
}

struct Row {
    high_ns: u64,
    percent: f64,
    /// Values up to and in this bucket.
    below: u64,
}

/// HdrHistogram's iteration by percentiles: the step is halved with each half of the distance to 100 %.
fn rows(dist: &Dist) -> Vec<Row> {
    let total = dist.count();
    let (mut rows, mut below, mut percent) = (Vec::new(), 0, 0.0);
    for bucket in dist.buckets() {
        below += bucket.count;
        while below < total && 100.0 * below as f64 / total as f64 >= percent {
            rows.push(Row { high_ns: bucket.high_ns, percent, below });
            percent += 100.0 / (TICKS * 2f64.powf((100.0 / (100.0 - percent)).log2().floor() + 1.0));
        }
        if below == total {
            let row = |percent| Row { high_ns: bucket.high_ns, percent, below };
            rows.extend([row(percent), row(100.0)]);
        }
    }
    rows
}

fn mean_and_deviation(dist: &Dist) -> (f64, f64) {
    let total = dist.count();
    if total == 0 {
        return (0.0, 0.0);
    }
    let middles = || {
        let middle = |low: u64, high: u64| (low + (high - low).div_ceil(2)) as f64;
        dist.buckets().map(move |bucket| (middle(bucket.low_ns, bucket.high_ns), bucket.count as f64))
    };
    let mean = middles().map(|(ns, count)| ns * count).sum::<f64>() / total as f64;
    let squares: f64 = middles().map(|(ns, count)| (ns - mean) * (ns - mean) * count).sum();
    (mean, (squares / total as f64).sqrt())
}

/// The buckets of an HdrHistogram up to an hour, by the powers of two, and what each is divided into.
fn layout(digits: u8) -> (u32, u64) {
    let sub_buckets = (2 * 10u64.pow(digits.into())).next_power_of_two();
    ((MAX_NS / sub_buckets).ilog2() + 2, sub_buckets)
}

/// As `Intl.NumberFormat` rounds: halves away from 0, of the shortest decimal number that is the same float.
fn rounded(value: f64, decimals: usize) -> String {
    let shortest = value.to_string();
    let (whole, fraction) = shortest.split_once('.').unwrap_or((&shortest, ""));
    let mut digits: Vec<u8> =
        whole.bytes().chain(fraction.bytes().chain(std::iter::repeat(b'0')).take(decimals)).collect();
    let mut carry = fraction.as_bytes().get(decimals).is_some_and(|digit| *digit >= b'5');
    for digit in digits.iter_mut().rev() {
        if !carry {
            break;
        }
        carry = *digit == b'9';
        *digit = if carry { b'0' } else { *digit + 1 };
    }
    let carried = if carry { "1" } else { "" };
    let text: String = carried.chars().chain(digits.into_iter().map(char::from)).collect();
    let (whole, fraction) = text.split_at(text.len() - decimals);
    if decimals == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn halves_are_rounded_up_and_carried() {
        for (value, decimals, expected) in [
            (0.0625, 3, "0.063"),
            (1.0005, 3, "1.001"),
            (9.9996, 3, "10.000"),
            (99.5, 0, "100"),
            (1.0, 2, "1.00"),
            (0.1, 12, "0.100000000000"),
            (1e21, 1, "1000000000000000000000.0"),
            (1e-9, 3, "0.000"),
        ] {
            assert_eq!(rounded(value, decimals), expected, "{value}");
        }
    }

    #[test]
    fn rows_halve_the_distance_and_end_at_all() {
        let dist = fixture::dist(3, &[(1_000, 1_000, 1_000_000)]);
        let text = distribution(&dist);
        let rows: Vec<Vec<&str>> =
            text.lines().skip(2).filter(|l| !l.starts_with('#')).map(|l| l.split_whitespace().collect()).collect();
        assert!(rows[..rows.len() - 1].iter().all(|row| row.len() == 4));
        assert_eq!(rows.last().unwrap()[1..], ["1.000000000000", "1000"]);
        assert_eq!(rows[1][1], "0.100000000000");
        assert_eq!(rows[6][1..3], ["0.550000000000", "550"]);
        assert!(!distribution(&Dist::empty(3)).contains("0.000000000000"), "no row where there is no value");
    }

    #[test]
    fn several_are_told_apart() {
        let all = of_recording(&fixture::recording());
        let text = render(&all);
        assert!(text.starts_with("#[naive]\n       Value ") && text.contains("\n\n#[offloaded]\n"));
        assert_eq!(render(&all[..1]), distribution(&all[0].1));
        let same: Vec<Named> = ["a/b", "a_b", "../x"].map(|name| (name.to_owned(), Dist::empty(3))).into();
        let names: Vec<_> = files(&same, Path::new("f")).into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["f.a_b", "f.a_b-2", "f..._x"].map(PathBuf::from));
        assert_eq!(files(&same[..1], Path::new("f"))[0].0, Path::new("f"));
    }
}
