//! A thread's registers as perf events have them.

use crate::unwind::Registers;

/// The registers that are asked for, as the kernel numbers them (`asm/perf_regs.h`), which is also their order in a sample; and as
/// DWARF numbers them.
const WANTED: [(u8, u16); 17] = [
    (0, 0),   // rax
    (1, 3),   // rbx
    (2, 2),   // rcx
    (3, 1),   // rdx
    (4, 4),   // rsi
    (5, 5),   // rdi
    (6, 6),   // rbp
    (7, 7),   // rsp
    (8, 16),  // rip
    (16, 8),  // r8
    (17, 9),  // r9
    (18, 10), // r10
    (19, 11), // r11
    (20, 12), // r12
    (21, 13), // r13
    (22, 14), // r14
    (23, 15), // r15
];

/// How many there are.
pub(super) const COUNT: usize = WANTED.len();

/// Them, as the kernel is asked.
pub(super) const MASK: u64 = {
    let (mut mask, mut index) = (0, 0);
    while index < COUNT {
        mask |= 1 << WANTED[index].0;
        index += 1;
    }
    mask
};

/// The stack pointer alone.
pub(super) const SP_MASK: u64 = 1 << 7;

/// Their values in a sample.
pub(super) fn read(values: &[u64; COUNT]) -> Registers {
    let mut registers = Registers::default();
    for ((_, dwarf), value) in WANTED.iter().zip(values) {
        registers.set(*dwarf, Some(*value));
    }
    registers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_register_is_in_its_place() {
        assert_eq!(MASK, 0xff_01ff);
        assert!(WANTED.is_sorted(), "as the kernel orders a sample");
        let registers = read(&std::array::from_fn(|index| u64::from(WANTED[index].0)));
        assert_eq!((registers.sp(), registers.pc()), (Some(7), Some(8)));
        // rax, rdx, rcx, rbx, as DWARF has them; then r8.
        assert_eq!([0, 1, 2, 3, 8].map(|number| registers.get(number)), [0, 3, 2, 1, 16].map(Some));
        assert!((0..17).all(|number| registers.get(number).is_some()), "all that there are");
    }
}
