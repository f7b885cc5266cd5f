//! One name from two: the symbol's has the path, DWARF's has the type arguments.

/// Splits a path at its last `::` outside of brackets: `<a::B<c::D> as e::F>::g` into `<a::B<c::D> as e::F>` and `g`.
pub(crate) fn split(path: &str) -> (Option<&str>, &str) {
    let mut depth = 0usize;
    let mut last = None;
    let mut before = 0u8;
    for (index, byte) in path.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' | b'{' => depth += 1,
            b'>' if before == b'-' => {}
            b'>' | b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && before == b':' => last = Some(index),
            _ => {}
        }
        before = byte;
    }
    match last {
        Some(colon) => (Some(&path[..colon - 1]), &path[colon + 1..]),
        None => (None, path),
    }
}

/// The name before its type arguments.
fn base(name: &str) -> &str {
    name.split('<').next().unwrap_or(name)
}

/// The demangled form of a symbol of Rust, without its hash; others as they are.
pub(super) fn demangled(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

/// A function's name from its demangled symbol and its name in DWARF.
///
/// Different functions with the same code may have been merged, and share an address: if the two names are not of the
/// same function, DWARF's is the one that goes with the lines.
pub(super) fn joined(symbol: Option<&str>, dwarf: Option<&str>) -> Option<String> {
    let (symbol, dwarf) = match (symbol, dwarf) {
        (Some(symbol), Some(dwarf)) => (symbol, dwarf),
        (one, other) => return one.or(other).map(str::to_owned),
    };
    let (mut path, mut last) = split(symbol);
    if last.starts_with('<') {
        // The newer mangling shows type arguments as a segment: `a::b::<c>`.
        (path, last) = path.map_or((None, last), split);
    }
    let same = base(last) == base(dwarf) || (last.starts_with('{') && dwarf.starts_with('{'));
    match path {
        Some(path) if same => Some(format!("{path}::{dwarf}")),
        _ => Some(dwarf.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_split_outside_of_brackets() {
        assert_eq!(split("main"), (None, "main"));
        assert_eq!(split("a::b::c<d::e>"), (Some("a::b"), "c<d::e>"));
        assert_eq!(split("<a::B as c::D<fn() -> e::F>>::g"), (Some("<a::B as c::D<fn() -> e::F>>"), "g"));
    }

    #[test]
    fn the_path_is_the_symbols_and_the_arguments_are_dwarfs() {
        let check = |symbol, dwarf, expect: &str| assert_eq!(joined(symbol, dwarf).as_deref(), Some(expect));
        check(Some("a::b::poll"), Some("poll<c::D>"), "a::b::poll<c::D>");
        check(Some("a::b::poll::<c::D>"), Some("poll<c::D>"), "a::b::poll<c::D>");
        check(Some("a::b::{{closure}}"), Some("{async_fn#0}"), "a::b::{async_fn#0}");
        check(Some("<a::B as c::D>::e"), Some("e"), "<a::B as c::D>::e");
        check(Some("merged::other"), Some("poll<c::D>"), "poll<c::D>");
        check(None, Some("write"), "write");
        check(Some("a::b"), None, "a::b");
        assert_eq!(joined(None, None), None);
    }
}
