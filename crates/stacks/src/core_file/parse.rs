//! The head of a core file: which memory it has, and what its notes say.

use std::collections::HashMap;
use std::fmt::Write as _;

use object::LittleEndian;
use object::elf::{EM_X86_64, ET_CORE, FileHeader64, PF_R, PF_W, PF_X, PN_XNUM, PT_LOAD, PT_NOTE, ProgramHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};

use super::CoreThread;
use super::notes::{MappedFile, Notes};

type Header = FileHeader64<LittleEndian>;

/// What is known of a core beside its memory.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) pid: u32,
    pub(super) signal: Option<u32>,
    pub(super) threads: Vec<CoreThread>,
    /// By their addresses; none overlaps another.
    pub(super) segments: Vec<Segment>,
    /// The files that it had mapped, each once.
    pub(super) files: Vec<String>,
    /// Which of those is its program.
    pub(super) program: Option<usize>,
    pub(super) maps: String,
    pub(super) cut: u64,
}

/// A range of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) start: u64,
    pub(super) size: u64,
    /// So many of its bytes, from the first on, are in the core; and where.
    pub(super) has: u64,
    /// So many should be. What was written out is not what a file has at that place.
    pub(super) meant: u64,
    at: u64,
    /// Which file it is of, and from where on.
    pub(super) file: Option<(usize, u64)>,
    flags: u32,
}

impl Segment {
    /// One past its last byte.
    pub(super) fn end(&self) -> u64 {
        self.start + self.size
    }
}

impl Parsed {
    pub(super) fn of(bytes: &[u8]) -> Result<Parsed, String> {
        let headers = headers(bytes)?;
        let endian = LittleEndian;
        let mut notes = notes(headers, bytes);
        if notes.threads.is_empty() {
            return Err("it has no threads: it is not a core of a process".to_owned());
        }
        let mut parsed = Parsed {
            pid: notes.pid(),
            signal: notes.signal,
            threads: std::mem::take(&mut notes.threads),
            ..Parsed::default()
        };
        let mut numbers: HashMap<String, usize> = HashMap::new();
        notes.files.sort_by_key(|file| file.start);
        let mut left = bytes.len() as u64;
        for header in headers.iter().filter(|header| header.p_type(endian) == PT_LOAD) {
            let (start, size) = (header.p_vaddr(endian), header.p_memsz(endian));
            let (at, has) = (header.p_offset(endian), header.p_filesz(endian).min(size));
            let is_whole = start.checked_add(size).is_some() && at.checked_add(has).is_some();
            if size == 0 || !is_whole {
                continue;
            }
            // No byte is of two ranges, whatever they say.
            let there = (bytes.len() as u64).saturating_sub(at).min(has).min(left);
            left -= there;
            parsed.cut = parsed.cut.saturating_add(has - there);
            let file = file(&notes.files, start);
            let file = file.map(|(name, offset)| (index_of(name, &mut parsed.files, &mut numbers), offset));
            // Of what is nobody's file, and not in the core, nothing can be known: however large it says it is.
            let size = if file.is_some() { size } else { there };
            if size > 0 {
                let flags = header.p_flags(endian).0;
                parsed.segments.push(Segment { start, size, has: there, meant: has, at, file, flags });
            }
        }
        parsed.put_in_order();
        let is_free = |file: &MappedFile| {
            let from = parsed.segments.partition_point(|segment| segment.end() <= file.start);
            parsed.segments.get(from).is_none_or(|next| file.end <= next.start)
        };
        let free: Vec<&MappedFile> = notes.files.iter().filter(|file| is_free(file)).collect();
        for file in free {
            let index = index_of(&file.name, &mut parsed.files, &mut numbers);
            parsed.segments.extend(left_out(file, index));
        }
        parsed.put_in_order();
        parsed.program = notes
            .entry
            .and_then(|entry| parsed.segment(entry))
            .and_then(|segment| segment.file)
            .map(|(index, _)| index);
        parsed.maps = parsed.as_maps();
        Ok(parsed)
    }

    /// What overlaps what comes before it is nobody's memory.
    fn put_in_order(&mut self) {
        self.segments.sort_by_key(|segment| segment.start);
        self.segments.dedup_by(|next, before| next.start < before.end());
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        self.segments.iter().find(|segment| (segment.start..segment.end()).contains(&address))
    }

