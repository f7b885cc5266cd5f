//! One mapped file: what its code is called, and where it was written.

use std::cell::OnceCell;
use std::fmt;
use std::path::PathBuf;

use addr2line::Context;
use addr2line::gimli::{self, Dwarf, LittleEndian};
use memmap2::Mmap;
use object::read::elf::ProgramHeader;
use object::{Object, ObjectSection};

use super::entry::Units;
use super::open::{self, Elf, Image};
use super::table::Table;
use super::tail_call::{self, Code};
use super::{DebugInfo, Frame, ModuleInfo, Source, debug_info, name, section};
use crate::maps::Mapping;
use crate::process::Process;

/// DWARF, as it is in the mapped file, or unpacked beside it.
pub(super) type Bytes = gimli::EndianSlice<'static, LittleEndian>;

/// A mapped file, its debug information and its symbols.
pub(super) struct Module {
    /// DWARF, unless there is none.
    context: Option<Context<Bytes>>,
    /// The units that names were followed into.
    units: Units,
    table: Table,
    segments: Vec<Segment>,
    /// The file itself.
    bytes: &'static [u8],
    /// Where the loader writes an address of the module, and which, in order.
    relocations: OnceCell<Vec<(u64, u64)>>,
    debug_info: DebugInfo,
    build_id: Option<String>,
    debug_file: Option<PathBuf>,
    /// What all of the above borrow from; fields are dropped in their order, so it stays the last.
    _maps: Vec<Mmap>,
}

/// Where the loader puts a part of the file.
struct Segment {
    file_offset: u64,
    size: u64,
    address: u64,
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
            context: None,
            units: Units::default(),
            table: Table::default(),
            segments: Vec::new(),
            bytes: &[],
            relocations: OnceCell::new(),
            debug_info: DebugInfo::Unreadable(why),
            build_id: None,
            debug_file: None,
            _maps: Vec::new(),
        }
    }

    pub(super) fn of_image(image: Image, debug_files: &[PathBuf]) -> Module {
        let build_id = image.build_id();
        let separate = match build_id {
            Some(build_id) if !has_dwarf(&image.elf) => open::debug_file(build_id, debug_files),
            _ => None,
        };
        let (debug_file, separate) = separate.unzip();
        let source = separate.as_ref().unwrap_or(&image);
        let mut table = Table::of(&source.elf);
        if !table.complete {
            table = Table::of(&image.elf);
        }
        let (context, debug_info, mut maps) = match read_dwarf(&source.elf) {
            Ok(FileDwarf { context, found, maps }) => {
                let without = if table.complete { DebugInfo::Symbols } else { DebugInfo::Stripped };
                (Some(context), found.unwrap_or(without), maps)
            }
            Err(why) => (None, DebugInfo::Unreadable(why), Vec::new()),
        };
        maps.push(image.map);
        maps.extend(separate.map(|image| image.map));
        Module {
            context,
            units: Units::default(),
            table,
            segments: segments(&image.elf),
            bytes: image.elf.data(),
            relocations: OnceCell::new(),
            debug_info,
            build_id: build_id.map(open::hex),
            debug_file,
            _maps: maps,
        }
    }

    /// What was found.
    pub(super) fn info(&self, name: String) -> ModuleInfo {
        let (debug_info, build_id) = (self.debug_info.clone(), self.build_id.clone());
        ModuleInfo { name, debug_info, build_id, debug_file: self.debug_file.clone() }
    }

    /// The address that the file itself uses for a mapped address.
    pub(super) fn virtual_address(&self, mapping: &Mapping, address: u64) -> Option<u64> {
        let offset = address - mapping.start + mapping.file_offset;
        let segment = self
            .segments
            .iter()
            .find(|segment| offset.checked_sub(segment.file_offset).is_some_and(|within| within < segment.size))?;
        Some(offset - segment.file_offset + segment.address)
    }

    /// The functions at an address of the file, innermost inlined first; none if nothing is known.
    pub(super) fn look_up(&mut self, address: u64) -> (Vec<Frame>, Source) {
        let symbol = self.table.name(address).map(name::demangled);
        let mut frames = self.dwarf_frames(address).unwrap_or_default();
        let Some(outermost) = frames.last_mut() else {
            let source = if symbol.is_some() { Source::SymbolTable } else { Source::None };
            let frame = symbol.map(|function| Frame { function: Some(function), ..Frame::default() });
            return (frame.into_iter().collect(), source);
        };
        if outermost.function.as_deref().is_some_and(|name| self.table.is_named(address, name)) {
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
        let Some(context) = &self.context else { return Ok(Vec::new()) };
        let unit = context.find_dwarf_and_unit(address).skip_all_loads();
        let mut found = context.find_frames(address).skip_all_loads()?;
        let mut frames = Vec::new();
        while let Some(frame) = found.next()? {
            let linkage = frame.function.as_ref().map(|name| name.raw_name()).transpose()?;
            let function = match (linkage, frame.dw_die_offset, unit) {
                (Some(linkage), Some(entry), Some(unit)) if linkage.starts_with('_') => {
                    let written = self.units.name(unit, entry)?;
                    name::joined(Some(&name::demangled(&linkage)), written.as_deref())
                }
                (linkage, ..) => linkage.map(|name| name.into_owned()),
            };
            let location = frame.location.as_ref();
            frames.push(Frame {
                function,
                file: location.and_then(|location| location.file).map(str::to_owned),
                line: location.and_then(|location| location.line).filter(|line| *line > 0),
                column: location.and_then(|location| location.column).filter(|column| *column > 0),
                module: None,
            });
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
        self.table.range(address)
    }

    fn slot(&self, address: u64) -> Option<u64> {
        let relocations = self.relocations.get_or_init(|| relocations(self.bytes).unwrap_or_default());
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
struct FileDwarf {
    context: Context<Bytes>,
    /// How much of it there is for the program's own code.
    found: Option<DebugInfo>,
    /// What it borrows from beside the file.
    maps: Vec<Mmap>,
}

/// Reads a file's DWARF.
///
/// # Errors
/// A sentence: why it cannot be read.
fn read_dwarf(elf: &Elf) -> Result<FileDwarf, String> {
    let mut maps = Vec::new();
    let mut dwarf = Dwarf::load(|id: gimli::SectionId| -> Result<Bytes, String> {
        let (bytes, map) = section::bytes(elf, id.name())?;
        maps.extend(map);
        Ok(Bytes::new(bytes, LittleEndian))
    })?;
    dwarf.populate_abbreviations_cache(gimli::AbbreviationsCacheStrategy::Duplicates);
    let malformed = |error: gimli::Error| format!("its debug information is malformed: {error}");
    let found = debug_info::of_units(&dwarf).map_err(malformed)?;
    Ok(FileDwarf { context: Context::from_dwarf(dwarf).map_err(malformed)?, found, maps })
}

fn segments(elf: &Elf) -> Vec<Segment> {
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
