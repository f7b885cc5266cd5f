//! Hiding paths: what a report may say where folders are nobody's business.

use std::borrow::Cow;

use crate::{Call, Evidence};

/// What stands for a path that is hidden.
pub const HIDDEN: &str = "<path>";

/// A source file without the folders that tell where it was built. A relative path stays, and so does what comes after the
/// folder that Cargo or the compiler keeps others' sources in; of any other, the file's name stays.
///
/// ```
/// use pollscope_base::redact::redacted_source;
/// assert_eq!(redacted_source("src/main.rs"), "src/main.rs");
/// assert_eq!(redacted_source("/u/ann/.cargo/registry/src/index.crates.io-1f2e/mio-1.0.4/src/lib.rs"), "mio-1.0.4/src/lib.rs");
/// assert_eq!(redacted_source("/rustc/59807616e/library/std/src/sys.rs"), "std/src/sys.rs");
/// assert_eq!(redacted_source("/u/ann/secret/src/main.rs"), "<path>/main.rs");
/// assert_eq!(redacted_source("../secret/main.rs"), "<path>/main.rs");
/// ```
pub fn redacted_source(file: &str) -> Cow<'_, str> {
    let fetched = || {
        let registry = || file.rsplit_once("/registry/src/")?.1.split_once('/').map(|(_registry, rest)| rest);
        let checkout = || file.rsplit_once("/git/checkouts/").map(|(_, rest)| rest);
        let library = || file.strip_prefix("/rustc/")?.split_once("/library/").map(|(_commit, rest)| rest);
        registry().or_else(checkout).or_else(|| file.strip_prefix("/rust/deps/")).or_else(library)
    };
    let is_below =
        |path: &str| !path.starts_with('/') && !path.contains('\\') && path.split('/').all(|part| part != "..");
    match fetched() {
        Some(rest) if is_below(rest) => return Cow::Borrowed(rest),
        _ if is_below(file) => return Cow::Borrowed(file),
        _ => {}
    }
    let name = file.rsplit(['/', '\\']).next().filter(|name| !matches!(*name, "" | ".."));
    Cow::Owned(name.map_or_else(|| HIDDEN.to_owned(), |name| format!("{HIDDEN}/{name}")))
}

/// `file:line` likewise; what ends in no line is taken for a file.
pub fn redacted_place(place: &str) -> String {
    match place.rsplit_once(':') {
        Some((file, line)) if line.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{}:{line}", redacted_source(file))
        }
        _ => redacted_source(place).into_owned(),
    }
}

/// What was seen of a slow poll, without paths.
pub fn redacted_evidence(mut evidence: Evidence) -> Evidence {
    evidence.call = evidence.call.map(redacted_call);
    evidence.blocking_line = evidence.blocking_line.as_deref().map(redacted_place);
    evidence.stack = evidence
        .stack
        .iter()
        .cloned()
        .map(|mut frame| {
            frame.file = frame.file.as_deref().map(|file| redacted_source(file).into_owned());
            frame
        })
        .collect();
    evidence
}

/// Descriptor and bytes stay, and so does what has no path, such as `pipe:[12345]`.
fn redacted_call(mut call: Call) -> Call {
    if call.path.as_ref().is_some_and(|path| path.starts_with('/')) {
        call.path = Some(HIDDEN.to_owned());
        // It is the one part in quotes; those within it are escaped or its own.
        if let (Some(from), Some(to)) = (call.text.find('"'), call.text.rfind('"')) {
            call.text.replace_range(from..=to, &format!("\"{HIDDEN}\""));
        }
    }
    call
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Frame;

    #[test]
    fn a_call_keeps_its_descriptor_and_bytes() {
        let hidden = |path: &str, text: &str| {
            redacted_call(Call {
                name: "write".to_owned(),
                fd: Some(9),
                path: Some(path.to_owned()),
                bytes: Some(64),
                text: text.to_owned(),
            })
        };
        let file = hidden(r#"/secret "x" y"#, r#"write(fd 9 "/secret \"x\" y", 64 bytes)"#);
        assert_eq!((file.text.as_str(), file.path.as_deref()), (r#"write(fd 9 "<path>", 64 bytes)"#, Some("<path>")));
        assert_eq!((file.fd, file.bytes), (Some(9), Some(64)));
        let pipe = hidden("pipe:[12]", r#"write(fd 9 "pipe:[12]", 64 bytes)"#);
        assert_eq!(pipe.path.as_deref(), Some("pipe:[12]"));
        assert!(pipe.text.contains("pipe:[12]"));
    }

    #[test]
    fn nothing_of_an_absolute_path_stays_but_the_name() {
        let frame = |file: &str| Frame { function: None, file: Some(file.to_owned()), line: Some(7) };
        let seen = Evidence {
            blocking_line: Some("/u/secret/src/sink.rs:41".to_owned()),
            stack: [frame("/u/secret/src/sink.rs"), frame("src/main.rs"), frame(r"C:\u\secret\x.rs")].into(),
            ..Evidence::default()
        };
        let hidden = redacted_evidence(seen);
        assert_eq!(hidden.blocking_line.as_deref(), Some("<path>/sink.rs:41"));
        let files: Vec<_> = hidden.stack.iter().map(|frame| frame.file.as_deref().unwrap()).collect();
        assert_eq!(files, ["<path>/sink.rs", "src/main.rs", "<path>/x.rs"]);
        for file in
            ["/a/registry/src/idx/../../secret/x.rs", "/registry/src/i//secret/x.rs", "/rustc/1/library/../secret/x.rs"]
        {
            assert_eq!(redacted_source(file), "<path>/x.rs", "{file}");
        }
        assert_eq!(redacted_source("/secret/"), "<path>");
        assert_eq!(redacted_place("/secret/x.rs"), "<path>/x.rs");
    }
}
