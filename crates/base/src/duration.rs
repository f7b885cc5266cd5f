//! Durations as people type them.

use std::time::Duration;

/// Reads `100ms`, `1.5s`, `20us`, `2m` or `1h`; `None` for anything else, a number without a unit included (but for `0`).
///
/// ```
/// # use std::time::Duration;
/// use pollscope_base::duration;
/// assert_eq!(duration::parse("1.5ms"), Some(Duration::from_micros(1500)));
/// assert_eq!(duration::parse("15"), None);
/// ```
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim());
    let ns_per_unit: f64 = match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        "" if number == "0" => 1.0,
        _ => return None,
    };
    let ns = number.parse::<f64>().ok()? * ns_per_unit;
    (ns < u64::MAX as f64).then(|| Duration::from_nanos(ns.round() as u64))
}

/// A duration as nanoseconds; one of more than 584 years as that.
#[inline]
pub fn to_ns(duration: Duration) -> u64 {
    let seconds = duration.as_secs().checked_mul(1_000_000_000);
    seconds.and_then(|ns| ns.checked_add(duration.subsec_nanos().into())).unwrap_or(u64::MAX)
}
