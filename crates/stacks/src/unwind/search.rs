//! The walk, and the search for frame pointers that are not known.
//!
//! Where the rule for the caller's frame needs `rbp`, and no function further in saved it, the function's code tells how
//! far it is above the stack pointer. Where the code does not tell, because the function aligned its stack or took space
//! of a size that only it knew, every place in reach is tried whose return address follows a call.
//!
//! Old calls leave such places behind. So what was searched for is believed only if the walk from it ends at the thread's
//! first function, and if every direct call on the way leads to the function that was there. Otherwise the next place is
//! tried, and if there is none, the stack is incomplete: what the code tells for sure is never replaced by a guess.
//!
//! What the code tells for sure stays even where the walk ends early, as it does where more of the stack is not copied. Only
//! where the walk came to what cannot be is it taken back, up to where the call itself did not confirm it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::code::{self, CallSite, Depth};
use super::followed::{Followed, Noted};
use super::row::{Cfa, Missing, Row};
use super::{End, Memory, Obstacle, RBP, RSP, Registers, Stack, Unwinder};
use crate::address::CodeAddress;

/// More frames than this are not followed: a stack of 2 MiB, the default of a thread, has no more, at 16 bytes each.
const MOST_FRAMES: usize = 128 << 10;
/// After a guess no more than this, all of which are remembered.
const MOST_GUESSED: usize = 4096;
/// After a guess no frame is believed to be larger than this, in bytes.
const FAR: u64 = 256 << 10;
/// Guesses, and steps after one, in all, before giving up.
const EFFORT: u32 = 100_000;
/// `_start` is at most this long.
const START: u64 = 128;

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

/// Why the walk ended before the thread's first function.
#[derive(Debug, Clone, Copy)]
struct Dead {
    at: u64,
    why: Obstacle,
}

/// A frame pointer that the code leaves no choice of.
struct Told {
    rbp: u64,
    /// Whether other places came into question, which fit less well.
    is_chosen: bool,
}

/// So many frames, the last one at this instruction, to which the walk may have to go back.
#[derive(Debug, Clone, Copy)]
struct Retreat {
    count: usize,
    at: u64,
}

pub(super) struct Search<'a> {
    unwinder: &'a mut Unwinder,
    memory: &'a mut dyn Memory,
    effort: u32,
    /// Places from which every guess failed: instruction, stack pointer, trust.
    failed: HashSet<(u64, u64, Trust)>,
    /// Up to the first guess.
    sure: Followed,
    /// What is sure only if the walk reaches the thread's first function.
    unsure: Option<Retreat>,
    /// What is sure unless the walk comes to what cannot be.
    unconfirmed: Option<Retreat>,
    /// From the first guess on.
    tail: Vec<Noted>,
    /// Where in the tail the last guess that led to the root began: of several, the innermost is the last to be known good.
    guessed: Option<usize>,
}

