//! Where a program starts its runtime: `#[tokio::main]` is changed, all else is told.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml_edit::Item;

use super::project::Project;
use super::{Document, InitError, Plan};
use crate::escape::escape_path;

const OURS: &str = "pollscope_probe::main";
/// What the probe's attribute takes.
const TAKEN: [&str; 2] = ["flavor", "worker_threads"];

/// Other attributes that start a runtime, and what to do about them.
const OTHERS: [(&str, &str); 5] = [
    ("actix_web::main", "its workers have runtimes of their own: wrap their calls, as the probe's README shows"),
    ("actix_rt::main", "its workers have runtimes of their own: wrap their calls, as the probe's README shows"),
    ("rocket::main", "build the runtime yourself, with `ProbeBuilder::from_env().run(…)`, and launch Rocket in it"),
    ("rocket::launch", "build the runtime yourself, with `ProbeBuilder::from_env().run(…)`, and launch Rocket in it"),
    ("async_std::main", "it is no runtime of Tokio's, and is not measured"),
];

pub(super) fn plan(project: &Project, plan: &mut Plan) -> Result<(), InitError> {
    let manifest = Document::read(&project.package.join("Cargo.toml"))?;
    let mut is_started = false;
    for path in programs(&project.package, &manifest) {
        let Some(text) = super::read(&path)? else { continue };
        let shown = escape_path(plan.shown(&path));
        let code = Code::of(&text);
        is_started |= code.attribute(OURS).is_some()
            || code.finds("ProbeBuilder").is_some()
            || code.finds("Probe::builder").is_some();
        let mut after = text.clone();
        if let Some(found) = code.attribute("tokio::main") {
            is_started = true;
            match code.setting_not_taken(&found) {
                None => after.replace_range(found.name.clone(), OURS),
                Some(setting) => plan.notes.push(format!(
                    "`{shown}:{}` sets `{setting}`, which `#[{OURS}]` does not take: change it by hand, or build the runtime with \
                     `ProbeBuilder::from_env().run(…)`",
                    code.line(found.name.start)
                )),
            }
        }
        for (name, what) in OTHERS {
            if let Some(found) = code.attribute(name) {
                is_started = true;
                plan.notes.push(format!("`{shown}:{}` has `#[{name}]`: {what}", code.line(found.name.start)));
            }
        }
        if !is_started && let Some(at) = code.builds_runtime() {
            is_started = true;
            plan.notes.push(format!(
                "`{shown}:{}` builds its runtime itself: give the builder to `pollscope_probe::ProbeBuilder::from_env().run(…)`, \
                 as the probe's README shows",
                code.line(at)
            ));
        }
        plan.add(path, Some(text), after);
    }
    if !is_started {
        plan.notes.push(format!(
            "no program of `{}` has a `#[tokio::main]`: where it builds its runtime, give the builder to \
             `pollscope_probe::ProbeBuilder::from_env().run(…)`",
            escape_path(plan.shown(&project.package.join("Cargo.toml")))
        ));
    }
    Ok(())
}

/// Whether a package has a program that one of Tokio's attributes starts, or the probe's.
pub(super) fn starts_runtime(package: &Path) -> bool {
    let Ok(manifest) = Document::read(&package.join("Cargo.toml")) else { return false };
    let starts = |text: &str| {
        let code = Code::of(text);
        code.attribute("tokio::main").or_else(|| code.attribute(OURS)).is_some()
    };
    programs(package, &manifest)
        .iter()
        .any(|path| super::read(path).is_ok_and(|text| text.is_some_and(|text| starts(&text))))
}

/// The first file of each program of a package.
fn programs(package: &Path, manifest: &Document) -> Vec<PathBuf> {
    let mut found = vec![package.join("src/main.rs")];
    let bins = manifest.parsed.get("bin").and_then(Item::as_array_of_tables);
    let paths = bins.into_iter().flatten().filter_map(|bin| bin.get("path").and_then(Item::as_str));
    found.extend(paths.map(|path| package.join(path)));
    for entry in fs::read_dir(package.join("src/bin")).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        } else {
            found.push(path.join("main.rs"));
        }
    }
    found.retain(|path| path.is_file());
    found.sort();
    found.dedup();
    found
}

