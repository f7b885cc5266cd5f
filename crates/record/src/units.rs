//! Durations, sizes and counts as people type and read them: the only formatter and parser.

use std::fmt;
use std::time::Duration;

pub use pollscope_base::count::{format_count, plural};

use crate::snippet::printable;

/// Why a text is not a duration or a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    text: String,
    wanted: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read `{}` as {}", printable(&self.text), self.wanted)
    }
}

impl std::error::Error for UnitError {}

const DURATION: &str = "a duration: write a number and a unit, such as `100ms`, `1.5s`, `20us`, `2m` or `1h`";
const SIZE: &str = "a size: write a whole number and a unit, such as `512B`, `64KiB` or `2MiB`";

/// Splits `1.5ms` into `("1.5", "ms")`.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// Reads a duration such as `100ms`. A bare `0` is a duration too; any other number needs its unit.
///
/// # Errors
/// When the number or the unit is not one, or the duration does not fit in 2⁶⁴ nanoseconds.
///
/// ```
/// # use std::time::Duration;
/// use pollscope_record::units::parse_duration;
/// assert_eq!(parse_duration("1.5ms"), Ok(Duration::from_micros(1500)));
/// assert!(parse_duration("15").is_err(), "a number without a unit is refused");
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    pollscope_base::duration::parse(text).ok_or_else(|| UnitError { text: text.to_owned(), wanted: DURATION })
}

/// Reads a size in bytes such as `64KiB`; `KB` and `MB` are powers of ten.
///
/// # Errors
/// When the number or the unit is not one, or the size does not fit in 2⁶⁴ bytes.
///
/// ```
/// assert_eq!(pollscope_record::units::parse_size("64KiB"), Ok(65_536));
/// ```
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let error = || UnitError { text: text.to_owned(), wanted: SIZE };
    let (number, unit) = split_unit(text);
    let bytes_per_unit: u64 = match unit {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" => 1 << 30,
        _ => return Err(error()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(bytes_per_unit)).ok_or_else(error)
}

/// A duration with three significant digits and the unit that suits it: `950 ns`, `12.3 µs`, `168 ms`, `2.50 s`.
///
/// ```
/// use pollscope_record::units::format_ns;
/// assert_eq!(format_ns(168_400_000), "168 ms");
/// assert_eq!(format_ns(999_600), "1.00 ms");
/// ```
pub fn format_ns(ns: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")];
    if ns < 1_000 {
        return format!("{ns} ns");
    }
    for (scale, unit) in UNITS {
        let value = ns as f64 / scale;
        // 999.5 would be shown as 1000: it belongs to the next unit.
        if value < 999.5 || unit == "s" {
            return format!("{} {unit}", three_digits(value));
        }
    }
    unreachable!("seconds take every value")
}

/// A range in one unit, that of its upper end, as [`format_ns`] has it; in two where the lower end is too small for that, as one value
/// where both ends are shown as one, and without a lower end where that is 0.
///
/// ```
/// use pollscope_record::units::format_range;
/// assert_eq!(format_range(904_000_000, 1_200_000_000), "0.904 to 1.20 s");
/// assert_eq!(format_range(2_700_000_000, 4_320_000_000), "2.70 to 4.32 s");
/// assert_eq!(format_range(12_000, 2_000_000_000), "12.0 µs to 2.00 s");
/// assert_eq!(format_range(2_000_000_000, 2_000_000_001), "2.00 s");
/// assert_eq!(format_range(0, 2_000_000_000), "up to 2.00 s");
/// ```
pub fn format_range(low_ns: u64, high_ns: u64) -> String {
    let (low, high) = (format_ns(low_ns), format_ns(high_ns));
    let scale = match high.split_once(' ') {
        _ if low == high => return high,
        _ if low_ns == 0 => return format!("up to {high}"),
        Some((_, "µs")) => 1e3,
        Some((_, "ms")) => 1e6,
        Some((_, "s")) => 1e9,
        _ => 1.0,
    };
    let value = low_ns as f64 / scale;
    let is_whole = scale == 1.0;
    match value {
        _ if is_whole => format!("{low_ns} to {high}"),
        // Three digits behind the point would be less than three that count.
        value if value < 0.1 => format!("{low} to {high}"),
        value if value < 1.0 => format!("{value:.3} to {high}"),
        value => format!("{} to {high}", three_digits(value)),
    }
}

