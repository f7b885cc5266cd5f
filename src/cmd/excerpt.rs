//! The lines of the user's code that an answer is about, where they can be read and are what they were.
//!
//! A recording may come from anybody: it does not decide which files are read. Only Rust sources are, in the folder that this runs in
//! or in the repository around it, and only those that nobody changed since.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use crate::report::answer::Excerpt;

/// A longer file is no source that somebody wrote.
const MOST_BYTES: u64 = 4 << 20;
/// Lines shown: the one before, and the line itself.
const LINES: u32 = 2;

/// The code at `file:line`, if that was last changed before `began`. `more`: folders to look in, besides the working one.
pub(super) fn of(place: &str, began: SystemTime, more: &[PathBuf]) -> Option<Excerpt> {
    let (file, line) = place.rsplit_once(':')?;
    let line: u32 = line.parse().ok()?;
    let path = find(Path::new(file), &std::env::current_dir().ok()?, more)?;
    let metadata = fs::metadata(&path).ok()?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES || metadata.modified().ok()? > began {
        return None;
    }
    let lines = read(&path, line)?;
    Some(Excerpt { lines: dedented(lines), link: Some(uri(&path)) })
}

/// The file as a terminal can open it. With the machine's name, by which a terminal elsewhere knows that it has no such file.
fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = |bytes: &[u8], also: &[u8]| -> String {
        let part = |&byte: &u8| match byte {
            byte if plain(byte) || also.contains(&byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        bytes.iter().map(part).collect()
    };
    let host = escaped(rustix::system::uname().nodename().to_bytes(), b"");
    format!("file://{host}{}", escaped(path.as_os_str().as_bytes(), b"/"))
}

/// A source below the folder, or below one above it up to the root of its repository, or below one of `more`.
fn find(file: &Path, from: &Path, more: &[PathBuf]) -> Option<PathBuf> {
    let is_plain = |part| matches!(part, Component::Normal(_) | Component::RootDir);
    if file.extension()? != "rs" || !file.components().all(is_plain) {
        return None;
    }
    let roots = roots(from).chain(more.iter().map(PathBuf::as_path));
    let roots: Vec<PathBuf> = roots.filter_map(|root| fs::canonicalize(root).ok()).collect();
    // What a link leads out of the folder to is not in it.
    let is_in =
        |path: &PathBuf| roots.iter().any(|root| path.starts_with(root)) && path.extension().is_some_and(|e| e == "rs");
    roots.iter().filter_map(|root| fs::canonicalize(root.join(file)).ok()).find(is_in)
}

/// The folder, and those above it up to the root of its repository; without one, the folder alone.
fn roots(from: &Path) -> impl Iterator<Item = &Path> {
    let repository = from.ancestors().position(|folder| folder.join(".git").exists()).unwrap_or(0);
    from.ancestors().take(repository + 1)
}

/// The line and what stands before it; `None` where the file has no such line.
fn read(path: &Path, line: u32) -> Option<Vec<(u32, String)>> {
    let first = line.saturating_sub(LINES - 1).max(1);
    let file = BufReader::new(File::open(path).ok()?.take(MOST_BYTES));
    let mut found = Vec::new();
    for (number, text) in (1..=line).zip(file.lines()) {
        let text = text.ok()?;
        if number >= first {
            found.push((number, text));
        }
    }
    (found.last()?.0 == line).then_some(found)
}

/// Without blank lines before the last one, and without what all lines are indented by.
fn dedented(lines: Vec<(u32, String)>) -> Vec<(u32, String)> {
    let lines: Vec<(u32, String)> = lines.into_iter().filter(|(_, text)| !text.trim().is_empty()).collect();
    let lines: Vec<(u32, String)> =
        lines.into_iter().map(|(number, text)| (number, text.replace('\t', "    "))).collect();
    let indent = |text: &str| text.len() - text.trim_start_matches(' ').len();
    let least = lines.iter().map(|(_, text)| indent(text)).min().unwrap_or(0);
    lines.into_iter().map(|(number, text)| (number, text[least..].trim_end().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_secs(60)
    }

    #[test]
    fn only_sources_below_the_folder_are_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let (inside, outside) = (folder.path().join("repository"), folder.path().join("outside.rs"));
        fs::create_dir_all(inside.join("src")).expect("a folder");
        fs::write(inside.join("src/main.rs"), "fn main() {\n    work();\n}\n").expect("written");
        fs::write(inside.join("src/secret.key"), "secret").expect("written");
        fs::write(&outside, "secret").expect("written");
        std::os::unix::fs::symlink(&outside, inside.join("src/link.rs")).expect("a link");
        let found = |file: &str| find(Path::new(file), &inside, &[]).is_some();
        assert!(found("src/main.rs"));
        assert!(found(inside.join("src/main.rs").to_str().expect("text")), "as the compiler was given it");
        for file in
            ["src/secret.key", "../outside.rs", "src/link.rs", outside.to_str().expect("text"), "/etc/passwd", "src"]
        {
            assert!(!found(file), "{file}");
        }
        assert!(
            find(Path::new("src/main.rs"), &inside.join("src"), &[]).is_none(),
            "no repository says what is around it"
        );
        fs::create_dir(inside.join(".git")).expect("a folder");
        assert!(find(Path::new("src/main.rs"), &inside.join("src"), &[]).is_some());
        let elsewhere = tempfile::tempdir().expect("a folder");
        let here = |more: &[PathBuf]| find(Path::new("src/main.rs"), elsewhere.path(), more);
        assert!(here(&[]).is_none() && here(&[inside]).is_some(), "where the project says that code is");
    }

    #[test]
    fn the_line_is_shown_with_the_one_before_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.rs");
        fs::write(&path, "fn main() {\n\n    if true {\n        work();\n    }\n}\n").expect("written");
        let at = |line| read(&path, line).map(dedented);
        assert_eq!(at(4), Some(vec![(3, "if true {".to_owned()), (4, "    work();".to_owned())]));
        assert_eq!(at(3), Some(vec![(3, "if true {".to_owned())]), "a blank line says nothing");
        assert_eq!(at(1), Some(vec![(1, "fn main() {".to_owned())]));
        assert_eq!(at(7), None);
    }

    #[test]
    fn what_was_changed_since_is_not_shown() {
        let folder = root();
        let place = "src/cmd/excerpt.rs:1";
        assert!(folder.join("src/cmd/excerpt.rs").exists());
        assert!(of(place, later(), &[]).is_some());
        assert!(of(place, SystemTime::UNIX_EPOCH, &[]).is_none());
        assert!(of("src/cmd/excerpt.rs", later(), &[]).is_none() && of("src/cmd/excerpt.rs:x", later(), &[]).is_none());
    }

    #[test]
    fn a_path_becomes_a_link_of_plain_letters() {
        let uri = uri(Path::new("/a b/\u{1b}ü.rs"));
        assert!(uri.starts_with("file://") && uri.ends_with("/a%20b/%1B%C3%BC.rs"), "{uri}");
    }

    /// Where tests run.
    fn root() -> PathBuf {
        std::env::current_dir().expect("a folder")
    }
}
