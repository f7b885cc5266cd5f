//! What the kernel tells everybody of a process, in `/proc/PID/status`; and who asks.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

/// What is told of a process whoever asks.
///
/// ```
/// use pollscope_attach::Status;
/// # if cfg!(target_os = "linux") {
/// let own = Status::of(std::process::id()).unwrap();
/// assert!(own.threads >= 1 && own.has_memory);
/// # }
/// assert!(Status::of(u32::MAX).is_none());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// What it is doing, as `ps` has it: `S` sleeps, `R` runs, `T` is stopped, `t` by a debugger, `Z` ended.
    pub state: char,
    /// The number of the user whose rights it has.
    pub user: u32,
    /// How many threads it has.
    pub threads: u64,
    /// The process that traces it: a debugger.
    pub tracer: Option<u32>,
    /// Whether it has memory of its own: a thread of the kernel has none.
    pub has_memory: bool,
}

impl Status {
    /// That of the process which has this number now; `None` where there is none, or nothing is told of it.
    pub fn of(pid: u32) -> Option<Status> {
        parse(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }
}

fn parse(status: &str) -> Option<Status> {
    Some(Status {
        state: field(status, "State:")?.chars().next()?,
        user: effective(field(status, "Uid:")?)?,
        threads: field(status, "Threads:")?.parse().ok()?,
        tracer: field(status, "TracerPid:").and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0),
        has_memory: field(status, "VmSize:").is_some(),
    })
}

fn field<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The second of four numbers.
fn effective(users: &str) -> Option<u32> {
    users.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Who asks, and what that one may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The number of the user; `0` is root.
    pub user: u32,
    /// Whether it may look at others' processes (`CAP_SYS_PTRACE`): root does, unless a container took that away.
    pub may_trace: bool,
}

impl Asker {
    /// This process.
    pub(crate) fn here() -> Option<Asker> {
        asker(&fs::read_to_string("/proc/self/status").ok()?)
    }

    /// Whether it is root.
    pub fn is_root(&self) -> bool {
        self.user == 0
    }
}

fn asker(status: &str) -> Option<Asker> {
    const CAP_SYS_PTRACE: u64 = 19;
    let may = u64::from_str_radix(field(status, "CapEff:")?, 16).ok()?;
    Some(Asker { user: effective(field(status, "Uid:")?)?, may_trace: may >> CAP_SYS_PTRACE & 1 == 1 })
}

/// Whether the kernel lets the process be looked at by its own user; `None` of root's, of which nothing shows that. The files of one that
/// is closed (`PR_SET_DUMPABLE`) are root's.
pub(crate) fn is_dumpable(pid: u32, status: &Status) -> Option<bool> {
    let owner = fs::metadata(format!("/proc/{pid}/stat")).ok()?.uid();
    (status.user != 0).then_some(owner == status.user)
}

/// `kernel.yama.ptrace_scope`; `None` without Yama.
pub(crate) fn yama() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
}

/// The name that the kernel has for a process: the first 15 bytes of its program's.
pub(crate) fn comm(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tapi\nState:\tt (tracing stop)\nTracerPid:\t77\nUid:\t1000\t1001\t1000\t1000\nVmSize:\t 9 kB\n\
                          Threads:\t12\nCapEff:\t0000000000080000\n";

    #[test]
    fn a_status_is_read_and_who_asks() {
        let status = parse(STATUS).unwrap();
        assert_eq!(status, Status { state: 't', user: 1001, threads: 12, tracer: Some(77), has_memory: true });
        assert_eq!(asker(STATUS), Some(Asker { user: 1001, may_trace: true }));
        let none = STATUS.replace("77", "0").replace("VmSize", "Vm").replace("80000", "40000");
        assert_eq!(parse(&none).map(|status| (status.tracer, status.has_memory)), Some((None, false)));
        assert_eq!(asker(&none).map(|asker| asker.may_trace), Some(false));
        assert_eq!(parse("Name:\tapi\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_is_looked_at_by_its_own_user() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("`sleep` runs");
        let status = Status::of(child.id()).expect("it runs");
        assert_eq!(Some(status.user), Asker::here().map(|asker| asker.user));
        assert_ne!(is_dumpable(child.id(), &status), Some(false));
        child.kill().expect("it ran");
        child.wait().expect("it ran");
        assert_eq!(Status::of(child.id()), None);
    }
}
