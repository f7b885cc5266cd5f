//! What a thread's registers and memory would be, as far as they are known.

use std::collections::HashMap;

use iced_x86::{Instruction, OpKind, Register};

use super::view::View;
use super::word::Word;
use crate::unwind::Registers;

/// The general registers as DWARF numbers them, by their number in an instruction.
const OF_DWARF: [u16; 16] = [0, 2, 1, 3, 7, 6, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15];
/// Those that a function may leave as it likes: `rax`, `rcx`, `rdx`, `rsi`, `rdi`, `r8` to `r11`.
const LOST_IN_CALLS: [usize; 9] = [0, 1, 2, 6, 7, 8, 9, 10, 11];

#[derive(Debug, Clone)]
pub(super) struct State {
    general: [Word; 16],
    /// Two halves each, the lower first.
    vector: [[Word; 2]; 16],
    /// What was written, by the byte; the memory itself stays as it is.
    written: HashMap<u64, Word>,
    /// Of the last result: zero, carry, sign, overflow.
    pub(super) flags: Flags,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Flags {
    pub(super) zero: Option<bool>,
    pub(super) carry: Option<bool>,
    pub(super) sign: Option<bool>,
    pub(super) overflow: Option<bool>,
}

impl State {
    /// Of a frame: what an unwinder that comes to it knows of its registers.
    pub(super) fn of_frame(registers: &Registers) -> State {
        let general = OF_DWARF.map(|number| Word::from_option(registers.get(number)));
        State { general, vector: [[Word::UNKNOWN; 2]; 16], written: HashMap::new(), flags: Flags::default() }
    }

    /// After a call of which nothing is known.
    pub(super) fn forget_call(&mut self) {
        LOST_IN_CALLS.iter().for_each(|register| self.general[*register] = Word::UNKNOWN);
        self.vector = [[Word::UNKNOWN; 2]; 16];
        self.flags = Flags::default();
    }

    pub(super) fn register(&self, register: Register) -> Word {
        if is_high_byte(register) || !register.is_gpr() {
            return Word::UNKNOWN;
        }
        self.general[register.full_register().number()]
    }

    pub(super) fn set_register(&mut self, register: Register, value: Word) {
        if register.is_vector_register() {
            if let Some(halves) = self.vector.get_mut(register.number()) {
                *halves = [Word::UNKNOWN; 2];
            }
        } else if register.is_gpr() {
            let slot = &mut self.general[register.full_register().number()];
            *slot = if is_high_byte(register) { Word::UNKNOWN } else { slot.replaced(value, register.size()) };
        }
    }

    pub(super) fn load(&self, view: &mut View<'_>, address: u64, size: usize) -> Word {
        if self.written.is_empty() {
            return view.word(address, size);
        }
        Word::from_bytes((0..size as u64).map(|index| {
            let at = address.wrapping_add(index);
            self.written.get(&at).copied().unwrap_or_else(|| view.word(at, 1))
        }))
    }

    pub(super) fn store(&mut self, address: u64, size: usize, value: Word) {
        for index in 0..size {
            self.written.insert(address.wrapping_add(index as u64), value.byte(index));
        }
    }

    /// Where an instruction's memory operand is; `None` where that depends on what is not known.
    pub(super) fn address(&self, instruction: &Instruction, operand: u32) -> Option<u64> {
        instruction.virtual_address(operand, 0, |register, _, _| match register {
            Register::DS | Register::SS | Register::CS | Register::ES => Some(0),
            register => self.register(register).get(8),
        })
    }

    /// The value of an operand.
    pub(super) fn value(&self, view: &mut View<'_>, instruction: &Instruction, operand: u32) -> Word {
        match instruction.op_kind(operand) {
            OpKind::Register => self.register(instruction.op_register(operand)),
            OpKind::Memory => {
                let size = instruction.memory_size().size();
                match self.address(instruction, operand) {
                    Some(address) if size <= 8 => self.load(view, address, size),
                    _ => Word::UNKNOWN,
                }
            }
            _ => Word::of(instruction.immediate(operand)),
        }
    }

    /// How many bytes an operand has.
    pub(super) fn size(instruction: &Instruction, operand: u32) -> usize {
        match instruction.op_kind(operand) {
            OpKind::Register => instruction.op_register(operand).size(),
            OpKind::Memory => instruction.memory_size().size(),
            _ => 8,
        }
        .clamp(1, 32)
    }

    pub(super) fn set(&mut self, instruction: &Instruction, operand: u32, value: Word) {
        match instruction.op_kind(operand) {
            OpKind::Register => self.set_register(instruction.op_register(operand), value),
            OpKind::Memory => {
                if let Some(address) = self.address(instruction, operand) {
                    let size = instruction.memory_size().size();
                    self.store(address, size.min(8), value);
                    if size > 8 {
                        self.store(address.wrapping_add(8), size - 8, Word::UNKNOWN);
                    }
                }
            }
            _ => {}
        }
    }

    /// Moves 16 bytes between memory and a vector register, or two of those.
    pub(super) fn move_vector(&mut self, view: &mut View<'_>, instruction: &Instruction) {
        let halves = match instruction.op_kind(1) {
            OpKind::Register => self.vector.get(instruction.op_register(1).number()).copied(),
            OpKind::Memory => self
                .address(instruction, 1)
                .map(|address| [self.load(view, address, 8), self.load(view, address.wrapping_add(8), 8)]),
            _ => None,
        };
        let halves = halves.unwrap_or_default();
        match instruction.op_kind(0) {
            OpKind::Register => {
                if let Some(register) = self.vector.get_mut(instruction.op_register(0).number()) {
                    *register = halves;
                }
            }
            _ => {
                if let Some(address) = self.address(instruction, 0) {
                    self.store(address, 8, halves[0]);
                    self.store(address.wrapping_add(8), 8, halves[1]);
                }
            }
        }
    }
}

fn is_high_byte(register: Register) -> bool {
    matches!(register, Register::AH | Register::BH | Register::CH | Register::DH)
}
