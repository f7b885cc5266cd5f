//! The project's rules, as tests.

mod circles;
mod dependencies;
mod size;

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::root;

/// Every file below a folder of the project, by extension.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") && !path.ends_with(".git") {
                    walk(&path, extension, found);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), extension, &mut found);
    assert!(!found.is_empty(), "no .{extension} files in {folder}");
    found
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of a file without its inline tests: rustfmt puts a module's closing brace below its `mod`.
fn without_tests(text: &str) -> String {
    let mut tests_end: Option<String> = None;
    let mut kept = String::new();
    for line in text.lines() {
        match &tests_end {
            Some(brace) if line == brace => tests_end = None,
            Some(_) => {}
            None if line.trim_start() == "mod tests {" => tests_end = Some(line.replace("mod tests {", "}")),
            None => kept.extend([line, "\n"]),
        }
    }
    kept
}

/// The code of a file: without comments, which may speak of anything, and without its inline tests.
fn code(path: &Path) -> String {
    let text = without_tests(&text(path));
    text.lines().filter(|line| !line.trim_start().starts_with("//")).fold(String::new(), |all, line| all + line + "\n")
}

/// Fails with every place where one of `words` occurs in `paths`, but for the `allowed` files.
#[track_caller]
fn never(paths: &[PathBuf], words: &[&str], allowed: &[&str]) {
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| !allowed.iter().any(|allowed| path.ends_with(allowed))) {
        for (index, line) in code(path).lines().enumerate() {
            found.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{}: `{word}` about line {}", path.display(), index + 1)),
            );
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Every crate's folder of code.
const CRATES: [&str; 6] =
    ["src", "crates/base/src", "crates/lab/src", "crates/probe/src", "crates/record/src", "crates/stacks/src"];

/// The code of all crates.
fn sources() -> Vec<PathBuf> {
    CRATES.iter().flat_map(|folder| files(folder, "rs")).collect()
}

/// Leaves out files of tests.
fn not_tests(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    let root = root();
    let is_test = |path: &Path| path.ends_with("tests.rs") || path.iter().any(|part| part == "tests");
    paths.retain(|path| !is_test(path.strip_prefix(&root).unwrap()));
    paths
}

#[test]
fn only_one_file_knows_the_cfg() {
    let words =
        ["cfg(tokio_unstable", "cfg!(tokio_unstable", "not(tokio_unstable", "(tokio_unstable,", ", tokio_unstable"];
    never(&sources(), &words, &["crates/probe/src/tokio_api.rs"]);
}

/// That it sees neither tokio nor the probe is in its `Cargo.toml`.
#[test]
fn what_is_known_of_a_recording_depends_on_nothing_else() {
    let pure = not_tests(files("crates/record/src", "rs"));
    never(&pure, &["Instant", "SystemTime", "std::fs", "std::env", "std::thread", "std::net", "std::process"], &[]);
    // Or writers, of what is compressed in memory.
    let readers = [
        "report/pprof.rs",
        "saved.rs",
        "growing.rs",
        "growing/following.rs",
        "recording/read.rs",
        "recording/letters.rs",
        "recording/paged.rs",
        "recording/wire.rs",
        "interval_log.rs",
        "dist/blob.rs",
    ];
    never(&pure, &["std::io"], &readers.map(|file| format!("crates/record/src/{file}")).each_ref().map(String::as_str));
}

#[test]
fn the_pipeline_does_not_know_what_measures_it() {
    never(&files("crates/lab/src/pipeline", "rs"), &["pollscope_probe", "Probe", "witness", "crate::run"], &[]);
}

#[test]
fn clap_stops_in_args() {
    let mut sources = files("src", "rs");
    let count = sources.len();
    sources.retain(|path| !path.starts_with(root().join("src/args")));
    assert!(sources.len() < count, "a folder for the commands' arguments");
    never(&sources, &["clap"], &["src/args.rs"]);
}

#[test]
fn unsafe_code_is_in_stacks_and_in_two_lines_of_the_poll_path() {
    let places = ["crates/probe/src/location.rs", "crates/probe/src/clock.rs"];
    let mut sources = sources();
    sources.retain(|path| !path.starts_with(root().join("crates/stacks")));
    never(&sources, &["unsafe "], &places);
    for place in places {
        let uses = code(&root().join(place)).matches("unsafe ").count();
        assert_eq!(uses, 1, "{place}: each use needs a reason, and this test to know of it");
    }
}

#[test]
fn the_probe_neither_prints_nor_exits() {
    never(
        &[files("crates/base/src", "rs"), files("crates/probe/src", "rs")].concat(),
        &["print!", "println!", "process::exit", "process::abort", "dbg!"],
        &[],
    );
}

/// What runs at every poll, besides Tokio: none of it may lock, wait, log or format.
#[test]
fn the_poll_path_takes_no_lock() {
    let path = ["thread.rs", "worker.rs", "polling.rs", "site.rs", "ring.rs", "location.rs", "watch.rs", "clock.rs"]
        .map(|file| root().join("crates/probe/src").join(file));
    never(&path, &["Mutex", "RwLock", "Condvar", ".lock()", "format!", "writeln!", "sleep", "tracing::"], &[]);
}

#[test]
fn every_error_is_said_once_and_nothing_is_printed_elsewhere() {
    never(&not_tests(sources()), &["println!(", "eprintln!(", "process::exit"], &[]);
}

/// Where text is made safe to show; `Lines` takes it.
#[test]
fn one_place_writes_to_stderr() {
    let places = ["src/stderr.rs", "src/stderr/progress_line.rs"];
    never(&not_tests(files("src", "rs")), &["stderr().write", "stderr().lock", "write!(io::stderr"], &places);
}

#[test]
fn nothing_is_left_undone() {
    never(&sources(), &["todo!", "unimplemented!", "FIXME", "XXX"], &[]);
}

/// Everything that is written for people to read.
fn documents() -> Vec<PathBuf> {
    let mut all = files("docs", "md");
    let others =
        ["README", "ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "SECURITY", "crates/probe/README", "contrib/README"];
    all.extend(others.map(|name| root().join(format!("{name}.md"))));
    all
}

/// The text without what is fenced: that is code, where nothing is a link or a heading.
fn prose(path: &Path) -> String {
    text(path).split("\n```").step_by(2).collect()
}

/// What GitHub makes of a document's headings, to link to.
fn anchors(path: &Path) -> Vec<String> {
    let kept =
        |heading: &str| heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>();
    let prose = prose(path);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| kept(line.trim_start_matches('#').trim()).to_lowercase().replace(' ', "-")).collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in documents() {
        let prose = prose(&path);
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
            if file.starts_with("http") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            assert!(wanted.is_empty() || anchors(&target).iter().any(|a| a == wanted), "{}: {link}", path.display());
        }
    }
}

