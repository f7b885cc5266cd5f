//! Whose code a frame is, and the path of its function even where its name is bare.

use std::path::Path;

use crate::symbolize::{Frame, checkout, registry, split_path, standard_library};

use super::Rules;

/// Whose code it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The standard library, C, the kernel, or unknown.
    System,
    /// Tokio, or another crate that runs the user's code rather than doing its work.
    Runtime,
    /// Another crate that is not known to be of the user's workspace.
    Dependency,
    /// The user's workspace.
    Workspace,
}

/// Where a frame's function belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The function without type arguments: `tokio::runtime::task::raw::poll`. Where its name is bare, the module is that
    /// of the file. Empty if unknown.
    pub(super) path: String,
    pub(super) origin: Origin,
}

impl Place {
    pub(super) fn of(frame: &Frame, rules: &Rules) -> Place {
        let function = frame.function.as_deref().unwrap_or_default();
        let file = frame.file.as_deref();
        let path = match (split_path(function).0, file.and_then(module)) {
            (None, Some(module)) if !function.is_empty() => format!("{module}::{}", plain(function)),
            _ => plain(function),
        };
        let origin = match file {
            Some(file) => origin_of_file(file, function, rules),
            None => origin_of_path(&path, rules),
        };
        Place { path, origin }
    }

    /// Whether the function is in a module, or is that function.
    pub(super) fn is_in(&self, module: &str) -> bool {
        is_below(&self.path, module)
    }

    /// The last segment of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit("::").next().unwrap_or_default()
    }

    /// Whether it is code that somebody wrote for the work that is done.
    pub(super) fn is_users(&self) -> bool {
        matches!(self.origin, Origin::Dependency | Origin::Workspace)
    }
}

