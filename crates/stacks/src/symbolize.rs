//! From an address to the functions and the lines that it is in, inlined ones included.
//!
//! Each file is opened once and its DWARF is read where an address asks for it; up to 16,384 addresses are remembered. A file that is
//! no longer mapped is closed, and [`Symbolizer::give_back`] drops what was read of the others. What a file can tell depends on how it
//! was built: [`Symbolizer::modules`] says what was found, and [`DebugInfo::advice`] the one line of a profile that would find more.
//!
//! What a stripped file lacks is looked for in files that are offered ([`Symbolizer::add_symbols`]), in the system's for its build-id, and
//! where its `.gnu_debuglink` leads. Of a process in another mount namespace, its own file systems are looked at first.
//!
//! Not supported: split DWARF (`split-debuginfo = "packed"` or `"unpacked"`; its lines are found, its inlined functions
//! are not), what `dwz` moved into a third file (`.gnu_debugaltlink`), debug sections that are compressed with zstd, and code without a file, such as the vDSO's or a JIT compiler's.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::address::CodeAddress;
use crate::maps::{Mapping, Maps};
use crate::process::Process;

mod checksum;
mod debug_info;
mod entry;
mod folder;
mod functions;
mod lines;
mod loaded;
mod module;
mod name;
mod open;
mod ranges;
mod scan;
mod section;
mod separate;
mod shorten;
mod table;
mod tail_call;
mod types;
mod units;

pub use debug_info::DebugInfo;
pub use loaded::build_id;
pub(crate) use name::split as split_path;
pub use scan::functions;
pub use shorten::shorten;
pub(crate) use shorten::{checkout, registry, standard_library};

pub(crate) use types::{AWAITED, Field, Form, Type, TypeId, Types, Variant};

use module::Module;

/// So many addresses are remembered; then all are forgotten. A program's stacks go through far fewer.
const REMEMBERED: usize = 1 << 14;
/// Nor are more bytes of names and paths.
const MOST_TEXT: usize = 4 << 20;

/// One function at an address: the one that the instruction is in, or one that this was inlined into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The function. With `debug = 1` or more its whole path and its type arguments. With line tables only, its path is
    /// that of the symbol table, and an inlined one has its last segment only, such as `{async_fn#0}`.
    pub function: Option<String>,
    /// The source file as the compiler named it, absolute where DWARF says against which folder; see [`shorten`].
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
    /// The mapped file that the code is in, as the kernel names it.
    pub module: Option<String>,
    /// The folder that the compiler ran in, where it was given a path relative to that, as Cargo gives those of a workspace: then all
    /// paths that the code itself knows are. Empty where it was given an absolute one; `None` where that is not known.
    pub compiled_in: Option<Arc<str>>,
}

impl Frame {
    /// The bytes of its names.
    fn text(&self) -> usize {
        [&self.function, &self.file, &self.module].into_iter().flatten().map(String::len).sum()
    }
}

/// What an address could be named from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Debug information: functions, inlined ones included, and lines.
    Dwarf,
    /// The symbol table: one function, no line, and nothing of what was inlined into it.
    SymbolTable,
    /// Nothing.
    None,
}

/// What is at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// The functions, innermost inlined first, never empty: an address of which nothing is known has one frame that says
    /// at most the module.
    pub frames: Vec<Frame>,
    /// What they are known from.
    pub source: Source,
}

/// What a mapped file was found to contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleInfo {
    /// The file as the kernel names it; one that was removed or replaced ends in ` (deleted)`.
    pub name: String,
    /// What its code can be named from.
    pub debug_info: DebugInfo,
    /// Its build-id in hexadecimal, if it has one.
    pub build_id: Option<String>,
    /// The separate file that its debug information was taken from, if any.
    pub debug_file: Option<PathBuf>,
    /// A sentence for each file that was offered for it, or is where its debug information should be, and was not taken: what it is
    /// instead. A file of another build has another build-id; both are in the sentence.
    pub refused: Vec<String>,
}

