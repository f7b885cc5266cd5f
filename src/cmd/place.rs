//! Where a program's recording goes while it runs, and what is there when it ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::output::{Terminal, refuse_unwritable};
use super::targets::refuse_written;
use super::{CmdError, load};
use crate::args::Outputs;
use crate::escape::escape_path;
use crate::recording::Recording;
use crate::stderr::say;

/// How the names of a recording's files end; the probe takes a name that ends so for a file, any other for a folder.
const EXTENSION: &str = "pollscope";

/// A folder or a file in which there is no recording yet.
pub(super) enum Place {
    /// For as long as this command runs.
    Temporary(TempDir),
    /// What stays. It is absolute: the program may go elsewhere.
    Kept { path: PathBuf, is_made: bool },
}

impl Place {
    /// # Errors
    /// When nothing can be written there, or a recording is there already: what is read afterwards is to be of this program.
    pub(super) fn new(kept: Option<&Path>, outputs: &Outputs) -> Result<Place, CmdError> {
        let Some(path) = kept else {
            let folder = tempfile::Builder::new().prefix("pollscope-").tempdir();
            return folder
                .map(Place::Temporary)
                .map_err(|error| unrecordable(&std::env::temp_dir(), error.kind().into()));
        };
        refuse_written(outputs, "recording", path)?;
        let is_file = path.extension().is_some_and(|extension| extension == EXTENSION) && !path.is_dir();
        if is_file {
            if fs::symlink_metadata(path).is_ok() {
                return Err(CmdError::RecordingExists { path: path.to_owned() });
            }
            refuse_unwritable([path]).map_err(|error| match error {
                CmdError::Write { path, error } => CmdError::CannotRecord { path, error },
                other => other,
            })?;
        }
        let is_made = !is_file && !path.exists();
        let place = Place::Kept { path: std::path::absolute(path).map_err(CmdError::Folder)?, is_made };
        if !is_file {
            fs::create_dir_all(path).map_err(|error| unrecordable(path, error))?;
            if !load::files_of_recording(path)?.is_empty() {
                return Err(CmdError::RecordingExists { path: path.to_owned() });
            }
            NamedTempFile::new_in(path).map_err(|error| unrecordable(path, error.kind().into()))?;
        }
        Ok(place)
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Place::Temporary(folder) => folder.path(),
            Place::Kept { path, .. } => path,
        }
    }

    /// What was recorded; `None` if nothing was.
    pub(super) fn recording(&self, terminal: &Terminal) -> Result<Option<Recording>, CmdError> {
        if !self.path().is_dir() && !terminal.quiet {
            self.say_others();
        }
        load::grown(self.path())
    }

    /// Of several processes, one has the file; the others have files beside it, with a number in their names.
    fn say_others(&self) {
        let path = self.path();
        let second = path.with_file_name(format!("{}-1.{EXTENSION}", path.file_stem().unwrap_or_default().display()));
        if second.exists() {
            say(format!(
                "note: another process recorded as well, to `{}`, which is not shown: name a folder to have both in one report",
                escape_path(&second)
            ));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::Kept { path, is_made: true } = self {
            // Only if nothing was recorded: what is in it stays.
            let _ = fs::remove_dir(path);
        }
    }
}

fn unrecordable(path: &Path, error: io::Error) -> CmdError {
    CmdError::CannotRecord { path: path.to_owned(), error }
}
