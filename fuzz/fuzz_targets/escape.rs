//! The escaper: what comes out moves no cursor and reorders no text, and is left alone the second time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pollscope_base::escape::escape;

fuzz_target!(|text: &str| {
    let once = escape(text);
    // Unicode's bidirectional and line-separating characters, listed apart from the escaper's own list.
    let moves = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!once.contains(moves), "{once:?}");
    assert_eq!(escape(&once), once);
});
