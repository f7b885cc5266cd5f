//! Finds renamed files: rotation gives `a.log` names such as `a.log.1` or `a.log-20261122`, in the same folder.

use std::cmp::Reverse;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use memchr::memchr;

use super::generation::{Generation, Mark, begin_alike, is_copy_of};
use crate::pipeline::file::{Identity, folder_of, identity, open_file};

/// The number of bytes that tell a line from others.
const TELLING: usize = 16;
/// The longest time between the end of copying a file and cutting it. An older copy is one of another time, even if it begins with
/// the same lines.
const BEFORE_THE_CUT: Duration = Duration::from_secs(10);

/// The files that had the name after `old` and before `new`, the oldest first: those with names made from `path`'s that were created in
/// between, without copies. A look last saw `old` with the name at `named_at`. If `old` has such a name itself, names also tell which
/// files are newer; otherwise only those created after `named_at` are. On a file system without times of creation there are none.
pub(super) fn between(
    path: &Path,
    (old, named_at): (&Generation, SystemTime),
    new: &File,
    known: &[Identity],
) -> Vec<(PathBuf, File)> {
    let born = |file: &File| file.metadata().ok().and_then(|metadata| metadata.created().ok());
    let (Some(from), Some(to)) = (born(old.file()), born(new)) else { return Vec::new() };
    let series = series(path);
    let old_name = series.iter().find(|(_, metadata)| identity(metadata) == old.identity).map(|(path, _)| path.clone());
    let mut found: Vec<Candidate> = Vec::new();
    for (name, metadata) in series {
        let Ok(born) = metadata.created() else { continue };
        let by_name = old_name.as_ref().map(|old| (age(path, old), age(path, &name)));
        let by_name = by_name.filter(|(old, other)| old.0.is_some() == other.0.is_some());
        // The clock ticks slowly: both may have been created in one tick.
        let is_newer_by_name = by_name.is_some_and(|(old, other)| from <= born && other < old);
        let is_newer = is_newer_by_name || from.max(named_at) < born;
        if !metadata.is_file() || known.contains(&identity(&metadata)) || !is_newer || born > to {
            continue;
        }
        // One writer makes all of the input's files: one that this user cannot open is somebody else's.
        let opened =
            open_file(&name).ok().filter(|file| file.metadata().is_ok_and(|m| identity(&m) == identity(&metadata)));
        let Some(file) = opened else { continue };
        // By its name, a copy is older than its original.
        let is_copy = !is_newer_by_name && old.is_copied_in(&file);
        let is_copy = is_copy || (born == to && begin_alike(&file, new));
        if !is_copy {
            found.push(Candidate { born, name, file });
        }
    }
    found.sort_by_key(|found| (found.born, Reverse(age(path, &found.name))));
    let is_copy = |index: usize| (0..found.len()).any(|of| found[index].is_copy_of(&found[of], index < of));
    let are_copies: Vec<bool> = (0..found.len()).map(is_copy).collect();
    let found = found.into_iter().zip(are_copies).filter(|(_, is_copy)| !is_copy);
    found.map(|(found, _)| (found.name, found.file)).collect()
}

/// A file that may have had the name.
struct Candidate {
    born: SystemTime,
    name: PathBuf,
    file: File,
}

impl Candidate {
    /// Whether it is a copy: it has no more than its original, was created later, and `is_older` by its name.
    fn is_copy_of(&self, other: &Candidate, is_older: bool) -> bool {
        let is_later = self.born > other.born || (self.born == other.born && is_older);
        is_later && is_copy_of(&self.file, &other.file)
    }
}

/// The key that orders names made from `path`'s by age, the newest first: numbers count from the newest, dates from the oldest.
fn age(path: &Path, name: &Path) -> (Option<u64>, Reverse<Vec<u8>>) {
    let of = path.file_name().map_or(0, |name| name.len());
    let made = name.file_name().map(OsStrExt::as_bytes).and_then(|name| name.get(of + 1..)).unwrap_or_default();
    let number = std::str::from_utf8(made).ok().filter(|made| made.len() < 6).and_then(|made| made.parse().ok());
    (number, Reverse(made.to_vec()))
}

/// A copy of a file that was cut or rewritten: it has the last bytes that were read of that file, at the same place, and was made after
/// `since`, the last look, or not long before. It may be written over one of the `known` files.
pub(super) fn copy(
    path: &Path,
    mark: &Mark,
    since: SystemTime,
    known: &[(Identity, bool)],
    new: impl Fn(File) -> Option<Generation>,
) -> Option<(PathBuf, Generation)> {
    // A part of a line can begin any file.
    if mark.bytes.len() < TELLING && memchr(b'\n', &mark.bytes).is_none() {
        return None;
    }
    let is_new = |metadata: &Metadata| match known.iter().find(|(known, _)| *known == identity(metadata)) {
        Some((_, is_as_it_was)) => !is_as_it_was,
        None => [metadata.created(), metadata.modified()].iter().flatten().any(|made| *made + BEFORE_THE_CUT >= since),
    };
    let mut copies = series(path);
    copies.retain(|(_, metadata)| metadata.is_file() && metadata.len() >= mark.offset && is_new(metadata));
    copies.sort_by_cached_key(|(name, _)| age(path, name));
    copies.into_iter().find_map(|(path, _)| {
        let copy = new(open_file(&path).ok()?)?;
        mark.is_in(copy.file()).then_some((path, copy))
    })
}

/// The name of a file that lost `path`'s.
pub(super) fn find(path: &Path, wanted: Identity) -> Option<PathBuf> {
    series(path).into_iter().find(|(_, metadata)| identity(metadata) == wanted).map(|(path, _)| path)
}

/// The files in the folder whose names begin with `path`'s and go on with `.` or `-` and a digit; without compressed ones.
fn series(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let Some(name) = path.file_name().map(OsStrExt::as_bytes) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(folder_of(path)) else { return Vec::new() };
    let is_of = |of: &[u8]| {
        let rest = of.strip_prefix(name).unwrap_or_default();
        matches!(rest, [b'.' | b'-', digit, ..] if digit.is_ascii_digit())
            && ![".gz", ".xz", ".zst", ".bz2", ".lz4"].iter().any(|compressed| rest.ends_with(compressed.as_bytes()))
    };
    let entries = entries.flatten().filter(|entry| is_of(entry.file_name().as_bytes()));
    // With the folder as in the input's path.
    entries.filter_map(|entry| Some((path.with_file_name(entry.file_name()), entry.metadata().ok()?))).collect()
}
