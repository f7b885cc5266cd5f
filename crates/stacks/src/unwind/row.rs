//! The rules for one instruction: where the caller's frame is, and where it kept its registers.

use std::ops::Range;

use gimli::{EndianSlice, EvaluationResult, Expression, Format, LittleEndian, Location, Value};

use super::{Memory, RIP, RSP, Registers};

/// Where the canonical frame address is: the stack pointer of the caller, before the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cfa {
    Register { register: u16, offset: i64 },
    Expression(Box<[u8]>),
}

/// Where the caller's value of a register is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rule {
    Undefined,
    Same,
    /// In memory, this far from the frame address.
    Offset(i64),
    /// The frame address and this.
    Value(i64),
    Register(u16),
    Expression(Box<[u8]>),
    ValueExpression(Box<[u8]>),
}

/// The rules for one instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The code that the table entry is about: a function, or a part of one.
    pub(super) function: Range<u64>,
    pub(super) cfa: Cfa,
    /// Registers not in here are kept, if callees must keep them, and lost otherwise.
    pub(super) rules: Vec<(u16, Rule)>,
    /// A signal handler's caller is the instruction that was interrupted, not one after a call.
    pub(super) signal: bool,
    /// Where the table is of what the function does when something that it called unwinds.
    pub(super) cleanup_table: Option<u64>,
}

/// Registers that a function must leave as it found them: `rbx`, `rbp`, `r12` to `r15`.
const KEPT: [u16; 6] = [3, 6, 12, 13, 14, 15];

/// A value that could not be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Register(u16),
    Memory,
    Unsupported,
}

impl Row {
    /// No caller: the thread's first function says that its return address is undefined.
    pub(super) fn is_root(&self) -> bool {
        self.rule(RIP) == Some(&Rule::Undefined)
    }

    fn rule(&self, register: u16) -> Option<&Rule> {
        self.rules.iter().find(|(number, _)| *number == register).map(|(_, rule)| rule)
    }

    /// The frame address.
    pub(super) fn cfa(&self, registers: &Registers, memory: &mut dyn Memory) -> Result<u64, Missing> {
        match &self.cfa {
            Cfa::Register { register, offset } => {
                let base = registers.get(*register).ok_or(Missing::Register(*register))?;
                Ok(base.wrapping_add_signed(*offset))
            }
            Cfa::Expression(bytes) => evaluate(bytes, None, registers, memory),
        }
    }

    /// The registers of the caller.
    pub(super) fn caller(
        &self,
        cfa: u64,
        registers: &Registers,
        memory: &mut dyn Memory,
    ) -> Result<Registers, Missing> {
        let mut caller = Registers::default();
        for register in KEPT {
            caller.set(register, registers.get(register));
        }
        caller.set(RSP, Some(cfa));
        for (register, rule) in &self.rules {
            let value = match rule {
                Rule::Undefined => None,
                Rule::Same => registers.get(*register),
                Rule::Offset(offset) => memory.stack(cfa.wrapping_add_signed(*offset)),
                Rule::Value(offset) => Some(cfa.wrapping_add_signed(*offset)),
                Rule::Register(other) => registers.get(*other),
                Rule::Expression(bytes) => {
                    evaluate(bytes, Some(cfa), registers, memory).ok().and_then(|address| memory.stack(address))
                }
                Rule::ValueExpression(bytes) => evaluate(bytes, Some(cfa), registers, memory).ok(),
            };
            if *register == RIP && value.is_none() {
                return Err(Missing::Memory);
            }
            caller.set(*register, value);
        }
        Ok(caller)
    }
}

/// Runs a DWARF expression; `first` is what is on its stack at the beginning.
fn evaluate(bytes: &[u8], first: Option<u64>, registers: &Registers, memory: &mut dyn Memory) -> Result<u64, Missing> {
    let encoding = gimli::Encoding { address_size: 8, format: Format::Dwarf32, version: 4 };
    let mut evaluation = Expression(EndianSlice::new(bytes, LittleEndian)).evaluation(encoding);
    evaluation.set_max_iterations(1000);
    if let Some(first) = first {
        evaluation.set_initial_value(first);
    }
    let mut step = evaluation.evaluate();
    loop {
        step = match step.map_err(|_| Missing::Unsupported)? {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let value = registers.get(register.0).ok_or(Missing::Register(register.0))?;
                evaluation.resume_with_register(Value::Generic(value))
            }
            EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                let value = memory.stack(address).ok_or(Missing::Memory)?;
                evaluation.resume_with_memory(Value::Generic(value))
            }
            _ => return Err(Missing::Unsupported),
        };
    }
    match evaluation.as_result() {
        [gimli::Piece { location: Location::Address { address }, .. }] => Ok(*address),
        _ => Err(Missing::Unsupported),
    }
}