/// [`format_ns`] for round values: without decimals that are 0, as on an axis: `1 µs`, `1.5 s`, `100 ms`.
///
/// ```
/// assert_eq!(pollscope_record::units::format_round_ns(100_000_000), "100 ms");
/// assert_eq!(pollscope_record::units::format_round_ns(1_500), "1.5 µs");
/// ```
pub fn format_round_ns(ns: u64) -> String {
    let text = format_ns(ns);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

/// [`format_ns`] of a [`Duration`]; longer than 584 years is shown as that.
pub fn format_duration(duration: Duration) -> String {
    format_ns(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// A duration as a setting is written: exact, no space, the largest unit that leaves a whole number.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(pollscope_record::units::setting_duration(Duration::from_millis(100)), "100ms");
/// ```
pub fn setting_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    for (scale, unit) in [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")] {
        if ns != 0 && ns.is_multiple_of(scale) {
            return format!("{}{unit}", ns / scale);
        }
    }
    if ns == 0 { "0s".to_owned() } else { format!("{ns}ns") }
}

/// A throughput or a size: `1.86 MB/s` is `format_bytes(…)` followed by `/s`. Powers of ten.
///
/// ```
/// assert_eq!(pollscope_record::units::format_bytes(1_860_000), "1.86 MB");
/// ```
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    for (scale, unit) in UNITS {
        let value = bytes as f64 / scale;
        if value < 999.5 || unit == "TB" {
            return format!("{} {unit}", three_digits(value));
        }
    }
    unreachable!("terabytes take every value")
}

/// How many times as much: `31x`, `1.94x`, `0.52x`, `1,234x`; two decimals up to 10.
///
/// ```
/// use pollscope_record::units::format_ratio;
/// assert_eq!(format_ratio(31.2), "31x");
/// assert_eq!(format_ratio(1.94), "1.94x");
/// assert_eq!(format_ratio(0.004), "<0.01x", "what is not 0 is not shown as 0");
/// ```
pub fn format_ratio(ratio: f64) -> String {
    if ratio >= 9.995 {
        format!("{}x", format_count(ratio.round() as u64))
    } else if ratio >= 0.005 || ratio <= 0.0 {
        format!("{ratio:.2}x")
    } else {
        "<0.01x".to_owned()
    }
}

/// A fraction (0 to 1) as a percentage: `62.1 %`, `0.3 %`, `100 %`.
/// What is not 0 is never shown as `0 %`, and what is not all never as `100 %`.
///
/// ```
/// use pollscope_record::units::format_percent;
/// assert_eq!(format_percent(0.621), "62.1 %");
/// assert_eq!(format_percent(0.000_01), "<0.1 %");
/// ```
pub fn format_percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    if fraction <= 0.0 {
        "0 %".to_owned()
    } else if percent < 0.05 {
        "<0.1 %".to_owned()
    } else if percent < 99.95 {
        format!("{percent:.1} %")
    } else if fraction < 1.0 {
        ">99.9 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

/// Seconds as asyncio's debug mode writes them: `0.503`; below a millisecond with six decimals, so that it is not `0.000`.
///
/// ```
/// use pollscope_record::units::format_seconds;
/// assert_eq!(format_seconds(503_123_456), "0.503");
/// assert_eq!(format_seconds(20_000), "0.000020");
/// ```
pub fn format_seconds(ns: u64) -> String {
    let seconds = ns as f64 / 1e9;
    if ns < 1_000_000 { format!("{seconds:.6}") } else { format!("{seconds:.3}") }
}

/// Names as a sentence lists them: `a`, `a and b`, `a, b and c`.
///
/// ```
/// assert_eq!(pollscope_record::units::join_and(&["a", "b", "c"]), "a, b and c");
/// ```
pub fn join_and(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// Three significant digits of a number from 0.01 up to 9999: `1.86`, `18.6`, `186`.
fn three_digits(value: f64) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ns) in
            [("0", 0), ("1ns", 1), ("20us", 20_000), ("20 µs", 20_000), ("0.5s", 500_000_000), ("2m", 120_000_000_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(ns)), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "ms", "-1s", "1e9s", "5 parsecs", "1..5s", "99999999999h", "NaNs", "inf s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        for text in ["", "KiB", "1.5KiB", "-1", "99999999999GiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_read_back() {
        for ns in [0, 1, 999, 1_000, 100_000_000, 1_500_000_000, 60_000_000_000] {
            let duration = Duration::from_nanos(ns);
            assert_eq!(parse_duration(&setting_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn three_digits_everywhere() {
        for (ns, text) in
            [(0, "0 ns"), (999, "999 ns"), (9_999, "10.0 µs"), (99_960, "100 µs"), (2_500_000_000, "2.50 s")]
        {
            assert_eq!(format_ns(ns), text);
        }
    }
}
