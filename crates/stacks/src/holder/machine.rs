//! What would happen to a lock if code ran on from an instruction: the code is followed on paper, nothing is executed and nothing
//! is written.
//!
//! It follows one way where the branches are decided by what is known, and both where they are not: then both must end alike. A
//! call of which it cannot tell what it does is taken to leave the registers that functions must keep, and the stack, alone.

use std::ops::Range;

use iced_x86::{ConditionCode, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::state::{Flags, State};
use super::view::View;
use super::word::Word;

/// Instructions that are followed for one frame.
const EFFORT: u32 = 4_000;
/// Calls within calls.
const DEEPEST: u32 = 12;

/// What code does to a lock first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It gives it back: whoever is about to do so has it.
    Gives,
    /// It takes it, or looks whether it can.
    Takes,
    /// It returns without touching it.
    Returns,
    /// It goes on unwinding without having touched it.
    Leaves,
    /// It ends the program, or unwinds out of unwinding, which does.
    Ends,
    /// That cannot be told.
    Unknown,
}

/// The word of a lock, and how it is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LockWord {
    pub(super) address: u64,
    /// Whether an exchange gives it back whatever is put there: the end of a `Once` is not 0.
    pub(super) is_once: bool,
}

pub(super) struct Machine<'a, 'stack> {
    view: &'a mut View<'stack>,
    /// Calls of code elsewhere are not followed.
    code: Range<u64>,
    lock: LockWord,
    /// The name of a function, by its address.
    name: &'a mut dyn FnMut(u64) -> Option<String>,
    /// How many more instructions may be followed.
    pub(super) effort: u32,
    /// Whether a function of the same file of which it cannot tell what it does may have taken the lock.
    pub(super) is_strict: bool,
}

impl<'a, 'stack> Machine<'a, 'stack> {
    /// With so much effort at most.
    pub(super) fn new(
        view: &'a mut View<'stack>,
        code: Range<u64>,
        lock: LockWord,
        name: &'a mut dyn FnMut(u64) -> Option<String>,
        effort: u32,
    ) -> Machine<'a, 'stack> {
        Machine { view, code, lock, name, effort: EFFORT.min(effort), is_strict: false }
    }

    /// What the code does first to the lock, from an instruction on until the function that it is in returns.
    pub(super) fn run(&mut self, from: u64, state: &mut State, depth: u32) -> Outcome {
        let mut pc = from;
        loop {
            let Some(instruction) = self.decode(pc) else { return Outcome::Unknown };
            pc = instruction.next_ip();
            match instruction.flow_control() {
                FlowControl::Next => {
                    if let Some(outcome) = self.touch(&instruction, state) {
                        return outcome;
                    }
                    self.step(&instruction, state);
                }
                FlowControl::UnconditionalBranch => pc = instruction.near_branch_target(),
                FlowControl::IndirectBranch => match state.value(self.view, &instruction, 0).get(8) {
                    Some(target) if self.code.contains(&target) => pc = target,
                    // A function of another file, called last.
                    Some(target) => {
                        pop(self.view, state);
                        return self.not_followed(Some(target), state);
                    }
                    None => return Outcome::Unknown,
                },
                FlowControl::ConditionalBranch => match condition(instruction.condition_code(), &state.flags) {
                    Some(true) => pc = instruction.near_branch_target(),
                    Some(false) => {}
                    None => return self.both(instruction.near_branch_target(), pc, state, depth),
                },
                FlowControl::Call | FlowControl::IndirectCall => match self.call(&instruction, state, depth) {
                    Outcome::Returns => {}
                    other => return other,
                },
                FlowControl::Return => {
                    pop(self.view, state);
                    return Outcome::Returns;
                }
                _ => return Outcome::Ends,
            }
        }
    }