#[test]
fn texts_say_nothing_of_one_machine() {
    let mut all = documents();
    all.extend(sources());
    all.extend(files("scenarios", "toml"));
    for path in all {
        let text = text(&path);
        for word in ["/root/", "/home/", "/work/"] {
            assert!(!text.contains(word), "{}: {word}", path.display());
        }
    }
}

#[test]
fn the_map_is_short_and_names_every_file_of_base_and_the_probe() {
    let map = text(&root().join("ARCHITECTURE.md"));
    assert!(map.lines().count() <= 150, "{} lines", map.lines().count());
    assert!(files("crates/stacks/src", "rs").len() > 10, "stacks is a folder of its own");
    for path in [files("crates/base/src", "rs"), files("crates/probe/src", "rs")].concat() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            ["lib.rs", "tests.rs"].contains(&name) || map.contains(&format!("`{name}`")),
            "{name} is not in ARCHITECTURE.md"
        );
    }
}

#[test]
fn exit_codes_in_the_help_are_those_of_the_program() {
    use pollscope::exit::Exit;
    let help = String::from_utf8(crate::support::pollscope().arg("--help").output().unwrap().stdout).unwrap();
    let all = [
        Exit::Pass,
        Exit::Error,
        Exit::Usage,
        Exit::NotConfirmed,
        Exit::Inconclusive,
        Exit::Regression,
        Exit::GateFailed,
        Exit::CannotWrite,
        Exit::CannotStart,
        Exit::NotFound,
        Exit::HungUp,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    let codes = help.split("Exit codes:").nth(1).expect("the help lists exit codes");
    let listed: Vec<u8> = codes.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert_eq!(listed, all.map(Exit::code));
}
