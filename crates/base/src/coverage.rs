//! What can be seen, and what cannot.

use crate::Shortfall;

/// How an instrument learns of polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Source {
    /// The runtime's task hooks (a build with `--cfg tokio_unstable`), and watched futures.
    Hooks,
    /// Watched futures alone, and the workers' park and unpark.
    Wrappers,
}

impl Source {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Hooks => "hooks",
            Source::Wrappers => "wrappers",
        }
    }
}

/// What an instrument can and cannot see.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Coverage {
    /// How it learns of polls.
    pub source: Source,
    /// What it sees; each a short phrase.
    pub sees: Vec<&'static str>,
    /// What it does not see; each a short phrase.
    pub blind_to: Vec<&'static str>,
    /// How many slow polls were told without their line because something came too late, one for each reason; since the
    /// installation, also in a difference. What stands in the way of every look is a [`CaptureNote`](crate::CaptureNote).
    pub missing: Vec<Shortfall>,
}

impl Coverage {
    /// What an instrument can see before anything came too late.
    pub fn new(source: Source, sees: Vec<&'static str>, blind_to: Vec<&'static str>) -> Coverage {
        Coverage { source, sees, blind_to, missing: Vec::new() }
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_words_of_reports() {
        for source in [Source::Hooks, Source::Wrappers] {
            assert_eq!(serde_json::to_string(&source).unwrap(), format!("\"{}\"", source.as_str()));
        }
    }
}