    pub(super) fn decode(&mut self, pc: u64) -> Option<Instruction> {
        self.effort = self.effort.checked_sub(1)?;
        let mut bytes = [0; 15];
        let count = self.view.read(pc, &mut bytes);
        let instruction = Decoder::with_ip(64, &bytes[..count], pc, DecoderOptions::NONE).decode();
        (!instruction.is_invalid() && self.code.contains(&pc)).then_some(instruction)
    }

    /// Both ways of a branch that nothing decides.
    fn both(&mut self, one: u64, other: u64, state: &mut State, depth: u32) -> Outcome {
        if depth >= DEEPEST {
            return Outcome::Unknown;
        }
        let first = self.run(one, &mut state.clone(), depth + 1);
        if !matches!(first, Outcome::Gives | Outcome::Ends) {
            return if first == Outcome::Takes { first } else { Outcome::Unknown };
        }
        let second = self.run(other, state, depth + 1);
        match (first, second) {
            // What ends the program touches no lock.
            (Outcome::Ends, second) => second,
            (Outcome::Gives, Outcome::Gives | Outcome::Ends) => Outcome::Gives,
            (_, Outcome::Takes) => Outcome::Takes,
            _ => Outcome::Unknown,
        }
    }

    pub(super) fn call(&mut self, instruction: &Instruction, state: &mut State, depth: u32) -> Outcome {
        let target = match instruction.flow_control() {
            FlowControl::Call => Some(instruction.near_branch_target()),
            _ => state.value(self.view, instruction, 0).get(8),
        };
        if let Some(target) = target.filter(|target| depth < DEEPEST && self.code.contains(target)) {
            let mut inside = state.clone();
            push(&mut inside, Word::of(instruction.next_ip()));
            match self.run(target, &mut inside, depth + 1) {
                Outcome::Unknown => {}
                Outcome::Returns => {
                    *state = inside;
                    return Outcome::Returns;
                }
                Outcome::Leaves => return Outcome::Unknown,
                other => return other,
            }
        }
        self.not_followed(target, state)
    }

    /// After a call of a function that was not followed: it returns, unless its name says that it does not. Without a name it might be
    /// `_Unwind_Resume`, and what stands behind its call is other code.
    fn not_followed(&mut self, target: Option<u64>, state: &mut State) -> Outcome {
        let Some(name) = target.and_then(&mut *self.name) else { return Outcome::Unknown };
        if name == "_Unwind_Resume" {
            return Outcome::Leaves;
        }
        if never_returns(&name) {
            return Outcome::Ends;
        }
        if self.is_strict && target.is_some_and(|target| self.code.contains(&target)) {
            return Outcome::Unknown;
        }
        state.forget_call();
        Outcome::Returns
    }

    /// What an atomic instruction does to the lock; `None` if it is not about the lock.
    pub(super) fn touch(&mut self, instruction: &Instruction, state: &State) -> Option<Outcome> {
        let is_exchange = instruction.mnemonic() == Mnemonic::Xchg && instruction.op0_kind() == OpKind::Memory;
        if !is_exchange && !instruction.has_lock_prefix() {
            return None;
        }
        let size = instruction.memory_size().size();
        let operand = state.value(self.view, instruction, 1);
        let gives = match instruction.mnemonic() {
            Mnemonic::Xchg if self.lock.is_once => Some(true),
            Mnemonic::Xchg => operand.get(size).map(|new| new == 0),
            Mnemonic::Cmpxchg => {
                let expected = state.register(Register::RAX).get(size);
                expected.zip(operand.get(size)).map(|(expected, new)| new < expected)
            }
            Mnemonic::Xadd | Mnemonic::Add => operand.signed(size).map(|more| more < 0),
            Mnemonic::Sub => operand.signed(size).map(|less| less > 0),
            Mnemonic::Dec | Mnemonic::And => Some(true),
            _ => Some(false),
        };
        match (state.address(instruction, 0), gives) {
            (Some(address), _) if address != self.lock.address => None,
            // Of what it is about, or what it does, one thing is not known.
            (Some(_), None) | (None, None) => Some(Outcome::Unknown),
            (Some(_), Some(gives)) => Some(if gives { Outcome::Gives } else { Outcome::Takes }),
            (None, Some(gives)) => (!gives).then_some(Outcome::Unknown),
        }
    }

