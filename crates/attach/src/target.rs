//! The process that is looked at, and what is in the way of that.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use pollscope_base::escape::Escaped;
use pollscope_base::{CaptureNote, reason};
use pollscope_stacks::look::Namer;
use pollscope_stacks::maps::Maps;
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::{ReadError, StateError, read_state};

use crate::tokio::{self, Tokio};

/// A process that may be looked at.
///
/// ```
/// use pollscope_attach::{Obstacle, Target};
/// assert!(matches!(Target::open(u32::MAX, &[]), Err(Obstacle::NoProcess { .. } | Obstacle::Unsupported)));
/// ```
#[derive(Debug)]
pub struct Target {
    process: Process,
    name: String,
    exe: Option<PathBuf>,
    tokio: Option<String>,
    build_id: Option<String>,
    /// What its program is named by, read already.
    namer: Namer,
}

/// Why a process cannot be looked at.
///
/// Its `Display` says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// Threads can be looked at on Linux on x86-64 alone.
    Unsupported,
    /// It is the one that asks.
    Own {
        /// The number that was asked for.
        pid: u32,
    },
    /// There is none of that number.
    NoProcess {
        /// The number that was asked for.
        pid: u32,
    },
    /// It ended, and nobody took notice yet: a zombie.
    Ended {
        /// The number that was asked for.
        pid: u32,
    },
    /// A thread of the kernel, which has no code of a user's.
    Kernel {
        /// The number that was asked for.
        pid: u32,
    },
    /// It is another user's.
    Foreign {
        /// The number that was asked for.
        pid: u32,
    },
    /// It is this user's, and the kernel keeps it shut all the same: Yama, `PR_SET_DUMPABLE`, or a container's rule.
    Shut {
        /// The number that was asked for.
        pid: u32,
        /// What `kernel.yama.ptrace_scope` says; `None` without Yama.
        yama: Option<u8>,
    },
    /// It runs another architecture's code, or 32-bit code.
    Foreignly {
        /// The number that was asked for.
        pid: u32,
    },
    /// Nothing in its program names Tokio.
    NoTokio {
        /// The number that was asked for.
        pid: u32,
        /// The program.
        name: String,
    },
    /// Tokio is in it, but the names of functions are not, by which a poll is known on a stack.
    NoNames {
        /// The number that was asked for.
        pid: u32,
        /// The program.
        name: String,
        /// Its build-id in hexadecimal, which a file with its names has as well; `None` if it has none.
        build_id: Option<String>,
        /// A sentence for each file that was offered, or is where it should be, and is not of the same build.
        refused: Vec<String>,
    },
    /// Another reason.
    Unreadable {
        /// The number that was asked for.
        pid: u32,
        /// What the kernel said.
        why: String,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Unsupported => f.write_str("cannot look at other processes: that needs Linux on x86-64"),
            Obstacle::Own { pid } => {
                write!(f, "cannot look at process `{pid}`: it is this one; name the process of the service")
            }
            Obstacle::NoProcess { pid } => {
                write!(f, "cannot look at process `{pid}`: there is none; `pgrep -a NAME` tells numbers")
            }
            Obstacle::Ended { pid } => {
                write!(
                    f,
                    "cannot look at process `{pid}`: it has ended, and its parent took no notice; look at another one"
                )
            }
            Obstacle::Kernel { pid } => {
                write!(f, "cannot look at process `{pid}`: it is a thread of the kernel; `pgrep -a NAME` tells numbers")
            }
            Obstacle::Foreign { pid } => {
                write!(f, "cannot look at process `{pid}`: it is another user's; do it as that user, or as root")
            }
            Obstacle::Shut { pid, yama: Some(scope @ 1..) } => write!(
                f,
                "cannot look at process `{pid}`: `kernel.yama.ptrace_scope` is {scope}, which {}; do it as root, start it \
                 with `pollscope record -- COMMAND`, or set it to 0 with `sysctl`",
                if *scope == 1 { "lets only a parent look at its children" } else { "lets nobody look but root" }
            ),
            Obstacle::Shut { pid, .. } => write!(
                f,
                "cannot look at process `{pid}`: it is yours, but not to be looked at (it called `prctl(PR_SET_DUMPABLE, 0)`, has \
                 more rights than you, or its file cannot be read); do it as root"
            ),
            Obstacle::Foreignly { pid } => write!(
                f,
                "cannot look at process `{pid}`: its program is not for x86-64, and other stacks are not read; give it \
                 pollscope-probe"
            ),
            Obstacle::NoTokio { pid, name } => write!(
                f,
                "cannot look at process `{pid}`: there is no Tokio in `{}`: none of its functions and messages names it; look at \
                 the process that has the runtime",
                Escaped(name)
            ),
            Obstacle::NoNames { pid, name, build_id, refused } => {
                write!(
                    f,
                    "cannot look at process `{pid}`: the names of functions were stripped from `{}`",
                    Escaped(name)
                )?;
                f.write_str(", and polls are known by them")?;
                refused.iter().try_for_each(|why| write!(f, ", {why}"))?;
                match build_id {
                    Some(id) => write!(
                        f,
                        "; give the unstripped copy of the same build (build-id {id}) with `--symbols FILE`, or"
                    )?,
                    None => f.write_str(";")?,
                }
                f.write_str(" start a build that keeps them (`strip = \"none\"` in its profile)")
            }
            Obstacle::Unreadable { pid, why } => {
                write!(f, "cannot look at process `{pid}`: {}; look whether `/proc` is mounted", Escaped(why))
            }
        }
    }
}

