//! A thread's registers.

/// The registers as DWARF numbers them: 0 to 15 general, 16 the instruction. `None` is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    pub(crate) values: [Option<u64>; 17],
}

pub(crate) const RBP: u16 = 6;
pub(crate) const RSP: u16 = 7;
pub(crate) const RIP: u16 = 16;

impl Registers {
    /// All that is known of a blocked thread.
    pub fn blocked(sp: u64, pc: u64) -> Registers {
        let mut registers = Registers::default();
        registers.set(RSP, Some(sp));
        registers.set(RIP, Some(pc));
        registers
    }

    /// The instruction.
    pub fn pc(&self) -> Option<u64> {
        self.get(RIP)
    }

    /// The stack pointer.
    pub fn sp(&self) -> Option<u64> {
        self.get(RSP)
    }

    /// A register by its DWARF number; `None` if it is not known, or there is none of that number.
    pub fn get(&self, register: u16) -> Option<u64> {
        self.values.get(usize::from(register)).copied().flatten()
    }

    /// All values that are known.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        self.values.iter().copied().flatten()
    }

    /// Sets a register by its DWARF number; one that there is not is left alone.
    pub fn set(&mut self, register: u16, value: Option<u64>) {
        if let Some(slot) = self.values.get_mut(usize::from(register)) {
            *slot = value;
        }
    }
}
