//! The process that is looked at, and what is in the way of that.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use pollscope_base::escape::Escaped;
use pollscope_base::{CaptureNote, reason};
use pollscope_stacks::core_file::CoreFile;
use pollscope_stacks::look::Namer;
use pollscope_stacks::maps::Maps;
use pollscope_stacks::process::Process;
use pollscope_stacks::seccomp;
use pollscope_stacks::symbolize::{DebugInfo, build_id};
use pollscope_stacks::thread::{ReadError, StateError, read_state};

use crate::obstacle::Obstacle;
use crate::status::{self, Asker, Status, comm};
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
    /// What its code is named by.
    namer: Namer,
}

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
        Target::named(process, exe, symbols)
    }

    fn named(process: Process, exe: Option<PathBuf>, symbols: &[PathBuf]) -> Result<Target, Obstacle> {
        let pid = process.pid();
        let name = name(pid, exe.as_deref());
        let Some(Tokio { version: tokio, has_names }) = tokio::of(&process) else {
            return Err(Obstacle::NoTokio { pid, name });
        };
        let mut namer = Namer::new(process, Vec::new(), false).with_symbols(symbols.to_vec());
        if !has_names {
            let lacks = namer.program().and_then(|(_, lacks)| lacks);
            if let Some(CaptureNote::SymbolsMissing { has_names: false, build_id, refused }) = lacks {
                return Err(Obstacle::NoNames { pid, name, build_id, refused });
            }
        }
        Ok(Target { process, name, exe, tokio, build_id: build_id(&process), namer })
    }

    /// A process that ended, by the core file that it left, for its [tasks](crate::Tasks). `program`: where its program's file is now, if it
    /// is not where it was; it must be of the same build. The core stays open for the rest of the program.
    ///
    /// ```
    /// use pollscope_attach::{Obstacle, Target};
    /// let core = Target::of_core("/no/such/core".as_ref(), None, &[]);
    /// assert!(matches!(core, Err(Obstacle::Core { .. } | Obstacle::Unsupported)));
    /// ```
    ///
    /// # Errors
    /// See [`Obstacle`].
    pub fn of_core(path: &Path, program: Option<&Path>, symbols: &[PathBuf]) -> Result<Target, Obstacle> {
        if !pollscope_stacks::SUPPORTED {
            return Err(Obstacle::Unsupported);
        }
        let obstacle = |why| Obstacle::Core { path: path.to_owned(), why };
        if !path.exists() {
            let why = "there is none; write the number of a process that runs, or the path of a core file";
            return Err(obstacle(why.to_owned()));
        }
        let core = CoreFile::open(path, program).map_err(obstacle)?;
        core.has_program().map_err(obstacle)?;
        let process = Process::of_core(core);
        let exe = process.exe().ok();
        Target::named(process, exe, symbols)
    }

    /// The process that asks: for [all but some](crate::Attached::to_all_but) of its threads.
    ///
    /// `source_roots` and `is_redacted`: see [`Namer::new`]. It reads the program's debug information, for some 50 ms.
    ///
    /// ```
    /// use pollscope_attach::Target;
    /// # if pollscope_attach::SUPPORTED {
    /// let own = Target::own(Vec::new(), false)?;
    /// assert_eq!(own.process().pid(), std::process::id());
    /// # }
    /// # Ok::<(), pollscope_attach::Obstacle>(())
    /// ```
    ///
    /// # Errors
    /// See [`Obstacle`].
    pub fn own(source_roots: Vec<PathBuf>, is_redacted: bool) -> Result<Target, Obstacle> {
        let process = Process::current();
        let pid = process.pid();
        if !pollscope_stacks::SUPPORTED {
            return Err(Obstacle::Unsupported);
        }
        if !seccomp::look() {
            return Err(Obstacle::Filtered { pid });
        }
        read_state(&process.thread(pid)).map_err(|error| obstacle(pid, error))?;
        let exe = process.exe().ok();
        let name = name(pid, exe.as_deref());
        let mut namer = Namer::new(process, source_roots, is_redacted);
        let lacks = namer.program().and_then(|(_, lacks)| lacks);
        if matches!(lacks, Some(CaptureNote::Stripped | CaptureNote::ProgramUnreadable(_))) {
            return Err(Obstacle::NoNames { pid, name, build_id: None, refused: Vec::new() });
        }
        // That there is Tokio in it, whoever asks knows: its file is not searched.
        Ok(Target { process, name, exe, tokio: None, build_id: build_id(&process), namer })
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

    /// What its program's code can be named from, with what it lacks for names and lines, if anything. `None` where that cannot be found
    /// out. It reads the program's debug information, if nothing did yet: for some 50 ms, or more if the program is large.
    pub fn names(&mut self) -> Option<(DebugInfo, Option<CaptureNote>)> {
        self.namer.program().map(|(program, lacks)| (program.debug_info, lacks))
    }

    /// What may be in the way of seeing all that there is, each a sentence: a version of Tokio that was not tried, a debugger.
    pub fn notes(&self) -> Vec<String> {
        let status = || Status::of(self.process.pid()).filter(|_| self.process.core().is_none());
        let tracer = status().and_then(|status| status.tracer);
        let of_tokio = self.tokio().and_then(tokio::untried);
        of_tokio.into_iter().chain(tracer.map(under_a_debugger)).collect()
    }

    /// What names its code.
    pub(crate) fn namer(&mut self) -> &mut Namer {
        &mut self.namer
    }

    /// The same, for as long as it is looked at.
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

/// The kernel's answer is the same for another user's as for one that is shut.
fn shut(pid: u32) -> Obstacle {
    let (status, by) = (Status::of(pid), Asker::here());
    let owner = status.map(|status| status.user).filter(|owner| by.is_none_or(|by| by.user != *owner));
    match owner {
        Some(owner) => Obstacle::Foreign { pid, owner, by },
        None => Obstacle::Shut {
            pid,
            by,
            yama: status::yama(),
            is_dumpable: status.and_then(|status| status::is_dumpable(pid, &status)),
        },
    }
}

/// What it means that a process traces another one.
fn under_a_debugger(tracer: u32) -> String {
    let name = comm(tracer).map(|name| format!(" (`{}`)", Escaped(&name))).unwrap_or_default();
    format!(
        "process `{tracer}`{name} traces it, as a debugger does: while that stops it nothing is seen, and all of its hardware \
         breakpoints may be taken, without which ends are not exact"
    )
}

/// The name of its program's file. One that was replaced by a newer build runs on, under the name that it had.
fn name(pid: u32, exe: Option<&Path>) -> String {
    let file = exe.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let name = file.or_else(|| comm(pid)).unwrap_or_else(|| format!("process {pid}"));
    name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned()
}

/// What is told of one that cannot be looked at for what it is.
fn state_of(pid: u32) -> Option<Obstacle> {
    let status = Status::of(pid)?;
    if "ZX".contains(status.state) {
        return Some(Obstacle::Ended { pid });
    }
    // What has no memory of its own is the kernel's.
    (!status.has_memory).then_some(Obstacle::Kernel { pid })
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
