//! Frames as they are shown: whose code each is, its name made short, and what the runtime and libraries did in between as one.

use pollscope_base::RUNTIME_CRATES;

use crate::recording::Frame;
use crate::units::plural;

/// Whose code a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// Of the program's own workspace.
    Own,
    /// Another crate that does the program's work.
    Dependency,
    /// Tokio, or another crate that runs the program's code rather than doing its work; the probe too.
    Runtime,
    /// The standard library, C, or unknown.
    System,
}

const SYSTEM: [&str; 9] =
    ["std", "core", "alloc", "libc", "hashbrown", "std_detect", "panic_unwind", "proc_macro", "test"];

impl Whose {
    pub(super) fn of(frame: &Frame) -> Whose {
        let function = frame.function.as_deref().unwrap_or_default();
        let named = crate_of_name(function);
        match frame.file.as_deref() {
            Some(file) => of_file(file, named, function),
            None if named.is_some_and(is_runtime) => Whose::Runtime,
            None if named.is_none_or(|name| SYSTEM.contains(&name)) => Whose::System,
            // Without a file it is not known which crates are of the workspace.
            None => Whose::Dependency,
        }
    }

    /// The class of its colour.
    pub(super) fn class(self) -> &'static str {
        match self {
            Whose::Own => "own",
            Whose::Dependency => "dep",
            Whose::Runtime => "run",
            Whose::System => "sys",
        }
    }
}

/// By its path, which has lost what does not help to find it: `tokio-1.54.1/src/…`, `core/src/…`, and of the workspace what is
/// below it.
fn of_file(file: &str, named: Option<&str>, function: &str) -> Whose {
    let folder = file.split('/').next().unwrap_or_default();
    let is_named_runtime = || {
        !function.starts_with('<')
            && named.is_some_and(|name| RUNTIME_CRATES.iter().any(|of| of.trim_end_matches('*') == name))
    };
    if SYSTEM.contains(&folder) && named.is_none_or(|name| SYSTEM.contains(&name)) {
        Whose::System
    } else if let Some(name) = fetched(file) {
        if is_runtime(&name) { Whose::Runtime } else { Whose::Dependency }
    } else if file.ends_with("probe/src/watch.rs") || (is_named_runtime() && file.contains("/src/")) {
        Whose::Runtime
    } else if file.ends_with(".rs") {
        Whose::Own
    } else {
        Whose::System
    }
}

/// The crate that Cargo fetched, `tokio` of `tokio-1.54.1/src/lib.rs`, or the repository of one, `sqlx` of
/// `sqlx-5f0c2b1a9d3e4f60/3a4b5c6/…`.
fn fetched(file: &str) -> Option<String> {
    let (folder, rest) = file.split_once('/')?;
    let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit()) && text.contains('.');
    let is_revision = |text: &str| text.len() == 16 && text.bytes().all(|c| c.is_ascii_hexdigit());
    let dash = folder.match_indices('-').map(|(dash, _)| dash).find(|dash| {
        let after = &folder[dash + 1..];
        is_version(after) || (is_revision(after) && rest.contains('/'))
    })?;
    Some(folder[..dash].replace('-', "_"))
}

fn is_runtime(name: &str) -> bool {
    RUNTIME_CRATES.iter().any(|of| of.strip_suffix('*').map_or(*of == name, |start| name.starts_with(start)))
}

/// The crate that a function's name begins with; of an implementation, that of its type.
fn crate_of_name(function: &str) -> Option<&str> {
    let mut text = function.trim_start_matches(['<', '&', '*', '(']);
    for word in ["mut ", "const ", "dyn "] {
        text = text.strip_prefix(word).unwrap_or(text);
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    text[end..].starts_with("::").then(|| &text[..end]).filter(|name| !name.is_empty())
}

/// One frame, or several in a row that are not the program's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Innermost first, as in a stack.
    pub(super) frames: &'a [Frame],
    pub(super) whose: Whose,
}

/// A stack's pieces, innermost first.
pub(super) fn pieces(stack: &[Frame]) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut start = 0;
    for (at, frame) in stack.iter().enumerate() {
        let whose = Whose::of(frame);
        let is_between = |whose| matches!(whose, Whose::Runtime | Whose::System);
        match pieces.last_mut() {
            Some(last) if is_between(last.whose) && is_between(whose) => {
                last.frames = &stack[start..=at];
                last.whose = last.whose.min(whose);
            }
            _ => {
                start = at;
                pieces.push(Piece { frames: &stack[at..=at], whose });
            }
        }
    }
    pieces
}

