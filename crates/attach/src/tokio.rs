//! Whether Tokio is in a process, and which, as its files say.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use memchr::memmem;
use pollscope_stacks::maps::{self, Maps};
use pollscope_stacks::process::Process;

/// As symbols have it, in either mangling; in two pieces, so that this program has it among its symbols alone.
const SYMBOL: [&str; 2] = ["5tokio", "7runtime"];
/// The variable by which a probe is told to record, in small letters: this program has it in capitals in the probe's code alone.
const PROBE: &str = "pollscope_record";
/// The newest version, behind `1.`, whose stacks were tried.
const NEWEST: u32 = 54;
/// As the paths in panic messages have it, before the version.
const FOLDER: &[u8] = b"/tokio-";
/// How much of a file is searched at a time, and how much of that again with the next part.
const PART: u64 = 1 << 20;
const OVERLAP: u64 = 64;

/// What a file says of its Tokio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tokio {
    /// As in `1.54.1`; `None` where no message has the path of its sources.
    pub(crate) version: Option<String>,
    /// Whether its functions have names.
    pub(crate) has_names: bool,
}

/// That of a process: in its program, or else in a library of its.
pub(crate) fn of(process: &Process) -> Option<Tokio> {
    let proc = PathBuf::from(format!("/proc/{}", process.pid()));
    let at = |path: &Path| match process.core() {
        Some(core) => core.now_at(&path.to_string_lossy()),
        None => proc.join("root").join(path.strip_prefix("/").unwrap_or(path)),
    };
    let program = if process.core().is_some() { at(&process.exe().ok()?) } else { proc.join("exe") };
    let in_file = |path: &Path, loaded| File::open(path).and_then(|file| find(file, loaded)).ok().flatten();
    in_file(&program, loaded(process)).or_else(|| {
        let maps = Maps::read(process).ok()?;
        let libraries: BTreeSet<PathBuf> = maps.all().iter().filter_map(|mapping| mapping.path.clone()).collect();
        libraries.iter().find_map(|path| in_file(&at(path), WHOLE))
    })
}

/// All of a file.
const WHOLE: Range<u64> = 0..u64::MAX;

/// Which bytes of its program's file a process has in its memory: all but the names and the debug information, mostly the first tenth.
fn loaded(process: &Process) -> Range<u64> {
    process.exe().ok().and_then(|exe| maps::loaded(process, exe.to_str()?).ok()?).unwrap_or(WHOLE)
}

/// Whether the program of a process has the probe, and may be told to record itself: the name of the variable that tells it is in its
/// file. That has it without the feature `record` too. `false` of one whose file cannot be read.
///
/// ```
/// // This one only knows of it.
/// assert!(!pollscope_attach::has_probe(std::process::id()));
/// assert!(!pollscope_attach::has_probe(u32::MAX));
/// ```
pub fn has_probe(pid: u32) -> bool {
    probe(pid).unwrap_or(false)
}

/// The same; `None` where its file cannot be read.
pub(crate) fn probe(pid: u32) -> Option<bool> {
    let variable = PROBE.to_uppercase();
    let loaded = Process::open(pid).map_or(WHOLE, |process| loaded(&process));
    File::open(format!("/proc/{pid}/exe")).and_then(|file| contains(file, loaded, variable.as_bytes())).ok()
}

fn contains(mut file: impl Read + Seek, loaded: Range<u64>, word: &[u8]) -> io::Result<bool> {
    let word = memmem::Finder::new(word);
    let bytes = file.seek(SeekFrom::End(0))?;
    Ok(search(&mut file, parts(loaded, bytes), |part| word.find(part))?.is_some())
}

/// What to say of a version that was not tried; `None` of one that was, or of which nobody knows.
pub(crate) fn untried(version: &str) -> Option<String> {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse::<u32>().ok());
    let [major, minor] = [numbers.next()??, numbers.next()??];
    let is = match (major, minor) {
        (1, minor) if minor <= NEWEST => return None,
        (0, _) => "older",
        _ => "newer",
    };
    Some(format!(
        "it has Tokio {version}, which is {is} than what was tried (1.0 to 1.{NEWEST}): where that names its functions otherwise, \
         stalls are not seen"
    ))
}

