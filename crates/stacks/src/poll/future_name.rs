//! A task's future, from the type arguments of the function that polls it.

use crate::symbolize::split_path;

use super::place::{closing, top_level};

/// Types that only hold the future that is meant.
const WRAPPERS: [&str; 8] = [
    "core::pin::Pin",
    "alloc::boxed::Box",
    "core::panic::unwind_safe::AssertUnwindSafe",
    "tokio::runtime::blocking::task::BlockingTask",
    "tokio::task::coop::unconstrained::Unconstrained",
    "tokio::task::unconstrained::Unconstrained",
    "tracing::instrument::Instrumented",
    "pollscope_probe::watch::Watch",
];

/// The type arguments of a function, or, if it has none, of the type that it is implemented for. Those that the compiler
/// did not keep (`T`) are none.
pub(crate) fn arguments(function: &str) -> Vec<&str> {
    let (owner, last) = split_path(function);
    let own = inside(last).filter(|_| !last.starts_with('{'));
    let of_owner = || inside(owner?.strip_prefix('<')?.strip_suffix('>')?);
    let mut rest = own.or_else(of_owner).unwrap_or_default();
    let mut arguments = Vec::new();
    while !rest.is_empty() {
        let comma = top_level(rest, ",").unwrap_or(rest.len());
        arguments.push(rest[..comma].trim());
        rest = rest.get(comma + 1..).unwrap_or_default();
    }
    let known = arguments.iter().any(|argument| argument.contains("::"));
    if known { arguments } else { Vec::new() }
}

/// What is in the first brackets of a name.
fn inside(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once('<')?;
    closing(rest).map(|end| &rest[..end])
}

/// Whether a future's type is that of an `async fn` whose code has the same path, whatever holds it.
pub(super) fn is_async_fn(future: &str) -> bool {
    let mut future = future.trim();
    while let Some(held) = held(future) {
        future = held;
    }
    future.split('<').next().is_some_and(|path| path.contains("{async_fn_env#") && !path.contains("{impl"))
}

/// A future's type as its writer knows it: without what holds it, and `async fn` by its name.
pub(crate) fn pretty(future: &str) -> String {
    let mut future = future.trim();
    while let Some(held) = held(future) {
        future = held;
    }
    let mut pretty = String::new();
    let mut rest = future.replace(", alloc::alloc::Global", "");
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}').map(|close| open + close) else { break };
        let (kind, number) = rest[open + 1..close].split_once('#').unwrap_or((&rest[open + 1..close], "0"));
        let kind = kind.trim_end_matches("_env").replace('_', " ");
        pretty += &rest[..open];
        if kind == "async fn" {
            pretty.truncate(pretty.trim_end_matches("::").len());
        } else if number == "0" {
            pretty += &format!("{{{kind}}}");
        } else {
            pretty += &format!("{{{kind} #{number}}}");
        }
        rest = rest[close + 1..].to_owned();
    }
    pretty + &rest
}

/// The future that a function is the code of, by the function's symbol: of an `async fn`, an `async` block or a closure that is
/// `shop::f::{closure}`, whichever of them it is. `None` if it may be any function that a future calls.
pub(super) fn of_code(function: &str) -> Option<String> {
    if let Some(within) = function.strip_suffix("::{{closure}}") {
        return Some(within.replace("{{closure}}", "{closure}") + "::{closure}");
    }
    if let Some(implemented) = function.strip_prefix('<') {
        let inside = &implemented[..closing(implemented)?];
        let (future, of) = inside.split_at(top_level(inside, " as ")?);
        let is_future = of == " as core::future::future::Future" && implemented.ends_with(">::poll");
        return is_future.then(|| pretty(future));
    }
    function.contains("::{async_").then(|| pretty(function))
}

/// A type that is to be read: of one that is longer than this, the arguments of its arguments are left out, or those as well.
const LONG: usize = 160;

/// A type without those of its arguments that nobody reads: what a web framework serves is written in some thousands of characters.
pub(crate) fn abridged(name: String) -> String {
    if name.len() <= LONG {
        return name;
    }
    let mut shorter = (0..3).rev().map(|depth| without_arguments(&name, depth));
    shorter.clone().find(|shorter| shorter.len() <= LONG).or(shorter.next_back()).unwrap_or(name)
}

/// What stands within so many brackets, and `…` for what is further in.
fn without_arguments(name: &str, depth: usize) -> String {
    let (mut open, mut before, mut kept) = (0, ' ', String::new());
    for c in name.chars() {
        let closes = c == '>' && before != '-';
        if closes {
            open -= usize::from(open > 0);
        }
        if open <= depth {
            kept.push(c);
        }
        if c == '<' {
            open += 1;
            if open == depth + 1 {
                kept.push('…');
            }
        }
        before = c;
    }
    kept
}

