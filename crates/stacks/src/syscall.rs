//! A system call's number and arguments, made readable: `write(fd 9 "/var/log/merged", 4096 bytes)`.
//!
//! What is told is in the registers, or leads from there to names: where a file descriptor leads, the path or the address that a
//! call is given, the descriptors that it waits for. The content that is read and written is never looked at.

mod arguments;
mod descriptor;
mod names;
mod peer;
mod shape;
mod text;
mod waited;

use std::path::PathBuf;

use crate::process::Process;
use crate::thread::ThreadRef;

use descriptor::{CURRENT_FOLDER, GivenOrFolder};
pub use descriptor::{Descriptor, Given};
pub use peer::Peer;
use shape::{Set, Shape};

/// A system call that a thread is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syscall {
    /// Its number on x86-64.
    pub number: u64,
    /// Its name; `None` if it is newer than this crate.
    pub name: Option<&'static str>,
    /// What it is asked to do, where one call does several things: `wait` of a `futex`, `lock` of an `fcntl`.
    pub operation: Option<&'static str>,
    /// The descriptor that it works on.
    pub file: Option<Descriptor>,
    /// The path that it was given; of two, the first.
    pub given: Option<Given>,
    /// The second one.
    pub second: Option<Given>,
    /// What it waits for, where that can be several descriptors.
    pub waited: Option<WaitedFor>,
    /// The file that it reads from when it writes to another: `sendfile` and its like.
    pub source: Option<i32>,
    /// How many bytes it was asked for.
    pub bytes: Option<u64>,
    /// How many buffers, files or events it was given, for calls whose bytes are not in the registers.
    pub count: Option<u64>,
    /// How long it waits at most, in milliseconds; `None` if it does not say, or for ever.
    pub timeout_ms: Option<u64>,
    /// The process it waits for.
    pub pid: Option<i32>,
    args: [u64; 6],
}

/// Descriptors of which a call waits for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitedFor {
    /// How many.
    pub count: u64,
    /// The first, or of an epoll the one with the lowest number; `None` where that is not known, or there is none.
    pub first: Option<Descriptor>,
}

impl Syscall {
    /// Reads a call's registers. What those lead to is not known yet: see [`Syscall::locate`].
    ///
    /// ```
    /// use pollscope_stacks::syscall::Syscall;
    /// let mut write = Syscall::new(1, &[9, 0x7f00_0000_0000, 4096, 0, 0, 0]);
    /// assert_eq!(write.to_string(), "write(fd 9, 4096 bytes)");
    /// write.file.as_mut().unwrap().path = Some("/var/log/merged".into());
    /// assert_eq!(write.to_string(), "write(fd 9 \"/var/log/merged\", 4096 bytes)");
    /// ```
    pub fn new(number: u64, args: &[u64; 6]) -> Syscall {
        let name = names::name(number);
        let shape = name.map_or(Shape::NONE, Shape::of);
        let argument = |index: Option<usize>| index.map(|index| args[index]);
        let int = |index: Option<usize>| index.map(|index| as_int(args[index]));
        Syscall {
            number,
            name,
            operation: name.and_then(|name| operation(name, args)),
            file: int(shape.fd).map(Descriptor::unknown),
            given: None,
            second: None,
            waited: None,
            source: int(shape.source),
            bytes: argument(shape.bytes),
            count: argument(shape.count).map(|count| count & 0xffff_ffff),
            timeout_ms: int(shape.timeout_ms).and_then(|timeout| u64::try_from(timeout).ok()),
            pid: int(shape.pid),
            args: *args,
        }
    }

    /// Finds out what the registers lead to, in the process whose thread is in the call: where its file descriptor leads, which path
    /// it was given, which descriptors it waits for. What cannot be read is not claimed.
    ///
    /// The thread may go on meanwhile, and its memory change: who asks must see that it did not.
    pub fn locate(&mut self, process: &Process) {
        let shape = self.shape();
        if let Some(file) = &mut self.file {
            *file = Descriptor::locate(process, file.fd);
        }
        self.locate_paths(process, shape);
        if let Some(file) = &mut self.file
            && file.path.as_deref().and_then(peer::inode).is_some()
        {
            let address = shape.address.and_then(|at| peer::in_memory(process, self.args[at], self.args[at + 1]));
            let address = address.or_else(|| peer::of_message(process, self.args[shape.message?]));
            file.peer = address.or(file.peer.take());
        }
        let waited = match shape.set {
            Some(Set::Poll) => waited::polled(process, self.args[0], self.args[1]),
            Some(Set::Select) => waited::selected(process, self.args[0], [self.args[1], self.args[2], self.args[3]]),
            Some(Set::Epoll) | None => None,
        };
        self.wait_for(process, waited);
        if let Some((at, fraction)) = shape.timeout {
            self.timeout_ms = waited::timeout_ms(process, self.args[at], fraction);
        }
    }

