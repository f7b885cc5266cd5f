//! Which file's code is where in a process: `/proc/PID/maps`.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::process::Process;

/// A mapped range of executable memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The first address.
    pub start: u64,
    /// One past the last address.
    pub end: u64,
    /// Where the range begins in the file.
    pub file_offset: u64,
    /// Where the file's first byte is mapped, hence its headers; `None` if it is not.
    pub header: Option<u64>,
    /// The file; `None` for memory without one, such as `[vdso]`.
    pub path: Option<PathBuf>,
    /// The file's inode; another file under the same path has another.
    pub inode: u64,
    /// What the kernel calls it: a path, `[vdso]`, or nothing. A file that was removed or replaced ends in ` (deleted)`.
    pub name: String,
}

/// A mapped range of memory that holds data: it can be read, and is no code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) can_be_written: bool,
    /// The file's that it is of: constants, or variables as they were before anything was written; 0 of what is of none.
    pub(crate) inode: u64,
    pub(crate) name: String,
}

/// Which bytes of a file a process has mapped, from the first to the last: of the file that the kernel calls `name`. `None` if none.
///
/// ```
/// use pollscope_stacks::{maps, process::Process};
/// # if pollscope_stacks::SUPPORTED {
/// let own = Process::current();
/// let program = own.exe()?;
/// let loaded = maps::loaded(&own, program.to_str().unwrap())?.unwrap();
/// assert!(loaded.start == 0 && loaded.end > 4096);
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// As [`Maps::read`].
pub fn loaded(process: &Process, name: &str) -> io::Result<Option<Range<u64>>> {
    let text = text(process)?;
    let its = text.lines().filter_map(mapping).map(|(mapping, _)| mapping).filter(|mapping| mapping.name == name);
    let ranges = its.map(|mapping| {
        mapping.file_offset..mapping.file_offset.saturating_add(mapping.end.saturating_sub(mapping.start))
    });
    Ok(ranges.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end)))
}

/// Those of a process, by address.
///
/// # Errors
/// As [`Maps::read`].
pub(crate) fn regions(process: &Process) -> io::Result<Vec<Region>> {
    Ok(text(process)?.lines().filter_map(region).collect())
}

