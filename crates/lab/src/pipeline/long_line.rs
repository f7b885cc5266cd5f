//! The rule by which a merge delivers a line that is longer than it takes: in pieces, each a line of its own. What delivers lines and
//! what confirms them each follow it in their own way; tests hold both against this.

use std::num::NonZeroUsize;

/// A line, without its newline, as it is delivered: whole if it has at most `most` bytes, else cut into pieces of exactly
/// `most` bytes, the last of which may be shorter. Every line has at least one piece, and none has an empty one at its end.
pub(crate) fn pieces(line: &[u8], most: Option<NonZeroUsize>) -> impl Iterator<Item = &[u8]> {
    let empty = line.is_empty().then_some(line);
    let most = most.map_or(line.len().max(1), NonZeroUsize::get);
    empty.into_iter().chain(line.chunks(most))
}

#[test]
fn only_a_line_that_is_too_long_is_cut() {
    let cut =
        |line: &'static str| pieces(line.as_bytes(), NonZeroUsize::new(4)).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(cut("abcdefghi"), [&b"abcd"[..], b"efgh", b"i"]);
    assert_eq!(cut("abcd"), [b"abcd"], "a line of the greatest length is not cut");
    assert_eq!(cut(""), [b""], "an empty line is a line");
}
