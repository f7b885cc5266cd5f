//! Why a `pollscope.toml` cannot be used.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::escape::escape_path;
use crate::snippet::{Snippet, printable};

/// Why a `pollscope.toml` cannot be used. Its message says where, why and what to do.
#[derive(Debug)]
pub enum ConfigError {
    /// It cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// It says something that no command takes.
    Wrong {
        /// The file.
        path: PathBuf,
        /// Where in it.
        snippet: Box<Snippet>,
        /// What is wrong there.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn wrong(path: &Path, text: &str, span: Range<usize>, reason: String) -> ConfigError {
        ConfigError::Wrong { path: path.to_owned(), snippet: Box::new(Snippet::of_line(text, span)), reason }
    }

    /// Its message, line by line.
    pub fn lines(&self) -> Vec<String> {
        const HELP: &str = "help: `pollscope help config` tells what it takes; `--no-config` does without it";
        match self {
            ConfigError::Read { path, cause } => {
                vec![format!("cannot read `{}`: {}", escape_path(path), printable(cause)), HELP.to_owned()]
            }
            ConfigError::Wrong { path, snippet, reason } => {
                let said = format!("cannot use `{}`: {}", escape_path(path), printable(reason.trim_end()));
                let place = snippet.with_place(&path.to_string_lossy());
                [vec![said], place.to_vec(), vec![HELP.to_owned()]].concat()
            }
        }
    }
}

/// Its [`ConfigError::lines`].
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for ConfigError {}