/// An attribute.
struct Attribute {
    /// Its path.
    name: Range<usize>,
    /// What is between its parentheses.
    settings: Option<Range<usize>>,
}

/// Source text, with blanks for comments and what is between quotes: as long, byte by byte.
struct Code(Vec<u8>);

impl Code {
    fn of(text: &str) -> Code {
        Code(blanked(text.as_bytes()))
    }

    fn line(&self, at: usize) -> usize {
        self.0[..at].iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn finds(&self, what: &str) -> Option<usize> {
        self.0.windows(what.len()).position(|part| part == what.as_bytes())
    }

    fn builds_runtime(&self) -> Option<usize> {
        let ways = ["Builder::new_multi_thread", "Builder::new_current_thread", "Runtime::new("];
        ways.iter().filter_map(|way| self.finds(way)).min()
    }

    /// `#[name]` or `#[name(…)]`, with whatever blanks in it.
    fn attribute(&self, name: &str) -> Option<Attribute> {
        let parts: Vec<&str> = name.split("::").collect();
        (0..self.0.len()).filter(|at| self.0[*at] == b'#').find_map(|at| self.attribute_at(at, &parts))
    }

    fn attribute_at(&self, at: usize, parts: &[&str]) -> Option<Attribute> {
        let mut cursor = Cursor { code: &self.0, at: at + 1 };
        cursor.takes("[")?;
        cursor.skip_blanks();
        let start = cursor.at;
        let _ = cursor.takes("::");
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                cursor.takes("::")?;
            }
            cursor.takes(part)?;
        }
        let end = cursor.at;
        if cursor.takes("]").is_some() {
            return Some(Attribute { name: start..end, settings: None });
        }
        cursor.takes("(")?;
        let from = cursor.at;
        let to = from + self.0[from..].iter().position(|byte| *byte == b')')?;
        Some(Attribute { name: start..end, settings: Some(from..to) })
    }

    /// The first setting that the probe's attribute does not take.
    fn setting_not_taken(&self, attribute: &Attribute) -> Option<String> {
        let settings = String::from_utf8_lossy(&self.0[attribute.settings.clone()?]).into_owned();
        let names = settings.split(',').filter_map(|setting| Some(setting.split_once('=')?.0.trim().to_owned()));
        names.into_iter().find(|name| !TAKEN.contains(&name.as_str()))
    }
}

struct Cursor<'a> {
    code: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn skip_blanks(&mut self) {
        while self.code.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Goes behind a word, if it is next, and whole.
    fn takes(&mut self, word: &str) -> Option<()> {
        let before = self.at;
        self.skip_blanks();
        let is_next = self.code[self.at..].starts_with(word.as_bytes());
        let end = self.at + word.len();
        let is_name = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        if is_next && !(is_name(word.as_bytes().last()) && is_name(self.code.get(end))) {
            self.at = end;
            return Some(());
        }
        self.at = before;
        None
    }
}

/// Comments, strings and characters become blanks; line ends stay.
fn blanked(text: &[u8]) -> Vec<u8> {
    let mut code = text.to_vec();
    let mut at = 0;
    while at < text.len() {
        let end = literal_end(text, at);
        if end == at {
            at += 1;
            continue;
        }
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    code
}

/// Where the comment or the literal ends that begins there; there, if none does.
fn literal_end(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    let until = |what: &[u8], from: usize| {
        let found = rest[from..].windows(what.len()).position(|part| part == what);
        found.map_or(text.len(), |found| at + from + found + what.len())
    };
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => comment_end(text, at),
        [b'r', ..] if !is_within_name(text, at) => {
            let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
            if rest.get(1 + hashes) != Some(&b'"') {
                return at;
            }
            let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            until(&end, 2 + hashes)
        }
        [b'"', ..] => quoted_end(text, at, b'"'),
        [b'\'', b'\\', ..] => quoted_end(text, at, b'\''),
        // A lifetime has no second quote.
        [b'\'', ..] => {
            let letter =
                std::str::from_utf8(&rest[1..rest.len().min(5)]).map_or_else(|error| error.valid_up_to(), str::len);
            let first = std::str::from_utf8(&rest[1..1 + letter]).ok().and_then(|text| text.chars().next());
            let end = 1 + first.map_or(0, char::len_utf8);
            if first.is_some() && rest.get(end) == Some(&b'\'') { at + end + 1 } else { at }
        }
        _ => at,
    }
}

