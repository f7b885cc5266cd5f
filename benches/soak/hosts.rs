//! Hosts that are harder to look at than others, each in a process of its own: this program again.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::filter::{listed, named, permit_only};
use crate::profiler::profile;
use crate::progress;

/// What the loads call beside the probe: they start threads and processes, load libraries, and count what the process has.
const LOADS: &str = "access arch_prctl brk clock_nanosleep clone3 close dup2 execve exit exit_group fcntl fstat futex getdents64 \
                     getrandom gettid ioctl lseek madvise mmap mprotect mremap munmap newfstatat openat pipe2 poll prctl pread64 \
                     prlimit64 read readlink restart_syscall rseq rt_sigaction rt_sigprocmask sched_getaffinity sched_yield \
                     set_robust_list set_tid_address sigaltstack statx wait4 write";
const ROWS: [&str; 4] = ["a probe", "lines", "`capture`", "`permitted_by_seccomp`"];

/// What is particular about a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A signal handler of its own on the alternate stacks, a thousand times a second.
    Handler,
    /// A seccomp filter that ends it for every call but those that the probe's README lists, and its own.
    Filter,
}

impl Kind {
    const ALL: [(&str, Kind); 2] = [("of-a-handler", Kind::Handler), ("under-a-filter", Kind::Filter)];

    /// By the argument that says so.
    pub(crate) fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find_map(|(own, kind)| (own == name).then_some(kind))
    }

    /// Makes this process such a host, for good.
    pub(crate) fn become_one(self) {
        match self {
            Kind::Handler => profile(false),
            Kind::Filter => permit_only(&[listed(&ROWS), named(LOADS)].concat()),
        }
    }
}

/// Starts both, to run as long; they are looked at meanwhile.
pub(crate) fn start(length: Duration) -> Vec<(&'static str, std::io::Result<Child>)> {
    let minutes = (length.as_secs_f64() / 60.0).to_string();
    let start = |name| {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--minutes", &minutes, name]).stdout(Stdio::piped()).spawn()
    };
    Kind::ALL.map(|(name, _)| (name, start(name))).into()
}

/// Waits for them, prints what they print, and returns the failures.
pub(crate) fn finish(hosts: Vec<(&'static str, std::io::Result<Child>)>) -> Vec<String> {
    let finish = |(name, child): (&str, std::io::Result<Child>)| {
        let ended = child.and_then(|child| progress::output_of(child, "another host"));
        match ended {
            Ok(output) => {
                println!("\nhost {name}:{}", String::from_utf8_lossy(&output.stdout).trim_end());
                (!output.status.success()).then(|| format!("the host {name} ended with {}", output.status))
            }
            Err(error) => Some(format!("cannot run the host {name}: {error}")),
        }
    };
    hosts.into_iter().filter_map(finish).collect()
}
