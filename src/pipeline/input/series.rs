//! Where a renamed file is: rotation gives `a.log` names such as `a.log.1` or `a.log-20261122`, in its folder.

use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::generation::{Generation, Identity, identity};
use super::open_file;

/// Files that had the name after `old` and before `new`, the oldest first: of those whose names are made from `path`'s, the ones
/// that came into being in between, provided that `old` itself has such a name now. Which files these are, nobody can
/// tell where files do not say when they came into being.
pub(super) fn between(path: &Path, old: &File, new: &File, known: &[Identity]) -> Vec<(PathBuf, File)> {
    let born = |file: &File| file.metadata().ok().and_then(|metadata| metadata.created().ok());
    let (Some(from), Some(to), Ok(old)) = (born(old), born(new), old.metadata()) else { return Vec::new() };
    let series = series(path);
    if !series.iter().any(|(_, metadata)| identity(metadata) == identity(&old)) {
        return Vec::new();
    }
    let is_between = |metadata: &Metadata| metadata.created().is_ok_and(|born| from < born && born < to);
    let mut found: Vec<(SystemTime, PathBuf, File)> = Vec::new();
    for (path, metadata) in series {
        if metadata.is_file() && !known.contains(&identity(&metadata)) && is_between(&metadata) {
            // What cannot be opened was not another process's file in this place: its writer is this file's.
            let opened =
                open_file(&path).ok().filter(|file| file.metadata().is_ok_and(|m| identity(&m) == identity(&metadata)));
            if let (Ok(born), Some(file)) = (metadata.created(), opened) {
                found.push((born, path, file));
            }
        }
    }
    found.sort_by_key(|(born, ..)| *born);
    found.into_iter().map(|(_, path, file)| (path, file)).collect()
}

/// A copy of a file that was cut or rewritten, made before that: it holds what was read of it last, in the same place.
pub(super) fn copy(
    path: &Path,
    mark: &(u64, Vec<u8>),
    known: &[Identity],
    max_line: usize,
) -> Option<(PathBuf, Generation)> {
    if mark.1.is_empty() {
        return None;
    }
    let others = series(path).into_iter().filter(|(_, m)| m.is_file() && !known.contains(&identity(m)));
    others.filter(|(_, metadata)| metadata.len() >= mark.0).find_map(|(path, _)| {
        let copy = Generation::new(open_file(&path).ok()?, max_line).ok()?;
        copy.holds(mark).then_some((path, copy))
    })
}

/// By which name a file can be found that lost `path`'s.
pub(super) fn find(path: &Path, wanted: Identity) -> Option<PathBuf> {
    series(path).into_iter().find(|(_, metadata)| identity(metadata) == wanted).map(|(path, _)| path)
}

/// The files in the folder whose names begin with `path`'s and go on with `.` or `-` and a digit; compressed ones are copies.
fn series(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return Vec::new() };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let is_of = |of: &[u8]| {
        let rest = of.strip_prefix(name).unwrap_or_default();
        matches!(rest, [b'.' | b'-', digit, ..] if digit.is_ascii_digit())
            && ![".gz", ".xz", ".zst", ".bz2", ".lz4"].iter().any(|compressed| rest.ends_with(compressed.as_bytes()))
    };
    let entries = entries.flatten().filter(|entry| is_of(entry.file_name().as_bytes()));
    // As the input is named, not as its folder is found.
    entries.filter_map(|entry| Some((path.with_file_name(entry.file_name()), entry.metadata().ok()?))).collect()
}
