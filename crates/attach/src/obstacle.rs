//! What is in the way of looking at a process, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use pollscope_base::escape::Escaped;

use crate::status::Asker;

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
    /// It is the one that asks, and under a seccomp filter, which may end it for calls that it does not expect.
    Filtered {
        /// Its number.
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
    /// It is another user's, and this one may not look at it.
    Foreign {
        /// The number that was asked for.
        pid: u32,
        /// Whose it is.
        owner: u32,
        /// Who asks; `None` where that cannot be read.
        by: Option<Asker>,
    },
    /// It is this user's, or root asks, and the kernel keeps it shut all the same: Yama, `PR_SET_DUMPABLE`, or a container's rule.
    Shut {
        /// The number that was asked for.
        pid: u32,
        /// Who asks; `None` where that cannot be read.
        by: Option<Asker>,
        /// What `kernel.yama.ptrace_scope` says; `None` without Yama.
        yama: Option<u8>,
        /// Whether its own user may look at it as far as it is concerned; `None` where that is not known.
        is_dumpable: Option<bool>,
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
    /// It is to be known by a core file, which cannot be read.
    Core {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
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
            Obstacle::Filtered { pid } => write!(
                f,
                "cannot look at process `{pid}`: it is the one that asks, and its seccomp filter may end it for calls that it does not \
                 expect; say that it expects them (`ProbeBuilder::permitted_by_seccomp`)"
            ),
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
            Obstacle::Foreign { pid, owner, by } => {
                write!(f, "cannot look at process `{pid}`: it is of the user {owner}")?;
                match by.filter(Asker::is_root) {
                    Some(root) => write!(f, ", and {}", refused_to_root(root)),
                    None => f.write_str("; do it as that user, or as root"),
                }
            }
            Obstacle::Shut { pid, by, yama, is_dumpable } => {
                write!(f, "cannot look at process `{pid}`: {}", shut(*by, *yama, *is_dumpable))
            }
            Obstacle::Foreignly { pid } => write!(
                f,
                "cannot look at process `{pid}`: its program is not for x86-64, and other stacks are not read; give it \
                 pollscope-probe"
            ),
            Obstacle::Core { path, why } => {
                write!(f, "cannot read the core file `{}`: {why}", Escaped(&path.to_string_lossy()))
            }
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

/// Why the kernel refuses one of whom it is not that he is another user.
fn shut(by: Option<Asker>, yama: Option<u8>, is_dumpable: Option<bool>) -> String {
    match (by, yama) {
        (_, Some(scope @ 3..)) => format!(
            "`kernel.yama.ptrace_scope` is {scope}, which lets nobody look, not even root; set it to 1 where the machine starts \
             (`/etc/sysctl.d`), and start that again"
        ),
        (Some(root), _) if root.is_root() => refused_to_root(root).to_owned(),
        _ if is_dumpable == Some(false) => {
            "it is yours, but closed: it called `prctl(PR_SET_DUMPABLE, 0)`, got more rights than you have, or its file cannot be \
             read; do it as root"
                .to_owned()
        }
        (_, Some(scope @ 1..)) => format!(
            "`kernel.yama.ptrace_scope` is {scope}, which {}; do it as root, start it with `pollscope record -- COMMAND`, or set it \
             to 0 with `sysctl`",
            if scope == 1 { "lets only a parent look at its children" } else { "lets nobody look but root" }
        ),
        _ => "it is yours, but the kernel refuses: a security module (AppArmor, SELinux) or a sandbox may be why; do it as root, or \
              from the host"
            .to_owned(),
    }
}

/// To do it as root is no advice for root.
fn refused_to_root(root: Asker) -> &'static str {
    if root.may_trace {
        "the kernel refuses root too: a security module (AppArmor, SELinux) or another user namespace is why; look from the host"
    } else {
        "root may not look at other processes here, for want of `CAP_SYS_PTRACE`; start this container with `--cap-add SYS_PTRACE`, \
         or look from the host"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: Option<Asker> = Some(Asker { user: 1000, may_trace: false });
    const ROOT: Option<Asker> = Some(Asker { user: 0, may_trace: true });
    const CONTAINED: Option<Asker> = Some(Asker { user: 0, may_trace: false });

    #[test]
    fn each_obstacle_says_what_to_do() {
        for obstacle in [
            Obstacle::Own { pid: 7 },
            Obstacle::Filtered { pid: 7 },
            Obstacle::NoProcess { pid: 7 },
            Obstacle::Ended { pid: 7 },
            Obstacle::Kernel { pid: 7 },
            Obstacle::Foreign { pid: 7, owner: 33, by: None },
            Obstacle::Shut { pid: 7, by: USER, yama: None, is_dumpable: None },
            Obstacle::Shut { pid: 7, by: USER, yama: Some(3), is_dumpable: None },
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
    fn root_is_not_told_to_be_root() {
        let said = |by, yama, is_dumpable| {
            let shut = Obstacle::Shut { pid: 7, by, yama, is_dumpable }.to_string();
            let foreign = Obstacle::Foreign { pid: 7, owner: 33, by }.to_string();
            assert_eq!(foreign.contains("as root"), !by.is_some_and(|by: Asker| by.is_root()), "{foreign}");
            shut
        };
        for yama in [None, Some(0), Some(1), Some(2)] {
            for is_dumpable in [None, Some(true), Some(false)] {
                assert!(said(USER, yama, is_dumpable).contains("as root"));
                assert!(said(None, yama, is_dumpable).contains("as root"));
                assert!(said(CONTAINED, yama, is_dumpable).contains("--cap-add SYS_PTRACE"));
                let root = said(ROOT, yama, is_dumpable);
                assert!(!root.contains("as root") && root.contains("from the host"), "{root}");
            }
        }
        assert!(said(USER, Some(1), Some(true)).contains("lets only a parent look"));
        assert!(said(USER, Some(1), Some(false)).contains("PR_SET_DUMPABLE"), "Yama is not all that is in the way");
        assert!(!said(ROOT, Some(3), None).contains("as root") && !said(USER, Some(3), None).contains("as root"));
    }
}
