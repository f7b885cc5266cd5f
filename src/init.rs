//! `pollscope init`: what a project needs to be measured, as changes to its files. Reads the project, plans, and writes all or nothing.
//!
//! A plan is made of texts: what a file says, and what it is to say. Each kind of file has its own: `manifest` is a `Cargo.toml`,
//! `cargo_config` cargo's settings, `source` a program's `main`. `project` finds them, `write` puts them in place.

mod cargo_config;
mod manifest;
mod project;
mod source;
mod write;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use pollscope_base::reason;
use similar::TextDiff;

use crate::escape::{escape, escape_path};
pub(crate) use write::write;

/// Why a project cannot be changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says when it happens")]
pub enum InitError {
    #[error("cannot find a project in `{}`: there is no `Cargo.toml`; name the folder of one", escape_path(.0))]
    NoManifest(PathBuf),
    #[error("cannot read `{}`: {}; nothing is written", escape_path(.path), .why)]
    Read { path: PathBuf, why: String },
    #[error("cannot read `{}`: {}; mend it first, nothing is written", escape_path(.path), escape(.why))]
    Parse { path: PathBuf, why: String },
    #[error("cannot change `{}`: {why}; change it by hand, nothing is written", escape_path(.path))]
    Unusual { path: PathBuf, why: String },
    #[error("cannot choose a package of the workspace `{}`: {}", escape_path(.root), .why)]
    NoPackage { root: PathBuf, why: String },
    #[error(
        "cannot set up `{}`: it does not depend on `tokio`, and only Tokio's event loops are measured; name the folder of a package that does",
        escape_path(.0)
    )]
    NoTokio(PathBuf),
    #[error("cannot find the probe in `{}`: there is no package `pollscope-probe`; name its folder", escape_path(.0))]
    NoProbe(PathBuf),
    #[error("cannot write `{}`: {}; {}", escape_path(.path), reason(.error), .left)]
    Write {
        path: PathBuf,
        #[source]
        error: io::Error,
        left: &'static str,
    },
}

/// What a file says, and what it is to say.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    /// `None`: it is not there yet.
    before: Option<String>,
    after: String,
}

/// All that is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    /// What is to be known, or to be done by hand.
    pub(crate) notes: Vec<String>,
    /// What paths are shown from.
    pub(crate) root: PathBuf,
}

impl Plan {
    /// A file is to say this, if it does not.
    fn add(&mut self, path: PathBuf, before: Option<String>, after: String) {
        if before.as_deref() != Some(after.as_str()) {
            self.changes.push(Change { path, before, after });
        }
    }

    /// A path as it is shown.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// The changes as `git apply` and `patch -p1` read them. `is_safe`: what would change a terminal is spelled out.
    pub(crate) fn diff(&self, is_safe: bool) -> String {
        let one = |change: &Change| {
            let name = self.shown(&change.path).display();
            let (from, to) =
                (change.before.as_ref().map_or("/dev/null".to_owned(), |_| format!("a/{name}")), format!("b/{name}"));
            let before = change.before.as_deref().unwrap_or_default();
            TextDiff::from_lines(before, &change.after).unified_diff().context_radius(3).header(&from, &to).to_string()
        };
        let diff: String = self.changes.iter().map(one).collect();
        if !is_safe {
            return diff;
        }
        diff.lines().map(|line| line.split('\t').map(escape).collect::<Vec<_>>().join("\t") + "\n").collect()
    }
}

/// What of the environment matters.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    pub(crate) rustflags: Option<String>,
    pub(crate) encoded_rustflags: Option<String>,
    /// Cargo's own folder.
    pub(crate) cargo_home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub(crate) fn here() -> Environment {
        let text = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
        Environment {
            rustflags: text("RUSTFLAGS"),
            encoded_rustflags: text("CARGO_ENCODED_RUSTFLAGS"),
            cargo_home: std::env::var_os("CARGO_HOME")
                .filter(|home| home != OsStr::new(""))
                .map(PathBuf::from)
                .or_else(home),
        }
    }
}

/// What a project needs. `probe`: its folder, where it does not come from crates.io.
///
/// # Errors
/// When the project is not one of Tokio's, or one of its files cannot be read or changed.
pub(crate) fn plan(folder: &Path, probe: Option<&Path>, environment: &Environment) -> Result<Plan, InitError> {
    let project = project::find(folder)?;
    let mut plan = Plan { root: project.root.clone(), ..Plan::default() };
    manifest::plan(&project, probe, &mut plan)?;
    cargo_config::plan(&project, environment, &mut plan)?;
    source::plan(&project, &mut plan)?;
    Ok(plan)
}

/// A text file, if it is there.
fn read(path: &Path) -> Result<Option<String>, InitError> {
    let failed = |why: String| InitError::Read { path: path.to_owned(), why };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // A FIFO would be waited for.
        Ok(found) if !found.is_file() => return Err(failed("it is not a regular file".to_owned())),
        Ok(found) if found.len() > MOST_BYTES => return Err(failed("it is larger than 16 MiB".to_owned())),
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(failed("it is not UTF-8".to_owned())),
        Err(error) => Err(failed(reason(&error))),
    }
}

/// A longer file is not read: it is no project's.
const MOST_BYTES: u64 = 16 << 20;

/// A TOML file that is changed and stays otherwise as it is: comments, blanks and line ends.
struct Document {
    path: PathBuf,
    text: Option<String>,
    has_crlf: bool,
    parsed: toml_edit::DocumentMut,
}

impl Document {
    fn read(path: &Path) -> Result<Document, InitError> {
        let text = read(path)?;
        Document::parse(path, text)
    }

    fn parse(path: &Path, text: Option<String>) -> Result<Document, InitError> {
        let shown = text.clone().unwrap_or_default();
        let has_crlf = shown.contains("\r\n");
        let plain = if has_crlf { shown.replace("\r\n", "\n") } else { shown.clone() };
        let parsed: toml_edit::DocumentMut = plain.parse().map_err(|error: toml_edit::TomlError| {
            let line = error.span().map_or(1, |span| plain[..span.start.min(plain.len())].matches('\n').count() + 1);
            InitError::Parse { path: path.to_owned(), why: format!("line {line}: {}", error.message()) }
        })?;
        let document = Document { path: path.to_owned(), text, has_crlf, parsed };
        if document.text.is_some() && document.after() != shown {
            let why = "its line ends are mixed, or it begins with a mark".to_owned();
            return Err(InitError::Unusual { path: path.to_owned(), why });
        }
        Ok(document)
    }

    fn unusual(&self, why: &str) -> InitError {
        InitError::Unusual { path: self.path.clone(), why: why.to_owned() }
    }

    fn after(&self) -> String {
        let text = self.parsed.to_string();
        if self.has_crlf { text.replace('\n', "\r\n") } else { text }
    }

    fn plan(self, plan: &mut Plan) {
        let after = self.after();
        plan.add(self.path, self.text, after);
    }
}

/// A table in another one, which is made if it is not there; `None` where something else has its name.
fn table<'a>(of: &'a mut dyn toml_edit::TableLike, name: &str) -> Option<&'a mut dyn toml_edit::TableLike> {
    let implicit = || {
        let mut table = toml_edit::Table::new();
        table.set_implicit(true);
        toml_edit::Item::Table(table)
    };
    of.entry(name).or_insert_with(implicit).as_table_like_mut()
}
