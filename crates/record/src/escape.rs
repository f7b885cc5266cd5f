//! Names from outside, made safe to show: by the rules of the lines that the probe writes.

pub use pollscope_base::escape::{escape, is_unsafe, json, line};

/// A path made safe to show; what is not UTF-8 in it is shown as U+FFFD. Backticks are spelled out too: messages have paths
/// between them.
///
/// ```
/// # use std::path::Path;
/// assert_eq!(pollscope_record::escape::escape_path(Path::new("a\nb`.log")), "a\\nb\\u{60}.log");
/// ```
pub fn escape_path(path: &std::path::Path) -> String {
    escape(&path.to_string_lossy()).replace('`', "\\u{60}")
}
