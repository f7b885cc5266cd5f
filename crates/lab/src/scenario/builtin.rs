//! The built-in scenarios, and the way from a name or a path to a scenario's text.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::wire::ScenarioError;
use super::wire::what::What;
use pollscope_base::reason;
use pollscope_record::snippet::nearest;
use pollscope_record::units::format_bytes;

/// Every built-in scenario, by name and TOML, in the best order to read them.
pub const BUILTIN: &[(&str, &str)] = &[
    ("merge", include_str!("../../scenarios/merge.toml")),
    ("slow-sink", include_str!("../../scenarios/slow-sink.toml")),
    ("slow-coroutine", include_str!("../../scenarios/slow-coroutine.toml")),
    ("many-short-polls", include_str!("../../scenarios/many-short-polls.toml")),
    ("fsync", include_str!("../../scenarios/fsync.toml")),
    ("busy-server", include_str!("../../scenarios/busy-server.toml")),
    ("many-inputs", include_str!("../../scenarios/many-inputs.toml")),
    ("multi-thread", include_str!("../../scenarios/multi-thread.toml")),
];

/// The largest scenario file to read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What of a file says what it is.
const BEGINNING: u64 = 4 << 10;

/// The name and the text of a built-in scenario, or the path and the text of a file.
/// A path contains a `/` or ends in `.toml`. [`super::wire::parse`] takes both halves.
///
/// # Errors
/// When there is no such scenario, or the file cannot be read, is too large or is not text.
///
/// ```
/// use pollscope_lab::scenario::{builtin, wire};
/// let (name, text) = builtin::find("slow-sink")?;
/// assert_eq!(wire::parse(&name, &text, &[])?.name, "slow-sink");
/// assert!(builtin::find("slow-sinc").unwrap_err().to_string().contains("did you mean `slow-sink`?"));
/// # Ok::<(), wire::ScenarioError>(())
/// ```
pub fn find(name_or_path: &str) -> Result<(String, String), ScenarioError> {
    if let Some((name, text)) = BUILTIN.iter().find(|(name, _)| *name == name_or_path) {
        return Ok((name.to_string(), text.to_string()));
    }
    if is_path(name_or_path) {
        return Ok((name_or_path.to_owned(), read(name_or_path)?));
    }
    Err(ScenarioError::NotFound {
        name: name_or_path.to_owned(),
        nearest: nearest(name_or_path, BUILTIN.iter().map(|(name, _)| *name)),
        help: instead(name_or_path),
    })
}

/// What a name is that no scenario has, and what to do with it.
fn instead(name: &str) -> String {
    let listed = "list them with `pollscope scenarios`; write a file's path with a `/` or with `.toml`";
    if name == "-" {
        return "a scenario cannot come from stdin: save it as a TOML file, and name that".to_owned();
    }
    let with_extension = format!("{name}.toml");
    if Path::new(&with_extension).is_file() {
        return format!("there is a file `{with_extension}`: `pollscope run {with_extension}`");
    }
    if !std::fs::metadata(name).is_ok_and(|found| found.is_file()) {
        return listed.to_owned();
    }
    let mut start = Vec::new();
    let begun = File::open(name).and_then(|file| file.take(BEGINNING).read_to_end(&mut start));
    match What::of(&start) {
        What::Saved if begun.is_ok() => What::Saved.advice(name),
        _ => format!(
            "a scenario is a TOML file: if `{name}` is one, write `./{name}`; to merge it, `pollscope merge {name} -o OUT`"
        ),
    }
}

/// Whether it is a file's path, not the name of a built-in scenario.
fn is_path(name_or_path: &str) -> bool {
    name_or_path.contains('/') || name_or_path.ends_with(".toml")
}

/// The scenario's name: a file's stem, or the built-in name.
pub(super) fn stem(name_or_path: &str) -> String {
    let stem = Path::new(name_or_path).file_stem().filter(|_| is_path(name_or_path));
    stem.map_or_else(|| name_or_path.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn read(path: &str) -> Result<String, ScenarioError> {
    let error = |cause: String| ScenarioError::Read { path: path.to_owned(), cause };
    let io_error = |error_: std::io::Error| {
        error(match error_.kind() {
            ErrorKind::NotFound => "there is no such file; `pollscope scenarios` lists the built-in ones".to_owned(),
            ErrorKind::PermissionDenied => "permission denied; make it readable for this user".to_owned(),
            _ => format!("{}; name a file that can be read", reason(&error_)),
        })
    };
    // Checked before the open, since opening a FIFO waits for its writer.
    let metadata = std::fs::metadata(path).map_err(io_error)?;
    if metadata.is_dir() {
        return Err(error("it is a directory; name the file in it".to_owned()));
    }
    if !metadata.is_file() {
        return Err(error("it is not a regular file; name a TOML file".to_owned()));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(io_error)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(error(format!(
            "it is larger than {}, which no scenario is; {}",
            format_bytes(MAX_FILE_BYTES),
            What::of(&bytes).advice(path)
        )));
    }
    String::from_utf8(bytes).map_err(|utf8| {
        let at = utf8.utf8_error().valid_up_to();
        let what = if path.ends_with(".toml") {
            "save the file as UTF-8".to_owned()
        } else {
            What::of(utf8.as_bytes()).advice(path)
        };
        error(format!("byte {at} is not UTF-8; {what}"))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::wire::parse;

    #[test]
    fn the_folder_and_the_list_agree() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: BTreeSet<(String, String)> = std::fs::read_dir(folder)
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be listed").path())
            .map(|path| (stem(path.to_str().expect("UTF-8")), std::fs::read_to_string(&path).expect("it is text")))
            .collect();
        let listed = BUILTIN.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn every_scenario_says_what_it_asks_and_expects() {
        for (name, text) in BUILTIN {
            let scenario = parse(name, text, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(scenario.name, *name);
            assert!(scenario.question.ends_with('?'), "{name}: {}", scenario.question);
            assert!(scenario.why.split_whitespace().count() >= 40, "{name}: say why in a few sentences");
            assert!(!scenario.expect.is_empty(), "{name}");
            let says_why = text.lines().any(|line| line.starts_with("rounds = ") && line.contains(" # "));
            assert!(says_why, "{name}: say how many rounds, and why so many");
            for gate in &scenario.expect {
                let known =
                    gate.groups().all(|group| scenario.settings.modes.iter().any(|mode| mode.as_str() == group));
                assert!(known, "{name}: `{gate}` names a mode that does not run");
            }
        }
    }

    #[test]
    fn a_file_is_found_by_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mine.toml");
        std::fs::write(&path, BUILTIN[0].1).expect("written");
        let (name, text) = find(path.to_str().expect("UTF-8")).expect("found");
        assert_eq!(parse(&name, &text, &[]).expect("valid").name, "mine");
    }

    #[test]
    fn what_is_no_scenario_is_refused_with_the_cause() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        let directory = format!("{}/", folder.path().display());
        let cases = [
            (directory, "directory"),
            (write("big.toml", &vec![b'#'; MAX_FILE_BYTES as usize + 1]), "larger than 1.05 MB"),
            (write("latin.toml", b"question = \"\xe9\""), "byte 12 is not UTF-8"),
            ("/dev/null".to_owned(), "not a regular file"),
            ("missing.toml".to_owned(), "`missing.toml`: there is no such file"),
            ("slow_sink".to_owned(), "did you mean `slow-sink`?"),
            ("zzz".to_owned(), "`pollscope scenarios`"),
        ];
        for (name, expected) in cases {
            let error = find(&name).expect_err(&name).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