impl Piece<'_> {
    /// A short name: of one frame its function; of several which libraries, or the outermost and the innermost function.
    pub(super) fn label(&self) -> String {
        let (Some(inner), Some(outer)) = (self.frames.first(), self.frames.last()) else { return String::new() };
        if self.frames.len() == 1 {
            return frame_name(inner);
        }
        let many = plural(self.frames.len() as u64, "frame");
        match self.whose {
            Whose::Runtime => format!("{}: {many}", self.crates().join(", ")),
            _ => format!("{} … {}: {many}", frame_name(outer), frame_name(inner)),
        }
    }

    /// Which libraries they are of, outermost first.
    fn crates(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for frame in self.frames.iter().rev() {
            let name = crate_of(frame);
            if let Some(name) = name.filter(|name| !found.contains(name)) {
                found.push(name);
            }
        }
        found.truncate(5);
        found
    }
}

fn crate_of(frame: &Frame) -> Option<String> {
    let file = frame.file.as_deref().unwrap_or_default();
    let of_system = file.split('/').next().filter(|folder| SYSTEM.contains(folder)).map(str::to_owned);
    let named = || crate_of_name(frame.function.as_deref()?).map(str::to_owned);
    fetched(file).or(of_system).or_else(named)
}

/// A frame's function, short; its place where that is not known.
pub(super) fn frame_name(frame: &Frame) -> String {
    match (frame.function.as_deref(), frame.file.as_deref(), frame.line) {
        // A closure whose function is not known is at least of a file.
        (Some(function), Some(file), _) if function.starts_with('{') => {
            let file = file.rsplit('/').next().unwrap_or(file);
            super::text::name(&format!("{} in {file}", short(function)))
        }
        (Some(function), ..) => super::text::name(&short(function)),
        (None, Some(file), Some(line)) => super::text::place(&format!("{file}:{line}")),
        (None, Some(file), None) => super::text::place(file),
        (None, None, _) => "?".to_owned(),
    }
}

/// Names of a path that are kept: the modules before them are the same over and over.
const NAMES: usize = 2;
/// Type arguments that are longer, when short, are an ellipsis.
const ARGUMENTS: usize = 28;

/// A function without most of its modules and type arguments: `<Naive as Sink>::write::{closure#0}`.
pub(super) fn short(function: &str) -> String {
    shortened(function, NAMES, 0)
}

fn shortened(text: &str, names: usize, depth: usize) -> String {
    let (mut out, mut path_from) = (String::new(), 0);
    let mut skip_to = 0;
    for (at, c) in text.char_indices() {
        if at < skip_to || c.is_alphanumeric() || "_:{}#$".contains(c) {
            continue;
        }
        out += &last_names(&text[path_from.max(skip_to)..at], names);
        path_from = at + c.len_utf8();
        if c == '<' {
            let end = closing(&text[path_from..]).map_or(text.len(), |end| path_from + end);
            let is_first = out.trim_start_matches(['&', '*', ' ']).is_empty();
            out += &arguments(&text[path_from..end], depth, is_first);
            skip_to = (end + 1).min(text.len());
            path_from = skip_to;
        } else {
            out.push(c);
        }
    }
    let rest = path_from.max(skip_to).min(text.len());
    out + &last_names(&text[rest..], names)
}

/// What stands in brackets: at the beginning whose function it is, else what its parameters are.
fn arguments(inside: &str, depth: usize, is_first: bool) -> String {
    if depth > 1 {
        return "<…>".to_owned();
    }
    let text = shortened(inside, 1, depth + 1);
    let is_kept = is_first || text.chars().count() <= ARGUMENTS;
    if is_kept { format!("<{text}>") } else { "<…>".to_owned() }
}

/// Where the bracket closes that was opened before the text.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut before) = (0usize, ' ');
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' if before == '-' => {}
            '>' if depth == 0 => return Some(at),
            '>' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