    /// What a core has of a segment.
    pub(super) fn bytes_of<'b>(&self, segment: &Segment, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let from = usize::try_from(segment.at).ok().filter(|_| segment.has > 0).unwrap_or(0);
        bytes.get(from..from.checked_add(usize::try_from(segment.has).ok()?)?)
    }

    /// As the kernel tells of it while a process runs. A file has no inode there: its number, from above, stands for it.
    fn as_maps(&self) -> String {
        let sp = self.threads.first().and_then(|thread| thread.registers.sp());
        let mut text = String::new();
        for segment in &self.segments {
            let flag = |flag: object::elf::ProgramFlags, letter| if segment.flags & flag.0 == 0 { '-' } else { letter };
            let (r, w, x) = (flag(PF_R, 'r'), flag(PF_W, 'w'), flag(PF_X, 'x'));
            let is_stack = || sp.is_some_and(|sp| (segment.start..segment.end()).contains(&sp));
            let (offset, inode, name) = match segment.file {
                Some((index, offset)) => (offset, u64::MAX - index as u64, self.files[index].as_str()),
                None if is_stack() => (0, 0, "[stack]"),
                None => (0, 0, ""),
            };
            let (start, end) = (segment.start, segment.end());
            _ = writeln!(text, "{start:x}-{end:x} {r}{w}{x}p {offset:08x} 00:00 {inode} {name}");
        }
        text
    }
}

fn notes(headers: &[ProgramHeader64<LittleEndian>], bytes: &[u8]) -> Notes {
    let endian = LittleEndian;
    let mut notes = Notes::default();
    for header in headers.iter().filter(|header| header.p_type(endian) == PT_NOTE) {
        let (offset, size) = (header.p_offset(endian), header.p_filesz(endian));
        let end = offset.saturating_add(size).min(bytes.len() as u64);
        let part = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        notes.read(part.and_then(|(offset, end)| bytes.get(offset..end)).unwrap_or_default());
    }
    notes
}

/// A range of a file that a debugger leaves out of the core, as nothing was written to it. It is taken for code,
/// which it mostly is: that is not told.
fn left_out(file: &MappedFile, index: usize) -> Option<Segment> {
    let size = file.end.checked_sub(file.start).filter(|size| *size > 0)?;
    Some(Segment {
        start: file.start,
        size,
        has: 0,
        meant: 0,
        at: 0,
        file: Some((index, file.offset)),
        flags: PF_R.0 | PF_X.0,
    })
}

fn index_of(name: &str, files: &mut Vec<String>, numbers: &mut HashMap<String, usize>) -> usize {
    if let Some(index) = numbers.get(name) {
        return *index;
    }
    files.push(name.to_owned());
    numbers.insert(name.to_owned(), files.len() - 1);
    files.len() - 1
}

/// The file that a range is of which begins there, and from where on.
fn file(files: &[MappedFile], start: u64) -> Option<(&str, u64)> {
    let after = files.partition_point(|file| file.start <= start);
    let file = files[..after].last().filter(|file| start < file.end)?;
    Some((&file.name, file.offset.checked_add(start - file.start)?))
}

fn headers(bytes: &[u8]) -> Result<&[ProgramHeader64<LittleEndian>], String> {
    const PACKED: [(&[u8], &str); 3] =
        [(b"\x28\xb5\x2f\xfd", "zstd -d"), (b"\x04\x22\x4d\x18", "lz4 -d"), (b"\x1f\x8b", "gunzip")];
    if let Some((_, unpack)) = PACKED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(format!("it is compressed: unpack it with `{unpack}`, or let `coredumpctl dump` write it"));
    }
    let endian = LittleEndian;
    let no_core = || "it is not a core file".to_owned();
    let header = Header::parse(bytes).map_err(|_| no_core())?;
    if header.e_type(endian) != ET_CORE {
        return Err(
            "it is not a core file, but a program or a library; give the core first, and then its program".to_owned()
        );
    }
    if !header.is_little_endian() || header.e_machine(endian) != EM_X86_64 {
        return Err("it is of another processor than x86-64".to_owned());
    }
    // More than that number can say are counted by the first section.
    let count = match header.e_phnum(endian) {
        PN_XNUM => header.section_0(endian, bytes).ok().flatten().map(|section| section.sh_info(endian) as usize),
        count => Some(usize::from(count)),
    };
    let from = usize::try_from(header.e_phoff(endian)).ok();
    let read = from.zip(count).and_then(|(from, count)| {
        object::pod::slice_from_bytes::<ProgramHeader64<LittleEndian>>(bytes.get(from..)?, count).ok()
    });
    read.map(|(headers, _)| headers).ok_or_else(|| "it breaks off before it says which memory it has".to_owned())
}
