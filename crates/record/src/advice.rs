//! What to do about a slow poll, by its cause and the call that it was in: a table. Pure.

use pollscope_base::Cause;

use crate::recording::{self, Frame, SlowPoll};

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Advice {
    pub(crate) cause: Cause,
    /// Which of the polls of that cause.
    pub(crate) of: Of,
    /// What to do, after `fix:`, without a full stop.
    pub(crate) fix: &'static str,
    /// Whether it is about what a writer thread would take from the loop.
    pub(crate) is_of_writing: bool,
}

/// Which polls a row is about.
#[derive(Debug)]
pub(crate) enum Of {
    /// In one of these calls.
    Calls(&'static [&'static str]),
    /// In one of these calls, on standard output or error.
    Stdio(&'static [&'static str]),
    /// In a call on a socket whose other end is a DNS server.
    Dns,
    /// In a lock of the allocator's.
    Allocator,
    /// For something that another thread does, and not for a lock that it has.
    AnotherThread,
    /// All that are left.
    Rest,
}

const WRITES: &[&str] =
    &["write", "writev", "pwrite64", "pwritev", "pwritev2", "sendfile", "copy_file_range", "splice"];
const SOCKETS: &[&str] = &[
    "connect",
    "accept",
    "accept4",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
];
/// Functions of allocators, as a stack shows them.
const ALLOCATORS: &[&str] = &["malloc", "free", "calloc", "realloc", "posix_memalign", "aligned_alloc"];

/// What waits for another thread, in names of functions: a message, a condition, its end, a future that it runs.
const WAITS: &[&str] = &[
    "Condvar",
    "mpsc::",
    "mpmc::",
    "crossbeam_channel::",
    "flume::",
    "JoinInner",
    "JoinHandle",
    "thread_parking",
    "block_on",
];

const NOT_THE_CODE: &str = "see what else runs on the machine: nothing in this code held the loop, it got no CPU; give it CPUs of \
                            its own, or start fewer threads than there are CPUs";

/// The first row that fits counts.
pub(crate) const ADVICE: &[Advice] = &[
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Dns,
        fix: "look names up with `tokio::net::lookup_host`, or an async resolver that keeps answers; the standard library's \
              `ToSocketAddrs` waits for the DNS server on the loop",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(&["nanosleep", "clock_nanosleep"]),
        fix: "sleep with `tokio::time::sleep(…).await`: `thread::sleep` stops every task of the worker",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(&["fsync", "fdatasync", "msync", "sync_file_range", "syncfs", "sync"]),
        fix: "sync on a thread that owns the file, or with `tokio::task::spawn_blocking`; once for many lines, not for each",
        is_of_writing: true,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Stdio(WRITES),
        fix: "write to stdout and stderr from a thread of its own, as non-blocking log writers do: whoever reads it slowly holds \
              the loop",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(WRITES),
        fix: "hand the write to a thread that owns the file (one that stands alone: to `tokio::task::spawn_blocking`)",
        is_of_writing: true,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(&["read", "readv", "pread64", "preadv", "preadv2", "getdents64", "readahead"]),
        fix: "read with `tokio::task::spawn_blocking` or `tokio::fs`; a file that is read all the time, on a thread that owns it; a \
              pipe or a terminal, with Tokio's own",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(&[
            "open",
            "openat",
            "openat2",
            "creat",
            "close",
            "stat",
            "lstat",
            "newfstatat",
            "statx",
            "access",
            "faccessat2",
            "unlink",
            "unlinkat",
            "rename",
            "renameat",
            "renameat2",
            "mkdir",
            "mkdirat",
            "rmdir",
            "ftruncate",
            "fallocate",
            "readlink",
            "readlinkat",
        ]),
        fix: "touch files with `tokio::fs` or `tokio::task::spawn_blocking`, or open them once and keep them on a thread that owns \
              them: a slow disk or network file system makes any of these calls wait",
        is_of_writing: true,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(SOCKETS),
        fix: "use `tokio::net`, or an async client, instead of a blocking one; a library that has none, in \
              `tokio::task::spawn_blocking`",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(&["wait4", "waitid", "vfork", "clone", "clone3"]),
        fix: "start and await programs with `tokio::process`",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Calls(&["flock", "fcntl"]),
        fix: "lock files with `tokio::task::spawn_blocking`: another process may hold the lock for as long as it likes",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockingCall,
        of: Of::Rest,
        fix: "move the call off the loop: to Tokio's own async counterpart, `tokio::task::spawn_blocking`, or a thread that owns \
              what it works on",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::Lock,
        of: Of::Allocator,
        fix: "it waits for the allocator: free and allocate less at once on other threads, or link an allocator with a heap for \
              each thread, such as mimalloc or jemalloc",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::Lock,
        of: Of::AnotherThread,
        fix: "await what another thread does: a channel of `tokio::sync`, or its `Notify` for a condition; what has no such thing, \
              as a thread's end, in `tokio::task::spawn_blocking`",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::Lock,
        of: Of::Rest,
        fix: "hold the lock for less, and never while blocking; across an `.await` use `tokio::sync::Mutex`; or let one task own \
              what it guards, and send it messages",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::Cpu,
        of: Of::Rest,
        fix: "compute in `tokio::task::spawn_blocking` or on a pool of threads such as rayon's; or split the work, with \
              `tokio::task::yield_now().await` in between",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::Kernel,
        of: Of::Rest,
        fix: "drop and allocate large buffers off the loop (`spawn_blocking(move || drop(buffer))`), or keep and use them again: \
              giving gigabytes back to the kernel takes it long",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::PageFault,
        of: Of::Rest,
        fix: "read mapped files with `tokio::task::spawn_blocking`, or touch the memory before the loop needs it (`mlock` keeps it)",
        is_of_writing: false,
    },
    Advice { cause: Cause::Preempted, of: Of::Rest, fix: NOT_THE_CODE, is_of_writing: false },
    Advice {
        cause: Cause::Throttled,
        of: Of::Rest,
        fix: "raise the CPU limit of its container or unit (`cpu.max`, `CPUQuota=`), or start no more worker threads than that \
              has CPUs",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::Suspended,
        of: Of::Rest,
        fix: "see what stopped the process (a debugger, SIGSTOP, a frozen container, a suspended machine): nothing in this code did",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::BlockInPlace,
        of: Of::Rest,
        fix: "nothing, if it is seldom: the worker was handed to another thread, and nobody waited; `spawn_blocking` does without \
              the hand-over",
        is_of_writing: false,
    },
    Advice {
        cause: Cause::Panic,
        of: Of::Rest,
        fix: "mend what panics; printing its backtrace (`RUST_BACKTRACE`) is what took the time",
        is_of_writing: false,
    },
];

