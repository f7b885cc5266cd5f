//! Hiding paths: what a report may say where folders are nobody's business.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::{Call, Evidence, Frame, Held, Holder, Span};

/// What stands for a path that is hidden.
pub const HIDDEN: &str = "<path>";

/// What stands for an address that is hidden.
pub const HIDDEN_PEER: &str = "<peer>";

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
    if let Some(Held::By(holder)) = evidence.lock.as_mut().map(|lock| &mut lock.held) {
        redact_holder(holder);
    }
    evidence.stack = redacted_stack(&evidence.stack);
    evidence.shared_frame = evidence.shared_frame.map(|frame| Box::new(redacted_frame(*frame)));
    for place in &mut evidence.places {
        place.call = place.call.take().map(redacted_call);
        place.line = place.line.as_deref().map(redacted_place);
        place.caller = place.caller.as_deref().map(redacted_place);
        place.stack = redacted_stack(&place.stack);
    }
    evidence.span = evidence.span.map(|span| Arc::new(redacted_span(&span)));
    evidence
}

/// Whether a span's field of that name is a route: it is the program's own, as the span's name is. What looks like a path in any other
/// may be one.
///
/// ```
/// use pollscope_base::redact::is_route;
/// assert!(is_route("http.route") && !is_route("url.path"));
/// ```
pub fn is_route(field: &str) -> bool {
    matches!(field, "route" | "http.route")
}

/// A span without what may be paths.
///
/// ```
/// use pollscope_base::{Span, redact::redacted_span};
/// let mut span = Span::new("GET /items/{id}");
/// span.fields = ["route", "file"].map(|name| (name.to_owned(), "/items/7".to_owned())).to_vec();
/// assert_eq!(redacted_span(&span).to_string(), "`GET /items/{id}` (route /items/7, file <path>)");
/// ```
pub fn redacted_span(span: &Span) -> Span {
    let mut span = span.clone();
    for (name, value) in &mut span.fields {
        if !is_route(name) && value.contains(['/', '\\']) {
            HIDDEN.clone_into(value);
        }
    }
    span
}

fn redacted_stack(stack: &[Frame]) -> Arc<[Frame]> {
    stack.iter().cloned().map(redacted_frame).collect()
}

fn redacted_frame(mut frame: Frame) -> Frame {
    frame.file = frame.file.as_deref().map(|file| redacted_source(file).into_owned());
    frame
}

/// Descriptor and bytes stay, and so does what has no path, such as `pipe:[12345]`.
fn redacted_call(mut call: Call) -> Call {
    call.text = redacted_call_text(&call.text, &call.name, call.path.as_deref(), call.peer.as_deref()).into_owned();
    call.path = call.path.map(|path| redacted_target(&path).to_owned());
    call.peer = call.peer.map(|_| HIDDEN_PEER.to_owned());
    call
}

/// The path that a call works on, hidden; what has none, such as `pipe:[12345]`, stays.
///
/// ```
/// use pollscope_base::redact::redacted_target;
/// assert_eq!(redacted_target("socket:[12345]"), "socket:[12345]");
/// assert_eq!(redacted_target("conf/app.toml"), "<path>");
/// ```
pub fn redacted_target(path: &str) -> &str {
    if is_no_path(path) { path } else { HIDDEN }
}

