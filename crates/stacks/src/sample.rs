//! What was copied of a running thread: by itself, in a [signal](crate::signal)'s handler, or by the kernel, in a
//! [perf event](crate::perf).

use crate::memory;
use crate::process::Process;
use crate::unwind::{Memory, Registers};

/// A running thread's registers and the innermost part of its stack, as they were at one moment.
///
/// ```
/// use pollscope_stacks::{process::Process, sample::Copied, unwind::Registers};
/// let registers = Registers::blocked(0x7000, 0x1000);
/// let copied = Copied { process: Process::current(), registers, stack: &[0; 64], most: 64 };
/// assert_eq!(copied.registers.sp(), Some(0x7000), "where the copy of the stack begins");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Copied<'a> {
    /// Whose thread it is. Its code is read as it is needed: it does not change.
    pub process: Process,
    /// All registers, at the instruction that was interrupted.
    pub registers: Registers,
    /// The stack, from the stack pointer on.
    pub stack: &'a [u8],
    /// How much of it was asked for, in bytes.
    pub most: usize,
}

impl Copied<'_> {
    /// What was copied of the stack, from its stack pointer on: how many bytes.
    pub(crate) fn copy(&self, into: &mut [u8]) -> usize {
        let count = self.stack.len().min(into.len());
        into[..count].copy_from_slice(&self.stack[..count]);
        count
    }

    /// The stack as it was, and nothing else of it: the thread went on since.
    pub(crate) fn memory(&self) -> impl Memory {
        CopiedStack { copied: self, is_short: false }
    }
}

struct CopiedStack<'a> {
    copied: &'a Copied<'a>,
    /// Whether more was asked for than was copied.
    is_short: bool,
}

impl Memory for CopiedStack<'_> {
    fn stack(&mut self, address: u64) -> Option<u64> {
        let Copied { stack, most, registers, .. } = self.copied;
        let at = usize::try_from(address.checked_sub(registers.sp()?)?).ok()?;
        let word = stack.get(at..at.checked_add(8)?).and_then(|word| word.try_into().ok()).map(u64::from_le_bytes);
        self.is_short |= word.is_none() && stack.len() == *most;
        word
    }

    fn code(&mut self, address: u64, into: &mut [u8]) -> usize {
        memory::read(&self.copied.process, address, into)
    }

    fn limit(&self) -> Option<u64> {
        self.is_short.then_some(self.copied.most as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_copied_is_not_known() {
        let words: Vec<u8> = [1_u64, 2, 3].iter().flat_map(|word| word.to_le_bytes()).collect();
        let copied = |most| Copied {
            process: Process::current(),
            registers: Registers::blocked(0x1000, 0),
            stack: &words,
            most,
        };
        let cut = copied(24);
        let mut memory = cut.memory();
        assert_eq!([0x1000, 0x1010].map(|address| memory.stack(address)), [Some(1), Some(3)]);
        assert_eq!(memory.limit(), None);
        assert_eq!([0xff8, 0x1018, u64::MAX].map(|address| memory.stack(address)), [None; 3]);
        assert_eq!(memory.limit(), Some(24), "more was there");
        let whole = copied(32);
        let mut memory = whole.memory();
        assert_eq!((memory.stack(0x1018), memory.limit()), (None, None), "the stack ends there");
    }
}
