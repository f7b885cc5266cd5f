//! Source files as people name them.

use std::path::{Path, PathBuf};

/// A source file's path without what does not help to find it: that of a registry crate begins with the crate and its
/// version, that of the standard library with the library, and that of a file below one of `roots` is relative to it.
///
/// ```
/// use pollscope_stacks::symbolize::shorten;
/// assert_eq!(shorten("/c/registry/src/index.example-1f2e/tokio-1.54.1/src/lib.rs", &[]), "tokio-1.54.1/src/lib.rs");
/// assert_eq!(shorten("/rustc/59807616e/library/core/src/ptr/mod.rs", &[]), "core/src/ptr/mod.rs");
/// assert_eq!(shorten("/src/shop/api/src/main.rs", &["/src/shop".into()]), "api/src/main.rs");
/// assert_eq!(shorten("/elsewhere/main.rs", &["/src/shop".into()]), "/elsewhere/main.rs");
/// ```
pub fn shorten<'a>(file: &'a str, roots: &[PathBuf]) -> &'a str {
    if let Some(rest) = registry(file).or_else(|| checkout(file)).or_else(|| standard_library(file)) {
        return rest;
    }
    let below = roots.iter().filter_map(|root| Path::new(file).strip_prefix(root).ok()?.to_str());
    below.filter(|rest| !rest.is_empty()).min_by_key(|rest| rest.len()).unwrap_or(file)
}

/// `crate-version/…` of a file that cargo fetched from a registry.
pub(crate) fn registry(file: &str) -> Option<&str> {
    let (_, rest) = file.rsplit_once("/registry/src/")?;
    rest.split_once('/').map(|(_registry, rest)| rest)
}

/// `repository-hash/revision/…` of a file that cargo fetched from a repository.
pub(crate) fn checkout(file: &str) -> Option<&str> {
    file.rsplit_once("/git/checkouts/").map(|(_, rest)| rest)
}

/// `core/src/…` of a file of the standard library, precompiled or from the component `rust-src`; its own dependencies
/// begin with their `crate-version/`.
pub(crate) fn standard_library(file: &str) -> Option<&str> {
    if let Some(rest) = file.strip_prefix("/rust/deps/") {
        return Some(rest);
    }
    let library = file.find("/library/").map(|index| &file[index + "/library/".len()..]);
    library.filter(|_| file.starts_with("/rustc/") || file.contains("/rustlib/src/rust/library/"))
}
