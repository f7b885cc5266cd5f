//! `Cargo.toml`: the dependency, and line tables in the release build.

use std::fs;
use std::path::{Component, Path, PathBuf};

use toml_edit::{Array, InlineTable, Item, TableLike, Value};

use super::project::Project;
use super::{Document, InitError, Plan, table};
use crate::escape::escape_path;

const PROBE: &str = "pollscope-probe";
/// So that `pollscope record` works.
const FEATURE: &str = "record";
const LINES: &str = "line-tables-only";

pub(super) fn plan(project: &Project, probe: Option<&Path>, plan: &mut Plan) -> Result<(), InitError> {
    let path = project.package.join("Cargo.toml");
    let mut manifest = Document::read(&path)?;
    if !depends_on(&manifest, "tokio") {
        return Err(InitError::NoTokio(project.package.clone()));
    }
    add_dependency(&mut manifest, project, probe)?;
    if project.root == project.package {
        add_lines(&mut manifest, plan)?;
        manifest.plan(plan);
    } else {
        manifest.plan(plan);
        let mut root = Document::read(&project.root.join("Cargo.toml"))?;
        add_lines(&mut root, plan)?;
        root.plan(plan);
    }
    note_old_tokio(&project.root, plan)
}

/// Whether a package depends on another, by this name or by one of its own.
fn depends_on(manifest: &Document, name: &str) -> bool {
    let is_of = |dependencies: &dyn TableLike| {
        let is = |(key, item): (&str, &Item)| key == name || item.get("package").and_then(Item::as_str) == Some(name);
        dependencies.iter().any(is)
    };
    let targets = manifest.parsed.get("target").and_then(Item::as_table_like);
    let of_targets =
        targets.iter().flat_map(|targets| targets.iter()).filter_map(|(_, target)| target.get("dependencies"));
    let all = manifest.parsed.get("dependencies").into_iter().chain(of_targets);
    all.filter_map(Item::as_table_like).any(is_of)
}

fn add_dependency(manifest: &mut Document, project: &Project, probe: Option<&Path>) -> Result<(), InitError> {
    if depends_on(manifest, PROBE) {
        return Ok(());
    }
    let mut dependency = InlineTable::new();
    match probe {
        None => {
            let (major_minor, _) = env!("CARGO_PKG_VERSION").rsplit_once('.').expect("a version has three parts");
            dependency.insert("version", major_minor.into());
        }
        Some(folder) => {
            let none = || InitError::NoProbe(folder.to_owned());
            let found = fs::canonicalize(folder).map_err(|_| none())?;
            let package = Document::read(&found.join("Cargo.toml")).map_err(|_| none())?.parsed;
            let name = package.get("package").and_then(|package| package.get("name")).and_then(Item::as_str);
            if name != Some(PROBE) {
                return Err(none());
            }
            let path = relative(&project.package, &found);
            dependency.insert("path", path.to_string_lossy().into_owned().into());
        }
    }
    dependency.insert("features", Array::from_iter([FEATURE]).into());
    let error = manifest.unusual("its `dependencies` are no table");
    let dependencies = table(manifest.parsed.as_table_mut(), "dependencies").ok_or(error)?;
    dependencies.insert(PROBE, Item::Value(Value::InlineTable(dependency)));
    Ok(())
}

/// How to get from one folder to another.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    let path: PathBuf = up.chain(to.components().skip(common)).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

/// Files and lines in a release build, unless somebody decided otherwise: that is said.
fn add_lines(manifest: &mut Document, plan: &mut Plan) -> Result<(), InitError> {
    let error = manifest.unusual("its `profile.release` is no table");
    let profile = table(manifest.parsed.as_table_mut(), "profile").and_then(|profile| table(profile, "release"));
    let release = profile.ok_or(error)?;
    let shown = escape_path(plan.shown(&manifest.path));
    match release.get("debug").and_then(Item::as_value) {
        None => _ = release.insert("debug", toml_edit::value(LINES)),
        Some(Value::Boolean(debug)) if !debug.value() => plan.notes.push(no_lines(&shown, "debug = false")),
        Some(Value::Integer(debug)) if *debug.value() == 0 => plan.notes.push(no_lines(&shown, "debug = 0")),
        Some(Value::String(debug)) if debug.value() == "none" => plan.notes.push(no_lines(&shown, "debug = \"none\"")),
        Some(_) => {}
    }
    let strip = release.get("strip").and_then(Item::as_value);
    let is_stripped =
        strip.is_some_and(|strip| strip.as_bool() == Some(true) || strip.as_str().is_some_and(|what| what != "none"));
    if is_stripped {
        plan.notes.push(format!("`{shown}` strips release builds: their lines are not known; leave out `strip`"));
    }
    Ok(())
}

fn no_lines(manifest: &str, set: &str) -> String {
    format!("`{manifest}` says `{set}` for release builds: their lines are not known; write `debug = \"{LINES}\"`")
}

/// The probe needs Tokio 1.54.
fn note_old_tokio(root: &Path, plan: &mut Plan) -> Result<(), InitError> {
    let Some(lock) = super::read(&root.join("Cargo.lock"))? else { return Ok(()) };
    let mut versions = lock.split("[[package]]").filter_map(|package| {
        let value = |key: &str| {
            package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        value("name").filter(|name| *name == "tokio").and_then(|_| value("version"))
    });
    let minor =
        |version: &&str| version.strip_prefix("1.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
    if let Some(old) = versions.find(|version| minor(version).is_some_and(|minor| minor < 54)) {
        plan.notes.push(format!("`Cargo.lock` has tokio {old}, and the probe needs 1.54: run `cargo update -p tokio`"));
    }
    Ok(())
}
