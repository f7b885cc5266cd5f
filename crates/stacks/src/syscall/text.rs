//! A system call in one line.
//!
//! What is between quotes is a path, or what a descriptor leads to; hiding paths relies on it.

use std::fmt::{self, Write as _};
use std::path::Path;

use super::descriptor::{CURRENT_FOLDER, Descriptor, Given};
use super::{Syscall, WaitedFor};

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "system call {}", self.number)?,
        }
        let said = self.said();
        if said.is_empty() { Ok(()) } else { write!(f, "({})", said.join(", ")) }
    }
}

impl Syscall {
    fn said(&self) -> Vec<String> {
        let mut said: Vec<String> = self.operation.map(str::to_owned).into_iter().collect();
        said.extend(self.file.as_ref().map(Descriptor::to_string));
        said.extend(self.given.as_ref().map(|given| match &self.second {
            Some(second) => format!("{given} to {second}"),
            None => given.to_string(),
        }));
        said.extend(self.source.map(|source| format!("from fd {source}")));
        said.extend(self.bytes.map(|bytes| number(bytes, "byte")));
        let counted = || self.count.map(|count| number(count, counted(self.name.unwrap_or_default())));
        said.extend(self.waited.as_ref().map(WaitedFor::to_string).or_else(counted));
        said.extend(self.timeout_ms.map(|timeout| format!("at most {timeout} ms")));
        said.extend(self.pid.map(|pid| if pid > 0 { format!("process {pid}") } else { "any child".to_owned() }));
        said
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = &self.peer {
            let dns = if peer.is_dns() { ", a DNS server" } else { "" };
            return write!(f, "socket fd {} to {peer}{dns}", self.fd);
        }
        match self.fd {
            CURRENT_FOLDER => f.write_str("current folder")?,
            fd => write!(f, "fd {fd}")?,
        }
        self.path.as_ref().map_or(Ok(()), |path| write!(f, " {}", Quoted(path)))
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted(&self.path).fmt(f)?;
        self.folder.as_ref().map_or(Ok(()), |folder| write!(f, " in {folder}"))
    }
}

impl fmt::Display for WaitedFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.first, self.count) {
            (Some(only), 1) => only.fmt(f),
            (Some(first), count) => write!(f, "{}, the first {first}", number(count, "file")),
            (None, count) => f.write_str(&number(count, "file")),
        }
    }
}

fn number(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// What [`Syscall::count`] counts, in the singular.
fn counted(name: &str) -> &'static str {
    match name {
        "poll" | "ppoll" => "file",
        "sendmmsg" | "recvmmsg" => "message",
        "io_uring_enter" => "event",
        _ => "buffer",
    }
}

