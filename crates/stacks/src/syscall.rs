//! A system call's number and arguments, made readable: `write(fd 9 "/var/log/merged", 4096 bytes)`.
//!
//! Only what is in the registers is told, and where a file descriptor leads. What pointers point to, the content that
//! is read and written, names given to `open`, is never looked at.

mod names;

use std::fmt::{self, Write as _};
use std::path::PathBuf;

use crate::process::Process;

/// A system call that a thread is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syscall {
    /// Its number on x86-64.
    pub number: u64,
    /// Its name; `None` if it is newer than this crate.
    pub name: Option<&'static str>,
    /// What it is asked to do, where one call does several things: `wait` of a `futex`, `lock` of an `fcntl`.
    pub operation: Option<&'static str>,
    /// The file that it works on.
    pub fd: Option<i32>,
    /// Where that file descriptor leads: a path, `pipe:[12345]`, `socket:[12345]`, `anon_inode:[eventpoll]`.
    pub path: Option<PathBuf>,
    /// The file that it reads from when it writes to `fd`: `sendfile` and its like.
    pub source: Option<i32>,
    /// How many bytes it was asked for.
    pub bytes: Option<u64>,
    /// How many buffers, files or events it was given, for calls whose bytes are not in the registers.
    pub count: Option<u64>,
    /// How long it waits at most, in milliseconds; `None` if it does not say, or for ever.
    pub timeout_ms: Option<u64>,
    /// The process it waits for.
    pub pid: Option<i32>,
}

/// Which argument is what. An argument's number is from 0.
#[derive(Debug, Clone, Copy, Default)]
struct Shape {
    fd: Option<usize>,
    source: Option<usize>,
    bytes: Option<usize>,
    count: Option<usize>,
    timeout_ms: Option<usize>,
    pid: Option<usize>,
}

impl Shape {
    const NONE: Shape = Shape { fd: None, source: None, bytes: None, count: None, timeout_ms: None, pid: None };
    const FD: Shape = Shape { fd: Some(0), ..Shape::NONE };
    const FD_BYTES: Shape = Shape { bytes: Some(2), ..Shape::FD };
    const FD_COUNT: Shape = Shape { count: Some(2), ..Shape::FD };

    fn of(name: &str) -> Shape {
        match name {
            "read" | "write" | "pread64" | "pwrite64" | "getdents" | "getdents64" | "sendto" | "recvfrom"
            | "readahead" => Shape::FD_BYTES,
            "readv" | "writev" | "preadv" | "pwritev" | "preadv2" | "pwritev2" | "sendmmsg" | "recvmmsg" => {
                Shape::FD_COUNT
            }
            "fsync" | "fdatasync" | "syncfs" | "close" | "fstat" | "fstatfs" | "fchmod" | "fchown" | "lseek"
            | "connect" | "accept" | "accept4" | "sendmsg" | "recvmsg" | "shutdown" | "flock" | "fcntl" | "ioctl"
            | "bind" | "listen" => Shape::FD,
            "sync_file_range" => Shape { bytes: Some(2), ..Shape::FD },
            "ftruncate" => Shape { bytes: Some(1), ..Shape::FD },
            "fallocate" => Shape { bytes: Some(3), ..Shape::FD },
            "truncate" | "msync" | "getrandom" | "munmap" | "mmap" | "madvise" => {
                Shape { bytes: Some(1), ..Shape::NONE }
            }
            "openat" | "openat2" | "newfstatat" | "statx" | "unlinkat" | "mkdirat" | "renameat" | "renameat2"
            | "readlinkat" | "faccessat" | "faccessat2" | "linkat" | "fchmodat" | "fchownat" | "utimensat" => Shape::FD,
            "poll" => Shape { count: Some(1), timeout_ms: Some(2), ..Shape::NONE },
            "ppoll" => Shape { count: Some(1), ..Shape::NONE },
            "select" | "pselect6" => Shape { count: Some(0), ..Shape::NONE },
            "epoll_wait" | "epoll_pwait" => Shape { timeout_ms: Some(3), ..Shape::FD },
            "epoll_pwait2" | "epoll_ctl" => Shape::FD,
            "wait4" => Shape { pid: Some(0), ..Shape::NONE },
            "waitid" => Shape { pid: Some(1), ..Shape::NONE },
            "sendfile" => Shape { source: Some(1), bytes: Some(3), ..Shape::FD },
            "splice" | "copy_file_range" => Shape { fd: Some(2), source: Some(0), bytes: Some(4), ..Shape::NONE },
            "tee" => Shape { fd: Some(1), source: Some(0), bytes: Some(2), ..Shape::NONE },
            "vmsplice" => Shape::FD_COUNT,
            "io_uring_enter" => Shape { count: Some(2), ..Shape::FD },
            _ => Shape::NONE,
        }
    }
}

