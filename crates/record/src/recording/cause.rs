//! Why a poll took long, as a file says it: a later version may know more causes than this one.

use std::fmt;
use std::ops::Deref;

use pollscope_base as base;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Text;

/// Why a poll took long. It is written and read as its word.
///
/// ```
/// use pollscope_record::recording::Cause;
/// assert_eq!(Cause::from("lock"), Cause::Known(pollscope_base::Cause::Lock));
/// assert_eq!(Cause::from("solar-wind").as_str(), "solar-wind");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// One that this version knows.
    Known(base::Cause),
    /// The word of one that it does not.
    Other(Text),
}

impl Cause {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Cause::Known(cause) => cause.as_str(),
            Cause::Other(word) => word,
        }
    }

    /// Whether it is none of the code's.
    pub(crate) fn is_the_machines(&self) -> bool {
        use base::Cause::{Preempted, Suspended, Throttled};
        matches!(self, Cause::Known(Preempted | Throttled | Suspended))
    }
}

impl Deref for Cause {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl From<base::Cause> for Cause {
    fn from(cause: base::Cause) -> Cause {
        Cause::Known(cause)
    }
}

impl From<Text> for Cause {
    fn from(word: Text) -> Cause {
        let known = base::Cause::ALL.into_iter().find(|cause| cause.as_str() == word.as_str());
        known.map_or(Cause::Other(word), Cause::Known)
    }
}

impl From<&str> for Cause {
    fn from(word: &str) -> Cause {
        Text::from(word).into()
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Cause {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Cause, D::Error> {
        Ok(Text::deserialize(from)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_and_written_as_it_is() {
        for word in base::Cause::ALL.map(base::Cause::as_str).into_iter().chain(["solar-wind", "Lock", ""]) {
            let json = format!("\"{word}\"");
            let cause: Cause = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&cause).unwrap(), json);
            let is_known = base::Cause::ALL.iter().any(|known| known.as_str() == word);
            assert_eq!(matches!(cause, Cause::Known(_)), is_known, "{word}");
        }
    }
}
