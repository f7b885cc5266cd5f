//! What a process left when it ended: a core file, as the kernel writes it, or a debugger of a process that goes on. What is read of
//! a process's memory and maps is read of that.
//!
//! A core has what the process wrote; of what it only read, its code and its constants, it mostly has not more than the first page of
//! each file. The rest is read from the files themselves, if they are of the same build still: that page says so.

use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use memmap2::Mmap;
use pollscope_base::escape::Escaped;
use pollscope_base::reason;

use crate::elf_head::{Loaded, build_id_of_file, regular};
use crate::registers::Registers;

mod notes;
mod parse;

use parse::Parsed;

/// A page: the unit of what is compared and mapped.
const PAGE: usize = 4 << 10;

/// A core file.
pub struct CoreFile {
    bytes: Mmap,
    parsed: Parsed,
    /// The program, if somebody says that it is elsewhere than it was.
    program: Option<PathBuf>,
    /// What was mapped of each of its files; an error is a sentence.
    files: Vec<OnceLock<Result<Mmap, String>>>,
}

/// A thread as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoreThread {
    /// The kernel's number of it.
    pub tid: u32,
    /// All of its registers.
    pub registers: Registers,
    /// The system call that it was in; `None` of one that ran its own code.
    pub syscall: Option<(u64, [u64; 6])>,
}