impl Syscall {
    /// Reads a call's registers. Where its file descriptor leads is not known yet: see [`Syscall::locate`].
    ///
    /// ```
    /// use pollscope_stacks::syscall::Syscall;
    /// let mut write = Syscall::new(1, &[9, 0x7f00_0000_0000, 4096, 0, 0, 0]);
    /// assert_eq!(write.to_string(), "write(fd 9, 4096 bytes)");
    /// write.path = Some("/var/log/merged".into());
    /// assert_eq!(write.to_string(), "write(fd 9 \"/var/log/merged\", 4096 bytes)");
    /// ```
    pub fn new(number: u64, args: &[u64; 6]) -> Syscall {
        let name = names::name(number);
        let shape = name.map_or(Shape::NONE, Shape::of);
        let argument = |index: Option<usize>| index.map(|index| args[index]);
        // The kernel takes these as `int`, whatever is in the upper half of the register.
        let int = |index| argument(index).map(|value| value as u32 as i32);
        Syscall {
            number,
            name,
            operation: name.and_then(|name| operation(name, args)),
            fd: int(shape.fd),
            path: None,
            source: int(shape.source),
            bytes: argument(shape.bytes),
            count: argument(shape.count).map(|count| count & 0xffff_ffff),
            timeout_ms: int(shape.timeout_ms).and_then(|timeout| u64::try_from(timeout).ok()),
            pid: int(shape.pid),
        }
    }

    /// Finds out where the file descriptor leads, in the process whose thread is in the call.
    pub fn locate(&mut self, process: &Process) {
        let Some(fd) = self.fd else { return };
        let path = match fd {
            CURRENT_FOLDER => process.file("cwd").to_string(),
            fd => format!("{}/{fd}", process.file("fd")),
        };
        self.path = std::fs::read_link(path).ok();
    }
}

/// `AT_FDCWD`: a name is meant from the current folder on.
const CURRENT_FOLDER: i32 = -100;

/// Which of several things a call does.
fn operation(name: &str, args: &[u64; 6]) -> Option<&'static str> {
    match name {
        // The private and the clock flag say nothing about what is done.
        "futex" => match args[1] & 0x7f {
            0 | 9 => Some("wait"),
            1 | 10 => Some("wake"),
            3 | 4 => Some("requeue"),
            5 => Some("wake op"),
            6 | 13 => Some("lock"),
            7 => Some("unlock"),
            8 => Some("try lock"),
            11 => Some("wait requeue"),
            12 => Some("requeue"),
            _ => None,
        },
        "flock" => match args[1] & 0xf {
            1 | 5 => Some("shared"),
            2 | 6 => Some("exclusive"),
            8 => Some("unlock"),
            _ => None,
        },
        "fcntl" => match args[1] {
            5 | 36 => Some("get lock"),
            6 | 37 => Some("set lock"),
            7 | 38 => Some("wait for lock"),
            1033 => Some("seal"),
            _ => None,
        },
        _ => None,
    }
}