/// Names the addresses of one process.
///
/// ```
/// use pollscope_stacks::address::CodeAddress;
/// use pollscope_stacks::process::Process;
/// use pollscope_stacks::symbolize::Symbolizer;
///
/// #[inline(never)]
/// fn well_known() {}
///
/// let mut symbolizer = Symbolizer::new(Process::current());
/// let symbols = symbolizer.symbolize(CodeAddress::Exact(well_known as *const () as u64));
/// # if pollscope_stacks::SUPPORTED {
/// assert!(symbols.frames.last().unwrap().function.as_ref().unwrap().contains("well_known"));
/// # }
/// ```
#[derive(Debug)]
pub struct Symbolizer {
    process: Process,
    maps: Maps,
    modules: HashMap<(String, u64), Module>,
    /// Files and folders with debug information.
    symbols: Vec<PathBuf>,
    known: HashMap<u64, Arc<Symbols>>,
    /// The bytes of those.
    text: usize,
    /// The jumps between two addresses of a stack, innermost first.
    jumps: HashMap<(u64, u64), Vec<u64>>,
}

impl Symbolizer {
    /// For a process of the same user. Nothing is read before the first address is asked for.
    pub fn new(process: Process) -> Symbolizer {
        Symbolizer {
            process,
            maps: Maps::default(),
            modules: HashMap::new(),
            symbols: Vec::new(),
            known: HashMap::new(),
            text: 0,
            jumps: HashMap::new(),
        }
    }

    /// Offers a file with debug information, such as the unstripped copy of a program, or a folder of such files. It is used for modules
    /// of the same build-id that have none of their own code, before what is installed for that build-id in `/usr/lib/debug`, and before
    /// what the module's `.gnu_debuglink` leads to. What was already looked up is forgotten. [`ModuleInfo::refused`] says what was not
    /// used.
    ///
    /// ```
    /// use pollscope_stacks::{process::Process, symbolize::Symbolizer};
    /// let mut symbolizer = Symbolizer::new(Process::current());
    /// symbolizer.add_symbols("/srv/symbols");
    /// assert!(symbolizer.modules().is_empty(), "nothing is read before an address is asked for");
    /// ```
    pub fn add_symbols(&mut self, path: impl Into<PathBuf>) {
        self.symbols.push(path.into());
        self.modules.clear();
        self.forget();
    }

    /// What is at an address. The first look-up in a module reads the module; a repeated one costs a hash.
    pub fn symbolize(&mut self, address: CodeAddress) -> Arc<Symbols> {
        let address = address.lookup();
        if let Some(symbols) = self.known.get(&address) {
            return symbols.clone();
        }
        let symbols = Arc::new(self.look_up(address));
        self.make_room();
        self.text += symbols.frames.iter().map(Frame::text).sum::<usize>();
        self.known.insert(address, symbols.clone());
        symbols
    }

    /// What is at each address of a stack, given innermost first. Functions that left no frame because they ended in a
    /// call, and of which the code tells that they were there, are put in their places: as `Exact` addresses, of the jump.
    pub fn symbolize_stack(&mut self, stack: &[CodeAddress]) -> Vec<(CodeAddress, Arc<Symbols>)> {
        let mut all = Vec::with_capacity(stack.len());
        for (index, address) in stack.iter().enumerate() {
            if let (Some(inner), CodeAddress::Return(returns_to)) = (index.checked_sub(1), *address) {
                let jumps = self.jumps(stack[inner].lookup(), returns_to);
                all.extend(jumps.into_iter().map(CodeAddress::Exact));
            }
            all.push(*address);
        }
        all.into_iter().map(|address| (address, self.symbolize(address))).collect()
    }

    /// The function of the symbol table that an address is in.
    pub(crate) fn symbol(&mut self, address: u64) -> Option<String> {
        let mapping = self.mapping(address)?;
        let module = self.module(&mapping);
        module.symbol(module.virtual_address(&mapping, address)?)
    }