impl Of {
    fn fits(&self, poll: &SlowPoll) -> bool {
        let call = poll.syscall.as_deref();
        let is_one = |names: &[&str]| call.is_some_and(|call| names.contains(&&*call.name));
        match self {
            Of::Calls(names) => is_one(names),
            Of::Stdio(names) => is_one(names) && call.and_then(|call| call.fd).is_some_and(|fd| fd == 1 || fd == 2),
            Of::Dns => call.and_then(|call| call.peer.as_deref()).is_some_and(|peer| peer.ends_with(":53")),
            Of::Allocator => poll.stack.iter().any(|frame| is_allocator(frame.function.as_deref())),
            Of::AnotherThread => called(poll).any(waits_for_a_thread),
            Of::Rest => true,
        }
    }
}

/// The functions that the user's code called, the innermost first: those below its line, or, where that is not known, its function.
/// Whoever called it may wait for its end; nobody is known where neither is.
fn called(poll: &SlowPoll) -> impl Iterator<Item = &str> {
    let is_the_users = |frame: &&Frame| match (&poll.blocking_line, &poll.function) {
        (Some(place), _) => frame.file.as_deref().zip(frame.line).is_some_and(|(file, line)| {
            place.strip_suffix(&line.to_string()).and_then(|place| place.strip_suffix(':')) == Some(file)
        }),
        (None, Some(function)) => frame.function.as_ref() == Some(function),
        (None, None) => true,
    };
    poll.stack.iter().take_while(move |frame| !is_the_users(frame)).filter_map(|frame| frame.function.as_deref())
}

/// Whether a function, without the types that it is made for, waits for another thread.
fn waits_for_a_thread(function: &str) -> bool {
    let name = without_types(function);
    WAITS.iter().any(|part| name.contains(part))
}

/// `std::sync::Mutex<T>::lock<u64>` becomes `std::sync::Mutex::lock`. Of a name that begins with a type, as `<T as Trait>::f` does,
/// the type stays.
fn without_types(function: &str) -> String {
    let name = function.strip_prefix('<').unwrap_or(function);
    let mut depth = 0_u32;
    let mut kept = String::new();
    for char in name.replace("->", "").chars() {
        match char {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(char),
            _ => {}
        }
    }
    kept
}

fn is_allocator(function: Option<&str>) -> bool {
    function.is_some_and(|name| ALLOCATORS.contains(&name.trim_start_matches("__libc_").trim_start_matches("__rust_")))
}

