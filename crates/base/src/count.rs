//! Counts as people read them.

/// A count with its thousands apart: `1,234,567`.
///
/// ```
/// assert_eq!(pollscope_base::count::format_count(1_234_567), "1,234,567");
/// ```
pub fn format_count(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun: `1 poll`, `2 polls`.
///
/// ```
/// assert_eq!(pollscope_base::count::plural(1, "poll"), "1 poll");
/// assert_eq!(pollscope_base::count::plural(3_000, "poll"), "3,000 polls");
/// ```
pub fn plural(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", format_count(count), if count == 1 { "" } else { "s" })
}
