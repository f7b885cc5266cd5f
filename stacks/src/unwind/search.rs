//! The walk, and the search for frame pointers that are not known.
//!
//! Where the rule for the caller's frame needs `rbp`, and no function further in saved it, it is guessed: first as the
//! function's prologue says, then from every place further up the stack whose return address follows a call. Old calls
//! leave such places behind, so a guess is believed only if the walk from it ends at the thread's first function, and
//! if every direct call on the way leads to the function that was there. Otherwise the next guess is tried.

use std::collections::HashSet;
use std::sync::Arc;

use super::code::CallSite;
use super::row::{Cfa, Missing, Row};
use super::{End, Memory, RBP, RSP, Registers, Stack, Unwinder};
use crate::address::CodeAddress;

/// More frames than this are not followed.
const MOST_FRAMES: usize = 4096;
/// A frame pointer is looked for so far above the stack pointer, in bytes.
const SCAN: u64 = 64 << 10;
/// Steps and guesses in all, before giving up.
const EFFORT: u32 = 100_000;
/// `_start` is at most this long.
const START: u64 = 128;

const NO_TABLE: &str = "this code has no unwinding table";
const NO_MEMORY: &str = "the stack cannot be read there, or is deeper than what was copied";
const NO_CALL: &str = "the return address does not follow a call";
const WRONG_CALL: &str = "the call before the return address is of another function";
const DOWNWARDS: &str = "the caller's frame is not above";
const NO_REGISTER: &str = "the frame depends on a register that is not known";
const NO_RULE: &str = "the unwinding rule is not understood";
const NO_FRAME_POINTER: &str = "no frame pointer leads to the thread's first function";
const TOO_DEEP: &str = "more frames than are followed";
const GIVEN_UP: &str = "the search for the frame pointer was given up";

/// A place on the walk.
#[derive(Debug, Clone, Copy)]
struct Frame {
    registers: Registers,
    address: CodeAddress,
    /// A frame pointer was guessed from the stack's content further in: take nothing on trust.
    guessed: bool,
}

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
    /// Places from which every guess failed: instruction, stack pointer, whether guessed before.
    failed: HashSet<(u64, u64, bool)>,
    frames: Vec<CodeAddress>,
}