/// Whether a path is that of a module or of something in it.
pub(super) fn is_below(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The file says where the code was written; the path of a generic function, or of an implementation, may begin with
/// another crate.
fn origin_of_file(file: &str, function: &str, rules: &Rules) -> Origin {
    let runtime = |module: Option<String>| module.is_some_and(|module| rules.is_runtime(&module));
    if is_watch(file, function) || rules.runtime_paths.iter().any(|part| file.contains(part.as_str())) {
        Origin::Runtime
    } else if standard_library(file).is_some() {
        Origin::System
    } else if registry(file).or_else(|| checkout(file)).is_some() || file.contains("/vendor/") {
        if runtime(module(file)) { Origin::Runtime } else { Origin::Dependency }
    } else if !function.starts_with('<')
        && split_path(function).0.is_some()
        && rules.is_named_runtime(&plain(function))
        && is_library(file)
    {
        Origin::Runtime
    } else if rules.roots.iter().any(|root| Path::new(file).starts_with(root)) {
        Origin::Workspace
    } else if !file.ends_with(".rs") {
        Origin::System
    } else if rules.roots.is_empty() {
        Origin::Workspace
    } else {
        Origin::Dependency
    }
}

/// Whether it is the probe's wrapper of a future, which Cargo did not fetch where the probe itself is worked on.
fn is_watch(file: &str, function: &str) -> bool {
    file.ends_with("/crates/probe/src/watch.rs")
        && (function.starts_with("poll") || is_below(&plain(function), "pollscope_probe"))
}

/// Not so an example, a test or a benchmark: each is a crate of its own, and may be called what it is about.
fn is_library(file: &str) -> bool {
    let inside = file.rsplit_once("/src/").map(|(_, inside)| inside);
    inside.is_some_and(|inside| !inside.split('/').any(|folder| matches!(folder, "examples" | "tests" | "benches")))
}

/// Without a file it is not known which crates are of the workspace. C has no paths.
fn origin_of_path(path: &str, rules: &Rules) -> Origin {
    if rules.is_runtime(path) {
        Origin::Runtime
    } else if is_system(path) {
        Origin::System
    } else {
        Origin::Dependency
    }
}

fn is_system(path: &str) -> bool {
    match path.split_once("::") {
        Some((library, _)) => {
            matches!(
                library,
                "std" | "core" | "alloc" | "libc" | "hashbrown" | "std_detect" | "__rustc" | "panic_unwind"
            )
        }
        None => true,
    }
}

/// The module of a source file, by the folder before its `src`: `tokio-1.54.1/src/runtime/mod.rs` is `tokio::runtime`.
fn module(file: &str) -> Option<String> {
    let fetched = registry(file).or_else(|| standard_library(file));
    let (package, inside) = match fetched {
        Some(rest) => rest.split_once("/src/")?,
        None => file.rsplit_once("/src/")?,
    };
    let folder = package.rsplit('/').next()?;
    let version =
        folder.match_indices('-').find(|(dash, _)| folder[dash + 1..].starts_with(|c: char| c.is_ascii_digit()));
    let library = version.map_or(folder, |(dash, _)| &folder[..dash]).replace('-', "_");
    let inside = inside.strip_suffix(".rs")?;
    let inside = inside.strip_suffix("/mod").unwrap_or(inside);
    Some(match inside {
        "lib" | "main" => library,
        inside => format!("{library}::{}", inside.replace('/', "::")),
    })
}

/// A function's path without type arguments; that of an implementation, `<A as B>::c`, is `A::c`, unless `A` is a
/// parameter, a reference, or of the standard library and `B` is not.
pub(super) fn plain(function: &str) -> String {
    let Some(implementation) = function.strip_prefix('<') else { return without_arguments(function) };
    let Some(end) = closing(implementation) else { return function.to_owned() };
    let (inside, rest) = (&implementation[..end], &implementation[end + 1..]);
    let (of, interface) = match top_level(inside, " as ") {
        Some(at) => (&inside[..at], Some(&inside[at + " as ".len()..])),
        None => (inside, None),
    };
    let of = plain(of.trim_start_matches(['&', '*', '(']).trim_start_matches("mut ").trim_start_matches("const "));
    let owner = match interface.map(plain) {
        Some(interface) if is_system(&of) && (!of.contains("::") || !is_system(&interface)) => interface,
        _ => of,
    };
    owner + &without_arguments(rest)
}

/// The text without anything in `<…>`, nor the `::` before it.
fn without_arguments(text: &str) -> String {
    let (mut plain, mut depth, mut before) = (String::new(), 0usize, ' ');
    for c in text.chars() {
        match c {
            '<' => {
                if depth == 0 && plain.ends_with("::") {
                    plain.truncate(plain.len() - 2);
                }
                depth += 1;
            }
            '>' if before != '-' => depth = depth.saturating_sub(1),
            c if depth == 0 => plain.push(c),
            _ => {}
        }
        before = c;
    }
    plain
}

/// Where the bracket closes that was opened just before.
pub(super) fn closing(text: &str) -> Option<usize> {
    scan(text, |depth, rest| depth == 0 && rest.starts_with('>'))
}

/// Where a separator first stands outside of brackets.
pub(super) fn top_level(text: &str, separator: &str) -> Option<usize> {
    scan(text, |depth, rest| depth == 0 && rest.starts_with(separator))
}

/// The first place that is as wanted, given how many brackets are open before it and the text from it on.
fn scan(text: &str, wanted: impl Fn(usize, &str) -> bool) -> Option<usize> {
    let (mut depth, mut before) = (0usize, ' ');
    for (index, c) in text.char_indices() {
        let arrow = c == '>' && before == '-';
        if !arrow && wanted(depth, &text[index..]) {
            return Some(index);
        }
        match c {
            '<' | '(' | '[' | '{' => depth += 1,
            '>' if arrow => {}
            '>' | ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_their_arguments() {
        let check = |function, expect: &str| assert_eq!(plain(function), expect);
        check("tokio::runtime::task::raw::poll<a::B<c::D>, e::F>", "tokio::runtime::task::raw::poll");
        check("tokio::runtime::task::raw::poll::<a::B>", "tokio::runtime::task::raw::poll");
        check("tokio::runtime::task::harness::Harness<T,S>::poll", "tokio::runtime::task::harness::Harness::poll");
        check(
            "<tokio::runtime::task::harness::Harness<a::B, c::D>>::poll",
            "tokio::runtime::task::harness::Harness::poll",
        );
        check("<shop::Db as core::future::future::Future>::poll", "shop::Db::poll");
        check(
            "<F as core::future::into_future::IntoFuture>::into_future",
            "core::future::into_future::IntoFuture::into_future",
        );
        check("<alloc::vec::Vec<T> as shop::Save>::save", "shop::Save::save");
        check("<&mut F as core::future::future::Future>::poll", "core::future::future::Future::poll");
        check("<core::pin::Pin<P> as core::future::future::Future>::poll", "core::pin::Pin::poll");
        check("shop::f<fn() -> u8>::{{closure}}", "shop::f::{{closure}}");
        check("write", "write");
    }

    #[test]
    fn modules_follow_from_files() {
        let check = |file, expect: Option<&str>| assert_eq!(module(file).as_deref(), expect);
        check("/c/registry/src/index-1f/tokio-1.54.1/src/runtime/task/raw.rs", Some("tokio::runtime::task::raw"));
        check("/c/registry/src/index-1f/futures-util-0.3.31/src/lib.rs", Some("futures_util"));
        check("/x/vendor/tokio/src/task/coop/mod.rs", Some("tokio::task::coop"));
        check("/rustc/59/library/core/src/ops/function.rs", Some("core::ops::function"));
        check("/x/build.rs", None);
    }

    #[test]
    fn the_file_decides_whose_code_it_is() {
        let check = |function: &str, file: &str, expect| {
            let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let frame = Frame { function: text(function), file: text(file), ..Frame::default() };
            assert_eq!(Place::of(&frame, &Rules::default()).origin, expect, "{function} {file}");
        };
        check("{async_fn#0}", "/src/shop/src/main.rs", Origin::Workspace);
        check("{async_fn#0}", "/c/registry/src/index-1f/tokio-1.54.1/src/fs/read.rs", Origin::Runtime);
        check("{async_fn#0}", "/c/registry/src/index-1f/reqwest-0.12.1/src/lib.rs", Origin::Dependency);
        check("{async_fn#0}", "/x/git/checkouts/sqlx-5f/3a/sqlx-core/src/lib.rs", Origin::Dependency);
        check("call_once<shop::f>", "/rustc/59/library/core/src/ops/function.rs", Origin::System);
        check("sleep", "/t/lib/rustlib/src/rust/library/std/src/thread/functions.rs", Origin::System);
        check("__futex_wait", "/build/glibc/nptl/futex.c", Origin::System);
        check("tokio::runtime::f", "/x/forks/tokio/src/runtime/mod.rs", Origin::Runtime);
        check("axum::handler::{async_fn#0}", "/x/shop/examples/axum.rs", Origin::Workspace);
        for function in ["poll<shop::f>", "<pollscope_probe::watch::Watch<F> as core::future::future::Future>::poll"] {
            check(function, "/x/pollscope/crates/probe/src/watch.rs", Origin::Runtime);
        }
        check("shop::watch", "/x/shop/crates/probe/src/watch.rs", Origin::Workspace);
        check("tower_defense::turn", "/x/tower_defense/src/lib.rs", Origin::Workspace);
        check("tower::buffer::poll", "/x/patched/tower/src/buffer.rs", Origin::Runtime);
        check("axum::handler::{async_fn#0}", "/usr/src/shop/examples/axum.rs", Origin::Workspace);
        check("tokio::runtime::f", "", Origin::Runtime);
        check("futures_util::future::f", "", Origin::Runtime);
        check("shop::db::query", "", Origin::Dependency);
        check("<shop::Db as core::fmt::Display>::fmt", "", Origin::Dependency);
        check("write", "", Origin::System);
        check("", "", Origin::System);
    }
}