    /// What an instruction does to registers and memory, if it neither branches nor touches the lock.
    pub(super) fn step(&mut self, instruction: &Instruction, state: &mut State) {
        use Mnemonic as M;
        let one = |state: &State, view: &mut View<'_>| state.value(view, instruction, 0);
        match instruction.mnemonic() {
            M::Nop | M::Endbr64 | M::Cld => {}
            M::Mov | M::Movzx => {
                let size = State::size(instruction, 1);
                let value = state.value(self.view, instruction, 1).cut(size);
                state.set(instruction, 0, if instruction.mnemonic() == M::Mov { value } else { value.cut(size) });
            }
            M::Movsx | M::Movsxd | M::Cdqe => {
                let (from, size) = match instruction.op_count() {
                    0 => (state.register(Register::RAX), 4),
                    _ => (state.value(self.view, instruction, 1), State::size(instruction, 1)),
                };
                let value = Word::from_option(from.signed(size).map(i64::cast_unsigned));
                match instruction.op_count() {
                    0 => state.set_register(Register::RAX, value),
                    _ => state.set(instruction, 0, value),
                }
            }
            M::Lea => {
                let address = Word::from_option(state.address(instruction, 1));
                state.set(instruction, 0, address);
            }
            M::Push => {
                let value = one(state, self.view);
                push(state, value);
            }
            M::Pop => {
                let value = pop(self.view, state);
                state.set(instruction, 0, value);
            }
            M::Movups | M::Movaps | M::Movdqu | M::Movdqa | M::Movupd | M::Movapd | M::Vmovups | M::Vmovdqu
                if State::size(instruction, 0) == 16 =>
            {
                state.move_vector(self.view, instruction);
            }
            M::Cmp | M::Test => {
                calculate(instruction, state, self.view);
            }
            M::Add | M::Sub | M::And | M::Or | M::Xor | M::Inc | M::Dec | M::Shl | M::Shr => {
                let result = calculate(instruction, state, self.view);
                state.set(instruction, 0, result);
            }
            _ => self.other(instruction, state),
        }
    }

    /// Instructions that use conditions, and those of which only what they overwrite is known.
    fn other(&mut self, instruction: &Instruction, state: &mut State) {
        let code = instruction.condition_code();
        match (condition(code, &state.flags), instruction.mnemonic()) {
            (known, _) if code != ConditionCode::None && instruction.op_count() == 1 => {
                state.set(instruction, 0, Word::from_option(known.map(u64::from)));
            }
            (Some(is_so), _) if code != ConditionCode::None => {
                let value = state.value(self.view, instruction, u32::from(is_so));
                state.set(instruction, 0, value);
            }
            (_, Mnemonic::Xchg) if instruction.op0_kind() == OpKind::Register => {
                let (one, two) = (state.value(self.view, instruction, 0), state.value(self.view, instruction, 1));
                state.set(instruction, 0, two);
                state.set(instruction, 1, one);
            }
            (_, mnemonic) => {
                // Atomics also load what was there, of which others write as well.
                if matches!(mnemonic, Mnemonic::Xadd | Mnemonic::Xchg) {
                    state.set(instruction, 1, Word::UNKNOWN);
                }
                if matches!(mnemonic, Mnemonic::Cmpxchg | Mnemonic::Mul | Mnemonic::Imul | Mnemonic::Div) {
                    state.set_register(Register::RAX, Word::UNKNOWN);
                    state.set_register(Register::RDX, Word::UNKNOWN);
                }
                state.set(instruction, 0, Word::UNKNOWN);
                state.flags = Flags::default();
            }
        }
    }
}