/// The line that says a call, without its paths and its peer. It is known by what is between quotes, and by its peer as that is
/// written; where that is not found, only the call's name stays.
///
/// ```
/// use pollscope_base::redact::redacted_call_text as redacted;
/// let text = r#"openat("conf/app.toml" in current folder "/srv")"#;
/// assert_eq!(redacted(text, "openat", Some("/srv/conf/app.toml"), None), r#"openat("<path>")"#);
/// let text = "connect(socket fd 9 to 203.0.113.9:443)";
/// assert_eq!(redacted(text, "connect", Some("socket:[7]"), Some("203.0.113.9:443")), "connect(socket fd 9 to <peer>)");
/// assert_eq!(redacted(text, "connect", None, Some("[2001:db8::1]:443")), "connect");
/// ```
pub fn redacted_call_text<'text>(
    text: &'text str,
    name: &str,
    path: Option<&str>,
    peer: Option<&str>,
) -> Cow<'text, str> {
    let mut shown = Cow::Borrowed(text);
    let is_hidden = path.is_some_and(|path| !is_no_path(path)) || quoted(text).any(|part| !is_no_path(part));
    // Quotes within are escaped or a path's own.
    if let (true, Some(from), Some(to)) = (is_hidden, text.find('"'), text.rfind('"')) {
        shown.to_mut().replace_range(from..=to, &format!("\"{HIDDEN}\""));
    }
    match peer {
        None => shown,
        Some(peer) if !peer.is_empty() && shown.contains(peer) => Cow::Owned(shown.replace(peer, HIDDEN_PEER)),
        // The path of a Unix socket, which was between the quotes.
        Some(peer) if is_hidden && peer.parse::<SocketAddr>().is_err() => shown,
        Some(_) => Cow::Owned(name.to_owned()),
    }
}

/// What is between quotes, as far as those tell.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// Whether it is what the kernel says of a descriptor that has no path: `pipe:[12345]`, `anon_inode:[eventpoll]`.
fn is_no_path(target: &str) -> bool {
    let Some((kind, what)) = target.split_once(':') else { return false };
    let inner = what.strip_prefix('[').and_then(|what| what.strip_suffix(']'));
    let is_all = |word: &str, of: fn(u8) -> bool| word.bytes().all(of);
    match kind {
        "anon_inode" => is_all(inner.unwrap_or(what), |byte| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte)),
        _ => {
            is_all(kind, |byte| byte.is_ascii_lowercase())
                && inner.is_some_and(|inner| is_all(inner, |byte| byte.is_ascii_digit()))
        }
    }
}