impl<'a> Search<'a> {
    pub(super) fn new(unwinder: &'a mut Unwinder, memory: &'a mut dyn Memory) -> Search<'a> {
        Search { unwinder, memory, effort: EFFORT, failed: HashSet::new(), frames: Vec::with_capacity(64) }
    }

    pub(super) fn stack(mut self, registers: &Registers) -> Stack {
        let (Some(pc), Some(_)) = (registers.pc(), registers.sp()) else {
            return Stack { frames: Vec::new(), end: End::Incomplete { at: 0, why: NO_REGISTER } };
        };
        let address = CodeAddress::Exact(pc);
        self.frames.push(address);
        let end = match self.walk(Frame { registers: *registers, address, guessed: false }) {
            Ok(()) => End::Root,
            Err(Dead { at, why }) => End::Incomplete { at, why },
        };
        Stack { frames: self.frames, end }
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
                return Ok(());
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

    fn enter(&mut self, frame: Frame) -> Frame {
        self.frames.push(frame.address);
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
        let may_leave = row.signal || (matches!(row.cfa, Cfa::Expression(_)) && !frame.guessed);
        if !upwards && !may_leave {
            return Err(DOWNWARDS);
        }
        let registers = row.caller(cfa, &frame.registers, self.memory).map_err(|_| NO_MEMORY)?;
        let pc = registers.pc().ok_or(NO_MEMORY)?;
        let caller = |address| Frame { registers, address, guessed: frame.guessed };
        if pc == 0 {
            // Zeros are everywhere on a stack.
            return if frame.guessed { Err(NO_CALL) } else { Ok(None) };
        }
        if row.signal {
            return Ok(Some(caller(CodeAddress::Exact(pc))));
        }
        match self.unwinder.call_site(pc, self.memory) {
            CallSite::Direct(target) if frame.guessed => {
                if !self.unwinder.leads_to(target, row.function.start, self.memory) {
                    return Err(WRONG_CALL);
                }
            }
            CallSite::Direct(_) | CallSite::Indirect => {}
            CallSite::None => self.entered_without_call(pc, frame.guessed)?,
        }
        Ok(Some(caller(CodeAddress::Return(pc))))
    }

    /// The kernel and the C library put some return addresses on the stack themselves.
    fn entered_without_call(&mut self, pc: u64, guessed: bool) -> Result<(), &'static str> {
        let row = self.unwinder.row(CodeAddress::Return(pc).lookup(), self.memory);
        match row {
            Some(row) if row.signal || (row.is_root() && !guessed) => Ok(()),
            _ => Err(NO_CALL),
        }
    }

    /// Code without rules: a hand-written wrapper of a system call, or where the program starts, which has no caller.
    fn without_table(&mut self, frame: &Frame) -> Result<Option<Frame>, &'static str> {
        let address = frame.address.lookup();
        let entry = self.unwinder.module(address, self.memory).map(|module| module.entry);
        if entry.is_some_and(|entry| (entry..entry + START).contains(&address)) {
            return Ok(None);
        }
        let sp = frame.registers.sp().filter(|_| self.is_in_syscall(frame)).ok_or(NO_TABLE)?;
        let pc = self.memory.stack(sp).ok_or(NO_MEMORY)?;
        if self.unwinder.call_site(pc, self.memory) == CallSite::None {
            return Err(NO_TABLE);
        }
        let mut registers = Registers::blocked(sp.wrapping_add(8), pc);
        registers.set(RBP, frame.registers.get(RBP));
        Ok(Some(Frame { registers, address: CodeAddress::Return(pc), ..*frame }))
    }

    /// Whether the frame is the innermost one and the instruction before it is `syscall`.
    fn is_in_syscall(&mut self, frame: &Frame) -> bool {
        let mut bytes = [0; 2];
        let CodeAddress::Exact(pc) = frame.address else { return false };
        self.frames.len() == 1 && self.memory.code(pc.wrapping_sub(2), &mut bytes) == 2 && bytes == [0x0f, 0x05]
    }

    /// Walks on from a frame whose rule needs the frame pointer, which is not known.
    fn recover(&mut self, frame: &Frame, row: &Arc<Row>) -> Result<(), Dead> {
        let at = frame.address.raw();
        let sp = frame.registers.get(RSP).unwrap_or_default();
        let key = (at, sp, frame.guessed);
        if self.failed.contains(&key) {
            return Err(Dead { at, why: NO_FRAME_POINTER });
        }
        let depth = self.unwinder.depth(frame.address.lookup(), self.memory);
        let told = sp.wrapping_add(depth.least);
        if depth.exact && self.attempt(frame, row, told) {
            return Ok(());
        }
        let guess = Frame { guessed: true, ..*frame };
        let mut later = Vec::new();
        // Of an instruction within a prologue or epilogue the depth is not the least.
        let from = if matches!(frame.address, CodeAddress::Return(_)) { told } else { sp };
        for rbp in (from..from.saturating_add(SCAN)).step_by(8) {
            match self.plausible(&guess, row, rbp) {
                Some(CallSite::Direct(target)) if target == row.function.start => {
                    if self.attempt(&guess, row, rbp) {
                        return Ok(());
                    }
                }
                Some(CallSite::Direct(_) | CallSite::Indirect) => later.push(rbp),
                Some(CallSite::None) => {}
                None => break,
            }
        }
        if later.into_iter().any(|rbp| self.attempt(&guess, row, rbp)) {
            return Ok(());
        }
        if self.effort == 0 {
            return Err(Dead { at, why: GIVEN_UP });
        }
        self.failed.insert(key);
        Err(Dead { at, why: NO_FRAME_POINTER })
    }

    /// What kind of call a frame pointer would make the caller's; `None` at the end of the stack.
    fn plausible(&mut self, frame: &Frame, row: &Row, rbp: u64) -> Option<CallSite> {
        self.spend().ok()?;
        self.memory.stack(rbp)?;
        let mut registers = frame.registers;
        registers.set(RBP, Some(rbp));
        // At a call the stack is aligned to 16 bytes.
        let Some(cfa) = row.cfa(&registers, self.memory).ok().filter(|cfa| cfa.is_multiple_of(16)) else {
            return Some(CallSite::None);
        };
        let Some(pc) = row.caller(cfa, &registers, self.memory).ok().and_then(|caller| caller.pc()) else {
            return Some(CallSite::None);
        };
        Some(self.unwinder.call_site(pc, self.memory))
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
