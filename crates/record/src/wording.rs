//! Hiding paths in texts of which only the words are known.

use pollscope_base::redact::HIDDEN;

/// A text without what looks like a path in it: what stands between backticks, as messages have paths, and what begins with `/`.
/// For texts of which only the words are known, as they were read from a file; a [`Message`](crate::message::Message) knows its paths.
///
/// ```
/// use pollscope_record::wording::by_wording;
/// assert_eq!(by_wording("cannot open input `a.log`: denied; pass --force"), "cannot open input `<path>`: denied; pass --force");
/// assert_eq!(by_wording("as in /var/log/x, say"), "as in <path> say");
/// ```
pub fn by_wording(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        if index > 0 {
            shown.push('`');
        }
        match index % 2 {
            0 => shown.push_str(&without_absolute(part)),
            _ if is_advice(part) => shown.push_str(part),
            _ => shown.push_str(HIDDEN),
        }
    }
    shown
}

/// An option or a command that a message names: nothing of the user's.
fn is_advice(quoted: &str) -> bool {
    (quoted.starts_with("--") || quoted.starts_with("ulimit -")) && !quoted.contains('/')
}

fn without_absolute(text: &str) -> String {
    let is_path = |word: &str| {
        let word = word.trim_start_matches(['"', '\'', '(', '<', '[']);
        word.len() > 1 && (word.starts_with('/') || word.starts_with("~/"))
    };
    let mut shown = String::with_capacity(text.len());
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        shown.push_str(if is_path(bare) { HIDDEN } else { bare });
        shown.push_str(&word[bare.len()..]);
    }
    shown
}