/// `br"…"` and `cr"…"` are literals as well; `for"…"` is none.
fn is_within_name(text: &[u8], at: usize) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match text[..at] {
        [.., before, b'b' | b'c'] => is_name(before),
        [b'b' | b'c'] => false,
        [.., before] => is_name(before),
        [] => false,
    }
}

fn comment_end(text: &[u8], at: usize) -> usize {
    let (mut depth, mut here) = (0, at);
    while here < text.len() {
        match text[here..] {
            [b'/', b'*', ..] => (depth, here) = (depth + 1, here + 2),
            [b'*', b'/', ..] => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
        if depth == 0 {
            break;
        }
    }
    here.min(text.len())
}

fn quoted_end(text: &[u8], at: usize, quote: u8) -> usize {
    let mut here = at + 1;
    while here < text.len() && text[here] != quote {
        here += if text[here] == b'\\' { 2 } else { 1 };
    }
    (here + 1).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str) -> Option<String> {
        let found = Code::of(text).attribute("tokio::main")?;
        let mut text = text.to_owned();
        text.replace_range(found.name, OURS);
        Some(text)
    }

    #[test]
    fn the_attribute_is_found_as_rust_reads_it() {
        for (text, expected) in [
            ("#[tokio::main]\nasync fn main() {}", Some("#[pollscope_probe::main]\nasync fn main() {}")),
            (
                "#[tokio::main(flavor = \"current_thread\")]",
                Some("#[pollscope_probe::main(flavor = \"current_thread\")]"),
            ),
            ("# [ :: tokio :: main ]", Some("# [ pollscope_probe::main ]")),
            (
                "let text = r#\"#[tokio::main]\"#; #[tokio::main]",
                Some("let text = r#\"#[tokio::main]\"#; #[pollscope_probe::main]"),
            ),
            ("// #[tokio::main]", None),
            ("/* /* */ #[tokio::main] */", None),
            ("\"\\\"#[tokio::main]\"", None),
            ("br\"#[tokio::main]\"", None),
            ("for\"#[tokio::main]\"", None),
            ("#[tokio::main_of]", None),
            ("#[tokio::test]", None),
            ("'\"' #[tokio::main]", Some("'\"' #[pollscope_probe::main]")),
            ("&'a str '\\'' #[tokio::main]", Some("&'a str '\\'' #[pollscope_probe::main]")),
            ("'日' #[tokio::main]", Some("'日' #[pollscope_probe::main]")),
            ("'", None),
            ("\"", None),
            ("/*", None),
            ("r##\"", None),
            ("#[tokio::main(", None),
            ("#", None),
            ("'\\", None),
        ] {
            assert_eq!(changed(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn settings_that_are_not_taken_are_told() {
        let not_taken = |settings: &str| {
            let text = format!("#[tokio::main({settings})]");
            let code = Code::of(&text);
            code.setting_not_taken(&code.attribute("tokio::main").unwrap())
        };
        assert_eq!(not_taken("flavor = \"multi_thread\", worker_threads = 2,"), None);
        assert_eq!(not_taken("flavor = \"multi_thread\", start_paused = true").as_deref(), Some("start_paused"));
        assert_eq!(not_taken("crate = \"mine\"").as_deref(), Some("crate"));
    }
}