/// `None` where nothing names it. Its messages are in what is `loaded`; names of functions are last in a file, as linkers write them.
fn find(mut file: impl Read + Seek, loaded: Range<u64>) -> io::Result<Option<Tokio>> {
    let (folder, symbol) = (memmem::Finder::new(FOLDER), SYMBOL.concat());
    let symbol = memmem::Finder::new(&symbol);
    let bytes = file.seek(SeekFrom::End(0))?;
    let version = search(&mut file, parts(loaded, bytes), |part| {
        folder.find_iter(part).find_map(|at| version(&part[at + FOLDER.len()..]))
    })?;
    let has_names = search(&mut file, parts(WHOLE, bytes).rev(), |part| symbol.find(part))?.is_some();
    let found = Tokio { version, has_names };
    Ok((found != Tokio::default()).then_some(found))
}

/// A range of so many bytes in parts, each with the beginning of the next one.
fn parts(Range { start, end }: Range<u64>, bytes: u64) -> impl DoubleEndedIterator<Item = Range<u64>> {
    let end = end.min(bytes);
    let count = end.saturating_sub(start).div_ceil(PART);
    (0..count).map(move |index| start + index * PART..end.min(start + (index + 1) * PART + OVERLAP))
}

/// What is found in the first part in which anything is.
fn search<T>(
    file: &mut (impl Read + Seek),
    parts: impl Iterator<Item = Range<u64>>,
    find: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.clear();
        file.seek(SeekFrom::Start(part.start))?;
        file.take(part.end - part.start).read_to_end(&mut bytes)?;
        let found = find(&bytes);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// `1.54.1` of `1.54.1/src/…`.
fn version(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b".-+".contains(byte)))?;
    let (version, rest) = text.split_at(end);
    let is_one =
        version.first().is_some_and(u8::is_ascii_digit) && version.contains(&b'.') && rest.starts_with(b"/src/");
    is_one.then(|| String::from_utf8_lossy(version).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn of(text: &[u8]) -> Option<Tokio> {
        find(Cursor::new(text), WHOLE).unwrap()
    }

    #[test]
    fn a_version_is_that_of_its_folder() {
        let path = b"\0/r/src/index-1f/tokio-util-0.7.18/src/lib.rs\0/r/tokio-1.54.1/src/runtime/mod.rs";
        assert_eq!(of(path), Some(Tokio { version: Some("1.54.1".to_owned()), has_names: false }));
        assert_eq!(of(b"_ZN5tokio7runtime4task3raw4poll"), Some(Tokio { version: None, has_names: true }));
        assert_eq!(of(b"/tokio-console is not it, nor /tokio-1.2 here"), None);
        assert_eq!(of(b""), None);
    }

    #[test]
    fn what_was_not_tried_is_said() {
        for tried in ["1.0.0", "1.20.6", "1.54.1", "1.54.0-rc.1", "nightly", "1", ""] {
            assert_eq!(untried(tried), None, "{tried}");
        }
        for (version, is) in [("0.2.25", "older"), ("1.55.0", "newer"), ("2.0.0-alpha", "newer")] {
            assert!(
                untried(version).is_some_and(|said| said.contains(&format!("Tokio {version}, which is {is} than")))
            );
        }
    }

    #[test]
    fn what_lies_across_two_parts_is_found() {
        let part = usize::try_from(PART).unwrap();
        for at in part - 40..part + 2 {
            let mut text = vec![b'x'; at];
            text.extend(b"/tokio-1.54.1/src/runtime 5tokio7runtime");
            let found = of(&text).unwrap();
            assert_eq!((found.version.as_deref(), found.has_names), (Some("1.54.1"), true), "{at}");
            let contains = |word: &[u8]| contains(Cursor::new(&text), WHOLE, word).unwrap();
            assert!(contains(b"5tokio7runtime") && !contains(b"7runtime5"));
        }
    }

    #[test]
    fn messages_are_those_that_are_loaded() {
        let text = b"/tokio-1.53.0/src/ /tokio-1.54.1/src/ 5tokio7runtime";
        let found = find(Cursor::new(text), 19..37).unwrap();
        assert_eq!(found, Some(Tokio { version: Some("1.54.1".to_owned()), has_names: true }));
        let has = |range| contains(Cursor::new(text), range, b"1.53").unwrap();
        assert!(has(0..19) && !has(19..52) && !has(60..90));
    }
}
