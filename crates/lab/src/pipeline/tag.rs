//! Tags, which say which input a line of a merged file comes from: the tag, a tab, the line.

use std::path::Path;

use super::sink::LineBatch;
use pollscope_record::escape::escape;

/// The tag of an input: its path as given, without anything that ends a tag or a line, or that a terminal obeys. Two
/// paths have the same tag only if they are the same bytes: an escape begins with a backslash, and a backslash is escaped.
pub(crate) fn tag(path: &Path) -> String {
    let mut tag = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        // The escaper does not escape backslashes, so they are doubled before it adds its own.
        tag.push_str(&escape(&chunk.valid().replace('\\', "\\\\")));
        for byte in chunk.invalid() {
            tag.push_str(&format!("\\x{byte:02x}"));
        }
    }
    tag
}

/// Puts the tag and a tab before each line.
pub(crate) fn tagged(tag: &str, lines: &LineBatch) -> LineBatch {
    let mut bytes = Vec::with_capacity(lines.bytes.len() + lines.count as usize * (tag.len() + 1));
    for line in lines.bytes.split_inclusive(|&byte| byte == b'\n') {
        bytes.extend_from_slice(tag.as_bytes());
        bytes.push(b'\t');
        bytes.extend_from_slice(line);
    }
    LineBatch { bytes, count: lines.count }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_tag_is_the_path_without_what_ends_a_tag_or_a_line() {
        assert_eq!(tag(Path::new("logs/größe.log")), "logs/größe.log");
        assert_eq!(tag(Path::new("a\tb\n\\n")), "a\\tb\\n\\\\n");
        assert_eq!(tag(Path::new(OsStr::from_bytes(b"\xff\x1b"))), "\\xff\\u{1b}");
    }

    #[test]
    fn every_line_has_the_tag() {
        let lines = LineBatch { bytes: b"one\n\n".to_vec(), count: 2 };
        assert_eq!(tagged("a", &lines).bytes, b"a\tone\na\t\n");
    }

    #[test]
    fn no_two_paths_have_one_tag() {
        let pieces: [&[u8]; 10] =
            [b"a", b"\\", b"n", b"\n", b"\t", b"x", b"ff", b"\xff", b"\xe9", "\u{202e}".as_bytes()];
        let mut seen: HashMap<String, Vec<u8>> = HashMap::new();
        for number in 0..10_000 {
            let digits = [number / 1000, number / 100 % 10, number / 10 % 10, number % 10];
            let path: Vec<u8> = digits.iter().flat_map(|digit| pieces[*digit].to_vec()).collect();
            let tag = tag(Path::new(OsStr::from_bytes(&path)));
            assert!(!tag.contains(char::is_control), "{tag:?}");
            if let Some(other) = seen.insert(tag.clone(), path.clone()) {
                assert_eq!(other, path, "{tag:?}");
            }
        }
    }
}