    /// Finds out what takes longer, up to milliseconds, and is to be known of calls that are told: the other end of a socket that
    /// [`Syscall::locate`] did not find, and what an epoll watches.
    pub fn locate_further(&mut self, thread: &ThreadRef) {
        if let (Some(Set::Epoll), Some(epoll)) = (self.shape().set, &self.file) {
            let watched = waited::watched(&thread.process, epoll.fd);
            self.wait_for(&thread.process, watched);
        }
        let first = self.waited.as_mut().and_then(|waited| waited.first.as_mut());
        for descriptor in self.file.as_mut().into_iter().chain(first).filter(|descriptor| descriptor.peer.is_none()) {
            let inode = descriptor.path.as_deref().and_then(peer::inode);
            descriptor.peer = inode.and_then(|inode| peer::by_tables(thread, inode));
        }
    }

    /// The number of the descriptor that it works on, or of the folder that its path is meant from, or of the first that it waits for.
    pub fn fd(&self) -> Option<i32> {
        let folder = self.given.as_ref().and_then(|given| given.folder.as_ref());
        self.file.as_ref().or(folder).or(self.first()).map(|of| of.fd).filter(|fd| *fd != CURRENT_FOLDER)
    }

    /// The path that it was given, from the root on where that is known, or where its descriptor leads, or the first it waits for.
    pub fn path(&self) -> Option<PathBuf> {
        let leads = |of: &Descriptor| of.path.clone();
        let file = || self.file.as_ref().or(self.first()).and_then(leads);
        self.given.as_ref().map(Given::whole).or_else(file)
    }

    /// The other end of the socket that it works on, or of the first that it waits for.
    pub fn peer(&self) -> Option<&Peer> {
        let of_file = self.file.as_ref().and_then(|file| file.peer.as_ref());
        of_file.or_else(|| self.first()?.peer.as_ref())
    }

    fn first(&self) -> Option<&Descriptor> {
        self.waited.as_ref()?.first.as_ref()
    }

    fn shape(&self) -> Shape {
        self.name.map_or(Shape::NONE, Shape::of)
    }

    fn wait_for(&mut self, process: &Process, waited: Option<waited::Waited>) {
        if let Some(waited) = waited {
            let first = waited.first.map(|fd| Descriptor::locate(process, fd));
            self.waited = Some(WaitedFor { count: waited.count, first });
        }
    }

    fn locate_paths(&mut self, process: &Process, shape: Shape) {
        let is_rooted = match self.name {
            Some("openat2") => arguments::opens_below_its_folder(process, self.args[2]),
            _ => Some(false),
        };
        let read = |path: Option<usize>, folder: Option<usize>| {
            let folder = folder.map_or(CURRENT_FOLDER, |folder| as_int(self.args[folder]));
            Given::read(process, self.args[path?], folder, is_rooted?)
        };
        let (first, second) = (read(shape.path, shape.folder), read(shape.second, shape.second_folder));
        match first {
            Some(GivenOrFolder::Given(given)) => self.given = Some(given),
            Some(GivenOrFolder::Folder(folder)) if self.file.is_none() => self.file = Some(folder),
            _ => {}
        }
        if let Some(GivenOrFolder::Given(second)) = second {
            self.second = Some(second);
        }
    }
}

