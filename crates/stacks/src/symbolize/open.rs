//! The file that a mapping was made from, even if its path now leads to another or to none.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use object::Object;
use object::read::elf::ElfFile64;
use pollscope_base::reason;

use crate::elf_head::{Loaded, regular};
use crate::maps::Mapping;
use crate::process::Process;

/// An ELF file in memory.
pub(super) type Elf = ElfFile64<'static, object::LittleEndian>;

/// A mapped file, and what it contains; the latter borrows from the former, so it must not outlive it.
pub(super) struct Image {
    pub(super) elf: Elf,
    pub(super) map: Mmap,
}

impl Image {
    /// Maps and parses a file.
    ///
    /// # Errors
    /// A sentence: why it cannot be read.
    pub(super) fn open(path: &Path) -> Result<Image, String> {
        let file = regular(path).map_err(|error| format!("cannot open it: {}", reason(error)))?;
        Image::of(&file)
    }

    fn of(file: &File) -> Result<Image, String> {
        // SAFETY: the mapping is private and read-only. Truncating the file would take its pages away; what replaces a
        // program, a linker or a package manager, writes a new file instead, and a program that runs cannot be written to.
        let map = unsafe { Mmap::map(file) }.map_err(|error| format!("cannot map it: {}", reason(error)))?;
        // SAFETY: the bytes stay where they are until `map` is dropped. `Image` and `Module`, which takes it apart, keep
        // it as long as what was parsed from it, and hand out only copies.
        let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(map.as_ptr(), map.len()) };
        let elf = Elf::parse(bytes).map_err(|error| format!("cannot parse it: {error}"))?;
        Ok(Image { elf, map })
    }

    /// Opens the file that a process has mapped: the one with its inode, or, as file systems in layers have several for one file, with
    /// the build-id that is `loaded`. One with the inode and another build-id is on another file system.
    ///
    /// # Errors
    /// A sentence: why it cannot be read, or that another file is there now.
    pub(super) fn of_mapping(process: &Process, mapping: &Mapping, loaded: Option<&Loaded>) -> Result<Image, String> {
        let Some(path) = &mapping.path else {
            return Err("it is not a file".to_owned());
        };
        if let Some(core) = process.core() {
            core.same(&mapping.name)?;
            return Image::open(&core.now_at(&mapping.name));
        }
        let deleted = mapping.name.ends_with(" (deleted)");
        let mut refusal = "it was removed or replaced since it was loaded".to_owned();
        let wanted = loaded.and_then(|loaded| loaded.build_id.as_deref());
        for candidate in candidates(process, mapping, path, deleted) {
            let Ok(file) = regular(&candidate) else { continue };
            let is_same_inode = match inode(&file) {
                Ok(inode) => inode == mapping.inode,
                Err(error) => {
                    refusal = format!("cannot read it: {}", reason(error));
                    continue;
                }
            };
            if !is_same_inode && wanted.is_none() {
                continue;
            }
            match (Image::of(&file), wanted) {
                (Ok(image), Some(wanted)) if image.build_id().map_or(is_same_inode, |id| id == wanted) => {
                    return Ok(image);
                }
                (image, None) => return image,
                (Err(why), _) if is_same_inode => return Err(why),
                _ => {}
            }
        }
        Err(refusal)
    }

    /// Its pages, which were read from the file and can be again, need no longer be in memory.
    pub(super) fn give_back(&self) {
        #[cfg(unix)]
        // SAFETY: nobody writes to the mapping, so that its pages are the file's, whenever they are read.
        let _ = unsafe { self.map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
    }

    /// Whether it has debug information of any kind.
    pub(super) fn has_dwarf(&self) -> bool {
        self.elf.section_by_name(".debug_info").is_some()
    }

    /// Whether it has a table of all its functions.
    pub(super) fn has_symbols(&self) -> bool {
        self.elf.section_by_name(".symtab").is_some()
    }

    /// The file's build-id, if it has one.
    pub(super) fn build_id(&self) -> Option<&'static [u8]> {
        self.elf.build_id().ok().flatten()
    }
}

/// Where the mapped file may be found: at its path as the process sees it, and as what the process holds open.
fn candidates(process: &Process, mapping: &Mapping, path: &Path, deleted: bool) -> Vec<PathBuf> {
    let mut candidates = Vec::new();
    if !deleted {
        candidates.extend(in_root(process, path));
        candidates.push(path.to_owned());
    }
    // Only the program itself can be opened so without privilege.
    let program = PathBuf::from(process.file("exe").to_string());
    if fs::read_link(&program).is_ok_and(|target| target.to_str() == Some(&mapping.name)) {
        candidates.push(program);
    }
    candidates.push(format!("{}/{:x}-{:x}", process.file("map_files"), mapping.start, mapping.end).into());
    candidates
}

#[cfg(unix)]
fn inode(file: &File) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.ino())
}

#[cfg(not(unix))]
fn inode(_: &File) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A path as another process sees it, which may be in another mount namespace; `None` for the own one.
pub(super) fn in_root(process: &Process, path: &Path) -> Option<PathBuf> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    (!process.is_own()).then(|| Path::new(&process.file("root").to_string()).join(relative))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
