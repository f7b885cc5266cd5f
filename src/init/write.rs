//! Puts changed files in place: all of them, or none.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::{Change, InitError, Plan};

const NOTHING: &str = "nothing is written; make it writable for this user";
const PUT_BACK: &str = "what was written before is as it was";
const HALF: &str = "what was written before could not be put back: see `git diff`";

/// Writes what is planned: all files beside their places first, then each is renamed.
///
/// # Errors
/// When a file cannot be written. Those that were are put back.
pub(crate) fn write(plan: &Plan) -> Result<(), InitError> {
    let mut made = Vec::new();
    let done = written(plan, &mut made);
    if done.is_err() {
        // Only those that are empty again.
        made.iter().rev().for_each(|folder| _ = fs::remove_dir(folder));
    }
    done
}

fn written(plan: &Plan, made: &mut Vec<PathBuf>) -> Result<(), InitError> {
    let failed = |change: &Change, left| {
        let path = change.path.clone();
        move |error: io::Error| InitError::Write { path, error, left }
    };
    let mut ready: Vec<(&Change, PathBuf, NamedTempFile)> = Vec::new();
    for change in &plan.changes {
        let (place, file) = beside(change, made).map_err(failed(change, NOTHING))?;
        ready.push((change, place, file));
    }
    let mut placed: Vec<(&Change, PathBuf)> = Vec::new();
    for (change, place, file) in ready {
        if let Err(error) = file.persist(&place) {
            let is_back =
                placed.iter().rev().fold(true, |is_back, (change, place)| put_back(change, place).is_ok() && is_back);
            return Err(failed(change, if is_back { PUT_BACK } else { HALF })(error.error));
        }
        placed.push((change, place));
    }
    Ok(())
}

/// Where a file leads, if it is a link; and beside that, its new text.
fn beside(change: &Change, made: &mut Vec<PathBuf>) -> io::Result<(PathBuf, NamedTempFile)> {
    let place = if change.before.is_some() { fs::canonicalize(&change.path)? } else { change.path.clone() };
    let folder = place.parent().unwrap_or(Path::new("."));
    if !folder.exists() {
        fs::create_dir(folder)?;
        made.push(folder.to_owned());
    }
    let permissions = match change.before {
        // Renaming would replace it all the same, against its owner's will.
        Some(_) => OpenOptions::new().write(true).open(&place)?.metadata()?.permissions(),
        None => ordinary(folder)?,
    };
    let mut file = tempfile::Builder::new().prefix(".pollscope-init-").tempfile_in(folder)?;
    file.write_all(change.after.as_bytes())?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    Ok((place, file))
}

/// What a new file has there.
fn ordinary(folder: &Path) -> io::Result<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder)?.permissions().mode();
    Ok(Permissions::from_mode(mode & 0o666))
}

fn put_back(change: &Change, place: &Path) -> io::Result<()> {
    match &change.before {
        Some(before) => fs::write(place, before),
        None => fs::remove_file(place),
    }
}