    /// What is known of the types of the file that has code at an address; `None` without debug information.
    pub(crate) fn types(&mut self, code: u64) -> Option<Types<'_>> {
        let mapping = self.mapping(code)?;
        let module = self.module(&mapping);
        let bias = code.wrapping_sub(module.virtual_address(&mapping, code)?);
        module.types(bias)
    }

    /// Reads again what is mapped where, and forgets every address if something is no longer where it was: another library may be in
    /// its place. For a program that unloads libraries; one that only loads more needs no call.
    ///
    /// # Errors
    /// When the process is gone, or not ours to look at.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.read_maps()
    }

    /// What the program's own file contains, read if it was not yet; `None` when the process is gone or not ours to look at.
    ///
    /// ```
    /// use pollscope_stacks::{process::Process, symbolize::Symbolizer};
    /// # if pollscope_stacks::SUPPORTED {
    /// let program = Symbolizer::new(Process::current()).program().unwrap();
    /// assert_eq!(program.name, std::env::current_exe().unwrap().to_str().unwrap());
    /// # }
    /// ```
    pub fn program(&mut self) -> Option<ModuleInfo> {
        self.read_maps().ok()?;
        let mapping = self.maps.of_program(&self.process)?;
        Some(self.module(&mapping).info(mapping.name))
    }

    /// What the files contain that addresses were looked up in so far, by name; without those that were unmapped since.
    pub fn modules(&self) -> Vec<ModuleInfo> {
        let mut modules: Vec<ModuleInfo> =
            self.modules.iter().map(|((name, _), module)| module.info(name.clone())).collect();
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        modules
    }

    /// Drops what was read of files, which can be tens of megabytes, but not the names that were found. The next address that is not
    /// remembered has its file read again.
    pub fn give_back(&mut self) {
        self.modules.values_mut().for_each(Module::give_back);
    }

    /// Of how many files something is kept that [`Symbolizer::give_back`] would drop.
    pub fn files_read(&self) -> usize {
        self.modules.values().filter(|module| module.is_read()).count()
    }

    fn forget(&mut self) {
        self.known.clear();
        self.text = 0;
        self.jumps.clear();
    }

    fn make_room(&mut self) {
        if self.known.len().max(self.jumps.len()) >= REMEMBERED || self.text >= MOST_TEXT {
            self.forget();
        }
    }

    /// Files that are no longer mapped are closed: a program may load any number of libraries, one after another.
    fn read_maps(&mut self) -> io::Result<()> {
        let before = std::mem::replace(&mut self.maps, Maps::read(&self.process)?);
        let mapped = self.maps.all();
        // A process that ended has no mappings, and the one who asks what its files told still wants to know.
        if mapped.is_empty() {
            return Ok(());
        }
        let is_moved = |mapping: &Mapping| mapping.inode != 0 && !mapped.contains(mapping);
        let has_moved = before.all().iter().any(is_moved);
        self.modules.retain(|(name, inode), _| mapped.iter().any(|m| m.inode == *inode && m.name == *name));
        if has_moved {
            self.forget();
        }
        Ok(())
    }

    fn look_up(&mut self, address: u64) -> Symbols {
        let Some(mapping) = self.mapping(address) else {
            return Symbols { frames: vec![Frame::default()], source: Source::None };
        };
        let module = self.module(&mapping);
        let (mut frames, source) = match module.virtual_address(&mapping, address) {
            Some(address) => module.look_up(address),
            None => (Vec::new(), Source::None),
        };
        if frames.is_empty() {
            frames.push(Frame::default());
        }
        if !mapping.name.is_empty() {
            frames.iter_mut().for_each(|frame| frame.module = Some(mapping.name.clone()));
        }
        Symbols { frames, source }
    }

    fn jumps(&mut self, inner: u64, returns_to: u64) -> Vec<u64> {
        if let Some(jumps) = self.jumps.get(&(inner, returns_to)) {
            return jumps.clone();
        }
        let jumps = self.find_jumps(inner, returns_to).unwrap_or_default();
        self.make_room();
        self.jumps.insert((inner, returns_to), jumps.clone());
        jumps
    }

    /// Within one mapping only: between two files there is no telling.
    fn find_jumps(&mut self, inner: u64, returns_to: u64) -> Option<Vec<u64>> {
        let mapping = self.mapping(returns_to)?;
        if !(mapping.start..mapping.end).contains(&inner) {
            return None;
        }
        let module = self.module(&mapping);
        let within = module.virtual_address(&mapping, inner)?;
        let jumps = module.tail_calls(within, module.virtual_address(&mapping, returns_to)?);
        Some(jumps.into_iter().map(|jump| jump.wrapping_sub(within).wrapping_add(inner)).collect())
    }

    fn module(&mut self, mapping: &Mapping) -> &mut Module {
        let (process, symbols) = (self.process, &self.symbols);
        let key = (mapping.name.clone(), mapping.inode);
        self.modules.entry(key).or_insert_with(|| Module::of(&process, mapping, symbols))
    }

    /// The mapping of an address; one that is not known yet may have been made since the maps were read.
    fn mapping(&mut self, address: u64) -> Option<Mapping> {
        if self.maps.find(address).is_none() {
            self.read_maps().ok()?;
        }
        self.maps.find(address).cloned()
    }
}

#[cfg(test)]
#[cfg(supported)]
mod tests;