/// The kernel takes these as `int`, whatever is in the upper half of the register.
fn as_int(register: u64) -> i32 {
    register as u32 as i32
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_descriptor_leads_to_its_file() {
        use std::os::fd::AsRawFd as _;
        let file = std::fs::File::open("/proc/self/maps").unwrap();
        let mut call = Syscall::new(0, &[file.as_raw_fd() as u64, 0, 10, 0, 0, 0]);
        call.locate(&Process::current());
        assert!(call.path().unwrap().ends_with("maps"));
        let mut closed = Syscall::new(0, &[99_999, 0, 10, 0, 0, 0]);
        closed.locate(&Process::current());
        assert_eq!((closed.fd(), closed.path(), closed.peer()), (Some(99_999), None, None));
    }

    /// Each argument that may be a path has its own: so the one that is told is the one that the call works on.
    #[test]
    #[cfg(supported)]
    fn every_call_with_a_path_tells_the_right_one() {
        let (own, paths) = (Process::current(), ["/0\0", "/1\0", "/2\0", "/3\0", "/4\0", "/5\0"]);
        let args = paths.map(|path| path.as_ptr() as u64);
        let told = |name: &str| {
            let number = (0..500).find(|number| names::name(*number) == Some(name)).expect(name);
            let mut call = Syscall::new(number, &args);
            call.locate(&own);
            let given = |given: Option<Given>| given.map(|given| given.path.display().to_string());
            (given(call.given), given(call.second))
        };
        let check = |names: &str, first: &str, second: Option<&str>| {
            for name in names.split_ascii_whitespace() {
                assert_eq!(told(name), (Some(first.to_owned()), second.map(str::to_owned)), "{name}");
            }
        };
        check("open creat stat lstat access chdir chroot mkdir rmdir unlink readlink truncate chmod chown", "/0", None);
        check("lchown utime utimes mknod statfs execve getxattr setxattr listxattr removexattr umount2", "/0", None);
        check("rename link pivot_root", "/0", Some("/1"));
        check("symlink mount", "/1", None);
        check("openat newfstatat statx unlinkat mkdirat mknodat readlinkat faccessat faccessat2 fchmodat", "/1", None);
        check("fchownat utimensat execveat name_to_handle_at open_tree fchmodat2 inotify_add_watch", "/1", None);
        check("renameat renameat2 linkat move_mount", "/1", Some("/3"));
        check("symlinkat", "/2", None);
        check("fanotify_mark", "/4", None);
        for name in ["read", "write", "sendto", "futex", "memfd_create"] {
            assert_eq!(told(name), (None, None), "{name}");
        }
    }

    #[test]
    #[cfg(supported)]
    fn what_cannot_be_read_is_not_claimed() {
        let located = |number: u64, args: [u64; 6]| {
            let mut call = Syscall::new(number, &args);
            call.locate(&Process::current());
            (call.to_string(), call.fd(), call.path())
        };
        const OPENAT: u64 = 257;
        const OPENAT2: u64 = 437;
        const POLL: u64 = 7;
        const SELECT: u64 = 23;
        const RENAME: u64 = 82;
        let (here, path) = (CURRENT_FOLDER as u64, c"/etc/hosts".as_ptr() as u64);
        assert_eq!(located(OPENAT, [here, 8, 0, 0, 0, 0]), ("openat".to_owned(), None, None));
        assert_eq!(located(OPENAT2, [here, path, 8, 24, 0, 0]), ("openat2".to_owned(), None, None));
        assert_eq!(located(POLL, [8, 2, 250, 0, 0, 0]).0, "poll(2 files, at most 250 ms)");
        assert_eq!(located(SELECT, [12, 8, 0, 0, 0, 0]).0, "select");
        assert_eq!(located(RENAME, [path, 8, 0, 0, 0, 0]).0, "rename(\"/etc/hosts\")");
        assert_eq!(located(RENAME, [8, path, 0, 0, 0, 0]).0, "rename");
    }

    #[test]
    #[cfg(supported)]
    fn a_path_that_is_kept_below_its_folder_is_not_absolute() {
        let (folder, how) = (tempfile::tempdir().unwrap(), [0_u64, 0, 0x10]);
        let opened = std::fs::File::open(folder.path()).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&opened);
        let mut call = Syscall::new(437, &[fd as u64, c"/etc/hosts".as_ptr() as u64, how.as_ptr() as u64, 24, 0, 0]);
        call.locate(&Process::current());
        assert_eq!(call.path(), Some(folder.path().join("etc/hosts")));
        assert_eq!(call.to_string(), format!("openat2(\"/etc/hosts\" in fd {fd} {:?})", folder.path()));
    }
}
