//! Reads what was saved: a recording, a folder with the files of one that grows, a folder of such folders, or an HdrHistogram
//! interval log.

use std::fs::{DirEntry, File};
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};

use super::output::Terminal;
use super::{CmdError, kept};
use crate::escape::escape_path;
use crate::growing::{self, is_growing};
use crate::interval_log::{self, IntervalLog, is_log};
use crate::recording::Recording;
use crate::redact::HIDDEN;
use crate::saved::{ReadError, Saved, read};
use crate::stderr::say;
use crate::together::together;
use crate::units::plural;

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
    let (loaded, torn) = one(path)?;
    if let Some(torn) = torn.filter(|_| !terminal.quiet) {
        let shown = if redact { HIDDEN.into() } else { escape_path(path) };
        say(format!("note: `{shown}` ends early: {torn}"));
    }
    Ok(loaded)
}

/// Reads recordings, and makes one of them. One without a whole line, of a service that was killed at once, is left out; that, and
/// how many end early, is said once.
pub(super) fn many(paths: &[PathBuf], terminal: &Terminal) -> Result<Recording, CmdError> {
    let (mut recordings, mut empty, mut torn) = (Vec::new(), 0, 0);
    for path in paths {
        match one(path) {
            Ok((Loaded::Recording(recording), early)) => {
                torn += u64::from(early.is_some());
                recordings.push(*recording);
            }
            Ok((Loaded::Log(_), _)) => {
                let why = "it is an interval log, which holds only distributions: report it alone";
                return Err(CmdError::Read { path: path.clone(), error: ReadError::Format(why.to_owned()) });
            }
            Err(CmdError::Read { error: ReadError::Torn, .. }) => empty += 1,
            Err(error) => return Err(error),
        }
    }
    if torn > 0 && !terminal.quiet {
        let end = if torn == 1 { "ends" } else { "end" };
        say(format!("note: {} of {} {end} early: {WRITTEN}", plural(torn, "recording"), paths.len()));
    }
    if empty > 0 && !terminal.quiet {
        let has = if empty == 1 { "has" } else { "have" };
        say(format!(
            "note: {} of {} {has} no whole line, and nothing to report",
            plural(empty, "recording"),
            paths.len()
        ));
    }
    together(recordings).map_err(|why| CmdError::Together { why })
}

/// What is below a folder that has no recording itself, at most so many folders deep.
const DEEPEST: u32 = 4;

/// The recordings that a path stands for: itself, or, of a folder without one, those of the folders in it, by their names.
pub(super) fn sources(path: &Path) -> Result<Vec<PathBuf>, CmdError> {
    let mut found = Vec::new();
    if path.is_dir() {
        below(path, DEEPEST, &mut found)?;
    }
    Ok(if found.is_empty() { vec![path.to_owned()] } else { found })
}

fn below(folder: &Path, deep: u32, found: &mut Vec<PathBuf>) -> Result<(), CmdError> {
    if !files_of_recording(folder)?.is_empty() {
        found.push(folder.to_owned());
        return Ok(());
    }
    if deep == 0 {
        return Ok(());
    }
    let entries = folder.read_dir().and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut folders: Vec<PathBuf> = entries
        .map_err(|error| unreadable(folder, error))?
        .iter()
        .map(DirEntry::path)
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.iter().try_for_each(|folder| below(folder, deep - 1, found))
}

/// What a path leads to, and, if it ends early, what of it is shown.
fn one(path: &Path) -> Result<(Loaded, Option<&'static str>), CmdError> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        let done = io::stdin().read_to_end(&mut text);
        done.map_err(|error| unreadable(path, error))?;
        from(Cursor::new(text), path)
    } else if let Some(nth) = kept::nth(path).filter(|_| !path.exists()) {
        let (found, kept) = kept::find(nth);
        let found = found.ok_or_else(|| CmdError::NotKept { name: path.display().to_string(), kept })?;
        from(File::open(&found).map_err(|error| unreadable(&found, error))?, &found)
    } else if path.is_dir() {
        folder(path)
    } else {
        from(File::open(path).map_err(|error| unreadable(path, error))?, path)
    }
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
    let is_growing = is_growing(file.fill_buf().map_err(|error| unreadable(path, error))?);
    file.rewind().map_err(|error| unreadable(path, error))?;
    let saved = read(file).map_err(|error| CmdError::Read { path: path.to_owned(), error })?;
    let shown = if is_growing { WRITTEN } else { "its complete runs are shown, without its gates" };
    let torn = saved.is_torn.then_some(shown);
    Ok((Loaded::Recording(Box::new(saved.recording)), torn))
}

/// What is shown of a recording that still grows, or whose writer was killed.
const WRITTEN: &str = "what was written by then is shown";

fn folder(path: &Path) -> Result<(Loaded, Option<&'static str>), CmdError> {
    let names = files_of_recording(path)?;
    if names.is_empty() {
        return Err(CmdError::Read { path: path.to_owned(), error: ReadError::NoFiles });
    }
    let saved = as_one(path, &names)?;
    let torn = saved.is_torn.then_some(WRITTEN);
    Ok((Loaded::Recording(Box::new(saved.recording)), torn))
}

/// What a program wrote to a folder or a file that was new; `None` if that is nothing.
pub(super) fn grown(path: &Path) -> Result<Option<Recording>, CmdError> {
    let names = if path.is_dir() { files_of_recording(path)? } else { vec![path.to_owned()] };
    if names.iter().all(|name| !name.exists()) {
        return Ok(None);
    }
    match as_one(path, &names) {
        Ok(saved) => Ok(Some(saved.recording)),
        // It was killed before its first line was whole.
        Err(CmdError::Read { error: ReadError::Torn, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The files of a recording that grows, in a folder: their names are in the order in which they were begun.
pub(super) fn files_of_recording(path: &Path) -> Result<Vec<PathBuf>, CmdError> {
    let error = |error: io::Error| unreadable(path, error);
    let entries = path.read_dir().and_then(|entries| entries.collect::<io::Result<Vec<_>>>()).map_err(error)?;
    let mut names: Vec<PathBuf> = entries.iter().map(DirEntry::path).filter(|path| is_of_recording(path)).collect();
    names.sort();
    Ok(names)
}

/// What they hold together.
fn as_one(path: &Path, names: &[PathBuf]) -> Result<Saved, CmdError> {
    let (mut files, mut length) = (Vec::new(), 0);
    for name in names {
        let file = File::open(name).map_err(|error| unreadable(name, error))?;
        length += file.metadata().map_err(|error| unreadable(name, error))?.len();
        files.push(BufReader::with_capacity(64 << 10, file));
    }
    growing::read(files, length).map_err(|error| CmdError::Read { path: path.to_owned(), error })
}

fn is_of_recording(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pollscope")
}

fn unreadable(path: &Path, error: io::Error) -> CmdError {
    CmdError::Read { path: path.to_owned(), error: ReadError::Io(error) }
}
