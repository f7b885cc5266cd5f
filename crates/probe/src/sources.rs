//! Source files as lines and events show them: spawn sites from the same folder on as the places that evidence names.
//!
//! A `Location` has its file as the compiler was given it: Cargo gives one that is relative to the workspace's folder, or absolute. What
//! is seen of a stack is shown from the user's own folder on, if one was given, which may be that of one package. Which folder a
//! relative path starts from is in the debug information alone: it is known from the first line on that was found there.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use pollscope_base::redact::redacted_source;

use crate::shorten;

/// Where relative paths start from.
#[derive(Debug, Default, PartialEq, Eq)]
enum Folder {
    #[default]
    Unknown,
    One(PathBuf),
    /// The program has code that was compiled in several: of none of them is it known whose a path is.
    Several,
}

#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The user's folders.
    roots: Vec<PathBuf>,
    /// Whether other folders are hidden.
    redacted: bool,
    compiled_in: Mutex<Folder>,
}

impl Sources {
    pub(crate) fn new(roots: Vec<PathBuf>, redacted: bool) -> Sources {
        Sources { roots, redacted, ..Sources::default() }
    }

    /// Code of the user's was compiled in that folder, with relative paths; nothing is known where it is empty.
    pub(crate) fn learn(&self, folder: &str) {
        let mut known = self.compiled_in.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = |one: &PathBuf| one != Path::new(folder);
        match &*known {
            Folder::Unknown if !folder.is_empty() => *known = Folder::One(folder.into()),
            Folder::One(one) if !folder.is_empty() && is_other(one) => *known = Folder::Several,
            _ => {}
        }
    }

    /// The file of a spawn site as it is shown.
    pub(crate) fn shown<'a>(&self, file: &'a str) -> Cow<'a, str> {
        let shown = self.below_root(file);
        if self.redacted { Cow::Owned(redacted_source(&shown).into_owned()) } else { shown }
    }

    fn below_root<'a>(&self, file: &'a str) -> Cow<'a, str> {
        if file.starts_with('/') {
            return shorten(file, &self.roots).into();
        }
        let known = self.compiled_in.lock().unwrap_or_else(PoisonError::into_inner);
        let full = match &*known {
            Folder::One(folder) if !self.roots.is_empty() => folder.join(file),
            _ => return file.into(),
        };
        let full = full.to_string_lossy();
        let shown = shorten(&full, &self.roots);
        if shown.len() < full.len() { shown.to_owned().into() } else { file.into() }
    }
}

/// Asked for alike: what is known by now is of the process.
impl PartialEq for Sources {
    fn eq(&self, other: &Sources) -> bool {
        (&self.roots, self.redacted) == (&other.roots, other.redacted)
    }
}

impl Eq for Sources {}

#[cfg(test)]
#[cfg(feature = "capture")]
mod tests {
    use super::*;

    fn sources(roots: &[&str], folders: &[&str]) -> Sources {
        let sources = Sources::new(roots.iter().map(PathBuf::from).collect(), false);
        folders.iter().for_each(|folder| sources.learn(folder));
        sources
    }

    #[test]
    fn spawn_sites_are_shown_from_the_users_folder_on_once_it_is_known_where_they_are() {
        let check = |roots: &[&str], folders: &[&str], file: &str, expected: &str| {
            assert_eq!(sources(roots, folders).shown(file), expected, "{roots:?} {folders:?} {file}");
        };
        let (package, file) = (["/x/shop/crates/api"], "crates/api/src/main.rs");
        check(&package, &["/x/shop"], file, "src/main.rs");
        check(&package, &["/x/shop"], "crates/db/src/lib.rs", "crates/db/src/lib.rs");
        check(&package, &[], file, file);
        check(&package, &[""], file, file);
        check(&package, &["/x/shop", "", "/x/shop"], file, "src/main.rs");
        check(&package, &["/x/shop", "/y/shop"], file, file);
        check(&["/x"], &["/x/shop"], "src/main.rs", "shop/src/main.rs");
        check(&["/x/shop"], &["/x/shop"], "src/main.rs", "src/main.rs");
        check(&["/x/src"], &["/y"], "src/main.rs", "src/main.rs");
        check(&[], &["/x/shop"], "src/main.rs", "src/main.rs");
        check(&package, &[], "/x/shop/crates/api/src/main.rs", "src/main.rs");
        check(&[], &[], "/c/registry/src/index-1f/axum-0.8.9/src/lib.rs", "axum-0.8.9/src/lib.rs");
    }

    #[test]
    fn folders_are_hidden_where_asked() {
        let redacted = |roots: Vec<PathBuf>, file| Sources::new(roots, true).shown(file).into_owned();
        assert_eq!(redacted(Vec::new(), "/x/shop/src/main.rs"), "<path>/main.rs");
        assert_eq!(redacted(vec!["/x/shop".into()], "/x/shop/src/main.rs"), "src/main.rs");
        assert_eq!(redacted(Vec::new(), "src/main.rs"), "src/main.rs");
    }
}
