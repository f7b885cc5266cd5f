//! The walk, and the search for frame pointers that are not known.
//!
//! Where the rule for the caller's frame needs `rbp`, and no function further in saved it, the function's code tells how
//! far it is above the stack pointer. Where the code does not tell, because the function aligned its stack or took space
//! of a size that only it knew, every place in reach is tried whose return address follows a call.
//!
//! Old calls leave such places behind. So whatever was found is believed only if the walk from it ends at the thread's
//! first function, and if every direct call on the way leads to the function that was there. Otherwise the next place is
//! tried, and if there is none, the stack is incomplete: what the code tells for sure is never replaced by a guess.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::code::{self, CallSite, Depth};
use super::row::{Cfa, Missing, Row};
use super::{End, Memory, RBP, RSP, Registers, Stack, Unwinder};
use crate::address::CodeAddress;

/// More frames than this are not followed.
const MOST_FRAMES: usize = 4096;
/// After a guess no frame is believed to be larger than this, in bytes.
const FAR: u64 = 256 << 10;
/// Steps and guesses in all, before giving up.
const EFFORT: u32 = 100_000;
/// `_start` is at most this long.
const START: u64 = 128;

const NO_TABLE: &str = "this code has no unwinding table";
const NO_MEMORY: &str = "the stack cannot be read there, or is deeper than what was copied";
const NO_CALL: &str = "the return address does not follow a call";
const WRONG_CALL: &str = "the call before the return address is of another function";
const DOWNWARDS: &str = "the caller's frame is not above, or too far";
const NO_REGISTER: &str = "the frame depends on a register that is not known";
const NO_RULE: &str = "the unwinding rule is not understood";
const NO_FRAME_POINTER: &str = "no frame pointer leads to the thread's first function";
const OLD_ROOT: &str = "the thread's first function is further out";
const TOO_DEEP: &str = "more frames than are followed";
const GIVEN_UP: &str = "the search for the frame pointer was given up";

/// A place on the walk.
#[derive(Debug, Clone, Copy)]
struct Frame {
    registers: Registers,
    address: CodeAddress,
    trust: Trust,
}

/// How the frame pointers further in were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Trust {
    /// As the tables say.
    Tables,
    /// As the function's code says.
    Code,
    /// From the content of the stack.
    Guess,
}

/// A frame that was noted: where it is, and its stack pointer.
type Noted = (CodeAddress, u64);

/// Why the walk ended before the thread's first function.
#[derive(Debug, Clone, Copy)]
struct Dead {
    at: u64,
    why: &'static str,
}

pub(super) struct Search<'a> {
    unwinder: &'a mut Unwinder,
    memory: &'a mut dyn Memory,
    effort: u32,
    /// Places from which every guess failed: instruction, stack pointer, trust.
    failed: HashSet<(u64, u64, Trust)>,
    frames: Vec<Noted>,
    /// Where the last guess that led to the root began: of several, the innermost is the last to be known good.
    guessed: Option<usize>,
}

