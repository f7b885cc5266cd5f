//! The last runs, kept so that a short report loses nothing: `last`, `last~1` and so on, in the user's own folder for such things.

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::recording::{Recording, wire};

/// So many runs are kept,
const MOST: usize = 10;
/// and so many bytes of them; the last one always is.
const MOST_BYTES: u64 = 64 << 20;

/// How the name of a file begins that is not written yet,
const BEGUN: &str = ".begun-";
/// and when nobody writes it any more.
const ABANDONED: Duration = Duration::from_secs(3_600);

/// Where they are; `None` for a user without a home.
fn folder() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")))?;
    Some(state.join("pollscope/runs"))
}

/// Whether there is a place to keep runs at.
pub(super) fn has_place() -> bool {
    folder().is_some()
}

/// Where a page is that is to be shown, and that nobody named a file for: the last one replaces the one before.
///
/// # Errors
/// When there is no place for it.
pub(super) fn page() -> io::Result<PathBuf> {
    let folder = folder().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this user has no home folder"))?;
    let folder = folder.parent().expect("it has a name");
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    Ok(folder.join("page.html"))
}

/// Keeps a recording as the last one, if there is a place for it. Not before the report, which must not wait for that disk.
///
/// # Errors
/// When it cannot be written.
pub(super) fn keep(recording: &Recording) -> io::Result<()> {
    let Some(folder) = folder() else { return Ok(()) };
    // What was run is nobody else's concern.
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    keep_in(&folder, recording)
}

fn keep_in(folder: &Path, recording: &Recording) -> io::Result<()> {
    let text = wire::to_json(recording).map_err(io::Error::other)?;
    let mut file = tempfile::Builder::new().prefix(BEGUN).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Names are in the order of time, and two processes do not choose the same.
    let name = format!("{:020}-{}.json", now.as_nanos(), std::process::id());
    file.persist(folder.join(name)).map_err(|error| error.error)?;
    remove_begun(folder);
    let mut bytes = 0;
    for (nth, path) in runs(folder)?.into_iter().enumerate() {
        bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if nth >= MOST || nth > 0 && bytes > MOST_BYTES {
            // Somebody else may have been first.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Removes what a program began that was killed meanwhile.
fn remove_begun(folder: &Path) {
    let is_left = |entry: &fs::DirEntry| {
        let age = entry.metadata().and_then(|of| of.modified()).ok().and_then(|at| at.elapsed().ok());
        entry.file_name().as_encoded_bytes().starts_with(BEGUN.as_bytes()) && age.is_some_and(|age| age > ABANDONED)
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // Somebody else may have been first.
    entries.filter(is_left).for_each(|entry| _ = fs::remove_file(entry.path()));
}

/// The files, the last first.
fn runs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut runs: Vec<PathBuf> = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    runs.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    runs.sort_unstable_by(|a, b| b.cmp(a));
    Ok(runs)
}

/// Which of the runs a name means: 0 for `last`, 1 for `last~1`; `None` for any other name.
pub(super) fn nth(name: &Path) -> Option<usize> {
    match name.to_str()?.strip_prefix("last")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

/// The file of such a run, and how many there are.
pub(super) fn find(nth: usize) -> (Option<PathBuf>, usize) {
    let runs = folder().and_then(|folder| runs(&folder).ok()).unwrap_or_default();
    (runs.get(nth).cloned(), runs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_and_left_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [old, new] = [".begun-old", ".begun-new"].map(|name| folder.path().join(name));
        let at = SystemTime::now() - 2 * ABANDONED;
        fs::File::create(&old).and_then(|file| file.set_modified(at)).expect("made");
        fs::File::create(&new).expect("made");
        remove_begun(folder.path());
        assert!(!old.exists() && new.exists(), "another program may be writing the new one");
    }

    #[test]
    fn names_say_which_run_is_meant() {
        for (name, meant) in [("last", Some(0)), ("last~1", Some(1)), ("last~12", Some(12))] {
            assert_eq!(nth(Path::new(name)), meant, "{name}");
        }
        for name in ["lastly", "last~", "last~-1", "last.json", "./last", "las"] {
            assert_eq!(nth(Path::new(name)), None, "{name}");
        }
    }
}
