//! One mapped file: what its code is called, and where it was written.

use std::cell::OnceCell;
use std::fmt;
use std::path::PathBuf;

use gimli::{Dwarf, LittleEndian};
use memmap2::Mmap;
use object::read::elf::ProgramHeader;
use object::{Object, ObjectSection};

use super::lines::Location;
use super::open::{self, Elf, Image};
use super::table::Table;
use super::tail_call::{self, Code};
use super::units::Units;
use super::{DebugInfo, Frame, ModuleInfo, Source, debug_info, name, section};
use crate::maps::Mapping;
use crate::process::Process;

/// DWARF, as it is in the mapped file, or unpacked beside it.
pub(super) type Bytes = gimli::EndianSlice<'static, LittleEndian>;

/// A mapped file, its debug information and its symbols.
pub(super) struct Module {
    /// What was read of the files below, until it is given back. It borrows from them, so it stays the first: fields are dropped in
    /// their order.
    contents: OnceCell<Contents>,
    segments: Vec<Segment>,
    /// The file itself.
    bytes: &'static [u8],
    debug_info: DebugInfo,
    build_id: Option<String>,
    debug_file: Option<PathBuf>,
    files: Option<Files>,
}

/// The mapped file, and the one that its debug information is in, if that is another. They stay mapped, as they may have been removed
/// since.
struct Files {
    image: Image,
    separate: Option<Image>,
}

/// What takes memory: what was read of a file to name what is in it.
#[derive(Default)]
struct Contents {
    /// DWARF, unless there is none.
    units: Option<Units>,
    table: Table,
    /// Where the loader writes an address of the module, and which, in order.
    relocations: OnceCell<Vec<(u64, u64)>>,
    /// What the DWARF was unpacked to; it borrows from that, so that stays the last.
    _unpacked: Vec<Mmap>,
}

/// Where the loader puts a part of the file.
pub(super) struct Segment {
    file_offset: u64,
    size: u64,
    address: u64,
}

impl Files {
    fn read(&self) -> (Contents, DebugInfo) {
        let source = self.separate.as_ref().unwrap_or(&self.image);
        let mut table = Table::of(&source.elf);
        if !table.complete {
            table = Table::of(&self.image.elf);
        }
        let without = if table.complete { DebugInfo::Symbols } else { DebugInfo::Stripped };
        let (units, debug_info, unpacked) = match read_dwarf(&source.elf) {
            Ok(FileDwarf { units, found, maps }) => (Some(units), found.unwrap_or(without), maps),
            Err(why) => (None, DebugInfo::Unreadable(why), Vec::new()),
        };
        (Contents { units, table, _unpacked: unpacked, ..Contents::default() }, debug_info)
    }
}

impl Module {
    /// Opens the file of a mapping. One that cannot be read is a module of which nothing is known.
    pub(super) fn of(process: &Process, mapping: &Mapping, debug_files: &[PathBuf]) -> Module {
        match Image::of_mapping(process, mapping) {
            Ok(image) => Module::of_image(image, debug_files),
            Err(why) => Module::unreadable(why),
        }
    }

    fn unreadable(why: String) -> Module {
        Module {
            contents: OnceCell::new(),
            segments: Vec::new(),
            bytes: &[],
            debug_info: DebugInfo::Unreadable(why),
            build_id: None,
            debug_file: None,
            files: None,
        }
    }

    pub(super) fn of_image(image: Image, debug_files: &[PathBuf]) -> Module {
        let build_id = image.build_id();
        let separate = match build_id {
            Some(build_id) if !has_dwarf(&image.elf) => open::debug_file(build_id, debug_files),
            _ => None,
        };
        let (debug_file, separate) = separate.unzip();
        let (segments, bytes) = (segments(&image.elf), image.elf.data());
        let files = Files { image, separate };
        let (contents, debug_info) = files.read();
        Module {
            contents: contents.into(),
            segments,
            bytes,
            debug_info,
            build_id: build_id.map(open::hex),
            debug_file,
            files: Some(files),
        }
    }

    /// What names are found in, read again if it was given back.
    fn contents(&self) -> &Contents {
        self.contents.get_or_init(|| self.files.as_ref().map(|files| files.read().0).unwrap_or_default())
    }

    /// Where the file's own mapping begins.
    #[cfg(all(test, supported))]
    pub(super) fn starts_at(&self) -> usize {
        self.bytes.as_ptr().addr()
    }

    /// Whether anything that was read is kept.
    pub(super) fn is_read(&self) -> bool {
        self.files.is_some() && self.contents.get().is_some()
    }

    /// Drops what was read, and the pages that it was read from: the next look-up reads it again.
    pub(super) fn give_back(&mut self) {
        self.contents.take();
        if let Some(Files { image, separate }) = &self.files {
            [Some(image), separate.as_ref()].into_iter().flatten().for_each(Image::give_back);
        }
    }

    /// What was found.
    pub(super) fn info(&self, name: String) -> ModuleInfo {
        let (debug_info, build_id) = (self.debug_info.clone(), self.build_id.clone());
        ModuleInfo { name, debug_info, build_id, debug_file: self.debug_file.clone() }
    }

    /// The address that the file itself uses for a mapped address.
    pub(super) fn virtual_address(&self, mapping: &Mapping, address: u64) -> Option<u64> {
        virtual_address(&self.segments, mapping, address)
    }

    /// The function of the symbol table at an address of the file.
    pub(super) fn symbol(&self, address: u64) -> Option<String> {
        self.contents().table.name(address).map(name::demangled)
    }