/// A path between quotes, with everything escaped that a terminal might obey.
pub(super) struct Quoted<'a>(pub(super) &'a Path);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.as_os_str().as_encoded_bytes().utf8_chunks() {
            for char in chunk.valid().chars() {
                // `escape_debug` escapes control and formatting characters, and quotes.
                if char == '\'' { f.write_char(char)? } else { write!(f, "{}", char.escape_debug())? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Peer, names};
    use super::*;

    fn call(name: &str, args: [u64; 6]) -> Syscall {
        let number = (0..500).find(|number| names::name(*number) == Some(name)).expect(name);
        Syscall::new(number, &args)
    }

    #[track_caller]
    fn check(name: &str, args: [u64; 6], expected: &str) {
        assert_eq!(call(name, args).to_string(), expected);
    }

    #[test]
    fn calls_that_block_are_readable() {
        check("read", [0, 1, 1, 0, 0, 0], "read(fd 0, 1 byte)");
        check("writev", [4, 1, 3, 0, 0, 0], "writev(fd 4, 3 buffers)");
        check("fsync", [0xffff_0000_0000_0007, 0, 0, 0, 0, 0], "fsync(fd 7)");
        check("openat", [CURRENT_FOLDER as u64, 0, 0, 0, 0, 0], "openat");
        check("futex", [0x7f00, 0x80, 2, 0, 0, 0], "futex(wait)");
        check("futex", [0x7f00, 0x189, 2, 0, 0, 0], "futex(wait)");
        check("futex", [0x7f00, 0x81, 2, 0, 0, 0], "futex(wake)");
        check("nanosleep", [0x7f00, 0x7f00, 0, 0, 0, 0], "nanosleep");
        check("poll", [0x7f00, 1, 250, 0, 0, 0], "poll(1 file, at most 250 ms)");
        check("poll", [0x7f00, 2, u64::MAX, 0, 0, 0], "poll(2 files)");
        // Its first argument is the highest number and one, and no count.
        check("select", [13, 0x7f00, 0, 0, 0, 0], "select");
        check("epoll_wait", [5, 0, 1024, 0xffff_ffff, 0, 0], "epoll_wait(fd 5)");
        check("wait4", [u64::MAX, 0, 0, 0, 0, 0], "wait4(any child)");
        check("waitid", [1, 77, 0, 0, 0, 0], "waitid(process 77)");
        check("flock", [3, 2, 0, 0, 0, 0], "flock(exclusive, fd 3)");
        check("fcntl", [3, 7, 0, 0, 0, 0], "fcntl(wait for lock, fd 3)");
        check("sendfile", [5, 6, 0, 100, 0, 0], "sendfile(fd 5, from fd 6, 100 bytes)");
        check("copy_file_range", [6, 0, 5, 0, 100, 0], "copy_file_range(fd 5, from fd 6, 100 bytes)");
        check("mkdir", [0x7f00; 6], "mkdir");
        assert_eq!(Syscall::new(9999, &[0; 6]).to_string(), "system call 9999");
    }

    #[test]
    fn what_a_call_waits_for_is_named() {
        let to = |port: u16| {
            let peer = Some(Peer::Ip(([127, 0, 0, 1], port).into()));
            Descriptor { path: Some("socket:[71]".into()), peer, ..Descriptor::unknown(12) }
        };
        let poll = |count: u64, first: Option<Descriptor>| {
            let waited = Some(WaitedFor { count, first });
            Syscall { waited, ..call("poll", [0x7f00, 9, 1000, 0, 0, 0]) }.to_string()
        };
        assert_eq!(poll(1, Some(to(53))), "poll(socket fd 12 to 127.0.0.1:53, a DNS server, at most 1000 ms)");
        assert_eq!(poll(1, Some(to(5353))), "poll(socket fd 12 to 127.0.0.1:5353, at most 1000 ms)");
        let unknown = Descriptor { peer: None, ..to(53) };
        assert_eq!(poll(1, Some(unknown)), r#"poll(fd 12 "socket:[71]", at most 1000 ms)"#);
        assert_eq!(poll(3, Some(to(80))), "poll(3 files, the first socket fd 12 to 127.0.0.1:80, at most 1000 ms)");
        assert_eq!(poll(0, None), "poll(0 files, at most 1000 ms)");
        let read = Syscall { file: Some(to(443)), ..call("recvfrom", [12, 0, 64, 0, 0, 0]) };
        assert_eq!(read.to_string(), "recvfrom(socket fd 12 to 127.0.0.1:443, 64 bytes)");
    }

    #[test]
    fn a_path_is_said_with_the_folder_that_it_is_meant_from() {
        let given = |path: &str, folder: Option<(i32, &str)>| Given {
            path: path.into(),
            folder: folder.map(|(fd, path)| Descriptor { path: Some(path.into()), ..Descriptor::unknown(fd) }),
        };
        let open = |given: Given| Syscall { given: Some(given), ..call("openat", [0; 6]) }.to_string();
        assert_eq!(open(given("/etc/hosts", None)), r#"openat("/etc/hosts")"#);
        assert_eq!(open(given("a/b", Some((CURRENT_FOLDER, "/srv")))), r#"openat("a/b" in current folder "/srv")"#);
        assert_eq!(open(given("a/b", Some((7, "/data")))), r#"openat("a/b" in fd 7 "/data")"#);
        let unknown = Given { folder: Some(Descriptor::unknown(7)), ..given("a", None) };
        assert_eq!(open(unknown), r#"openat("a" in fd 7)"#);
        let rename = Syscall {
            given: Some(given("/a", None)),
            second: Some(given("b", Some((CURRENT_FOLDER, "/srv")))),
            ..call("rename", [0; 6])
        };
        assert_eq!(rename.to_string(), r#"rename("/a" to "b" in current folder "/srv")"#);
    }

    #[test]
    #[cfg(unix)]
    fn a_path_cannot_speak_to_the_terminal() {
        use std::os::unix::ffi::OsStrExt as _;
        let mut call = Syscall::new(74, &[3, 0, 0, 0, 0, 0]);
        let path = std::ffi::OsStr::from_bytes(b"/tmp/a\x1b[31m\"b'\n\xff\xc3\xa9");
        call.file = Some(Descriptor { path: Some(path.into()), ..Descriptor::unknown(3) });
        assert_eq!(call.to_string(), "fsync(fd 3 \"/tmp/a\\u{1b}[31m\\\"b'\\n\\xff\u{e9}\")");
        let evil = Some(Peer::Unix(Path::new("/a\"\n").into()));
        call.file = Some(Descriptor { peer: evil, ..Descriptor::unknown(3) });
        assert_eq!(call.to_string(), "fsync(socket fd 3 to \"/a\\\"\\n\")");
    }
}
