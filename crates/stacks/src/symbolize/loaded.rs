//! What a process has in its memory of a file that it runs: where the loader put the file's parts, and its build-id. It is there
//! whatever became of the file, and in whichever mount namespace the process is.

use object::LittleEndian;
use object::elf::{
    ELF_NOTE_GNU, ELFCLASS64, ELFDATA2LSB, FileHeader64, NT_GNU_BUILD_ID, PT_LOAD, PT_NOTE, ProgramHeader64,
};
use object::pod;
use object::read::elf::{NoteIterator, ProgramHeader as _};

use super::module::Segment;
use super::open::hex;
use crate::maps::{Mapping, Maps};
use crate::memory;
use crate::process::Process;

/// A file has no more parts than this; what claims to have is not followed. Real ones have a dozen.
const MOST_PARTS: usize = 256;
/// Nor is any of its notes longer, in bytes.
const MOST_NOTES: u64 = 64 << 10;

/// The identity that the linker gave the program of a process, in hexadecimal digits: quick, as no file is read. `None` if there is none,
/// or it is not where it should be.
///
/// ```
/// use pollscope_stacks::{process::Process, symbolize::{Symbolizer, build_id}};
/// # if pollscope_stacks::SUPPORTED {
/// let own = Process::current();
/// assert_eq!(build_id(&own), Symbolizer::new(own).program().unwrap().build_id);
/// # }
/// ```
pub fn build_id(process: &Process) -> Option<String> {
    let program = Maps::read(process).ok()?.of_program(process)?;
    Loaded::read(process, &program)?.build_id.as_deref().map(hex)
}

type Header = FileHeader64<LittleEndian>;
type Part = ProgramHeader64<LittleEndian>;

/// A file as it was loaded.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) segments: Vec<Segment>,
    pub(super) build_id: Option<Vec<u8>>,
}

impl Loaded {
    /// Reads it from the process's memory; `None` if the file's headers are not there, or not those of an ELF file.
    pub(super) fn read(process: &Process, mapping: &Mapping) -> Option<Loaded> {
        Loaded::parse(mapping.header?, |address, length| {
            let mut bytes = vec![0; length];
            (memory::read(process, address, &mut bytes) == length).then_some(bytes)
        })
    }

    /// `read`: all bytes of a range, given by its address and length, or none.
    fn parse(base: u64, read: impl Fn(u64, usize) -> Option<Vec<u8>>) -> Option<Loaded> {
        let endian = LittleEndian;
        let header = read(base, size_of::<Header>())?;
        let (header, _) = pod::from_bytes::<Header>(&header).ok()?;
        let (count, size) = (usize::from(header.e_phnum.get(endian)), usize::from(header.e_phentsize.get(endian)));
        let is_elf = header.e_ident.magic == *b"\x7fELF"
            && header.e_ident.class == ELFCLASS64
            && header.e_ident.data == ELFDATA2LSB;
        if !is_elf || count > MOST_PARTS || size != size_of::<Part>() {
            return None;
        }
        let table = read(base.checked_add(header.e_phoff.get(endian))?, count * size)?;
        let (parts, _) = pod::slice_from_bytes::<Part>(&table, count).ok()?;
        let segments: Vec<Segment> =
            parts.iter().filter(|part| part.p_type(endian) == PT_LOAD).map(Segment::of).collect();
        let bias = base.wrapping_sub(segments.iter().find_map(Segment::of_header)?);
        let notes = parts.iter().filter(|part| part.p_type(endian) == PT_NOTE && part.p_filesz(endian) <= MOST_NOTES);
        let build_id = notes.filter_map(|part| {
            let notes = read(bias.wrapping_add(part.p_vaddr(endian)), usize::try_from(part.p_filesz(endian)).ok()?)?;
            of_notes(part.p_align(endian), &notes)
        });
        let build_id = build_id.into_iter().next();
        Some(Loaded { segments, build_id })
    }
}

fn of_notes(align: u64, notes: &[u8]) -> Option<Vec<u8>> {
    let mut notes = NoteIterator::<Header>::new(LittleEndian, align, notes).ok()?;
    while let Some(note) = notes.next().ok()? {
        if note.name() == ELF_NOTE_GNU && note.n_type(LittleEndian) == NT_GNU_BUILD_ID {
            return Some(note.desc().to_vec());
        }
    }
    None
}

#[cfg(all(test, supported))]
mod tests {
    use super::super::open::Image;
    use super::*;
    use crate::maps::Maps;

    fn own() -> Mapping {
        let here = own as *const () as u64;
        Maps::read(&Process::current()).unwrap().find(here).unwrap().clone()
    }

    #[test]
    fn memory_tells_what_the_file_does() {
        let loaded = Loaded::read(&Process::current(), &own()).unwrap();
        let image = Image::open(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(loaded.build_id.as_deref(), image.build_id());
        assert_eq!(loaded.segments, super::super::module::segments(&image.elf));
    }

    #[test]
    fn what_makes_no_sense_is_nothing() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        let read_with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = program.clone();
            change(&mut bytes);
            Loaded::parse(0, |address, length| {
                let from = usize::try_from(address).ok()?;
                assert!(length <= MOST_PARTS * size_of::<Part>() || length as u64 <= MOST_NOTES, "{length}");
                bytes.get(from..from.checked_add(length)?).map(<[u8]>::to_vec)
            })
        };
        assert!(read_with(&|_| {}).is_some());
        for (at, value) in [(0, 0), (4, 1), (5, 2), (39, 0xff), (54, 0), (57, 0xff)] {
            assert!(read_with(&|bytes| bytes[at] = value).is_none(), "byte {at}");
        }
        assert!(read_with(&|bytes| bytes.truncate(100)).is_none());
    }
}