impl<'a> Search<'a> {
    pub(super) fn new(unwinder: &'a mut Unwinder, memory: &'a mut dyn Memory) -> Search<'a> {
        Search {
            unwinder,
            memory,
            effort: EFFORT,
            failed: HashSet::new(),
            sure: Followed::new(),
            unsure: None,
            unconfirmed: None,
            tail: Vec::new(),
            guessed: None,
        }
    }

    /// The stack, and of each of its frames that are kept what is known of the registers.
    pub(super) fn stack(mut self, registers: &Registers) -> (Stack, Vec<Registers>) {
        let (Some(pc), Some(_)) = (registers.pc(), registers.sp()) else {
            let end = End::Incomplete { at: 0, why: Obstacle::UnknownRegister };
            return (Stack { frames: Vec::new(), left_out: None, end, guessed: None }, Vec::new());
        };
        let frame = Frame { registers: *registers, address: CodeAddress::Exact(pc), trust: Trust::Tables };
        self.enter(frame);
        let end = match self.walk(frame) {
            Ok(()) => End::Root,
            Err(dead) => self.go_back(dead),
        };
        let guessed = self.guessed.filter(|_| end == End::Root).map(|index| self.sure.len() + index);
        self.tail.into_iter().for_each(|noted| self.sure.push(noted));
        let guessed = guessed.map(|index| self.sure.kept_index(index));
        let (noted, left_out) = self.sure.into_frames();
        let (frames, registers) = noted.into_iter().map(|noted| (noted.address, noted.registers)).unzip();
        (Stack { frames, left_out, end, guessed }, registers)
    }

    /// Takes back what is not sure of a walk that ended early.
    fn go_back(&mut self, dead: Dead) -> End {
        let contradicted = self.unconfirmed.filter(|_| dead.why.is_contradiction());
        match [self.unsure, contradicted].into_iter().flatten().min_by_key(|retreat| retreat.count) {
            Some(Retreat { count, at }) => {
                self.sure.truncate(count);
                let why = if dead.why.is_contradiction() { Obstacle::NoFramePointer } else { dead.why };
                End::Incomplete { at, why }
            }
            None => End::Incomplete { at: dead.at, why: dead.why },
        }
    }

    /// Walks from a frame, which is already noted, to the root. On failure the frames noted are those that are certain, but for
    /// the places to go back to.
    fn walk(&mut self, mut frame: Frame) -> Result<(), Dead> {
        loop {
            let at = frame.address.raw();
            let dead = |why| Dead { at, why };
            self.may_go_on(frame.trust).map_err(dead)?;
            let Some(row) = self.unwinder.row(frame.address.lookup(), self.memory) else {
                match self.without_table(&frame).map_err(dead)? {
                    None => return Ok(()),
                    Some(caller) => frame = self.enter(caller),
                }
                continue;
            };
            if row.is_root() {
                return if self.is_outermost(&frame) { Ok(()) } else { Err(dead(Obstacle::OldRoot)) };
            }
            let mut cfa = row.cfa(&frame.registers, self.memory);
            if cfa == Err(Missing::Register(RBP)) {
                let depth = self.unwinder.depth(frame.address.lookup(), self.memory);
                let told = if frame.trust < Trust::Guess { self.only(&frame, &row, depth) } else { None };
                let Some(told) = told else { return self.recover(&frame, &row, depth) };
                frame = self.as_told(frame, &row, &told);
                cfa = row.cfa(&frame.registers, self.memory);
            }
            let cfa = cfa.map_err(|missing| dead(self.obstacle(missing)))?;
            match self.step(&frame, &row, cfa).map_err(dead)? {
                None => return Ok(()),
                Some(caller) => frame = self.enter(caller),
            }
        }
    }

    fn may_go_on(&mut self, trust: Trust) -> Result<(), Obstacle> {
        if trust == Trust::Guess {
            self.spend()?;
            let most = Obstacle::TooManyFrames(MOST_GUESSED);
            return if self.tail.len() < MOST_GUESSED { Ok(()) } else { Err(most) };
        }
        let most = Obstacle::TooManyFrames(MOST_FRAMES);
        if self.sure.len() < MOST_FRAMES { Ok(()) } else { Err(most) }
    }

    fn obstacle(&self, missing: Missing) -> Obstacle {
        match missing {
            Missing::Register(_) => Obstacle::UnknownRegister,
            Missing::Unsupported => Obstacle::UnknownRule,
            Missing::Memory => self.no_memory(),
        }
    }

    fn no_memory(&self) -> Obstacle {
        self.memory.limit().map_or(Obstacle::Unreadable, Obstacle::NotCopied)
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
        let noted = Noted { address: frame.address, registers: frame.registers };
        match frame.trust {
            Trust::Guess => self.tail.push(noted),
            Trust::Tables | Trust::Code => self.sure.push(noted),
        }
        frame
    }

    fn spend(&mut self) -> Result<(), Obstacle> {
        self.effort = self.effort.checked_sub(1).ok_or(Obstacle::GivenUp)?;
        Ok(())
    }

    /// The caller, once it is known where its frame is; `None` if there is none, at the root.
    fn step(&mut self, frame: &Frame, row: &Row, cfa: u64) -> Result<Option<Frame>, Obstacle> {
        let upwards = frame.registers.sp().is_some_and(|sp| cfa > sp);
        // A signal handler may run on a stack of its own, and an expression may lead to another stack on purpose.
        let may_leave = row.signal || (matches!(row.cfa, Cfa::Expression(_)) && frame.trust == Trust::Tables);
        if !upwards && !may_leave {
            return Err(Obstacle::Downwards);
        }
        let far = frame.registers.sp().is_none_or(|sp| cfa.wrapping_sub(sp) > FAR);
        if frame.trust == Trust::Guess && far {
            return Err(Obstacle::Downwards);
        }
        let registers = row.caller(cfa, &frame.registers, self.memory).map_err(|_| self.no_memory())?;
        let pc = registers.pc().ok_or(Obstacle::Unreadable)?;
        let caller = |address| Frame { registers, address, trust: frame.trust };
        if row.signal {
            return Ok(Some(caller(CodeAddress::Exact(pc))));
        }
        match self.unwinder.call_site(pc, self.memory) {
            CallSite::Direct(target) if frame.trust > Trust::Tables => {
                if !self.unwinder.leads_to(target, row.function.start, self.memory) {
                    return Err(Obstacle::OtherCall);
                }
            }
            CallSite::Direct(_) | CallSite::Indirect => {}
            CallSite::None => self.entered_without_call(pc, frame.trust)?,
        }
        Ok(Some(caller(CodeAddress::Return(pc))))
    }

    /// The kernel and the C library put some return addresses on the stack themselves.
    fn entered_without_call(&mut self, pc: u64, trust: Trust) -> Result<(), Obstacle> {
        let row = self.unwinder.row(CodeAddress::Return(pc).lookup(), self.memory);
        match row {
            Some(row) if row.signal || (row.is_root() && trust < Trust::Guess) => Ok(()),
            _ => Err(Obstacle::NoCall),
        }
    }

    /// Code without rules: a hand-written wrapper of a system call, a linker's stub, or where the program starts, which has no caller.
    fn without_table(&mut self, frame: &Frame) -> Result<Option<Frame>, Obstacle> {
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
        let sp = frame.registers.sp().filter(|_| is_on_top).ok_or(Obstacle::NoTable)?;
        let pc = self.memory.stack(sp).ok_or_else(|| self.no_memory())?;
        if self.unwinder.call_site(pc, self.memory) == CallSite::None {
            return Err(Obstacle::NoTable);
        }
        let mut registers = Registers::blocked(sp.wrapping_add(8), pc);
        registers.set(RBP, frame.registers.get(RBP));
        Ok(Some(Frame { registers, address: CodeAddress::Return(pc), ..*frame }))
    }

    /// The instruction that the thread is at, if that is in this frame.
    fn innermost(&self, frame: &Frame) -> Option<u64> {
        match frame.address {
            CodeAddress::Exact(pc) if self.sure.len() + self.tail.len() == 1 => Some(pc),
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

    /// The frame with the frame pointer that its code tells. What could be wrong about it is noted, to go back to.
    fn as_told(&mut self, frame: Frame, row: &Row, told: &Told) -> Frame {
        let here = Retreat { count: self.sure.len(), at: frame.address.raw() };
        let site = self.call_site_with(&frame, row, told.rbp);
        if told.is_chosen || site.is_none_or(|site| site == CallSite::None) {
            self.unsure.get_or_insert(here);
        } else if site != Some(CallSite::Direct(row.function.start)) {
            self.unconfirmed.get_or_insert(here);
        }
        let mut frame = Frame { trust: Trust::Code, ..frame };
        frame.registers.set(RBP, Some(told.rbp));
        frame
    }

    /// Walks on from a frame whose rule needs the frame pointer, which has to be searched for, or was further in.
    fn recover(&mut self, frame: &Frame, row: &Arc<Row>, depth: Depth) -> Result<(), Dead> {
        let at = frame.address.raw();
        let sp = frame.registers.get(RSP).unwrap_or_default();
        let key = (at, sp, frame.trust);
        if self.failed.contains(&key) {
            return Err(Dead { at, why: Obstacle::NoFramePointer });
        }
        let told = if frame.trust == Trust::Guess { self.only(frame, row, depth) } else { None };
        let frame = Frame { trust: Trust::Guess, ..*frame };
        let found = match told {
            Some(told) => self.attempt(&frame, row, told.rbp),
            None => self.guess(&frame, row, reach(&frame, depth)),
        };
        if found {
            return Ok(());
        }
        if self.effort == 0 {
            return Err(Dead { at, why: Obstacle::GivenUp });
        }
        self.failed.insert(key);
        // Where memory ended, what was tried may have been right.
        Err(Dead { at, why: self.memory.limit().map_or(Obstacle::NoFramePointer, Obstacle::NotCopied) })
    }

    /// The frame pointer, if the code leaves no choice: because it tells, or because it aligned the stack and of the few
    /// places that come into question only one is that of a return address to a call of this function.
    fn only(&mut self, frame: &Frame, row: &Row, depth: Depth) -> Option<Told> {
        let range = reach(frame, depth);
        if depth.slack == 0 {
            return Some(Told { rbp: range.start, is_chosen: false });
        }
        if depth.slack >= Depth::MOST {
            return None;
        }
        let mut possible = Vec::new();
        for rbp in range.step_by(8) {
            match self.call_site_with(frame, row, rbp)? {
                CallSite::Direct(target) if self.unwinder.leads_to(target, row.function.start, self.memory) => {
                    possible.push((rbp, target == row.function.start));
                }
                CallSite::Indirect => possible.push((rbp, false)),
                CallSite::Direct(_) | CallSite::None => {}
            }
        }
        let is_chosen = possible.len() > 1;
        if possible.iter().any(|(_, direct)| *direct) {
            possible.retain(|(_, direct)| *direct);
        }
        match possible[..] {
            [(rbp, _)] => Some(Told { rbp, is_chosen }),
            _ => None,
        }
    }

    /// Tries every frame pointer in a range. The first that leads to the root is mostly right: those further out
    /// leave frames out. But where it is not of a direct call of this function, and there is one further out, then this
    /// must be on the way too; else what came first was an old frame.
    fn guess(&mut self, frame: &Frame, row: &Row, range: Range<u64>) -> bool {
        let noted = self.tail.len();
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
                None => first = Some(self.tail.split_off(noted)),
                Some(walk) if walk.iter().any(|frame| frame.is_same(&self.tail[noted])) => break,
                Some(_) => {
                    self.guessed = Some(noted);
                    return true;
                }
            }
        }
        let Some(first) = first else { return false };
        self.tail.truncate(noted);
        self.tail.extend(first);
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
        let noted = self.tail.len();
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
            self.tail.truncate(noted);
        }
        reached
    }
}

/// Where the frame pointer may be.
fn reach(frame: &Frame, depth: Depth) -> Range<u64> {
    let least = frame.registers.sp().unwrap_or_default().saturating_add(depth.least);
    least..least.saturating_add(depth.slack.max(8))
}
