//! The processor's counter, read as cheaply as it can be.

/// Whether there is one here that this crate can read.
pub const HAS_COUNTER: bool = cfg!(target_arch = "x86_64");

/// Its reading. Nobody asks here whether it can be trusted as a clock: its cost is all that is measured.
#[inline(always)]
pub fn counter() -> u64 {
    #[cfg(target_arch = "x86_64")]
    #[expect(unsafe_code, reason = "so is every instruction of one kind of processor")]
    // SAFETY: all these processors have it.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("there is none to be read")
}
