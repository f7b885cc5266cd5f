//! From a stack pointer and an instruction to every caller, up to the thread's first function.
//!
//! You provide the executable mappings and a way to read memory; this walks the stack with the tables that compilers
//! emit for exceptions (`.eh_frame`). It does no I/O of its own, and it does not name functions.
//!
//! What is special is that of all registers only the stack pointer and the instruction need be known: that is all that
//! the kernel tells of a blocked thread. Some functions (those of the precompiled standard library among them) describe
//! their frame relative to `rbp`, which is unknown then. It is recovered from what the function's code does to the stack
//! pointer. Where the code tells that for sure, frames count even if the stack cannot be followed to its end; what had to be
//! searched for is only believed when it reaches the thread's first function: `search.rs` says how, and why.

mod cleanup;
mod code;
mod end;
mod followed;
mod module;
mod pointers;
mod row;
mod search;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::address::CodeAddress;
use crate::maps::Maps;
pub use crate::registers::Registers;
pub(crate) use crate::registers::{RBP, RIP, RSP};
pub(crate) use code::follow_jumps;
use code::{CallSite, Depth};
pub use end::{End, Obstacle};
pub use followed::LeftOut;
use module::Module;
pub use pointers::StackPointers;
use row::Row;

/// How the unwinder sees the memory of the process.
pub trait Memory {
    /// The word at an address of the stack; `None` when it cannot be had.
    fn stack(&mut self, address: u64) -> Option<u64>;
    /// Fills `into` with code or other constant data of a mapped file. Returns how many bytes could be read.
    fn code(&mut self, address: u64, into: &mut [u8]) -> usize;
    /// How much of a stack is copied at most, in bytes, once more than that was asked for; `None` if what could not be had is
    /// not there.
    fn limit(&self) -> Option<u64> {
        None
    }
}

/// The instructions that a thread is in, from the innermost outwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// First where the thread is, then where each call returns to; of more than 4,096 the innermost and the outermost ones.
    pub frames: Vec<CodeAddress>,
    /// Those between; `None` if all are kept.
    pub left_out: Option<LeftOut>,
    /// How the stack ends. However it does, the frames are certain, but for those after a guess.
    pub end: End,
    /// The first of the frames that rest on a guess. In code of Rust there are none. A function in C that takes space on
    /// its stack of a size that only it knows, with `alloca`, does not tell where its frame is; then one is taken that
    /// fits with all that is known, and an old frame in that space may fit as well.
    pub guessed: Option<usize>,
}

impl Stack {
    /// Whether the thread's first function was reached.
    pub fn is_complete(&self) -> bool {
        self.end == End::Root
    }

    /// Whether it goes on where nothing of it was copied.
    pub fn is_cut(&self) -> bool {
        matches!(self.end, End::Incomplete { why: Obstacle::NotCopied(_), .. })
    }
}

/// So many instructions are remembered of each kind; then all are forgotten. A program's stacks go through far fewer.
const REMEMBERED: usize = 1 << 14;

/// The unwinding tables of one process, read as they are needed and kept.
#[derive(Debug, Default)]
pub struct Unwinder {
    maps: Maps,
    /// By the start of the executable mapping.
    modules: HashMap<u64, Option<Module>>,
    rows: HashMap<u64, Option<Arc<Row>>>,
    call_sites: HashMap<u64, CallSite>,
    depths: HashMap<u64, Depth>,
    tail_calls: HashMap<u64, bool>,
    context: module::Context,
}

impl Unwinder {
    /// For a process with these mappings.
    pub fn new(maps: Maps) -> Unwinder {
        Unwinder { maps, ..Unwinder::default() }
    }

    /// The mappings that it goes by.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Takes newer mappings: what was learnt of files that are no longer where they were is forgotten.
    pub fn update(&mut self, maps: Maps) {
        let of_file = self.maps.all().iter().filter(|mapping| mapping.header.is_some());
        let moved = of_file.into_iter().any(|mapping| !maps.all().contains(mapping));
        if moved {
            *self = Unwinder::new(maps);
        } else {
            self.modules.retain(|_, module| module.is_some());
            self.rows.retain(|_, row| row.is_some());
            self.call_sites.retain(|_, site| *site != CallSite::None);
            self.maps = maps;
        }
    }

    /// Reads the tables of the file that an address is in, unless that was done.
    pub fn prepare(&mut self, address: u64, memory: &mut dyn Memory) {
        self.module(address, memory);
    }

    /// Every caller of a thread with these registers, of which the stack pointer and the instruction must be known.
    ///
    /// The innermost function, if it has no table and calls the kernel, as hand-written wrappers of system calls do, or jumps to
    /// a function of another file, as a linker's stubs do, is taken to have the return address on the top of its stack.
    pub fn unwind(&mut self, registers: &Registers, memory: &mut dyn Memory) -> Stack {
        self.unwind_with_registers(registers, memory).0
    }