/// What to do about a slow poll. Where its cause is not known, what is to be done about the call that it was seen in; `None` where
/// neither is.
pub(crate) fn advice_for(poll: &SlowPoll) -> Option<&'static Advice> {
    let of = |cause: Cause| ADVICE.iter().filter(move |row| row.cause == cause && row.of.fits(poll));
    match &poll.cause {
        Some(recording::Cause::Known(cause)) => of(*cause).next(),
        Some(_) => None,
        None => of(Cause::BlockingCall).find(|row| !matches!(row.of, Of::Rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Kind;
    use crate::recording::Syscall;

    fn poll(cause: Cause, call: Option<&str>) -> SlowPoll {
        let syscall = call.map(|name| Syscall {
            name: name.into(),
            fd: None,
            path: None,
            peer: None,
            bytes: None,
            text: name.into(),
        });
        let (cause, syscall) = (Some(recording::Cause::Known(cause)), syscall.map(Into::into));
        SlowPoll::of(Kind { cause, syscall, ..Kind::default() })
    }

    fn fix(poll: &SlowPoll) -> &'static str {
        advice_for(poll).expect("a cause has advice").fix
    }

    #[test]
    fn every_cause_has_a_last_row_and_no_row_is_out_of_reach() {
        for cause in Cause::ALL {
            let rows: Vec<&Advice> = ADVICE.iter().filter(|row| row.cause == cause).collect();
            let rests = rows.iter().filter(|row| matches!(row.of, Of::Rest)).count();
            assert_eq!(rests, 1, "{cause:?}");
            assert!(
                rows.last().is_some_and(|row| matches!(row.of, Of::Rest)),
                "{cause:?}: what comes after `Rest` is never told"
            );
        }
    }

    #[test]
    fn every_call_of_the_table_gets_its_own_row() {
        for row in ADVICE {
            let (Of::Calls(names) | Of::Stdio(names)) = row.of else { continue };
            for name in names {
                let mut of_call = poll(row.cause, Some(name));
                if let (Of::Stdio(_), Some(call)) = (&row.of, of_call.syscall.as_deref()) {
                    of_call.kind_mut().syscall = Some(Syscall { fd: Some(1), ..call.clone() }.into());
                }
                assert_eq!(fix(&of_call), row.fix, "{name}");
            }
        }
    }

    #[test]
    fn what_a_call_works_on_decides() {
        let with = |change: &dyn Fn(&mut Syscall)| {
            let mut found = poll(Cause::BlockingCall, Some("poll"));
            let mut call = found.syscall.as_deref().cloned().expect("a call");
            change(&mut call);
            found.kind_mut().syscall = Some(call.into());
            found
        };
        assert!(fix(&with(&|call| call.peer = Some("10.0.0.2:53".into()))).contains("lookup_host"));
        assert!(fix(&with(&|call| call.peer = Some("10.0.0.2:5353".into()))).contains("tokio::net"));
        let mut in_malloc = poll(Cause::Lock, Some("futex"));
        assert!(fix(&in_malloc).contains("hold the lock"));
        in_malloc.kind_mut().stack = vec![Frame { function: Some("malloc".into()), file: None, line: None }].into();
        assert!(fix(&in_malloc).contains("allocator"));
        assert!(advice_for(&SlowPoll::default()).is_none(), "without a cause or a call there is nothing to say");
        let mut in_sync = poll(Cause::BlockingCall, Some("fsync"));
        in_sync.kind_mut().cause = None;
        assert!(fix(&in_sync).contains("sync on a thread"), "the call is known");
    }

    #[test]
    fn a_wait_for_a_thread_is_no_wait_for_a_lock() {
        let waiting = |inner: &str, outer: &str| {
            let frame = |function: &str, file: &str| Frame {
                function: Some(function.into()),
                file: Some(file.into()),
                line: Some(7),
            };
            let stack = vec![frame(inner, "std.rs"), frame("shop::order", "shop.rs"), frame(outer, "tokio.rs")];
            let mut found = poll(Cause::Lock, Some("futex"));
            (found.kind_mut().stack, found.kind_mut().blocking_line) = (stack.into(), Some("shop.rs:7".into()));
            fix(&found)
        };
        let (lock, park) = ("std::sync::poison::mutex::Mutex<T>::lock<u64>", "std::thread::park");
        for inner in [
            "std::sync::mpmc::Receiver<T>::recv<u64>",
            "<std::sys::sync::condvar::futex::Condvar>::wait",
            "std::thread::lifecycle::JoinInner<T>::join<u64>",
            "<tokio::runtime::runtime::Runtime>::block_on",
        ] {
            assert!(waiting(inner, park).starts_with("await what"), "{inner}");
        }
        assert!(waiting(lock, "tokio::runtime::Runtime::block_on").starts_with("hold the lock"), "the loop's own");
        let of_a_channel = "std::sync::poison::mutex::Mutex<T>::lock<fn(u8) -> std::sync::mpsc::Sender<u8>>";
        assert!(waiting(of_a_channel, park).starts_with("hold the lock"), "what it guards does not wait");
        let mut unknown = poll(Cause::Lock, Some("futex"));
        unknown.kind_mut().stack = vec![Frame { function: Some("block_on".into()), file: None, line: None }].into();
        assert!(fix(&unknown).starts_with("hold the lock"), "whose call it is, is not known");
    }
}