impl CoreFile {
    /// Reads the head of a core file. `program`: where its program's file is now, if it is not where it was.
    ///
    /// # Errors
    /// A sentence without its subject: what is wrong with it.
    pub fn open(path: &Path, program: Option<&Path>) -> Result<CoreFile, String> {
        let bytes = map(path)?;
        let parsed = Parsed::of(&bytes)?;
        let files = parsed.files.iter().map(|_| OnceLock::new()).collect();
        Ok(CoreFile { bytes, parsed, program: program.map(Path::to_owned), files })
    }

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.parsed.pid
    }

    /// The number of the signal that ended it; `None` where none did, or it is not told.
    pub fn signal(&self) -> Option<u32> {
        self.parsed.signal
    }

    /// Its threads; the first is the one that the signal ended.
    pub fn threads(&self) -> &[CoreThread] {
        &self.parsed.threads
    }

    /// How many bytes of its memory should be in the file and are not: writing it broke off.
    pub fn cut(&self) -> u64 {
        self.parsed.cut
    }

    /// Its program, as the process had it mapped.
    pub fn program(&self) -> Option<&Path> {
        self.parsed.program.map(|index| Path::new(&self.parsed.files[index]))
    }

    /// Where the file is by now that it had mapped under a name.
    pub fn now_at(&self, name: &str) -> PathBuf {
        let is_program = self.parsed.program.is_some_and(|index| self.parsed.files[index] == name);
        match &self.program {
            Some(program) if is_program => program.clone(),
            _ => PathBuf::from(name),
        }
    }

    /// Whether its program's file can be read, and is of the same build as what ran.
    ///
    /// # Errors
    /// A sentence: why not, and what to give.
    pub fn has_program(&self) -> Result<(), String> {
        const GIVE: &str = "give the program of the same build behind the core";
        let name = self.program().and_then(Path::to_str).ok_or("it does not say which program it is of")?;
        let at = self.now_at(name);
        self.same(name).map_err(|why| format!("its program `{}`: {why}; {GIVE}", Escaped(&at.to_string_lossy())))
    }

    /// Whether the file of that name can be read, and is of the same build as what was mapped.
    ///
    /// # Errors
    /// A sentence: why not.
    pub(crate) fn same(&self, name: &str) -> Result<(), String> {
        let index = self.parsed.files.iter().position(|file| file == name).ok_or("it is not a file")?;
        self.file(index).map(|_| ())
    }

    /// What was mapped where, in the form of `/proc/PID/maps`.
    pub(crate) fn maps(&self) -> &str {
        &self.parsed.maps
    }

    /// Which parts of a range are in the core itself.
    pub(crate) fn present(&self, range: &std::ops::Range<u64>) -> Vec<std::ops::Range<u64>> {
        let from = self.parsed.segments.partition_point(|segment| segment.end() <= range.start);
        let its = self.parsed.segments[from..].iter().take_while(|segment| segment.start < range.end);
        let parts = its.map(|its| its.start.max(range.start)..(its.start + its.has).min(range.end));
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// As [`memory::read`](crate::memory::read).
    pub(crate) fn read(&self, address: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let Some(at) = address.checked_add(done as u64) else { break };
            let Some(bytes) = self.bytes_at(at).filter(|bytes| !bytes.is_empty()) else { break };
            let length = bytes.len().min(into.len() - done);
            into[done..done + length].copy_from_slice(&bytes[..length]);
            done += length;
        }
        done
    }

    /// What there is from an address on.
    fn bytes_at(&self, address: u64) -> Option<&[u8]> {
        let after = self.parsed.segments.partition_point(|segment| segment.start <= address);
        let segment = self.parsed.segments[..after].last().filter(|segment| address < segment.end())?;
        let within = address - segment.start;
        if within < segment.has {
            return self.parsed.bytes_of(segment, &self.bytes)?.get(usize::try_from(within).ok()?..);
        }
        let (index, offset) = segment.file.filter(|_| within >= segment.meant)?;
        let bytes = self.file(index).ok()?;
        let rest = usize::try_from(segment.end() - address).ok()?;
        let bytes = bytes.get(usize::try_from(offset.checked_add(within)?).ok()?..)?;
        Some(&bytes[..rest.min(bytes.len())])
    }

    fn file(&self, index: usize) -> Result<&Mmap, String> {
        let opened = self.files[index].get_or_init(|| {
            let file = map(&self.now_at(&self.parsed.files[index]))?;
            self.confirm(index, &file).map(|()| file).map_err(str::to_owned)
        });
        opened.as_ref().map_err(Clone::clone)
    }

    /// By the file's first page, or by its build-id: one from which something was stripped since, or was not yet, has another first page.
    fn confirm(&self, index: usize, file: &[u8]) -> Result<(), &'static str> {
        const UNKNOWN: &str =
            "the core does not have its first page, by which it would be known (bit 4 of `/proc/PID/coredump_filter`)";
        let head = self.parsed.segments.iter().find(|segment| segment.file == Some((index, 0))).ok_or(UNKNOWN)?;
        let bytes = self.parsed.bytes_of(head, &self.bytes).filter(|bytes| !bytes.is_empty()).ok_or(UNKNOWN)?;
        let length = PAGE.min(bytes.len());
        let is_head = file.get(..length) == Some(&bytes[..length]);
        let of_core = || {
            let read = |address: u64, length| {
                let from = usize::try_from(address.checked_sub(head.start)?).ok()?;
                bytes.get(from..from.checked_add(length)?).map(<[u8]>::to_vec)
            };
            Loaded::parse(head.start, read)?.build_id
        };
        let is_same = is_head || of_core().is_some_and(|id| build_id_of_file(file).as_ref() == Some(&id));
        if is_same { Ok(()) } else { Err("it is of another build than the core") }
    }
}

fn map(path: &Path) -> Result<Mmap, String> {
    let refused = |error: std::io::Error| match error.kind() {
        // What is no file was not opened.
        ErrorKind::Other => error.to_string(),
        _ => format!("cannot open it: {}", reason(&error)),
    };
    let file = regular(path).map_err(refused)?;
    // SAFETY: the mapping is private and read-only. Truncating the file would take its pages away; a core is written once, and a program
    // is replaced by another file.
    unsafe { Mmap::map(&file) }.map_err(|error| format!("cannot map it: {}", reason(&error)))
}

impl std::fmt::Debug for CoreFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CoreFile").field("pid", &self.parsed.pid).finish_non_exhaustive()
    }
}

/// A core file that stays open for the rest of the program, as who is looked at is copied about. One of its kind is another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened(pub(crate) &'static CoreFile);

impl PartialEq for Opened {
    fn eq(&self, other: &Opened) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Opened {}

impl Hash for Opened {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self.0).hash(state);
    }
}

#[cfg(test)]
mod tests;