/// What a wrapper or a reference holds.
fn held(future: &str) -> Option<&str> {
    if let Some(inside) = future.strip_prefix('(') {
        return inside.strip_suffix(')');
    }
    if let Some(referred) = future.strip_prefix('&') {
        return Some(referred.trim_start_matches("mut ").trim());
    }
    let (name, _) = future.split_once('<')?;
    let only = WRAPPERS.contains(&name) && future.ends_with('>');
    let inside = inside(future).filter(|_| only)?;
    Some(inside[..top_level(inside, ",").unwrap_or(inside.len())].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_from_the_function_or_its_type() {
        let expect = ["shop::serve::{async_fn_env#0}", "alloc::sync::Arc<tokio::Handle, alloc::alloc::Global>"];
        let list = expect.join(", ");
        assert_eq!(arguments(&format!("tokio::runtime::task::raw::poll<{list}>")), expect);
        assert_eq!(arguments(&format!("poll<{list}>")), expect);
        assert_eq!(arguments(&format!("tokio::runtime::task::raw::poll::<{list}>")), expect);
        assert_eq!(arguments(&format!("<tokio::runtime::task::harness::Harness<{list}>>::poll")), expect);
        assert!(arguments("tokio::runtime::task::harness::Harness<T,S>::poll").is_empty());
        assert!(arguments("tokio::runtime::task::raw::poll").is_empty());
        assert!(arguments("").is_empty());
    }

    #[test]
    fn a_symbol_tells_whose_code_it_is() {
        let check = |symbol, expect: Option<&str>| assert_eq!(of_code(symbol).as_deref(), expect);
        check("shop::serve::{{closure}}", Some("shop::serve::{closure}"));
        check("shop::main::{{closure}}::{{closure}}", Some("shop::main::{closure}::{closure}"));
        check("shop::serve::{async_fn#0}", Some("shop::serve"));
        check("<shop::Server<T> as core::future::future::Future>::poll", Some("shop::Server<T>"));
        check("<shop::Pipe as tokio::io::AsyncRead>::poll_read", None);
        check("<shop::Pipe>::poll", None);
        check("shop::serve", None);
        check("<", None);
        check("", None);
    }

    #[test]
    fn of_a_long_type_what_is_furthest_in_is_left_out() {
        let check = |name: &str, expect: &str| assert_eq!(abridged(name.to_owned()), expect);
        check("shop::Server<alloc::vec::Vec<u8>>", "shop::Server<alloc::vec::Vec<u8>>");
        let long = format!("a::B<c::D<{}>, e::F<fn() -> g::H>>", "x::Y<z>, ".repeat(30));
        check(&long, "a::B<c::D<…>, e::F<…>>");
        let longer = format!("a::B<{}>::poll", "c::D<e>, ".repeat(30));
        check(&longer, "a::B<…>::poll");
        let path = "a::".repeat(100);
        check(&path, &path);
        check(&format!("{path}<"), &format!("{path}<…"));
        check(&format!("{path}>>"), &format!("{path}>>"));
    }

    #[test]
    fn futures_are_named_as_they_were_written() {
        let check = |future, expect: &str| assert_eq!(pretty(future), expect);
        check("shop::serve::{async_fn_env#0}", "shop::serve");
        check("shop::get::{async_fn_env#0}<u32>", "shop::get<u32>");
        check("shop::main::{async_block#0}::{async_block_env#1}", "shop::main::{async block}::{async block #1}");
        check("core::pin::Pin<&mut shop::main::{async_block_env#0}>", "shop::main::{async block}");
        check("core::pin::Pin<alloc::boxed::Box<shop::f::{async_fn_env#0}, alloc::alloc::Global>>", "shop::f");
        check(
            "core::pin::Pin<alloc::boxed::Box<(dyn core::future::future::Future<Output=()> + core::marker::Send), alloc::alloc::Global>>",
            "dyn core::future::future::Future<Output=()> + core::marker::Send",
        );
        check("tokio::runtime::blocking::task::BlockingTask<shop::f::{closure_env#0}>", "shop::f::{closure}");
        check(
            "tokio::future::maybe_done::MaybeDone<shop::f::{async_fn_env#0}>",
            "tokio::future::maybe_done::MaybeDone<shop::f>",
        );
        check("shop::Server<alloc::vec::Vec<u8, alloc::alloc::Global>>", "shop::Server<alloc::vec::Vec<u8>>");
    }
}
