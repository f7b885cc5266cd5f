//! One mapped file: what its code is called, and where it was written.

use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};

use gimli::{Dwarf, LittleEndian};
use memmap2::Mmap;
use object::read::elf::ProgramHeader;
use object::{Object, ObjectSection};
use pollscope_base::escape::escape;

use super::lines::Location;
use super::open::{self, Elf, Image};
use super::separate::{Separate, Wanted};
use super::table::Table;
use super::tail_call::{self, Code};
use super::types::{Known, Types};
use super::units::Units;
use super::{DebugInfo, Frame, ModuleInfo, Source, debug_info, name, section};
use crate::elf_head::{Loaded, Segment};
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
    /// What was not taken for its debug information, a sentence each.
    refused: Vec<String>,
    files: Option<Files>,
}

/// The mapped file, where it can be read, and the one that its debug information is in, if that is another. They stay mapped, as they
/// may have been removed since.
struct Files {
    image: Option<Image>,
    separate: Option<(PathBuf, Image)>,
}

/// What takes memory: what was read of a file to name what is in it.
#[derive(Default)]
struct Contents {
    /// DWARF, unless there is none.
    units: Option<Units>,
    table: Table,
    /// Where the loader writes an address of the module, and which, in order.
    relocations: OnceCell<Vec<(u64, u64)>>,
    /// What is known of types, once it was asked for.
    types: Option<Known>,
    /// What the DWARF was unpacked to; it borrows from that, so that stays the last.
    _unpacked: Vec<Mmap>,
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &Image> {
        self.image.iter().chain(self.separate.iter().map(|(_, image)| image))
    }

    /// The names and lines are those of the separate file, if there is one.
    fn read(&self) -> (Contents, DebugInfo) {
        let mut tables =
            self.separate.iter().map(|(_, image)| image).chain(&self.image).map(|image| Table::of(&image.elf));
        let mut table = tables.next().unwrap_or_default();
        if !table.complete {
            table = tables.next().unwrap_or(table);
        }
        let without = if table.complete { DebugInfo::Symbols } else { DebugInfo::Stripped };
        let source = self.separate.as_ref().map(|(_, image)| image).or(self.image.as_ref());
        let (units, debug_info, unpacked) = match source.map(|source| read_dwarf(&source.elf)) {
            Some(Ok(FileDwarf { units, found, maps })) => (Some(units), found.unwrap_or(without), maps),
            Some(Err(why)) => {
                // Its name alone: this is shown where paths may not be.
                let name = self.separate.as_ref().and_then(|(path, _)| path.file_name());
                let of = name.map(|name| format!("`{}`: ", escape(&name.to_string_lossy()))).unwrap_or_default();
                (None, DebugInfo::Unreadable(of + &why), Vec::new())
            }
            None => (None, without, Vec::new()),
        };
        (Contents { units, table, _unpacked: unpacked, ..Contents::default() }, debug_info)
    }
}

impl Module {
    /// Opens the file of a mapping, and where that has no debug information of the program's code, one that has: of the files and
    /// folders in `symbols`, or of the system's. If neither can be read, it is a module of which nothing is known.
    pub(super) fn of(process: &Process, mapping: &Mapping, symbols: &[PathBuf]) -> Module {
        let path = mapping.path.as_deref();
        // What is mapped here is what its inode says, but another process may see other file systems.
        let mut loaded = if process.is_own() { None } else { Loaded::read(process, mapping) };
        match Image::of_mapping(process, mapping, loaded.as_ref()) {
            Ok(image) => Module::of_image(image, process, path, symbols),
            Err(why) => {
                loaded = loaded.or_else(|| Loaded::read(process, mapping).filter(|_| path.is_some()));
                Module::without_image(why, loaded, process, path, symbols)
            }
        }
    }

    /// Of a file that cannot be read: all that is known of it is what the process has in its memory.
    fn without_image(
        why: String,
        loaded: Option<Loaded>,
        process: &Process,
        path: Option<&Path>,
        symbols: &[PathBuf],
    ) -> Module {
        let Loaded { segments, build_id } = loaded.unwrap_or_default();
        let wanted = Wanted { process, path, build_id: build_id.as_deref(), link: None, has_symbols: false };
        let Separate { file, refused } = if build_id.is_some() { wanted.find(symbols) } else { Separate::default() };
        let build_id = build_id.as_deref().map(open::hex);
        let unknown = Module { segments, build_id, refused, ..Module::unreadable(why) };
        let Some(file) = file else { return unknown };
        let files = Files { image: None, separate: Some(file) };
        let (contents, debug_info) = files.read();
        Module { contents: contents.into(), debug_info, files: Some(files), ..unknown }
    }

    fn unreadable(why: String) -> Module {
        Module {
            contents: OnceCell::new(),
            segments: Vec::new(),
            bytes: &[],
            debug_info: DebugInfo::Unreadable(why),
            build_id: None,
            refused: Vec::new(),
            files: None,
        }
    }

    pub(super) fn of_image(image: Image, process: &Process, path: Option<&Path>, symbols: &[PathBuf]) -> Module {
        let (build_id, link) = (image.build_id(), image.elf.gnu_debuglink().ok().flatten());
        let (segments, bytes) = (segments(&image.elf), image.elf.data());
        let mut files = Files { image: Some(image), separate: None };
        let (mut contents, mut debug_info) = files.read();
        let mut refused = Vec::new();
        // Not by whether it has any: a program without its own has that of the standard library.
        if !matches!(debug_info, DebugInfo::Full | DebugInfo::LineTables) {
            let wanted = Wanted { process, path, build_id, link, has_symbols: contents.table.complete };
            let found = wanted.find(symbols);
            refused = found.refused;
            if found.file.is_some() {
                files.separate = found.file;
                (contents, debug_info) = files.read();
            }
        }
        let build_id = build_id.map(open::hex);
        Module { contents: contents.into(), segments, bytes, debug_info, build_id, refused, files: Some(files) }
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
        self.files.iter().flat_map(Files::all).for_each(Image::give_back);
    }

    /// What was found.
    pub(super) fn info(&self, name: String) -> ModuleInfo {
        let separate = self.files.as_ref().and_then(|files| files.separate.as_ref());
        ModuleInfo {
            name,
            debug_info: self.debug_info.clone(),
            build_id: self.build_id.clone(),
            debug_file: separate.map(|(path, _)| path.clone()),
            refused: self.refused.clone(),
        }
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

    /// What its debug information tells of types; `None` if it has none, or it is malformed.
    pub(super) fn types(&mut self, bias: u64) -> Option<Types<'_>> {
        self.contents();
        let Contents { units, types, .. } = self.contents.get_mut()?;
        let units = units.as_mut()?;
        if types.is_none() {
            *types = Some(Known::of(units).ok()?);
        }
        Some(Types::new(units, types.as_mut()?, bias))
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
    let (mut maps, mut room) = (Vec::new(), section::Room::default());
    let mut dwarf = Dwarf::load(|id: gimli::SectionId| -> Result<Bytes, String> {
        let (bytes, map) = section::bytes(elf, id.name(), &mut room)?;
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
    loaded.map(Segment::of).collect()
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
