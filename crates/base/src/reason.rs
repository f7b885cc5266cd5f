//! What a failed call says, in words.

use std::fmt;

/// An error's message without the number that Rust adds to what the system says, which tells a reader nothing.
///
/// ```
/// let error = std::io::Error::from_raw_os_error(2);
/// assert_eq!(error.to_string(), "No such file or directory (os error 2)");
/// assert_eq!(pollscope_base::reason(&error), "No such file or directory");
/// ```
pub fn reason(error: impl fmt::Display) -> String {
    let said = error.to_string();
    let mut words = String::with_capacity(said.len());
    let mut rest = said.as_str();
    while let Some((before, after)) = rest.split_once(OPENS) {
        let digits = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        match digits.strip_prefix(')') {
            Some(behind) if digits.len() < after.len() => {
                words.push_str(before);
                rest = behind;
            }
            _ => {
                words.push_str(before);
                words.push_str(OPENS);
                rest = after;
            }
        }
    }
    words.push_str(rest);
    words
}

const OPENS: &str = " (os error ";

#[cfg(test)]
mod tests {
    use std::io;

    use super::reason;

    #[test]
    fn only_the_number_goes() {
        for (said, words) in [
            ("Is a directory (os error 21)", "Is a directory"),
            ("a (os error 2); b (os error 13)", "a; b"),
            ("invalid data (os error -1) at line 3", "invalid data at line 3"),
            ("odd (os error )", "odd (os error )"),
            ("odd (os error 2", "odd (os error 2"),
            ("plain", "plain"),
        ] {
            assert_eq!(reason(said), words);
        }
        let within = io::Error::other(io::Error::from_raw_os_error(13));
        assert!(!reason(&within).contains("os error"), "{within}");
    }
}