    /// The functions at an address of the file, innermost inlined first; none if nothing is known.
    pub(super) fn look_up(&mut self, address: u64) -> (Vec<Frame>, Source) {
        let symbol = self.symbol(address);
        let mut frames = self.dwarf_frames(address).unwrap_or_default();
        let Some(outermost) = frames.last_mut() else {
            let source = if symbol.is_some() { Source::SymbolTable } else { Source::None };
            let frame = symbol.map(|function| Frame { function: Some(function), ..Frame::default() });
            return (frame.into_iter().collect(), source);
        };
        if outermost.function.as_deref().is_some_and(|name| self.contents().table.is_named(address, name)) {
            outermost.function = symbol; // A library's `__GI_getpid` is everybody's `getpid`.
        } else if outermost.function.as_deref().is_none_or(|name| name::split(name).0.is_none()) {
            outermost.function = name::joined(symbol.as_deref(), outermost.function.as_deref());
        }
        (frames, Source::Dwarf)
    }

    /// See [`tail_call::between`].
    pub(super) fn tail_calls(&self, inner: u64, returns_to: u64) -> Vec<u64> {
        tail_call::between(self, inner, returns_to)
    }

    fn dwarf_frames(&mut self, address: u64) -> gimli::Result<Vec<Frame>> {
        self.contents();
        let Some(Contents { units: Some(units), .. }) = self.contents.get_mut() else { return Ok(Vec::new()) };
        let mut frames = Vec::new();
        for found in units.find(address)? {
            let function = match units.symbol(&found)? {
                Some(symbol) if symbol.starts_with('_') => {
                    name::joined(Some(&name::demangled(&symbol)), units.name(&found)?.as_deref())
                }
                name => name,
            };
            let compiled_in = units.compiled_in(&found);
            let Location { file, line, column } = found.location;
            frames.push(Frame { function, file, line, column, module: None, compiled_in });
        }
        Ok(frames)
    }
}

impl Code for Module {
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        let segment = self
            .segments
            .iter()
            .find(|segment| address.checked_sub(segment.address).is_some_and(|within| within < segment.size))?;
        let offset = usize::try_from(address - segment.address + segment.file_offset).ok()?;
        self.bytes.get(offset..offset.checked_add(length)?)
    }

    fn function(&self, address: u64) -> Option<(u64, u64)> {
        self.contents().table.range(address)
    }

    fn slot(&self, address: u64) -> Option<u64> {
        let relocations = self.contents().relocations.get_or_init(|| relocations(self.bytes).unwrap_or_default());
        let index = relocations.binary_search_by_key(&address, |(slot, _)| *slot).ok()?;
        Some(relocations[index].1)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("debug_info", &self.debug_info).finish_non_exhaustive()
    }
}

fn has_dwarf(elf: &Elf) -> bool {
    elf.section_by_name(".debug_info").is_some()
}

/// A file's debug information.
pub(super) struct FileDwarf {
    pub(super) units: Units,
    /// How much of it there is for the program's own code.
    found: Option<DebugInfo>,
    /// What it borrows from beside the file.
    maps: Vec<Mmap>,
}

/// Reads a file's DWARF.
///
/// # Errors
/// A sentence: why it cannot be read.
pub(super) fn read_dwarf(elf: &Elf) -> Result<FileDwarf, String> {
    let mut maps = Vec::new();
    let mut dwarf = Dwarf::load(|id: gimli::SectionId| -> Result<Bytes, String> {
        let (bytes, map) = section::bytes(elf, id.name())?;
        maps.extend(map);
        Ok(Bytes::new(bytes, LittleEndian))
    })?;
    dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
    let malformed = |error: gimli::Error| format!("its debug information is malformed: {error}");
    let found = debug_info::of_units(&dwarf).map_err(malformed)?;
    Ok(FileDwarf { units: Units::of(dwarf).map_err(malformed)?, found, maps })
}

/// The address that a file itself uses for a mapped address.
pub(super) fn virtual_address(segments: &[Segment], mapping: &Mapping, address: u64) -> Option<u64> {
    let offset = address - mapping.start + mapping.file_offset;
    let segment = segments
        .iter()
        .find(|segment| offset.checked_sub(segment.file_offset).is_some_and(|within| within < segment.size))?;
    Some(offset - segment.file_offset + segment.address)
}

/// Where the loader puts the parts of a file.
pub(super) fn segments(elf: &Elf) -> Vec<Segment> {
    let endian = object::LittleEndian;
    let loaded = elf.elf_program_headers().iter().filter(|header| header.p_type(endian) == object::elf::PT_LOAD);
    let segment = |header: &object::elf::ProgramHeader64<object::LittleEndian>| Segment {
        file_offset: header.p_offset(endian),
        size: header.p_filesz(endian),
        address: header.p_vaddr(endian),
    };
    loaded.map(segment).collect()
}

/// The addresses of the module that the loader computes from where it puts the module.
fn relocations(file: &'static [u8]) -> Option<Vec<(u64, u64)>> {
    let elf = Elf::parse(file).ok()?;
    let table = elf.section_by_name(".rela.dyn")?.data().ok()?;
    let entries = table.as_chunks::<24>().0.iter().filter_map(|entry| {
        let [slot, kind, target] =
            [0, 8, 16].map(|at| entry[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes)));
        (kind? == u64::from(object::elf::R_X86_64_RELATIVE.0)).then_some((slot?, target?))
    });
    let mut relocations: Vec<(u64, u64)> = entries.collect();
    relocations.sort_unstable();
    Some(relocations)
}