/// Whether a function ends in a panic, in unwinding, or the process.
fn never_returns(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "_Unwind_RaiseException",
        "abort",
        "abort_internal",
        "exit",
        "_exit",
        "handle_alloc_error",
        "unwrap_failed",
        "expect_failed",
        "assert_failed",
        "assert_failed_inner",
        "__stack_chk_fail",
    ];
    let last = name.rsplit("::").find(|part| !part.starts_with('<')).unwrap_or(name);
    NAMES.contains(&last) || last.starts_with("panic") && last != "panicking" || last.starts_with("rust_panic")
}

fn push(state: &mut State, value: Word) {
    let sp = state.register(Register::RSP).get(8).map(|sp| sp.wrapping_sub(8));
    state.set_register(Register::RSP, Word::from_option(sp));
    if let Some(sp) = sp {
        state.store(sp, 8, value);
    }
}

fn pop(view: &mut View<'_>, state: &mut State) -> Word {
    let Some(sp) = state.register(Register::RSP).get(8) else { return Word::UNKNOWN };
    state.set_register(Register::RSP, Word::of(sp.wrapping_add(8)));
    state.load(view, sp, 8)
}

/// The result of an instruction that calculates, whose flags are set.
fn calculate(instruction: &Instruction, state: &mut State, view: &mut View<'_>) -> Word {
    use Mnemonic as M;
    let size = State::size(instruction, 0);
    let one = state.value(view, instruction, 0);
    let has_two = instruction.op_count() == 2;
    let is_same = has_two
        && instruction.op1_kind() == OpKind::Register
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register() == instruction.op1_register();
    let two = if has_two { state.value(view, instruction, 1) } else { Word::of(1) };
    let carry = state.flags.carry;
    let result = match instruction.mnemonic() {
        M::Xor | M::Sub if is_same => Word::of(0),
        M::Xor => one.xor(two),
        M::And | M::Test => one.and(two),
        M::Or => one.or(two),
        M::Add | M::Inc => one.whole(two, size, u64::wrapping_add),
        M::Shl => one.whole(two, size, |one, by| one.wrapping_shl(by as u32)),
        M::Shr => one.whole(two, size, |one, by| one.wrapping_shr(by as u32)),
        _ => one.whole(two, size, u64::wrapping_sub),
    }
    .cut(size);
    let (zero, sign) = (result.get(size).map(|value| value == 0), result.signed(size).map(|value| value < 0));
    let signed = one.signed(size).zip(two.signed(size));
    let whole = one.get(size).zip(two.get(size));
    let (carry, overflow) = match instruction.mnemonic() {
        M::Xor | M::And | M::Test | M::Or => (Some(false), Some(false)),
        M::Cmp | M::Sub => {
            let signs = signed.zip(result.signed(size));
            (
                whole.map(|(one, two)| one < two),
                signs.map(|((one, two), result)| (one < 0) != (two < 0) && (result < 0) != (one < 0)),
            )
        }
        M::Inc | M::Dec => (carry, None),
        _ => (None, None),
    };
    state.flags = Flags { zero, carry, sign, overflow };
    result
}

/// Whether a condition holds; `None` where that is not known, or the instruction has none.
fn condition(code: ConditionCode, flags: &Flags) -> Option<bool> {
    use ConditionCode as C;
    let Flags { zero, carry, sign, overflow } = *flags;
    let less = || Some(sign? != overflow?);
    let either = |one: Option<bool>, other: Option<bool>| match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    };
    let not = |is: Option<bool>| is.map(|is| !is);
    match code {
        C::e => zero,
        C::ne => not(zero),
        C::b => carry,
        C::ae => not(carry),
        C::be => either(carry, zero),
        C::a => not(either(carry, zero)),
        C::s => sign,
        C::ns => not(sign),
        C::o => overflow,
        C::no => not(overflow),
        C::l => less(),
        C::ge => not(less()),
        C::le => either(zero, less()),
        C::g => not(either(zero, less())),
        _ => None,
    }
}

#[cfg(all(test, supported))]
mod tests;