/// The last names of a path, with what stands in braces after them; of several braces the last, which says which closure.
fn last_names(path: &str, names: usize) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split("::") {
        let is_brace = |text: &&str| text.starts_with('{');
        if is_brace(&part) && parts.last().is_some_and(is_brace) {
            parts.pop();
        }
        parts.push(part);
    }
    let named = parts.iter().enumerate().rev().filter(|(_, part)| !part.starts_with('{') && !part.is_empty());
    let from = named.map(|(at, _)| at).nth(names - 1).filter(|_| !path.starts_with("::")).unwrap_or(0);
    parts[from..].join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, file: &str) -> Frame {
        let text = |text: &str| Some(text.into()).filter(|_| !text.is_empty());
        Frame { function: text(function), file: text(file), line: Some(1) }
    }

    #[test]
    fn names_lose_their_modules_and_most_of_their_arguments() {
        let check = |function, expected: &str| assert_eq!(short(function), expected);
        check("std::thread::sleep", "thread::sleep");
        check("main", "main");
        check("<a::B as c::D>::poll", "<B as D>::poll");
        check(
            "<lab::sink::naive::Naive as lab::sink::Sink>::write::{{closure}}::{closure#0}",
            "<Naive as Sink>::write::{closure#0}",
        );
        check("lab::pipeline::tail::tail::{async_fn#0}<lab::sink::Naive>", "tail::tail::{async_fn#0}<Naive>");
        check(
            "tokio::runtime::task::core::Core<T,S>::poll::{closure#0}<a::B<c::D<e::F>>>",
            "core::Core<T,S>::poll::{closure#0}<B<D<…>>>",
        );
        let long = format!("a::b::f<{}>", "x::Abcdefgh<y::Z>, ".repeat(9));
        check(&long, "b::f<…>");
        check("a::f<fn(b::C) -> d::E>::g", "a::f<fn(C) -> E>::g");
        check("<&std::fs::File as std::io::Write>::write", "<&File as Write>::write");
        check("a::b::f<cut::sho", "b::f<sho>");
        check("ünï::çode::größe", "çode::größe");
        check("", "");
    }

    #[test]
    fn a_bare_closure_is_of_a_file() {
        assert_eq!(frame_name(&frame("{async_fn#0}<a::B>", "src/sink/naive.rs")), "{async_fn#0}<B> in naive.rs");
        assert_eq!(frame_name(&frame("a::b::{async_fn#0}", "src/sink/naive.rs")), "a::b::{async_fn#0}");
        assert_eq!(frame_name(&frame("", "src/sink/naive.rs")), "src/sink/naive.rs:1");
    }

    #[test]
    fn the_file_says_whose_code_it_is() {
        let check = |function: &str, file: &str, whose| {
            assert_eq!(Whose::of(&frame(function, file)), whose, "{function} {file}")
        };
        check("{async_fn#0}", "src/main.rs", Whose::Own);
        check("shop::db::query", "core/src/db.rs", Whose::Own);
        check("<F as core::future::future::Future>::poll", "core/src/future/future.rs", Whose::System);
        check("write_all<std::fs::File>", "std/src/io/mod.rs", Whose::System);
        check("poll_inner<shop::Pay>", "tokio-1.54.1/src/runtime/task/harness.rs", Whose::Runtime);
        check("<tracing::instrument::Instrumented<T> as F>::poll", "tracing-0.1.44/src/instrument.rs", Whose::Runtime);
        check("<pollscope_probe::watch::Watch<F> as F>::poll", "crates/probe/src/watch.rs", Whose::Runtime);
        check("tokio::runtime::f", "vendor/tokio/src/runtime/mod.rs", Whose::Runtime);
        check("query", "sqlx-core-0.8.6/src/query.rs", Whose::Dependency);
        check("query", "sqlx-5f0c2b1a9d3e4f60/3a4b5c6/src/query.rs", Whose::Dependency);
        check("poll", "my-app-2/src/lib.rs", Whose::Own);
        check("__libc_write", "../sysdeps/unix/sysv/linux/write.c", Whose::System);
        check("tokio::time::sleep", "", Whose::Runtime);
        check("std::fs::write", "", Whose::System);
        check("shop::db::query", "", Whose::Dependency);
        check("write", "", Whose::System);
        check("", "", Whose::System);
    }

    #[test]
    fn what_is_not_the_programs_is_one_piece_a_run() {
        let stack = [
            frame("write", ""),
            frame("std::io::Write::write_all", "std/src/io/mod.rs"),
            frame("shop::save", "src/shop.rs"),
            frame("shop::main", "src/shop.rs"),
            frame("<F as core::future::Future>::poll", "core/src/future/future.rs"),
            frame("tokio::runtime::task::harness::poll_future", "tokio-1.54.1/src/runtime/task/harness.rs"),
        ];
        let shown: Vec<(String, Whose)> = pieces(&stack).iter().map(|piece| (piece.label(), piece.whose)).collect();
        let expected = [
            ("Write::write_all … write: 2 frames", Whose::System),
            ("shop::save", Whose::Own),
            ("shop::main", Whose::Own),
            ("tokio, core: 2 frames", Whose::Runtime),
        ];
        assert_eq!(shown, expected.map(|(label, whose)| (label.to_owned(), whose)));
    }
}
