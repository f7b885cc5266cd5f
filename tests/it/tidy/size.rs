//! How long files and functions may be, without their inline tests.

use std::path::Path;

use super::{files, not_tests, sources, text, without_tests};
use crate::support::root;

/// Lines of a file.
const FILE: usize = 500;

/// Lines of a function, from its `fn` to its closing brace.
const FUNCTION: usize = 60;

/// Files that are longer, how long they may be, and why.
const LONG_FILES: [(&str, usize, &str); 0] = [];

/// Functions that are longer, how long they may be, and why.
const LONG_FUNCTIONS: [(&str, &str, usize, &str); 0] = [];

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn no_file_is_longer_than_one_can_keep_in_mind() {
    let mut all = sources();
    all.extend(["tests", "benches", "fuzz"].iter().flat_map(|folder| files(folder, "rs")));
    for path in all {
        let (file, lines) = (relative(&path), without_tests(&text(&path)).lines().count());
        let most = LONG_FILES.iter().find(|(long, ..)| *long == file).map_or(FILE, |(_, most, _)| *most);
        assert!(lines <= most, "{file} has {lines} lines of {most}: split it by what its parts know");
    }
}

/// Every function of a text: its name, and how many lines it has. It relies on rustfmt, which puts the closing brace below `fn`.
fn functions(text: &str) -> Vec<(&str, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let Some((before, after)) = code.split_once("fn ") else { continue };
        let is_item = before.split_whitespace().all(|word| {
            word.starts_with("pub")
                || word.ends_with(')')
                || ["const", "async", "unsafe", "extern", "\"C\""].contains(&word)
        });
        if !is_item || code.ends_with([';', '}']) {
            continue;
        }
        let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        let brace = format!("{}}}", &line[..line.len() - code.len()]);
        // A declaration in a trait has no closing brace: it ends after its parameters.
        let parenthesis = brace.replace('}', ")");
        let ends = |line: &&str| *line == brace || (line.starts_with(&parenthesis) && line.ends_with(';'));
        if let Some(end) = lines[start..].iter().position(ends) {
            found.push((name, end + 1));
        }
    }
    found
}

#[test]
fn no_function_is_longer_than_a_screen() {
    let mut count = 0;
    for path in not_tests(sources()) {
        let (file, text) = (relative(&path), text(&path));
        for (name, lines) in functions(&without_tests(&text)) {
            count += 1;
            let long = LONG_FUNCTIONS.iter().find(|(long, function, ..)| (*long, *function) == (file.as_str(), name));
            let most = long.map_or(FUNCTION, |(_, _, most, _)| *most);
            assert!(lines <= most, "{file}: `{name}` has {lines} lines of {most}: name its steps");
        }
    }
    assert!(count > 1_000, "functions are found: {count}");
}

#[test]
fn functions_are_measured_to_their_closing_brace() {
    let text = "pub(crate) async fn one(\n    a: u8,\n) -> u8 {\n    a\n}\n\nimpl X {\n    fn two() {\n        if b {\n        }\n    }\n    fn three() {}\n}\nlet x = |fn f| 0;\n";
    assert_eq!(functions(text), [("one", 5), ("two", 4)]);
}
