//! `pollscope.toml`: what a project says once for all of its commands. Found in the working folder or one above it.

mod error;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pollscope_base::reason;
use serde::Deserialize;
use toml::Spanned;

pub use self::error::ConfigError;
use crate::gate::Gate;
use crate::recording::is_label;
use crate::units::parse_duration;

/// The file's name.
const NAME: &str = "pollscope.toml";
/// A longer file is something else.
const MOST_BYTES: u64 = 1 << 20;

/// What a project says.
#[derive(Debug, Default)]
pub(crate) struct Config {
    /// Where it says that; `None` if it says nothing.
    pub(crate) path: Option<PathBuf>,
    /// The shortest slow poll, where the command line says nothing.
    pub(crate) slow: Option<Duration>,
    /// Judged besides those of the command line.
    pub(crate) fail_on: Vec<Gate>,
    /// Folders in which sources are looked for, besides the working one.
    pub(crate) source_roots: Vec<PathBuf>,
    /// What a recorded program is called, where the command line says nothing.
    pub(crate) label: Option<String>,
}

/// The file, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    slow: Option<Spanned<String>>,
    #[serde(default)]
    fail_on: Vec<Spanned<String>>,
    #[serde(default)]
    source_roots: Vec<Spanned<PathBuf>>,
    label: Option<Spanned<String>>,
}

/// What the nearest file at or above `from` says; nothing where there is none.
///
/// # Errors
/// When it cannot be read, or says something that no command takes.
pub(crate) fn load(from: &Path) -> Result<Config, ConfigError> {
    let Some(path) = from.ancestors().map(|folder| folder.join(NAME)).find(|path| is_there(path)) else {
        return Ok(Config::default());
    };
    match read(&path) {
        Ok(text) => parse(&path, &text),
        Err(error) => Err(ConfigError::Read { path, cause: cause(&error) }),
    }
}

/// A link that leads nowhere is there: who made it means it to be read.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn read(path: &Path) -> io::Result<String> {
    // Before it is opened: a FIFO of that name would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    let length = File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text)? as u64;
    if length > MOST_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is larger than 1 MiB"));
    }
    Ok(text)
}

fn cause(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => reason(error),
    }
}

/// What a text says. Relative folders are those beside the file.
fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let wrong = |span: Range<usize>, reason: String| ConfigError::wrong(path, text, span, reason);
    let Written { slow, fail_on, source_roots, label } =
        toml::from_str(text).map_err(|error| wrong(error.span().unwrap_or(0..0), error.message().to_owned()))?;
    let slow = slow.map(|slow| duration(slow.get_ref()).map_err(|why| wrong(slow.span(), why))).transpose()?;
    let label = label.map(|name| self::label(name.get_ref()).map_err(|why| wrong(name.span(), why))).transpose()?;
    let gate = |gate: &Spanned<String>| {
        let wrong = |error: crate::gate::GateError| wrong(gate.span(), error.reason().to_owned());
        Gate::parse(gate.get_ref()).map_err(wrong)
    };
    let fail_on = fail_on.iter().map(gate).collect::<Result<_, _>>()?;
    let beside = path.parent().unwrap_or(Path::new("."));
    let root = |root: &Spanned<PathBuf>| {
        let folder = beside.join(root.get_ref());
        match folder.metadata() {
            Ok(found) if found.is_dir() => Ok(folder),
            Ok(_) => Err(wrong(root.span(), "it is no folder".to_owned())),
            Err(_) => Err(wrong(root.span(), "there is no such folder".to_owned())),
        }
    };
    let source_roots = source_roots.iter().map(root).collect::<Result<_, _>>()?;
    Ok(Config { path: Some(path.to_owned()), slow, fail_on, source_roots, label })
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err("it must be longer than 0".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A name that a gate can bear without quotes, or almost.
pub(crate) fn label(text: &str) -> Result<String, String> {
    if is_label(text) {
        return Ok(text.to_owned());
    }
    Err("write 1 to 64 letters, digits, blanks or any of `-_.+:/`".to_owned())
}
