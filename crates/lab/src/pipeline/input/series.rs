//! Finds renamed files: rotation gives `a.log` names such as `a.log.1` or `a.log-20261122`, in the same folder.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::generation::{Generation, Mark, begin_alike, is_copy_of};
use crate::pipeline::clock::{self, TICK};
use crate::pipeline::file::{Identity, folder_of, identity, open_file};
use crate::pipeline::planted::{Planted, is_planted};

/// The longest time between the end of copying a file and cutting it. An older copy is one of another time, even if it begins with
/// the same lines.
const BEFORE_THE_CUT: Duration = Duration::from_secs(10);

/// The files of a folder with names made from an input's, and when they were created.
#[derive(Debug, Default)]
pub(super) struct Listing(HashMap<Identity, Option<SystemTime>>);

impl Listing {
    /// What there is now.
    pub(super) fn of(path: &Path) -> Listing {
        let files = series(path).into_iter().filter(|(_, metadata)| metadata.is_file());
        Listing(files.map(|(_, metadata)| (identity(&metadata), clock::born(&metadata))).collect())
    }

    fn has(&self, metadata: &Metadata) -> bool {
        self.0.get(&identity(metadata)).is_some_and(|born| *born == clock::born(metadata))
    }
}

/// What had the name between two files, as far as other names tell.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// The oldest first.
    pub(super) found: Vec<(PathBuf, File)>,
    /// Whether there are files that may have had the name, and may come from elsewhere.
    pub(super) is_doubtful: bool,
}

/// The files that had the name after `old` and before `new`, or before now: those with names made from `path`'s that were not in the `listing` of a
/// look at `named_at`, when `old` had the name; without copies. Those that were created long before are doubtful.
pub(super) fn between(
    path: &Path,
    (old, named_at, listing): (&Generation, SystemTime, &Listing),
    new: Option<&File>,
    is_known: impl Fn(Identity, &File) -> bool,
) -> Between {
    let mut between = Between::default();
    let to = new.and_then(|new| new.metadata().ok()).and_then(|metadata| clock::born(&metadata));
    let from = old.file().metadata().ok().and_then(|metadata| clock::born(&metadata));
    let series = series(path);
    let old_name = series.iter().find(|(_, metadata)| identity(metadata) == old.identity).map(|(path, _)| path.clone());
    let mut found: Vec<Candidate> = Vec::new();
    for (name, metadata) in series {
        if !metadata.is_file() || listing.has(&metadata) {
            continue;
        }
        // One writer makes all of the input's files: one that this user cannot open is somebody else's.
        let opened =
            open_file(&name).ok().filter(|file| file.metadata().is_ok_and(|m| identity(&m) == identity(&metadata)));
        let Some(file) = opened.filter(|file| !is_known(identity(&metadata), file)) else { continue };
        let born = clock::born(&metadata);
        let by_name = old_name.as_ref().map(|old| (age(path, old), age(path, &name)));
        let by_name = by_name.filter(|(old, other)| old.0.is_some() == other.0.is_some());
        // The clock ticks slowly: both may have been created in one tick. By its name, a copy is older than its original.
        let is_newer_by_name = by_name.is_some_and(|(old, other)| from <= born && other < old);
        // A copy of the new file is as young as that, at least.
        let is_late = born.zip(to).is_none_or(|(born, to)| to <= born + slack());
        let is_of_new = is_late && new.is_some_and(|new| begin_alike(&file, new));
        let is_copy = (!is_newer_by_name && old.is_copied_in(&file)) || is_of_new;
        if is_copy {
            continue;
        }
        let is_of_then = |born: SystemTime| named_at <= born + slack() && to.is_none_or(|to| born <= to + slack());
        if is_planted(Planted::NoBirths) && born.is_none() {
            continue;
        }
        if born.is_none_or(is_of_then) {
            found.push(Candidate { born, modified: clock::modified(&metadata), name, file });
        } else {
            between.is_doubtful = true;
        }
    }
    between.found = in_order(path, found, old_name.as_deref());
    between
}

/// How much earlier than the clock a file's times may be.
fn slack() -> Duration {
    if is_planted(Planted::ExactClock) { Duration::ZERO } else { TICK }
}

/// The oldest first, without copies of others.
fn in_order(path: &Path, mut found: Vec<Candidate>, old_name: Option<&Path>) -> Vec<(PathBuf, File)> {
    let number = |name: &Path| age(path, name).0;
    // Most rotations count from the newest file; some give each file the next number.
    let is_counted_up = match old_name.and_then(number) {
        Some(old) => found.iter().all(|found| number(&found.name).is_some_and(|number| number > old)),
        None => {
            let first =
                found.iter().filter(|found| number(&found.name).is_some()).min_by_key(|found| number(&found.name));
            let last = found.iter().max_by_key(|found| number(&found.name));
            first.zip(last).is_some_and(|(first, last)| first.moment() < last.moment())
        }
    };
    let has_births = found.iter().all(|found| found.born.is_some());
    found.sort_by(|one, other| {
        let by_age = age(path, &one.name).cmp(&age(path, &other.name));
        let by_age = if is_counted_up { by_age } else { by_age.reverse() };
        // A late write can make an older file look younger.
        if has_births { one.born.cmp(&other.born).then(by_age) } else { by_age }
    });
    let is_copy = |index: usize| (0..found.len()).any(|of| found[index].is_copy_of(&found[of], index < of));
    let are_copies: Vec<bool> = (0..found.len()).map(is_copy).collect();
    let found = found.into_iter().zip(are_copies).filter(|(_, is_copy)| !is_copy);
    found.map(|(found, _)| (found.name, found.file)).collect()
}

