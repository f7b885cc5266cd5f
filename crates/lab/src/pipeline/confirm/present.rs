//! Makes the evidence of files as they are now, as if a merge had just read and written them.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use pollscope_base::reason;
use rustix::fs::OFlags;

use super::evidence::{InputEvidence, OutputEvidence};
use pollscope_record::escape::escape_path;

/// The role of a file in a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It was an input.
    Input,
    /// It was the output.
    Output,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Role::Input { "input" } else { "output" })
    }
}

/// Why files cannot be compared.
#[derive(Debug)]
pub enum PresentError {
    /// A file cannot be opened or read.
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// Its role.
        role: Role,
        /// Its path.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A file is not a regular one.
    NotAFile {
        /// Its role.
        role: Role,
        /// Its path.
        path: PathBuf,
        /// Its kind.
        kind: &'static str,
    },
    /// Two inputs are the same file.
    SameInput {
        /// Its first name.
        first: PathBuf,
        /// Its second name.
        second: PathBuf,
    },
    /// The output is the same file as an input.
    OutputIsInput {
        /// The output's name.
        output: PathBuf,
        /// The input's name.
        input: PathBuf,
    },
    /// The merge's part would begin after the output's end.
    NothingLeft {
        /// The output.
        output: PathBuf,
        /// Where the part would begin.
        start: u64,
        /// Where the output ends.
        len: u64,
    },
}

impl fmt::Display for PresentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PresentError::Io { operation, role, path, error } => {
                write!(f, "cannot {operation} {role} `{}`: {}", escape_path(path), reason(error))?;
                match error.kind() {
                    ErrorKind::NotFound => f.write_str("; name a file that exists"),
                    ErrorKind::PermissionDenied => f.write_str("; make it readable for this user"),
                    _ => f.write_str("; name a file that can be read"),
                }
            }
            PresentError::NotAFile { role, path, kind } => {
                let path = escape_path(path);
                write!(
                    f,
                    "cannot confirm with {role} `{path}`: it is a {kind}, which cannot be read again; name regular files"
                )
            }
            PresentError::SameInput { first, second } => {
                let (first, second) = (escape_path(first), escape_path(second));
                write!(f, "cannot confirm with input `{first}` twice: `{second}` is the same file; name it once")
            }
            PresentError::OutputIsInput { output, input } => {
                let (output, input) = (escape_path(output), escape_path(input));
                write!(
                    f,
                    "cannot confirm output `{output}`: it is the same file as input `{input}`; name what was merged into"
                )
            }
            PresentError::NothingLeft { output, start, len } => {
                let output = escape_path(output);
                write!(
                    f,
                    "cannot skip {start} bytes of output `{output}`: it has only {len}; skip what it had before the merge"
                )
            }
        }
    }
}

impl std::error::Error for PresentError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PresentError::Io { error, .. } => Some(error),
            PresentError::NotAFile { .. }
            | PresentError::SameInput { .. }
            | PresentError::OutputIsInput { .. }
            | PresentError::NothingLeft { .. } => None,
        }
    }
}

/// The evidence of files as they are now, from beginning to end; the merge's part of the output begins at `start`. Opens one
/// file at a time.
///
/// # Errors
/// When a file is not a readable regular file, or is named twice.
pub fn present(
    inputs: &[PathBuf],
    output: &Path,
    start: u64,
) -> Result<(Vec<InputEvidence>, OutputEvidence), PresentError> {
    let (metadata, _) = look_at(output, Role::Output)?;
    let identity = (metadata.dev(), metadata.ino());
    if start > metadata.len() {
        return Err(PresentError::NothingLeft { output: output.to_owned(), start, len: metadata.len() });
    }
    let mut seen = HashMap::with_capacity(inputs.len());
    let mut evidence = Vec::with_capacity(inputs.len());
    for path in inputs {
        let (metadata, unterminated) = look_at(path, Role::Input)?;
        let (len, dev, ino) = (metadata.len(), metadata.dev(), metadata.ino());
        if (dev, ino) == identity {
            return Err(PresentError::OutputIsInput { output: output.to_owned(), input: path.clone() });
        }
        if let Some(first) = seen.insert((dev, ino), path) {
            return Err(PresentError::SameInput { first: first.clone(), second: path.clone() });
        }
        evidence.push(InputEvidence::whole(path.clone(), len, dev, ino, unterminated));
    }
    Ok((evidence, OutputEvidence { path: output.to_owned(), start, dev: identity.0, ino: identity.1 }))
}

/// A regular file's metadata, and whether its last line has no newline.
fn look_at(path: &Path, role: Role) -> Result<(Metadata, bool), PresentError> {
    let failed = |operation| move |error| PresentError::Io { operation, role, path: path.to_owned(), error };
    let refused = |kind| PresentError::NotAFile { role, path: path.to_owned(), kind };
    // Checked twice: opening a FIFO or a device can have effects, and another file can take the name before the open.
    special(&fs::metadata(path).map_err(failed("open"))?).map_or(Ok(()), |kind| Err(refused(kind)))?;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path).map_err(failed("open"))?;
    let metadata = file.metadata().map_err(failed("look at"))?;
    special(&metadata).map_or(Ok(()), |kind| Err(refused(kind)))?;
    let last = last_byte(&file, metadata.len()).map_err(failed("read"))?;
    if metadata.len() == 0 && last.is_some() {
        return Err(refused("file whose length the kernel does not tell, as in /proc"));
    }
    Ok((metadata, last.is_some_and(|last| last != b'\n')))
}

/// The last byte; of a file that claims to be empty, its first byte if it has one.
fn last_byte(file: &File, len: u64) -> io::Result<Option<u8>> {
    let mut last = [0];
    let read = file.read_at(&mut last, len.saturating_sub(1))?;
    Ok((read == 1).then_some(last[0]))
}

fn special(metadata: &Metadata) -> Option<&'static str> {
    match metadata.file_type() {
        kind if kind.is_file() => None,
        kind if kind.is_dir() => Some("directory"),
        kind if kind.is_fifo() => Some("FIFO"),
        kind if kind.is_socket() => Some("socket"),
        _ => Some("device"),
    }
}