impl<'a> Search<'a> {
    pub(super) fn new(unwinder: &'a mut Unwinder, memory: &'a mut dyn Memory) -> Search<'a> {
        Search {
            unwinder,
            memory,
            effort: EFFORT,
            failed: HashSet::new(),
            frames: Vec::with_capacity(64),
            guessed: None,
        }
    }

    pub(super) fn stack(mut self, registers: &Registers) -> Stack {
        let (Some(pc), Some(sp)) = (registers.pc(), registers.sp()) else {
            return Stack { frames: Vec::new(), end: End::Incomplete { at: 0, why: NO_REGISTER }, guessed: None };
        };
        let address = CodeAddress::Exact(pc);
        self.frames.push((address, sp));
        let end = match self.walk(Frame { registers: *registers, address, trust: Trust::Tables }) {
            Ok(()) => End::Root,
            Err(Dead { at, why }) => End::Incomplete { at, why },
        };
        let guessed = self.guessed.filter(|_| end == End::Root);
        Stack { guessed, frames: self.frames.into_iter().map(|(address, _)| address).collect(), end }
    }

    /// Walks from a frame, which is already noted, to the root. On failure the frames noted are those that are certain.
    fn walk(&mut self, mut frame: Frame) -> Result<(), Dead> {
        loop {
            let dead = |why| Dead { at: frame.address.raw(), why };
            self.spend().map_err(dead)?;
            if self.frames.len() >= MOST_FRAMES {
                return Err(dead(TOO_DEEP));
            }
            let Some(row) = self.unwinder.row(frame.address.lookup(), self.memory) else {
                match self.without_table(&frame).map_err(dead)? {
                    None => return Ok(()),
                    Some(caller) => frame = self.enter(caller),
                }
                continue;
            };
            if row.is_root() {
                return if self.is_outermost(&frame) { Ok(()) } else { Err(dead(OLD_ROOT)) };
            }
            match row.cfa(&frame.registers, self.memory) {
                Err(Missing::Register(RBP)) => return self.recover(&frame, &row),
                Err(Missing::Register(_)) => return Err(dead(NO_REGISTER)),
                Err(Missing::Memory) => return Err(dead(NO_MEMORY)),
                Err(Missing::Unsupported) => return Err(dead(NO_RULE)),
                Ok(cfa) => match self.step(&frame, &row, cfa).map_err(dead)? {
                    None => return Ok(()),
                    Some(caller) => frame = self.enter(caller),
                },
            }
        }
    }

    /// Whether the thread's first function is not further up the stack as well: a first one that is not the outermost is
    /// left from an earlier thread that had this memory, or from an earlier look at the stack.
    fn is_outermost(&mut self, root: &Frame) -> bool {
        if root.trust < Trust::Guess {
            return true;
        }
        let sp = root.registers.sp().unwrap_or_default();
        for address in (sp..).step_by(8) {
            match self.memory.stack(address) {
                Some(word) if word == root.address.raw() => return false,
                Some(word) if word == address && self.is_thread_block(address) => return true,
                Some(_) => {}
                None => return true,
            }
        }
        true
    }

    /// Whether this is where the C library keeps what it knows of the thread, which is where the stack ends: a block that
    /// has its own address as its first and third word.
    fn is_thread_block(&mut self, address: u64) -> bool {
        self.memory.stack(address.wrapping_add(16)) == Some(address)
    }

    fn enter(&mut self, frame: Frame) -> Frame {
        self.frames.push((frame.address, frame.registers.sp().unwrap_or_default()));
        frame
    }

    fn spend(&mut self) -> Result<(), &'static str> {
        self.effort = self.effort.checked_sub(1).ok_or(GIVEN_UP)?;
        Ok(())
    }

    /// The caller, once it is known where its frame is; `None` if there is none, at the root.
    fn step(&mut self, frame: &Frame, row: &Row, cfa: u64) -> Result<Option<Frame>, &'static str> {
        let upwards = frame.registers.sp().is_some_and(|sp| cfa > sp);
        // A signal handler may run on a stack of its own, and an expression may lead to another stack on purpose.
        let may_leave = row.signal || (matches!(row.cfa, Cfa::Expression(_)) && frame.trust == Trust::Tables);
        if !upwards && !may_leave {
            return Err(DOWNWARDS);
        }
        let far = frame.registers.sp().is_none_or(|sp| cfa.wrapping_sub(sp) > FAR);
        if frame.trust == Trust::Guess && far {
            return Err(DOWNWARDS);
        }
        let registers = row.caller(cfa, &frame.registers, self.memory).map_err(|_| NO_MEMORY)?;
        let pc = registers.pc().ok_or(NO_MEMORY)?;
        let caller = |address| Frame { registers, address, trust: frame.trust };
        if row.signal {
            return Ok(Some(caller(CodeAddress::Exact(pc))));
        }
        match self.unwinder.call_site(pc, self.memory) {
            CallSite::Direct(target) if frame.trust > Trust::Tables => {
                if !self.unwinder.leads_to(target, row.function.start, self.memory) {
                    return Err(WRONG_CALL);
                }
            }
            CallSite::Direct(_) | CallSite::Indirect => {}
            CallSite::None => self.entered_without_call(pc, frame.trust)?,
        }
        Ok(Some(caller(CodeAddress::Return(pc))))
    }

    /// The kernel and the C library put some return addresses on the stack themselves.
    fn entered_without_call(&mut self, pc: u64, trust: Trust) -> Result<(), &'static str> {
        let row = self.unwinder.row(CodeAddress::Return(pc).lookup(), self.memory);
        match row {
            Some(row) if row.signal || (row.is_root() && trust < Trust::Guess) => Ok(()),
            _ => Err(NO_CALL),
        }
    }

    /// Code without rules: a hand-written wrapper of a system call, a linker's stub, or where the program starts, which has no caller.
    fn without_table(&mut self, frame: &Frame) -> Result<Option<Frame>, &'static str> {
        let address = frame.address.lookup();
        let entry = self.unwinder.module(address, self.memory).map(|module| module.entry);
        if entry.is_some_and(|entry| (entry..entry + START).contains(&address)) {
            return Ok(None);
        }
        // The outermost frame is to have a frame pointer of zero, says the ABI: so do C libraries that have no table there.
        let outermost = frame.registers.get(RBP) == Some(0) && frame.trust < Trust::Guess;
        if outermost && matches!(frame.address, CodeAddress::Return(_)) {
            return Ok(None);
        }
        let is_on_top = self.innermost(frame).is_some_and(|pc| self.is_in_syscall(pc) || self.is_in_stub(pc));
        let sp = frame.registers.sp().filter(|_| is_on_top).ok_or(NO_TABLE)?;
        let pc = self.memory.stack(sp).ok_or(NO_MEMORY)?;
        if self.unwinder.call_site(pc, self.memory) == CallSite::None {
            return Err(NO_TABLE);
        }
        let mut registers = Registers::blocked(sp.wrapping_add(8), pc);
        registers.set(RBP, frame.registers.get(RBP));
        Ok(Some(Frame { registers, address: CodeAddress::Return(pc), ..*frame }))
    }

    /// The instruction that the thread is at, if that is in this frame.
    fn innermost(&self, frame: &Frame) -> Option<u64> {
        match frame.address {
            CodeAddress::Exact(pc) if self.frames.len() == 1 => Some(pc),
            _ => None,
        }
    }

    /// Whether the instruction before is `syscall`.
    fn is_in_syscall(&mut self, pc: u64) -> bool {
        let mut bytes = [0; 2];
        self.memory.code(pc.wrapping_sub(2), &mut bytes) == 2 && bytes == [0x0f, 0x05]
    }

    /// Whether it is a linker's jump to a function of another file, of which some linkers make no table: it leaves the stack alone.
    fn is_in_stub(&mut self, pc: u64) -> bool {
        code::jump(pc, self.memory).is_some_and(|jump| jump.is_ip_rel_memory_operand())
    }

    /// Walks on from a frame whose rule needs the frame pointer, which is not known.
    fn recover(&mut self, frame: &Frame, row: &Arc<Row>) -> Result<(), Dead> {
        let at = frame.address.raw();
        let sp = frame.registers.get(RSP).unwrap_or_default();
        let key = (at, sp, frame.trust);
        if self.failed.contains(&key) {
            return Err(Dead { at, why: NO_FRAME_POINTER });
        }
        let depth = self.unwinder.depth(frame.address.lookup(), self.memory);
        let least = sp.saturating_add(depth.least);
        let range = least..least.saturating_add(depth.slack.max(8));
        let found = match self.only(frame, row, &range, depth) {
            Some(rbp) => self.attempt(&Frame { trust: frame.trust.max(Trust::Code), ..*frame }, row, rbp),
            None => self.guess(&Frame { trust: Trust::Guess, ..*frame }, row, range),
        };
        if found {
            return Ok(());
        }
        if self.effort == 0 {
            return Err(Dead { at, why: GIVEN_UP });
        }
        self.failed.insert(key);
        Err(Dead { at, why: NO_FRAME_POINTER })
    }

    /// The frame pointer, if the code leaves no choice: because it tells, or because it aligned the stack and of the few
    /// places that come into question only one is that of a return address to a call of this function.
    fn only(&mut self, frame: &Frame, row: &Row, range: &Range<u64>, depth: Depth) -> Option<u64> {
        if depth.slack == 0 {
            return Some(range.start);
        }
        if depth.slack >= Depth::MOST {
            return None;
        }
        let mut possible = Vec::new();
        for rbp in range.clone().step_by(8) {
            match self.call_site_with(frame, row, rbp)? {
                CallSite::Direct(target) if self.unwinder.leads_to(target, row.function.start, self.memory) => {
                    possible.push((rbp, target == row.function.start));
                }
                CallSite::Indirect => possible.push((rbp, false)),
                CallSite::Direct(_) | CallSite::None => {}
            }
        }
        if possible.iter().any(|(_, direct)| *direct) {
            possible.retain(|(_, direct)| *direct);
        }
        match possible[..] {
            [(rbp, _)] => Some(rbp),
            _ => None,
        }
    }

    /// Tries every frame pointer in a range. The first that leads to the root is mostly right: those further out
    /// leave frames out. But where it is not of a direct call of this function, and there is one further out, then this
    /// must be on the way too; else what came first was an old frame.
    fn guess(&mut self, frame: &Frame, row: &Row, range: Range<u64>) -> bool {
        let noted = self.frames.len();
        let mut first: Option<Vec<Noted>> = None;
        for rbp in range.step_by(8) {
            let Some(site) = self.call_site_with(frame, row, rbp) else { break };
            let direct = site == CallSite::Direct(row.function.start);
            if site == CallSite::None || (first.is_some() && !direct) || !self.attempt(frame, row, rbp) {
                continue;
            }
            match &first {
                None if direct => {
                    self.guessed = Some(noted);
                    return true;
                }
                None => first = Some(self.frames.split_off(noted)),
                Some(walk) if walk.contains(&self.frames[noted]) => break,
                Some(_) => {
                    self.guessed = Some(noted);
                    return true;
                }
            }
        }
        let Some(first) = first else { return false };
        self.frames.truncate(noted);
        self.frames.extend(first);
        self.guessed = Some(noted);
        true
    }

    /// What is before the caller's instruction with this frame pointer; `None` at the end of the stack.
    fn call_site_with(&mut self, frame: &Frame, row: &Row, rbp: u64) -> Option<CallSite> {
        self.spend().ok()?;
        self.memory.stack(rbp)?;
        let mut registers = frame.registers;
        registers.set(RBP, Some(rbp));
        // At a call the stack is aligned to 16 bytes.
        let pc = row
            .cfa(&registers, self.memory)
            .ok()
            .filter(|cfa| cfa.is_multiple_of(16))
            .and_then(|cfa| row.caller(cfa, &registers, self.memory).ok()?.pc());
        // A function that aligns its stack before it sets the frame pointer copies its return address to above that.
        let copied = matches!(row.cfa, Cfa::Register { .. }) || self.memory.stack(rbp.wrapping_add(8)) == pc;
        Some(pc.filter(|_| copied).map_or(CallSite::None, |pc| self.unwinder.call_site(pc, self.memory)))
    }

    /// Whether the walk reaches the root with this frame pointer. If not, no frame of the attempt stays noted.
    fn attempt(&mut self, frame: &Frame, row: &Row, rbp: u64) -> bool {
        let mut frame = *frame;
        frame.registers.set(RBP, Some(rbp));
        let noted = self.frames.len();
        let Ok(cfa) = row.cfa(&frame.registers, self.memory) else { return false };
        let reached = match self.step(&frame, row, cfa) {
            Ok(None) => true,
            Ok(Some(caller)) => {
                let caller = self.enter(caller);
                self.walk(caller).is_ok()
            }
            Err(_) => false,
        };
        if !reached {
            self.frames.truncate(noted);
        }
        reached
    }
}