impl fmt::Display for Syscall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "system call {}", self.number)?,
        }
        let mut said = String::new();
        let mut say = |part: fmt::Arguments<'_>| {
            let comma = if said.is_empty() { "" } else { ", " };
            write!(said, "{comma}{part}")
        };
        if let Some(operation) = self.operation {
            say(format_args!("{operation}"))?;
        }
        match (self.fd, &self.path) {
            (Some(CURRENT_FOLDER), None) => say(format_args!("current folder"))?,
            (Some(CURRENT_FOLDER), Some(path)) => say(format_args!("current folder {}", Quoted(path)))?,
            (Some(fd), None) => say(format_args!("fd {fd}"))?,
            (Some(fd), Some(path)) => say(format_args!("fd {fd} {}", Quoted(path)))?,
            (None, _) => {}
        }
        if let Some(source) = self.source {
            say(format_args!("from fd {source}"))?;
        }
        if let Some(bytes) = self.bytes {
            say(format_args!("{bytes} {}", if bytes == 1 { "byte" } else { "bytes" }))?;
        }
        if let Some(count) = self.count {
            let noun = counted(self.name.unwrap_or_default());
            say(format_args!("{count} {noun}{}", if count == 1 { "" } else { "s" }))?;
        }
        if let Some(timeout) = self.timeout_ms {
            say(format_args!("at most {timeout} ms"))?;
        }
        match self.pid {
            Some(pid) if pid > 0 => say(format_args!("process {pid}"))?,
            Some(_) => say(format_args!("any child"))?,
            None => {}
        }
        if said.is_empty() { Ok(()) } else { write!(f, "({said})") }
    }
}

/// What [`Syscall::count`] counts, in the singular.
fn counted(name: &str) -> &'static str {
    match name {
        "poll" | "ppoll" | "select" | "pselect6" => "file",
        "sendmmsg" | "recvmmsg" => "message",
        "io_uring_enter" => "event",
        _ => "buffer",
    }
}

/// A path between quotes, with everything escaped that a terminal might obey.
struct Quoted<'a>(&'a PathBuf);

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
    use super::*;

    #[track_caller]
    fn check(name: &str, args: [u64; 6], expected: &str) {
        let number = (0..500).find(|number| names::name(*number) == Some(name)).expect(name);
        assert_eq!(Syscall::new(number, &args).to_string(), expected);
    }

    #[test]
    fn calls_that_block_are_readable() {
        check("read", [0, 1, 1, 0, 0, 0], "read(fd 0, 1 byte)");
        check("writev", [4, 1, 3, 0, 0, 0], "writev(fd 4, 3 buffers)");
        check("fsync", [0xffff_0000_0000_0007, 0, 0, 0, 0, 0], "fsync(fd 7)");
        check("openat", [CURRENT_FOLDER as u64, 0, 0, 0, 0, 0], "openat(current folder)");
        check("futex", [0x7f00, 0x80, 2, 0, 0, 0], "futex(wait)");
        check("futex", [0x7f00, 0x189, 2, 0, 0, 0], "futex(wait)");
        check("futex", [0x7f00, 0x81, 2, 0, 0, 0], "futex(wake)");
        check("nanosleep", [0x7f00, 0x7f00, 0, 0, 0, 0], "nanosleep");
        check("poll", [0x7f00, 1, 250, 0, 0, 0], "poll(1 file, at most 250 ms)");
        check("poll", [0x7f00, 2, u64::MAX, 0, 0, 0], "poll(2 files)");
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
    #[cfg(unix)]
    fn a_path_cannot_speak_to_the_terminal() {
        use std::os::unix::ffi::OsStrExt as _;
        let mut call = Syscall::new(74, &[3, 0, 0, 0, 0, 0]);
        call.path = Some(std::ffi::OsStr::from_bytes(b"/tmp/a\x1b[31m\"b'\n\xff\xc3\xa9").into());
        assert_eq!(call.to_string(), "fsync(fd 3 \"/tmp/a\\u{1b}[31m\\\"b'\\n\\xff\u{e9}\")");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_descriptor_leads_to_its_file() {
        use std::os::fd::AsRawFd as _;
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let mut call = Syscall::new(0, &[file.as_raw_fd() as u64, 0, 10, 0, 0, 0]);
        call.locate(&Process::current());
        assert!(call.path.unwrap().ends_with("maps"));
        let mut closed = Syscall::new(0, &[99_999, 0, 10, 0, 0, 0]);
        closed.locate(&Process::current());
        assert_eq!(closed.path, None);
    }
}
