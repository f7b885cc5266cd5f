//! Which argument of a system call is what.

/// Which argument is what. An argument's number is from 0.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    /// The descriptor that it works on.
    pub(super) fd: Option<usize>,
    /// Where the path begins that it is given.
    pub(super) path: Option<usize>,
    /// The descriptor of the folder that the path is meant from; without, it is the current one.
    pub(super) folder: Option<usize>,
    /// The same of a second path.
    pub(super) second: Option<usize>,
    pub(super) second_folder: Option<usize>,
    /// Where the address begins that it connects or sends to; its length is beside it.
    pub(super) address: Option<usize>,
    /// Where the header of the message begins that it sends.
    pub(super) message: Option<usize>,
    /// How it says which descriptors it waits for.
    pub(super) set: Option<Set>,
    /// Where the time begins that it waits at most.
    pub(super) timeout: Option<(usize, Fraction)>,
    pub(super) source: Option<usize>,
    pub(super) bytes: Option<usize>,
    pub(super) count: Option<usize>,
    pub(super) timeout_ms: Option<usize>,
    pub(super) pid: Option<usize>,
}

/// How a call says which descriptors it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// An array of `pollfd`, and their number.
    Poll,
    /// The number after the highest, and three sets of bits.
    Select,
    /// By a descriptor, which keeps them.
    Epoll,
}

/// What a time has besides seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fraction {
    Microseconds,
    Nanoseconds,
}

impl Shape {
    pub(super) const NONE: Shape = Shape {
        fd: None,
        path: None,
        folder: None,
        second: None,
        second_folder: None,
        address: None,
        message: None,
        set: None,
        timeout: None,
        source: None,
        bytes: None,
        count: None,
        timeout_ms: None,
        pid: None,
    };
    const FD: Shape = Shape { fd: Some(0), ..Shape::NONE };
    const FD_BYTES: Shape = Shape { bytes: Some(2), ..Shape::FD };
    const FD_COUNT: Shape = Shape { count: Some(2), ..Shape::FD };
    const PATH: Shape = Shape { path: Some(0), ..Shape::NONE };
    const PATHS: Shape = Shape { second: Some(1), ..Shape::PATH };
    const PATH_AT: Shape = Shape { folder: Some(0), path: Some(1), ..Shape::NONE };
    const PATHS_AT: Shape = Shape { second_folder: Some(2), second: Some(3), ..Shape::PATH_AT };

    pub(super) fn of(name: &str) -> Shape {
        Shape::of_path(name).or_else(|| Shape::of_wait(name)).unwrap_or_else(|| Shape::of_other(name))
    }

    /// Of a call that is given a path.
    fn of_path(name: &str) -> Option<Shape> {
        Some(match name {
            "open" | "creat" | "stat" | "lstat" | "access" | "chdir" | "chroot" | "mkdir" | "rmdir" | "unlink"
            | "readlink" | "chmod" | "chown" | "lchown" | "utime" | "utimes" | "mknod" | "statfs" | "execve"
            | "acct" | "uselib" | "swapon" | "swapoff" | "umount2" | "setxattr" | "lsetxattr" | "getxattr"
            | "lgetxattr" | "listxattr" | "llistxattr" | "removexattr" | "lremovexattr" => Shape::PATH,
            "truncate" => Shape { bytes: Some(1), ..Shape::PATH },
            "rename" | "link" | "pivot_root" => Shape::PATHS,
            // What a symbolic link is to lead to is no path until somebody follows it; where a mount comes from need not be one.
            "symlink" | "mount" | "quotactl" => Shape { path: Some(1), ..Shape::NONE },
            "symlinkat" => Shape { folder: Some(1), path: Some(2), ..Shape::NONE },
            "openat" | "openat2" | "newfstatat" | "statx" | "unlinkat" | "mkdirat" | "mknodat" | "readlinkat"
            | "faccessat" | "faccessat2" | "fchmodat" | "fchmodat2" | "fchownat" | "utimensat" | "futimesat"
            | "execveat" | "name_to_handle_at" | "open_tree" | "open_tree_attr" | "mount_setattr" | "fspick"
            | "setxattrat" | "getxattrat" | "listxattrat" | "removexattrat" | "file_getattr" | "file_setattr" => {
                Shape::PATH_AT
            }
            "renameat" | "renameat2" | "linkat" | "move_mount" => Shape::PATHS_AT,
            "inotify_add_watch" => Shape { path: Some(1), ..Shape::FD },
            "fanotify_mark" => Shape { folder: Some(3), path: Some(4), ..Shape::FD },
            _ => return None,
        })
    }

    /// Of a call that waits for any of several descriptors.
    fn of_wait(name: &str) -> Option<Shape> {
        let poll = Shape { set: Some(Set::Poll), count: Some(1), ..Shape::NONE };
        let select = Shape { set: Some(Set::Select), ..Shape::NONE };
        let epoll = Shape { set: Some(Set::Epoll), ..Shape::FD };
        let at = |index| Some((index, Fraction::Nanoseconds));
        Some(match name {
            "poll" => Shape { timeout_ms: Some(2), ..poll },
            "ppoll" => Shape { timeout: at(2), ..poll },
            "select" => Shape { timeout: Some((4, Fraction::Microseconds)), ..select },
            "pselect6" => Shape { timeout: at(4), ..select },
            "epoll_wait" | "epoll_pwait" => Shape { timeout_ms: Some(3), ..epoll },
            "epoll_pwait2" => Shape { timeout: at(3), ..epoll },
            _ => return None,
        })
    }

    fn of_other(name: &str) -> Shape {
        match name {
            "read" | "write" | "pread64" | "pwrite64" | "getdents" | "getdents64" | "recvfrom" | "readahead" => {
                Shape::FD_BYTES
            }
            "sendto" => Shape { address: Some(4), ..Shape::FD_BYTES },
            "connect" => Shape { address: Some(1), ..Shape::FD },
            "sendmsg" => Shape { message: Some(1), ..Shape::FD },
            "readv" | "writev" | "preadv" | "pwritev" | "preadv2" | "pwritev2" | "recvmmsg" => Shape::FD_COUNT,
            // The first of the messages begins where they do.
            "sendmmsg" => Shape { message: Some(1), ..Shape::FD_COUNT },
            "fsync" | "fdatasync" | "syncfs" | "close" | "fstat" | "fstatfs" | "fchmod" | "fchown" | "fchdir"
            | "lseek" | "accept" | "accept4" | "recvmsg" | "shutdown" | "flock" | "fcntl" | "ioctl" | "bind"
            | "listen" | "epoll_ctl" => Shape::FD,
            "sync_file_range" => Shape { bytes: Some(2), ..Shape::FD },
            "ftruncate" => Shape { bytes: Some(1), ..Shape::FD },
            "fallocate" => Shape { bytes: Some(3), ..Shape::FD },
            "msync" | "getrandom" | "munmap" | "mmap" | "madvise" => Shape { bytes: Some(1), ..Shape::NONE },
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