impl std::error::Error for Obstacle {}

impl Target {
    /// The process of that number, if it may be looked at.
    ///
    /// `symbols`: files with the names and lines of its program, of the same build, or folders with such files. They are asked before
    /// the system's own.
    ///
    /// # Errors
    /// See [`Obstacle`].
    pub fn open(pid: u32, symbols: &[PathBuf]) -> Result<Target, Obstacle> {
        if !pollscope_stacks::SUPPORTED {
            return Err(Obstacle::Unsupported);
        }
        let process = Process::open(pid).map_err(|error| obstacle(pid, error))?;
        if process.is_own() {
            return Err(Obstacle::Own { pid });
        }
        if let Some(obstacle) = state_of(pid) {
            return Err(obstacle);
        }
        read_state(&process.thread(pid)).map_err(|error| obstacle(pid, error))?;
        // More than its threads' states, its memory must be open.
        Maps::read(&process).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => shut(pid),
            ErrorKind::NotFound => Obstacle::NoProcess { pid },
            _ => Obstacle::Unreadable { pid, why: reason(&error) },
        })?;
        let exe = process.exe().ok();
        if exe.is_some() && !is_ours(pid) {
            return Err(Obstacle::Foreignly { pid });
        }
        let name = name(pid, exe.as_deref());
        let Some(Tokio { version: tokio, has_names }) = tokio::of(&process) else {
            return Err(Obstacle::NoTokio { pid, name });
        };
        let mut namer = Namer::new(process, Vec::new(), false).with_symbols(symbols.to_vec());
        let (program, lacks) = namer.program().unzip();
        if !has_names && let Some(Some(CaptureNote::SymbolsMissing { has_names: false, build_id, refused })) = lacks {
            return Err(Obstacle::NoNames { pid, name, build_id, refused });
        }
        Ok(Target { process, name, exe, tokio, build_id: program.and_then(|program| program.build_id), namer })
    }

    /// Which process.
    pub fn process(&self) -> Process {
        self.process
    }

    /// The name of its program's file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version of Tokio that its messages name; `None` where none does.
    pub fn tokio(&self) -> Option<&str> {
        self.tokio.as_deref()
    }

    /// The identity that the linker gave its program, in hexadecimal digits; `None` where it gave none.
    pub fn build_id(&self) -> Option<&str> {
        self.build_id.as_deref()
    }

    /// What names what its threads show.
    pub(crate) fn into_namer(self) -> Namer {
        self.namer
    }

    /// Its program's file, as the kernel names it; `None` where that is hidden.
    pub fn exe(&self) -> Option<&Path> {
        self.exe.as_deref()
    }
}

fn obstacle(pid: u32, error: ReadError) -> Obstacle {
    match error.why {
        StateError::Unsupported => Obstacle::Unsupported,
        StateError::NotFound => Obstacle::NoProcess { pid },
        StateError::Denied => shut(pid),
        _ => Obstacle::Unreadable { pid, why: error.to_string() },
    }
}

fn shut(pid: u32) -> Obstacle {
    if is_foreign(pid) { Obstacle::Foreign { pid } } else { Obstacle::Shut { pid, yama: yama() } }
}

