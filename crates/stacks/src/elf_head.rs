//! The head of an ELF file: where the loader puts the file's parts, and the identity that the linker gave it; and opening one.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use object::LittleEndian;
use object::elf::{
    ELF_NOTE_GNU, ELFCLASS64, ELFDATA2LSB, FileHeader64, NT_GNU_BUILD_ID, PT_LOAD, PT_NOTE, ProgramHeader64,
};
use object::read::elf::{ElfFile64, NoteIterator, ProgramHeader as _};
use object::{Object as _, pod};

/// A file has no more parts than this; what claims to have is not followed. Real ones have a dozen.
const MOST_PARTS: usize = 256;
/// Nor is any of its notes longer, in bytes.
const MOST_NOTES: u64 = 64 << 10;

type Header = FileHeader64<LittleEndian>;
type Part = ProgramHeader64<LittleEndian>;

/// Where the loader puts a part of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) file_offset: u64,
    pub(crate) size: u64,
    pub(crate) address: u64,
}

impl Segment {
    pub(crate) fn of(header: &Part) -> Segment {
        let endian = LittleEndian;
        Segment { file_offset: header.p_offset(endian), size: header.p_filesz(endian), address: header.p_vaddr(endian) }
    }

    /// The address of the file's headers, if they are in this part.
    pub(crate) fn of_header(&self) -> Option<u64> {
        (self.file_offset == 0).then_some(self.address)
    }
}

/// A file as it was loaded.
#[derive(Default)]
pub(crate) struct Loaded {
    pub(crate) segments: Vec<Segment>,
    pub(crate) build_id: Option<Vec<u8>>,
}

impl Loaded {
    /// `read`: all bytes of a range, given by its address and length, or none.
    pub(crate) fn parse(base: u64, read: impl Fn(u64, usize) -> Option<Vec<u8>>) -> Option<Loaded> {
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

/// The identity of a file that is read whole.
pub(crate) fn build_id_of_file(bytes: &[u8]) -> Option<Vec<u8>> {
    ElfFile64::<LittleEndian>::parse(bytes).ok()?.build_id().ok().flatten().map(<[u8]>::to_vec)
}

/// Opens a file, and nothing that opening waits for or changes, such as a pipe with a name or a device: another process may have put
/// that there.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    let not_a_file = || io::Error::other("it is not a file");
    if !fs::metadata(path)?.is_file() {
        return Err(not_a_file());
    }
    let mut options = File::options();
    options.read(true);
    #[cfg(supported)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_a_file()) }
}

#[cfg(all(test, supported))]
mod tests {
    use super::*;

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
