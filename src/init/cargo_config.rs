//! `.cargo/config.toml`: the flag with which Tokio tells of its polls, and what would undo it.

use std::path::{Path, PathBuf};

use toml_edit::{Array, Item, Value};

use super::project::Project;
use super::{Document, Environment, InitError, Plan, table};
use crate::escape::{escape, escape_path};

const CFG: &str = "tokio_unstable";

pub(super) fn plan(project: &Project, environment: &Environment, plan: &mut Plan) -> Result<(), InitError> {
    let path = file_in(&project.root.join(".cargo"));
    let mut config = Document::read(&path)?;
    for target in targets_without_cfg(&config) {
        plan.notes.push(undone_by(&target, &escape_path(plan.shown(&path))));
    }
    for above in above(&project.root, environment) {
        // One that cannot be read is no matter of this project's.
        let Ok(found) = Document::read(&above) else { continue };
        plan.notes.extend(targets_without_cfg(&found).iter().map(|target| undone_by(target, &escape_path(&above))));
    }
    note_environment(environment, plan);
    add_cfg(&mut config)?;
    config.plan(plan);
    Ok(())
}

/// Cargo's settings in a folder: under the name of today, unless there is a file of the former one, which comes first.
fn file_in(folder: &Path) -> PathBuf {
    let former = folder.join("config");
    if former.is_file() { former } else { folder.join("config.toml") }
}

/// Settings of the folders above, and of the user.
fn above(root: &Path, environment: &Environment) -> Vec<PathBuf> {
    let folders = root.ancestors().skip(1).map(|folder| folder.join(".cargo"));
    let mut files: Vec<PathBuf> =
        folders.chain(environment.cargo_home.clone()).map(|folder| file_in(&folder)).collect();
    files.retain(|file| file.is_file());
    files.dedup();
    files
}

/// Flags as they are written: a list, or one text.
fn has_cfg(flags: &Item) -> bool {
    let words: Vec<&str> = match flags.as_value() {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.value().split_whitespace().collect(),
        _ => Vec::new(),
    };
    flags_have_cfg(&words)
}

fn flags_have_cfg(words: &[&str]) -> bool {
    let joined = format!("--cfg={CFG}");
    words.contains(&joined.as_str()) || words.windows(2).any(|pair| pair == ["--cfg", CFG])
}

/// The targets that have flags of their own, which take the place of all others, and not this one.
fn targets_without_cfg(config: &Document) -> Vec<String> {
    let targets = config.parsed.get("target").and_then(Item::as_table_like);
    let all = targets.iter().flat_map(|targets| targets.iter());
    let without = all.filter(|(_, target)| target.get("rustflags").is_some_and(|flags| !has_cfg(flags)));
    without.map(|(name, _)| name.to_owned()).collect()
}

fn undone_by(target: &str, file: &str) -> String {
    format!(
        "`{file}` has `rustflags` for `[target.{}]`, which take the place of the others there: add \"--cfg\", \"{CFG}\" to them",
        escape(target)
    )
}

fn note_environment(environment: &Environment, plan: &mut Plan) {
    let encoded = environment.encoded_rustflags.as_deref().map(|flags| flags.split('\x1f').collect::<Vec<_>>());
    let plain = environment.rustflags.as_deref().map(|flags| flags.split_whitespace().collect::<Vec<_>>());
    for (name, flags) in [("CARGO_ENCODED_RUSTFLAGS", encoded), ("RUSTFLAGS", plain)] {
        // Also one that is empty takes the place of the file's.
        if flags.is_some_and(|flags| !flags_have_cfg(&flags)) {
            plan.notes.push(format!(
                "`{name}` is set, and takes the place of the flags in `.cargo/config.toml`: unset it, or add `--cfg {CFG}` to it"
            ));
        }
    }
}

fn add_cfg(config: &mut Document) -> Result<(), InitError> {
    let is_new = config.text.is_none();
    let error = config.unusual("its `build.rustflags` are neither a list nor a text");
    let build = table(config.parsed.as_table_mut(), "build").ok_or_else(|| config_error(&error))?;
    match build.get_mut("rustflags") {
        None => _ = build.insert("rustflags", toml_edit::value(Array::from_iter(["--cfg", CFG]))),
        Some(flags) if has_cfg(flags) => {}
        Some(Item::Value(Value::Array(list))) => add_to(list),
        Some(Item::Value(Value::String(text))) => {
            let all = format!("{} --cfg {CFG}", text.value().trim_end());
            let decor = text.decor().clone();
            let mut changed = toml_edit::Formatted::new(all.trim_start().to_owned());
            *changed.decor_mut() = decor;
            *text = changed;
        }
        Some(_) => return Err(error),
    }
    if is_new && let Some(build) = config.parsed.get_mut("build").and_then(Item::as_table_mut) {
        build.decor_mut().set_prefix("# Tokio tells of its polls only with this flag.\n");
    }
    Ok(())
}

fn config_error(error: &InitError) -> InitError {
    match error {
        InitError::Unusual { path, .. } => {
            InitError::Unusual { path: path.clone(), why: "its `build` is no table".to_owned() }
        }
        _ => unreachable!("it is made so"),
    }
}

/// As the others are written: on a line each, or on one.
fn add_to(list: &mut Array) {
    let last = list.len().checked_sub(1).and_then(|last| list.get(last));
    let prefix = last.and_then(|last| last.decor().prefix()?.as_str().map(str::to_owned));
    for word in ["--cfg", CFG] {
        match &prefix {
            Some(prefix) if prefix.contains('\n') => {
                let mut value = Value::from(word);
                // A comment before the last one is not theirs.
                let indent = prefix.rsplit('\n').next().unwrap_or_default();
                value.decor_mut().set_prefix(format!("\n{indent}"));
                list.push_formatted(value);
            }
            _ => list.push(word),
        }
    }
}