/// The name of its program's file. One that was replaced by a newer build runs on, under the name that it had.
fn name(pid: u32, exe: Option<&Path>) -> String {
    let file = exe.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = file.or_else(|| comm(pid)).unwrap_or_else(|| format!("process {pid}"));
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}

/// What `status` tells of one that cannot be looked at for what it is.
fn state_of(pid: u32) -> Option<Obstacle> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("State:").is_some_and(|state| state.starts_with(['Z', 'X'])) {
        return Some(Obstacle::Ended { pid });
    }
    // What has no memory of its own is the kernel's.
    field("VmSize:").is_none().then_some(Obstacle::Kernel { pid })
}

/// Whether its owner is another one: the kernel's answer is the same as for one that is shut.
fn is_foreign(pid: u32) -> bool {
    let owner = |status: String| {
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
        uids.split_ascii_whitespace().nth(1).map(str::to_owned)
    };
    let of = |whose: &str| fs::read_to_string(format!("/proc/{whose}/status")).ok().and_then(owner);
    let (its, mine) = (of(&pid.to_string()), of("self"));
    its.is_some() && its != mine
}

fn yama() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
}

fn comm(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Whether its program is for the processor's 64 bits, as its file's head says; of one whose file cannot be read that is assumed.
fn is_ours(pid: u32) -> bool {
    const ELF64_X86_64: ([u8; 5], [u8; 2]) = (*b"\x7fELF\x02", [62, 0]);
    let mut head = [0; 20];
    let read = fs::File::open(format!("/proc/{pid}/exe")).and_then(|mut file| file.read_exact(&mut head));
    read.is_err() || (head[..5] == ELF64_X86_64.0 && head[18..20] == ELF64_X86_64.1)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn each_obstacle_says_what_to_do() {
        for yama in [None, Some(0), Some(1), Some(2)] {
            assert!(Obstacle::Shut { pid: 7, yama }.to_string().contains("as root"));
        }
        for obstacle in [
            Obstacle::Own { pid: 7 },
            Obstacle::NoProcess { pid: 7 },
            Obstacle::Ended { pid: 7 },
            Obstacle::Kernel { pid: 7 },
            Obstacle::Foreign { pid: 7 },
            Obstacle::Foreignly { pid: 7 },
            Obstacle::NoTokio { pid: 7, name: "sleep".to_owned() },
            Obstacle::NoNames { pid: 7, name: "shop".to_owned(), build_id: None, refused: Vec::new() },
            Obstacle::NoNames {
                pid: 7,
                name: "shop".to_owned(),
                build_id: Some("4f".to_owned()),
                refused: vec!["`a.debug` is of another build".to_owned()],
            },
            Obstacle::Unreadable { pid: 7, why: "no room".to_owned() },
        ] {
            let said = obstacle.to_string();
            assert!(said.starts_with("cannot look at process `7`: ") && said.contains("; "), "{said}");
        }
    }

    #[test]
    fn one_without_tokio_is_told_by_its_name_and_one_that_ended_as_that() {
        if !pollscope_stacks::SUPPORTED {
            return;
        }
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("`sleep` runs");
        // Until it is `sleep` it is a copy of this process.
        let no_tokio = loop {
            match Target::open(child.id(), &[]) {
                Err(Obstacle::NoTokio { name, .. }) => break name,
                Err(error @ (Obstacle::Ended { .. } | Obstacle::NoProcess { .. })) => panic!("{error}"),
                _ => std::thread::yield_now(),
            }
        };
        assert!(["sleep", "coreutils"].contains(&no_tokio.as_str()), "{no_tokio}");
        child.kill().expect("it ran");
        // It is a zombie until it is waited for.
        while !matches!(Target::open(child.id(), &[]), Err(Obstacle::Ended { .. } | Obstacle::NoProcess { .. })) {
            std::thread::yield_now();
        }
        child.wait().expect("it ran");
        assert!(matches!(Target::open(child.id(), &[]), Err(Obstacle::NoProcess { .. })));
    }

    #[test]
    fn a_thread_of_the_kernel_is_told_and_the_own_process() {
        if pollscope_stacks::SUPPORTED {
            let pid = std::process::id();
            assert!(matches!(Target::open(pid, &[]), Err(Obstacle::Own { .. })));
        }
        let is_kthreadd = fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd");
        if pollscope_stacks::SUPPORTED && is_kthreadd {
            assert_eq!(Target::open(2, &[]).map(|_| ()), Err(Obstacle::Kernel { pid: 2 }));
        }
    }
}