/// A file that may have had the name.
struct Candidate {
    born: Option<SystemTime>,
    modified: SystemTime,
    name: PathBuf,
    file: File,
}

impl Candidate {
    /// When it was created or, if nothing tells that, last written.
    fn moment(&self) -> SystemTime {
        self.born.unwrap_or(self.modified)
    }

    /// Whether it is a copy: it has no more than its original, was created later, and `is_older` by its name.
    fn is_copy_of(&self, other: &Candidate, is_older: bool) -> bool {
        let is_later = self.moment() > other.moment() || (self.moment() == other.moment() && is_older);
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
    if !mark.is_telling() {
        return None;
    }
    let is_new = |metadata: &Metadata| match known.iter().find(|(known, _)| *known == identity(metadata)) {
        Some((_, is_as_it_was)) => !is_as_it_was,
        None => {
            let made = [clock::born(metadata), Some(clock::modified(metadata))];
            made.into_iter().flatten().any(|made| made + BEFORE_THE_CUT >= since)
        }
    };
    let mut copies = series(path);
    copies.retain(|(_, metadata)| metadata.is_file() && metadata.len() >= mark.offset && is_new(metadata));
    copies.sort_by_cached_key(|(name, _)| age(path, name));
    copies.into_iter().find_map(|(path, _)| {
        let copy = new(open_file(&path).ok()?)?;
        // Another file may have taken the name since.
        let is_it = copy.file().metadata().is_ok_and(|opened| opened.is_file() && is_new(&opened));
        (is_it && mark.is_in(copy.file())).then_some((path, copy))
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

#[cfg(test)]
mod tests {
    use super::super::generation::TELLING;
    use super::*;

    const READ: &[u8] = b"first line\nsecond line\n";

    /// What was read of `a.log` before it was cut.
    fn mark() -> Mark {
        Mark { offset: READ.len() as u64, bytes: READ.to_vec() }
    }

    /// The name of the copy that is found among files with these names and contents.
    fn found(files: &[(&str, &[u8])], mark: &Mark, late_by: Duration, known: Option<bool>) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let metadata = fs::metadata(folder.path().join(files[0].0)).unwrap();
        let since = metadata.modified().unwrap() + late_by;
        let known: Vec<_> = known.map(|is_as_it_was| (identity(&metadata), is_as_it_was)).into_iter().collect();
        let new = |file| Generation::new(file, 1, 1 << 16).ok();
        let (name, copy) = copy(&folder.path().join("a.log"), mark, since, &known, new)?;
        assert_eq!(identity(&fs::metadata(&name).unwrap()), copy.identity, "the file that is opened has the name");
        Some(name.file_name().unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn a_copy_has_what_was_read_at_its_place() {
        let longer = [READ, b"third line\n"].concat();
        let moved = [b"line before\n", READ].concat();
        let other = b"first line\nanother one\n";
        let find = |content| found(&[("a.log.1", content)], &mark(), Duration::ZERO, None);
        assert_eq!(find(READ).as_deref(), Some("a.log.1"));
        assert_eq!(find(&longer).as_deref(), Some("a.log.1"));
        assert_eq!(find(&moved), None, "at another place");
        assert_eq!(find(&READ[..READ.len() - 1]), None, "shorter than what was read");
        assert_eq!(find(other), None, "as long, with other lines");
    }

    #[test]
    fn a_part_of_a_line_tells_no_copy_from_others() {
        let find = |read: &[u8]| {
            let mark = Mark { offset: read.len() as u64, bytes: read.to_vec() };
            found(&[("a.log.1", read)], &mark, Duration::ZERO, None)
        };
        assert_eq!(find(b"short"), None);
        assert_eq!(find(b"short\n").as_deref(), Some("a.log.1"));
        assert_eq!(find(&[b'x'; TELLING]).as_deref(), Some("a.log.1"));
    }

    #[test]
    fn a_copy_of_another_time_or_a_file_that_is_known_is_not_the_copy() {
        let find = |late_by, known| found(&[("a.log.1", READ)], &mark(), late_by, known);
        assert_eq!(find(BEFORE_THE_CUT / 2, None).as_deref(), Some("a.log.1"), "made not long before the look");
        assert_eq!(find(BEFORE_THE_CUT * 2, None), None, "made long before");
        assert_eq!(find(Duration::ZERO, Some(true)), None, "known, and as it was");
        assert_eq!(find(Duration::ZERO, Some(false)).as_deref(), Some("a.log.1"), "a copy was written over it");
    }

    #[test]
    fn of_two_copies_the_newest_by_name_is_taken_and_names_of_no_series_are_left() {
        let find = |files: &[(&str, &[u8])]| found(files, &mark(), Duration::ZERO, None);
        assert_eq!(find(&[("a.log.2", READ), ("a.log.1", READ)]).as_deref(), Some("a.log.1"));
        let dated = find(&[("a.log-20261121", READ), ("a.log-20261122", READ)]);
        assert_eq!(dated.as_deref(), Some("a.log-20261122"));
        assert_eq!(find(&[("a.log.1.gz", READ), ("a.log.old", READ), ("b.log.1", READ)]), None);
    }
}