/// What it does has at most one path, in quotes, as a call has.
fn redact_holder(holder: &mut Holder) {
    holder.line = holder.line.as_deref().map(redacted_place);
    let quoted = (holder.doing.find("\"/"), holder.doing.rfind('"'));
    if let (Some(from), Some(to)) = quoted {
        holder.doing.replace_range(from..=to, &format!("\"{HIDDEN}\""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LockWait, Place};

    fn hidden(path: &str, peer: Option<&str>, text: &str) -> Call {
        redacted_call(Call {
            name: text.split('(').next().unwrap().to_owned(),
            fd: Some(9),
            path: Some(path.to_owned()),
            peer: peer.map(str::to_owned),
            bytes: Some(64),
            text: text.to_owned(),
        })
    }

    #[test]
    fn a_call_keeps_its_descriptor_and_bytes() {
        let file = hidden(r#"/secret "x" y"#, None, r#"write(fd 9 "/secret \"x\" y", 64 bytes)"#);
        assert_eq!((file.text.as_str(), file.path.as_deref()), (r#"write(fd 9 "<path>", 64 bytes)"#, Some("<path>")));
        assert_eq!((file.fd, file.bytes), (Some(9), Some(64)));
        for target in ["pipe:[12]", "socket:[12]", "net:[4026531840]", "anon_inode:[eventpoll]", "anon_inode:inotify"] {
            let text = format!("write(fd 9 \"{target}\", 64 bytes)");
            let kept = hidden(target, None, &text);
            assert_eq!((kept.path.as_deref(), kept.text), (Some(target), text));
        }
    }

    /// Relative ones too, and what a call names besides its own path.
    #[test]
    fn no_path_of_a_call_stays() {
        for (path, text, expected) in [
            ("/secret/a", r#"openat("/secret/a")"#, r#"openat("<path>")"#),
            ("/secret/a", r#"openat("a" in current folder "/secret")"#, r#"openat("<path>")"#),
            ("secret/a", r#"openat("secret/a" in fd 7)"#, r#"openat("<path>" in fd 7)"#),
            ("secret:[a]", r#"openat("secret:[a]" in fd 7)"#, r#"openat("<path>" in fd 7)"#),
            ("/secret", r#"rename("/secret" to "/x", 1 byte)"#, r#"rename("<path>", 1 byte)"#),
            ("pipe:[1]", r#"poll(2 files, the first fd 3 "pipe:[1]")"#, r#"poll(2 files, the first fd 3 "pipe:[1]")"#),
            (
                "anon_inode:[eventpoll]",
                r#"epoll_wait(fd 5 "anon_inode:[eventpoll]", fd 7 "/secret")"#,
                r#"epoll_wait(fd 5 "<path>")"#,
            ),
        ] {
            assert_eq!(hidden(path, None, text).text, expected);
            assert!(!hidden(path, None, text).path.unwrap().contains("secret"), "{path}");
        }
    }

    #[test]
    fn no_peer_stays() {
        let check = |peer: &str, text: &str, expected: &str| {
            let call = hidden("socket:[7]", Some(peer), text);
            assert_eq!((call.text.as_str(), call.peer.as_deref()), (expected, Some("<peer>")));
        };
        check(
            "192.0.2.1:53",
            "poll(socket fd 9 to 192.0.2.1:53, a DNS server)",
            "poll(socket fd 9 to <peer>, a DNS server)",
        );
        check(
            "/run/secret.sock",
            r#"read(socket fd 9 to "/run/secret.sock", 1 byte)"#,
            r#"read(socket fd 9 to "<path>", 1 byte)"#,
        );
        check("/run/\"\n", r#"read(socket fd 9 to "/run/\"\n", 1 byte)"#, r#"read(socket fd 9 to "<path>", 1 byte)"#);
        check("@secret", r#"read(socket fd 9 to "@secret", 1 byte)"#, r#"read(socket fd 9 to "<path>", 1 byte)"#);
        check("192.0.2.1:80", r#"read(fd 9 "/a", at 192.0.2.1 port 80)"#, "read");
    }

    #[test]
    fn a_holder_keeps_what_it_does() {
        let hidden = |doing: &str| {
            let holder = Holder {
                thread: "w".to_owned(),
                tid: 7,
                task_id: None,
                line: Some("/u/secret/src/sink.rs:41".to_owned()),
                function: None,
                doing: doing.to_owned(),
                sure: true,
            };
            let lock = Box::new(LockWait { waits_in: None, held: Held::By(holder) });
            let seen = redacted_evidence(Evidence { lock: Some(lock), ..Evidence::default() });
            seen.holder().unwrap().clone()
        };
        let holder = hidden(r#"is blocked in write(fd 9 "/secret \"x\" y", 64 bytes)"#);
        assert_eq!(holder.doing, r#"is blocked in write(fd 9 "<path>", 64 bytes)"#);
        assert_eq!(holder.line.as_deref(), Some("<path>/sink.rs:41"));
        let pipe = r#"is blocked in read(fd 9 "pipe:[12]", 64 bytes)"#;
        assert_eq!(hidden(pipe).doing, pipe);
    }

    #[test]
    fn nothing_of_an_absolute_path_stays_but_the_name() {
        let frame = |file: &str| Frame { function: None, file: Some(file.to_owned()), line: Some(7) };
        let seen = Evidence {
            blocking_line: Some("/u/secret/src/sink.rs:41".to_owned()),
            stack: [frame("/u/secret/src/sink.rs"), frame("src/main.rs"), frame(r"C:\u\secret\x.rs")].into(),
            places: vec![Place {
                line: Some("/u/secret/src/sink.rs:41".to_owned()),
                caller: Some("/u/secret/src/main.rs:7".to_owned()),
                call: Some(Call {
                    name: "write".to_owned(),
                    fd: Some(9),
                    path: Some("/u/secret/log".to_owned()),
                    peer: None,
                    bytes: None,
                    text: r#"write(fd 9 "/u/secret/log")"#.to_owned(),
                }),
                stack: [frame("/u/secret/src/sink.rs")].into(),
                ..Place::default()
            }],
            shared_frame: Some(Box::new(frame("/u/secret/src/main.rs"))),
            ..Evidence::default()
        };
        let hidden = redacted_evidence(seen);
        assert!(!format!("{hidden:?}").contains("secret"), "{hidden:?}");
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
