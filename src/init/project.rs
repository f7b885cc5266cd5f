//! Which files a project has: the package, and the workspace that it is of.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item};

use super::{Document, InitError};
use crate::escape::escape_path;
use crate::init::source;

/// A package, and where what goes for its whole workspace is.
#[derive(Debug)]
pub(super) struct Project {
    /// The workspace's folder, or the package's, if it is of none.
    pub(super) root: PathBuf,
    pub(super) package: PathBuf,
}

/// The project in a folder.
pub(super) fn find(folder: &Path) -> Result<Project, InitError> {
    let none = || InitError::NoManifest(folder.to_owned());
    // Paths are shown from its root.
    let folder = fs::canonicalize(folder).map_err(|_| none())?;
    if !folder.join("Cargo.toml").is_file() {
        return Err(none());
    }
    let manifest = Document::read(&folder.join("Cargo.toml"))?.parsed;
    if manifest.get("package").is_none() {
        return of_workspace(folder, &manifest);
    }
    let root = root_of(&folder, &manifest)?;
    Ok(Project { root, package: folder })
}

/// The one package of a workspace without one of its own that starts a runtime.
fn of_workspace(root: PathBuf, manifest: &DocumentMut) -> Result<Project, InitError> {
    let fails = |why: &str| InitError::NoPackage { root: root.clone(), why: why.to_owned() };
    if manifest.get("workspace").is_none() {
        return Err(fails("`Cargo.toml` has neither `[package]` nor `[workspace]`; name the folder of a package"));
    }
    let starts = |package: &&PathBuf| source::starts_runtime(package);
    let found: Vec<PathBuf> = members(&root, manifest).iter().filter(starts).cloned().collect();
    match &found[..] {
        [package] => Ok(Project { package: package.clone(), root }),
        [] => Err(fails("none has a `#[tokio::main]`; name the folder of one")),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|path| format!("`{}`", escape_path(path.strip_prefix(&root).unwrap_or(path))))
                .collect();
            Err(fails(&format!("{} have a `#[tokio::main]`; name the folder of one", names.join(", "))))
        }
    }
}

/// The workspace that a package is of: the nearest one above it that does not leave it out.
fn root_of(package: &Path, manifest: &DocumentMut) -> Result<PathBuf, InitError> {
    if manifest.get("workspace").is_some() {
        return Ok(package.to_owned());
    }
    if let Some(named) = manifest["package"].get("workspace").and_then(Item::as_str) {
        let named = package.join(named);
        return fs::canonicalize(&named).map_err(|_| InitError::NoManifest(named));
    }
    for above in package.ancestors().skip(1) {
        let path = above.join("Cargo.toml");
        if !path.is_file() {
            continue;
        }
        let manifest = Document::read(&path)?.parsed;
        if manifest.get("workspace").is_some() && !is_excluded(above, &manifest, package) {
            return Ok(above.to_owned());
        }
    }
    Ok(package.to_owned())
}

fn names<'a>(manifest: &'a DocumentMut, list: &str) -> Vec<&'a str> {
    let list = manifest.get("workspace").and_then(|workspace| workspace.get(list)).and_then(Item::as_array);
    list.into_iter().flatten().filter_map(|name| name.as_str()).collect()
}

fn is_excluded(root: &Path, manifest: &DocumentMut, package: &Path) -> bool {
    names(manifest, "exclude").iter().any(|folder| package.starts_with(root.join(folder)))
}

/// The packages of a workspace; of patterns, those that stand for whole parts of a path.
fn members(root: &Path, manifest: &DocumentMut) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for member in names(manifest, "members") {
        let mut folders = vec![root.to_owned()];
        for part in member.split('/').filter(|part| !part.is_empty() && *part != ".") {
            folders = if part.contains('*') {
                folders.iter().flat_map(|folder| below(folder, part)).collect()
            } else {
                folders.iter().map(|folder| folder.join(part)).collect()
            };
        }
        found.extend(folders.into_iter().filter(|folder| folder.join("Cargo.toml").is_file()));
    }
    found.retain(|folder| !is_excluded(root, manifest, folder));
    found.sort();
    found.dedup();
    found
}

/// The folders in one whose name fits `a*b`.
fn below(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let (start, end) = pattern.split_once('*').unwrap_or((pattern, ""));
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end) && path.is_dir()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(fits).collect()
}