/// What the kernel tells. A file's name may be any bytes; that of one need not hide the others.
fn text(process: &Process) -> io::Result<String> {
    if let Some(core) = process.core() {
        return Ok(core.maps().to_owned());
    }
    let text = fs::read(process.file("maps").to_string())?;
    process.confirm().map_err(|error| io::Error::new(io::ErrorKind::NotFound, error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn region(line: &str) -> Option<Region> {
    let (Mapping { start, end, inode, name, .. }, permissions) = mapping(line)?;
    let is_of_kernel = name.starts_with("[v");
    let is_data = permissions.starts_with('r') && !permissions.contains('x') && !is_of_kernel;
    is_data.then_some(Region { start, end, can_be_written: permissions.contains('w'), inode, name })
}

/// The executable mappings of a process, by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps {
    mappings: Vec<Mapping>,
}

impl Maps {
    /// Reads those of a process.
    ///
    /// # Errors
    /// When the process is gone, or not ours to look at.
    pub fn read(process: &Process) -> io::Result<Maps> {
        Ok(Maps::parse(&text(process)?))
    }

    /// Takes the executable mappings from the text of a `maps` file; lines of another form are passed over.
    pub fn parse(text: &str) -> Maps {
        // A file is mapped in pieces, the first of which, not executable, has the headers.
        let mut header: Option<Mapping> = None;
        let mut mappings = Vec::new();
        for (mut mapping, permissions) in text.lines().filter_map(mapping) {
            let executable = permissions.contains('x');
            if mapping.file_offset == 0 && (mapping.inode != 0 || executable) {
                header = Some(mapping.clone());
            }
            if executable {
                mapping.header = header
                    .as_ref()
                    .filter(|header| (header.inode, &header.name) == (mapping.inode, &mapping.name))
                    .map(|header| header.start);
                mappings.push(mapping);
            }
        }
        mappings.sort_by_key(|mapping| mapping.start);
        Maps { mappings }
    }

    /// All of them, lowest first.
    pub fn all(&self) -> &[Mapping] {
        &self.mappings
    }

    /// The first mapping of the program's own file; `None` if the process is gone, or not ours to look at.
    pub(crate) fn of_program(&self, process: &Process) -> Option<Mapping> {
        let name = process.exe().ok()?;
        self.mappings.iter().find(|mapping| name.to_str() == Some(&mapping.name)).cloned()
    }

    /// The executable mapping that an address is in.
    pub fn find(&self, address: u64) -> Option<&Mapping> {
        let after = self.mappings.partition_point(|mapping| mapping.start <= address);
        self.mappings[..after].last().filter(|mapping| address < mapping.end)
    }
}

/// `start-end perms offset dev inode   name`, and what may be done with it.
fn mapping(line: &str) -> Option<(Mapping, &str)> {
    let mut rest = line;
    let mut field = || {
        let (field, after) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
        rest = after;
        field
    };
    let (start, end) = field().split_once('-')?;
    let permissions = field();
    let file_offset = u64::from_str_radix(field(), 16).ok()?;
    let _device = field();
    let inode = field().parse().ok()?;
    let name = rest.trim_start().to_owned();
    let path = name.strip_suffix(" (deleted)").unwrap_or(&name);
    let mapping = Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        file_offset,
        header: None,
        path: path.starts_with('/').then(|| PathBuf::from(path)),
        inode,
        name,
    };
    Some((mapping, permissions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_lines_are_taken() {
        let maps = Maps::parse(
            "55d0c0000000-55d0c0001000 r--p 00000000 08:01 42                         /usr/bin/my program\n\
             55d0c0001000-55d0c0002000 r-xp 00001000 08:01 42                         /usr/bin/my program (deleted)\n\
             7fff00000000-7fff00001000 r-xp 00000000 00:00 0                          [vdso]\n\
             nonsense\n",
        );
        assert_eq!(maps.all().len(), 2);
        let program = maps.find(0x55d0_c000_1fff).unwrap();
        assert_eq!(program.path.as_deref().unwrap().to_str(), Some("/usr/bin/my program"));
        assert_eq!((program.file_offset, program.inode), (0x1000, 42));
        assert_eq!(program.header, None, "a file of another name");
        assert_eq!(maps.find(0x55d0_c000_2000), None);
        assert_eq!(maps.find(0x7fff_0000_0000).unwrap().path, None);
        assert_eq!(maps.find(0x7fff_0000_0000).unwrap().header, Some(0x7fff_0000_0000));
    }

    #[test]
    fn data_that_can_be_read_is_told_with_whose_it_is() {
        let of = |line: &str| region(line).map(|region| (region.can_be_written, region.inode, region.name));
        assert_eq!(of("1000-2000 rw-p 00000000 00:00 0 "), Some((true, 0, String::new())));
        assert_eq!(of("1000-2000 r--p 00002000 08:01 42    /usr/bin/a"), Some((false, 42, "/usr/bin/a".to_owned())));
        assert_eq!(of("1000-2000 r-xp 00002000 08:01 42    /usr/bin/a"), None, "code");
        assert_eq!(of("1000-2000 ---p 00000000 00:00 0 "), None, "a guard page");
        assert_eq!(of("1000-2000 r--p 00000000 00:00 0    [vvar]"), None, "the kernel's");
    }

    #[test]
    fn this_very_function_is_mapped() {
        let here = this_very_function_is_mapped as *const () as u64;
        let maps = Maps::read(&Process::current()).unwrap();
        let program = std::env::current_exe().unwrap();
        assert_eq!(maps.find(here).and_then(|mapping| mapping.path.clone()), Some(program));
    }
}
