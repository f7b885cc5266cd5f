//! Reads what was saved: a recording, or an HdrHistogram interval log.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use super::output::Terminal;
use super::{CmdError, kept};
use crate::escape::escape_path;
use crate::interval_log::{self, IntervalLog, is_log};
use crate::recording::Recording;
use crate::redact::HIDDEN;
use crate::saved::{ReadError, read};
use crate::stderr::say;

/// What a file may hold.
pub(super) enum Loaded {
    Recording(Box<Recording>),
    Log(IntervalLog),
}

/// Reads a recording; `redact` hides its path in messages.
pub(super) fn recording(path: &Path, redact: bool, terminal: &Terminal) -> Result<Recording, CmdError> {
    match any(path, redact, terminal)? {
        Loaded::Recording(recording) => Ok(*recording),
        Loaded::Log(_) => Err(CmdError::Read {
            path: path.to_owned(),
            error: ReadError::Format("it is an interval log, which holds only distributions".to_owned()),
        }),
    }
}

/// Reads a recording or an interval log, as the file's beginning says, and says on stderr if it ends early.
pub(super) fn any(path: &Path, redact: bool, terminal: &Terminal) -> Result<Loaded, CmdError> {
    let (loaded, torn) = if path == Path::new("-") {
        let mut text = Vec::new();
        let done = io::stdin().read_to_end(&mut text);
        done.map_err(|error| unreadable(path, error))?;
        from(Cursor::new(text), path)?
    } else if let Some(nth) = kept::nth(path).filter(|_| !path.exists()) {
        let (found, kept) = kept::find(nth);
        let found = found.ok_or_else(|| CmdError::NotKept { name: path.display().to_string(), kept })?;
        from(File::open(&found).map_err(|error| unreadable(&found, error))?, &found)?
    } else {
        from(File::open(path).map_err(|error| unreadable(path, error))?, path)?
    };
    if let Some(torn) = torn.filter(|_| !terminal.quiet) {
        let shown = if redact { HIDDEN.into() } else { escape_path(path) };
        say(format!("note: `{shown}` ends early: {torn}"));
    }
    Ok(loaded)
}

/// What a file holds, and, if it ends early, what of it is shown.
fn from(file: impl Read + Seek, path: &Path) -> Result<(Loaded, Option<&'static str>), CmdError> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    if is_log(file.fill_buf().map_err(|error| unreadable(path, error))?) {
        let log = interval_log::read(file).map_err(|error| CmdError::ReadLog { path: path.to_owned(), error })?;
        let torn = log.is_torn.then_some("its complete intervals are shown");
        return Ok((Loaded::Log(log), torn));
    }
    file.rewind().map_err(|error| unreadable(path, error))?;
    let saved = read(file).map_err(|error| CmdError::Read { path: path.to_owned(), error })?;
    let torn = saved.is_torn.then_some("its complete runs are shown, without its gates");
    Ok((Loaded::Recording(Box::new(saved.recording)), torn))
}

fn unreadable(path: &Path, error: io::Error) -> CmdError {
    CmdError::Read { path: path.to_owned(), error: ReadError::Io(error) }
}