    /// The same, and of each frame what is known of the registers.
    pub(crate) fn unwind_with_registers(
        &mut self,
        registers: &Registers,
        memory: &mut dyn Memory,
    ) -> (Stack, Vec<Registers>) {
        self.make_room();
        search::Search::new(self, memory).stack(registers)
    }

    /// The file that a frame's function is in, as a range of addresses, if the function has something to drop anywhere.
    pub(crate) fn code_with_cleanup(&mut self, frame: CodeAddress, memory: &mut dyn Memory) -> Option<Range<u64>> {
        self.row(frame.lookup(), memory)?.cleanup_table?;
        self.maps.find(frame.lookup()).map(|mapping| mapping.start..mapping.end)
    }

    /// Where a frame's function goes on if what it called unwinds, as it does after a panic, to drop what it has; `None` if it has
    /// nothing to do then. And the file that it is in, as a range of addresses.
    pub(crate) fn cleanup(&mut self, frame: CodeAddress, memory: &mut dyn Memory) -> Option<(u64, Range<u64>)> {
        let row = self.row(frame.lookup(), memory)?;
        let pad = cleanup::landing_pad(row.cleanup_table?, row.function.start, frame.lookup(), memory)?;
        let mapping = self.maps.find(pad)?;
        Some((pad, mapping.start..mapping.end))
    }

    /// The addresses of a frame's function.
    pub(crate) fn function(&mut self, frame: CodeAddress, memory: &mut dyn Memory) -> Option<Range<u64>> {
        self.row(frame.lookup(), memory).map(|row| row.function.clone())
    }

    fn make_room(&mut self) {
        let longest = [self.rows.len(), self.call_sites.len(), self.depths.len(), self.tail_calls.len()];
        if longest.into_iter().any(|length| length >= REMEMBERED) {
            self.rows.clear();
            self.call_sites.clear();
            self.depths.clear();
            self.tail_calls.clear();
        }
    }

    /// The rules at an instruction; `None` where there are none.
    fn row(&mut self, lookup: u64, memory: &mut dyn Memory) -> Option<Arc<Row>> {
        if let Some(row) = self.rows.get(&lookup) {
            return row.clone();
        }
        self.module(lookup, memory);
        let row = loaded(&self.maps, &self.modules, lookup).and_then(|module| module.row(lookup, &mut self.context));
        let row = row.map(Arc::new);
        self.rows.insert(lookup, row.clone());
        row
    }

    /// The module that an address is in, loaded if it was not yet.
    fn module(&mut self, address: u64, memory: &mut dyn Memory) -> Option<&Module> {
        let mapping = self.maps.find(address)?;
        self.modules.entry(mapping.start).or_insert_with(|| Module::load(mapping, memory)).as_ref()
    }

    /// What is before an instruction that is said to be a return address.
    fn call_site(&mut self, address: u64, memory: &mut dyn Memory) -> CallSite {
        if self.maps.find(address.wrapping_sub(1)).is_none() {
            return CallSite::None;
        }
        if let Some(site) = self.call_sites.get(&address) {
            return *site;
        }
        let site = match CallSite::before(address, memory) {
            // What looks like a call of nothing is none.
            CallSite::Direct(target) if self.maps.find(target).is_none() => CallSite::None,
            CallSite::Direct(target) => CallSite::Direct(code::follow_jumps(target, memory)),
            site => site,
        };
        self.call_sites.insert(address, site);
        site
    }

    /// How far above the stack pointer the frame pointer is, at an instruction in the body of a function.
    fn depth(&mut self, lookup: u64, memory: &mut dyn Memory) -> Depth {
        if let Some(depth) = self.depths.get(&lookup) {
            return *depth;
        }
        let start = loaded(&self.maps, &self.modules, lookup)
            .and_then(|module| module.frame_pointer_set(lookup, &mut self.context));
        let depth = start.map_or(Depth::UNKNOWN, |start| Depth::decode(start, lookup, memory));
        self.depths.insert(lookup, depth);
        depth
    }

    /// Whether a call of `target` can have led to the function `function`: it is it, or it jumps elsewhere.
    fn leads_to(&mut self, target: u64, function: u64, memory: &mut dyn Memory) -> bool {
        if target == function {
            return true;
        }
        let range = self.row(target, memory).map(|row| row.function.clone()).unwrap_or(target..target + 32);
        *self.tail_calls.entry(target).or_insert_with(|| code::jumps_out(&range, memory))
    }
}

/// The module that an address is in, if it was loaded.
fn loaded<'a>(maps: &Maps, modules: &'a HashMap<u64, Option<Module>>, address: u64) -> Option<&'a Module> {
    modules.get(&maps.find(address)?.start)?.as_ref()
}
