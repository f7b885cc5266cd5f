//! Sentences that name paths: what is text and what is a path is known, so that paths can be hidden.

use std::fmt;
use std::ops::{Deref, Range};
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::escape::escape_path;
use crate::wording::by_wording;
use pollscope_base::redact::HIDDEN;

/// A sentence for people, made of text and paths. In a file it is a plain string: of one that was read, or made of a string, only
/// the words are known.
///
/// ```
/// use std::path::Path;
/// use pollscope_record::message::Message;
/// let message = Message::text("cannot read input ").and_path(Path::new("a.log")).and_text(": denied");
/// assert_eq!(message.as_str(), "cannot read input `a.log`: denied");
/// assert_eq!(message.without_paths().as_str(), "cannot read input `<path>`: denied");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Message {
    words: String,
    /// Where the paths are, in bytes; `None` where that is not known.
    paths: Option<Vec<Range<usize>>>,
}

impl Message {
    /// One that begins with text, in which there is no path.
    pub fn text(text: impl Into<String>) -> Message {
        Message { words: text.into(), paths: Some(Vec::new()) }
    }

    /// With more text, in which there is no path.
    #[must_use]
    pub fn and_text(mut self, text: impl AsRef<str>) -> Message {
        self.words += text.as_ref();
        self
    }

    /// With a path, escaped, between backticks.
    #[must_use]
    pub fn and_path(mut self, path: &Path) -> Message {
        self.words.push('`');
        let start = self.words.len();
        self.words += &escape_path(path);
        if let Some(paths) = &mut self.paths {
            paths.push(start..self.words.len());
        }
        self.words.push('`');
        self
    }

    /// With another message behind it. Where the paths of either are not known, those of both are not.
    #[must_use]
    pub fn and(mut self, other: &Message) -> Message {
        let start = self.words.len();
        self.words += &other.words;
        self.paths = self.paths.zip(other.paths.as_ref()).map(|(mut paths, others)| {
            paths.extend(others.iter().map(|path| path.start + start..path.end + start));
            paths
        });
        self
    }

    /// Several, with `; ` between them; `None` of none.
    pub fn join(messages: impl IntoIterator<Item = Message>) -> Option<Message> {
        messages.into_iter().reduce(|all, next| all.and_text("; ").and(&next))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.words
    }

    /// The same with every path hidden. Where only the words are known, what looks like a path is hidden: see [`by_wording`].
    #[must_use]
    pub fn without_paths(&self) -> Message {
        let Some(paths) = &self.paths else { return Message::from(by_wording(&self.words)) };
        let mut hidden = Message::text("");
        let mut end = 0;
        for path in paths {
            hidden.words += &self.words[end..path.start];
            hidden.words += HIDDEN;
            end = path.end;
        }
        hidden.and_text(&self.words[end..])
    }
}

impl Deref for Message {
    type Target = str;

    fn deref(&self) -> &str {
        &self.words
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// Two that say the same are equal, whatever is known of their parts.
impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self.words == other.words
    }
}

impl Eq for Message {}

impl PartialEq<&str> for Message {
    fn eq(&self, other: &&str) -> bool {
        self.words == *other
    }
}

/// Of which only the words are known.
impl From<String> for Message {
    fn from(words: String) -> Message {
        Message { words, paths: None }
    }
}

/// Of which only the words are known.
impl From<&str> for Message {
    fn from(words: &str) -> Message {
        Message::from(words.to_owned())
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.words)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Message, D::Error> {
        String::deserialize(from).map(Message::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_paths_go_whatever_they_look_like() {
        let path = Path::new("no slash `or` backtick");
        let message = Message::text("`--force` and /usr stay, ").and_path(path).and_text(" goes");
        assert_eq!(message.as_str(), "`--force` and /usr stay, `no slash \\u{60}or\\u{60} backtick` goes");
        assert_eq!(message.without_paths(), "`--force` and /usr stay, `<path>` goes");
        let two = Message::text("first: ").and(&message).and_text("; ").and(&message);
        assert!(!two.without_paths().contains("slash"), "{two}");
        assert_eq!(two.without_paths().matches("<path>").count(), 2);
    }

    #[test]
    fn of_what_was_read_only_the_words_are_known() {
        let json = serde_json::to_string(&Message::text("at ").and_path(Path::new("a"))).unwrap();
        let read: Message = serde_json::from_str(&json).unwrap();
        assert_eq!((read.as_str(), read.without_paths().as_str()), ("at `a`", "at `<path>`"));
        let joined = Message::text("x ").and(&Message::from("in /a/b"));
        assert_eq!(joined.without_paths(), "x in <path>");
    }
}
