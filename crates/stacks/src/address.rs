//! Where code is, and how to look it up.

/// The address of an instruction on a stack. A return address points one past its call, so its line must be looked
/// up one byte before; the address of a thread that stands still must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeAddress {
    /// The instruction that the thread is at.
    Exact(u64),
    /// The instruction that a call will return to.
    Return(u64),
}

impl CodeAddress {
    /// The address as it is on the stack or in the register.
    pub fn raw(self) -> u64 {
        match self {
            CodeAddress::Exact(address) | CodeAddress::Return(address) => address,
        }
    }

    /// An address within the instruction that is being executed, for looking up its function and line.
    ///
    /// ```
    /// use pollscope_stacks::address::CodeAddress;
    /// assert_eq!(CodeAddress::Exact(0x1000).lookup(), 0x1000);
    /// assert_eq!(CodeAddress::Return(0x1000).lookup(), 0xfff);
    /// ```
    pub fn lookup(self) -> u64 {
        match self {
            CodeAddress::Exact(address) => address,
            CodeAddress::Return(address) => address.saturating_sub(1),
        }
    }
}
