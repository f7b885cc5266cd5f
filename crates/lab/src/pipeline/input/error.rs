//! Why an input cannot be followed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pollscope_base::reason;
use pollscope_record::escape::escape_path;

/// Why an input could not be followed to its end.
#[derive(Debug, Clone)]
pub enum InputError {
    /// It cannot be opened, looked at or read.
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The error.
        error: Arc<io::Error>,
    },
    /// It is neither a regular file nor a FIFO.
    NotAFile {
        /// Its path.
        path: PathBuf,
        /// Its kind.
        kind: &'static str,
    },
}

impl InputError {
    pub(super) fn io(operation: &'static str, path: &Path, error: io::Error) -> InputError {
        InputError::Io { operation, path: path.to_owned(), error: Arc::new(error) }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InputError::Io { operation, path, error } => {
                write!(f, "cannot {operation} input `{}`: {}", escape_path(path), reason(error))?;
                match error.kind() {
                    io::ErrorKind::NotFound => f.write_str("; name a file that exists, even if it is still empty"),
                    io::ErrorKind::PermissionDenied => f.write_str("; make it readable for this user"),
                    _ if *operation == "open" => f.write_str("; name a file that can be opened"),
                    _ => f.write_str("; the output has what was read of it and nothing after that"),
                }
            }
            InputError::NotAFile { path, kind } => {
                write!(f, "cannot follow input `{}`: it is a {kind}; name regular files or FIFOs", escape_path(path))
            }
        }
    }
}

impl std::error::Error for InputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InputError::Io { error, .. } => Some(&**error),
            InputError::NotAFile { .. } => None,
        }
    }
}
