//! What machine code says about the stack: whether a call is before an address, how deep a prologue went, whether a
//! function jumps elsewhere.

use std::collections::HashMap;
use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

use super::Memory;

/// What is before an address that may be a return address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallSite {
    /// No call.
    None,
    /// A call of this function.
    Direct(u64),
    /// A call through a pointer: of anything.
    Indirect,
}

impl CallSite {
    pub(super) fn before(address: u64, memory: &mut dyn Memory) -> CallSite {
        let mut bytes = [0; 7];
        let start = address.wrapping_sub(bytes.len() as u64);
        if memory.code(start, &mut bytes) < bytes.len() {
            return CallSite::None;
        }
        CallSite::ending(&bytes, address)
    }

    fn ending(bytes: &[u8; 7], address: u64) -> CallSite {
        // Bytes before an instruction may look like another that is longer: the form that excludes least wins.
        if indirect_call_ends(bytes) {
            return CallSite::Indirect;
        }
        match bytes {
            [_, _, 0xe8, a, b, c, d] => {
                let distance = i32::from_le_bytes([*a, *b, *c, *d]);
                CallSite::Direct(address.wrapping_add_signed(i64::from(distance)))
            }
            _ => CallSite::None,
        }
    }
}

/// Whether an instruction `ff /2`, a call through a register or memory, ends where the bytes end.
fn indirect_call_ends(bytes: &[u8; 7]) -> bool {
    (2..=bytes.len()).any(|length| {
        let tail = &bytes[bytes.len() - length..];
        let (mode, extension, operand) = (tail[1] >> 6, (tail[1] >> 3) & 7, tail[1] & 7);
        let index = usize::from(operand == 4 && mode != 3);
        let absolute = mode == 0 && (operand == 5 || (index == 1 && tail.get(2).is_some_and(|byte| byte & 7 == 5)));
        let displacement = match mode {
            _ if absolute => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        tail[0] == 0xff && extension == 2 && length == 2 + index + displacement
    })
}

/// How far the frame pointer is above the stack pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth {
    /// At least this many bytes.
    pub(super) least: u64,
    /// Exactly, unless the function moved the stack pointer again after its prologue.
    pub(super) exact: bool,
}

impl Depth {
    pub(super) const UNKNOWN: Depth = Depth { least: 0, exact: false };

    /// Follows a prologue from the instruction after `mov rbp, rsp` to its end, or to `until`.
    pub(super) fn decode(start: u64, until: u64, memory: &mut dyn Memory) -> Depth {
        let mut bytes = [0; 512];
        let count = memory.code(start, &mut bytes);
        let mut prologue = Prologue { depth: 0, exact: true, registers: HashMap::new() };
        let mut decoder = Decoder::with_ip(64, &bytes[..count], start, DecoderOptions::NONE).into_iter().peekable();
        while let Some(instruction) = decoder.next() {
            let ends = instruction.is_invalid() || instruction.next_ip() > until;
            let probe = decoder.peek().is_some_and(subtracts_register);
            if ends || !prologue.follow(&instruction, probe) {
                break;
            }
        }
        Depth { least: prologue.depth, exact: prologue.exact }
    }
}

struct Prologue {
    depth: u64,
    exact: bool,
    /// How deep the stack will be when it comes to where a register points, or the constant that the register has.
    registers: HashMap<Register, u64>,
}

impl Prologue {
    /// Takes one instruction into account; false at the end of the prologue. `probe`: the next one takes a register's
    /// value off the stack pointer, so a call is that of the function that touches every page.
    fn follow(&mut self, instruction: &Instruction, probe: bool) -> bool {
        let constant = instruction.try_immediate(1).ok();
        let on_stack_pointer = instruction.op_count() > 0
            && instruction.op0_kind() == OpKind::Register
            && instruction.op0_register() == Register::RSP;
        match (instruction.mnemonic(), constant) {
            (Mnemonic::Push, _) => self.depth += 8,
            (Mnemonic::Pop, _) => match self.depth.checked_sub(8) {
                Some(depth) => self.depth = depth,
                None => return false,
            },
            (Mnemonic::Sub, Some(bytes)) if on_stack_pointer => self.depth = self.depth.wrapping_add(bytes),
            (Mnemonic::Add, Some(bytes)) if on_stack_pointer => self.depth = self.depth.wrapping_sub(bytes),
            (Mnemonic::Sub, None) if on_stack_pointer => match self.registers.get(&whole(instruction.op1_register())) {
                Some(bytes) => self.depth = self.depth.wrapping_add(*bytes),
                None => return self.lose(),
            },
            (Mnemonic::And, Some(_)) if on_stack_pointer => self.exact = false,
            // The loop that touches every page ends when the stack pointer is where the register points.
            (Mnemonic::Cmp, None) if on_stack_pointer => {
                if let Some(depth) = self.registers.get(&instruction.op1_register()) {
                    self.depth = *depth;
                }
            }
            (Mnemonic::Jne, _) => {
                return instruction.near_branch_target() < instruction.ip() && !self.registers.is_empty();
            }
            (Mnemonic::Cmp | Mnemonic::Test, _) => {}
            (Mnemonic::Lea, _) if instruction.memory_base() == Register::RSP && !has_index(instruction) => {
                let depth = self.depth.wrapping_sub(instruction.memory_displacement64());
                self.registers.insert(instruction.op0_register(), depth);
                if on_stack_pointer {
                    self.depth = depth;
                }
            }
            (Mnemonic::Mov, Some(value)) if instruction.op0_kind() == OpKind::Register && !on_stack_pointer => {
                self.registers.insert(whole(instruction.op0_register()), value);
            }
            (Mnemonic::Call, _) => return probe,
            _ if on_stack_pointer || instruction.mnemonic() == Mnemonic::Leave => return self.lose(),
            _ => return !ends_straight_line(instruction),
        }
        true
    }

    fn lose(&mut self) -> bool {
        self.exact = false;
        false
    }
}

fn has_index(instruction: &Instruction) -> bool {
    instruction.memory_index() != Register::None
}

/// Writing the lower half of a register clears the other.
fn whole(register: Register) -> Register {
    match register {
        Register::EAX => Register::RAX,
        Register::R11D => Register::R11,
        other => other,
    }
}

/// `sub rsp, rax` and the like.
fn subtracts_register(instruction: &Instruction) -> bool {
    instruction.mnemonic() == Mnemonic::Sub
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register() == Register::RSP
        && instruction.op1_kind() == OpKind::Register
}

fn ends_straight_line(instruction: &Instruction) -> bool {
    jump(instruction).is_some()
        || matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Ud2 | Mnemonic::Int3 | Mnemonic::Syscall)
}

/// Where an instruction jumps to: `Some(None)` is anywhere.
fn jump(instruction: &Instruction) -> Option<Option<u64>> {
    if instruction.mnemonic() == Mnemonic::Call || instruction.op_count() == 0 {
        return None;
    }
    if instruction.op0_kind() == OpKind::NearBranch64 {
        return Some(Some(instruction.near_branch_target()));
    }
    (instruction.mnemonic() == Mnemonic::Jmp).then_some(None)
}

/// Where code goes that begins with a jump: a stub for a function of another file leads to that function.
pub(super) fn follow_jumps(mut address: u64, memory: &mut dyn Memory) -> u64 {
    const MOST: usize = 4;
    for _ in 0..MOST {
        let mut bytes = [0; 32];
        let count = memory.code(address, &mut bytes);
        let mut decoder = Decoder::with_ip(64, &bytes[..count], address, DecoderOptions::NONE);
        let mut instruction = decoder.decode();
        if instruction.mnemonic() == Mnemonic::Endbr64 {
            instruction = decoder.decode();
        }
        if instruction.mnemonic() != Mnemonic::Jmp {
            break;
        }
        let mut pointer = [0; 8];
        address = match jump(&instruction).flatten() {
            Some(target) => target,
            None if instruction.is_ip_rel_memory_operand()
                && memory.code(instruction.memory_displacement64(), &mut pointer) == 8 =>
            {
                u64::from_le_bytes(pointer)
            }
            None => break,
        };
    }
    address
}

/// Whether a function jumps out of itself: to a part of it that is elsewhere, to another function in place of a call,
/// or through a pointer.
pub(super) fn jumps_out(function: &Range<u64>, memory: &mut dyn Memory) -> bool {
    const MOST: u64 = 256 << 10;
    let mut bytes = vec![0; (function.end - function.start).min(MOST) as usize];
    let count = memory.code(function.start, &mut bytes);
    Decoder::with_ip(64, &bytes[..count], function.start, DecoderOptions::NONE)
        .into_iter()
        .filter_map(|instruction| jump(&instruction))
        .any(|target| target.is_none_or(|target| !function.contains(&target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Code(u64, Vec<u8>);

    impl Memory for Code {
        fn stack(&mut self, _: u64) -> Option<u64> {
            None
        }

        fn code(&mut self, address: u64, into: &mut [u8]) -> usize {
            let from = (address - self.0) as usize;
            let bytes = &self.1[from.min(self.1.len())..];
            let count = bytes.len().min(into.len());
            into[..count].copy_from_slice(&bytes[..count]);
            count
        }
    }

    #[test]
    fn calls_are_told_from_other_code() {
        for (bytes, expected) in [
            ([0x90, 0x90, 0xe8, 0x10, 0, 0, 0], CallSite::Direct(0x1010)),
            ([0x90, 0x90, 0xe8, 0xf0, 0xff, 0xff, 0xff], CallSite::Direct(0xff0)),
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xd0], CallSite::Indirect), // call rax
            ([0x90, 0x90, 0x90, 0x90, 0x41, 0xff, 0xd4], CallSite::Indirect), // call r12
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x10], CallSite::Indirect), // call [rax]
            ([0x90, 0x90, 0x90, 0x90, 0xff, 0x50, 0x18], CallSite::Indirect), // call [rax+0x18]
            ([0x90, 0x90, 0x90, 0x90, 0xff, 0x14, 0xc8], CallSite::Indirect), // call [rax+rcx*8]
            ([0x90, 0x90, 0x90, 0xff, 0x54, 0x24, 0x08], CallSite::Indirect), // call [rsp+8]
            ([0x90, 0xff, 0x15, 1, 2, 3, 4], CallSite::Indirect),             // call [rip+…]
            ([0x90, 0xff, 0x93, 1, 2, 3, 4], CallSite::Indirect),             // call [rbx+…]
            ([0xff, 0x94, 0x24, 1, 2, 3, 4], CallSite::Indirect),             // call [rsp+…]
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0xe0], CallSite::None),     // jmp rax
            ([0x90, 0x90, 0x90, 0x90, 0x90, 0xff, 0x14], CallSite::None),     // cut short
            ([0x90; 7], CallSite::None),
        ] {
            assert_eq!(CallSite::ending(&bytes, 0x1000), expected, "{bytes:x?}");
        }
    }

    #[track_caller]
    fn depth(bytes: &[u8], expected: Depth) {
        let until = 0x1000 + bytes.len() as u64;
        assert_eq!(Depth::decode(0x1000, until, &mut Code(0x1000, bytes.to_vec())), expected);
    }

    #[test]
    fn a_prologue_tells_the_depth() {
        let exact = |least| Depth { least, exact: true };
        // push r15; push rbx; sub rsp, 0x18; call
        depth(&[0x41, 0x57, 0x53, 0x48, 0x83, 0xec, 0x18, 0xe8, 0, 0, 0, 0], exact(0x28));
        // sub rsp, 0x1234; mov rdi, rax; je; push rax: the last is no part of it
        depth(&[0x48, 0x81, 0xec, 0x34, 0x12, 0, 0, 0x48, 0x89, 0xc7, 0x74, 0x05, 0x50], exact(0x1234));
        // add rsp, -128
        depth(&[0x48, 0x83, 0xc4, 0x80], exact(128));
        // lea r11, [rsp-0x5000]; sub rsp, 0x1000; mov qword [rsp], 0; cmp rsp, r11; jne; sub rsp, 0x20
        let probe = [
            0x4c, 0x8d, 0x9c, 0x24, 0, 0xb0, 0xff, 0xff, 0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0x48, 0xc7, 0x04, 0x24, 0, 0,
            0, 0, 0x4c, 0x39, 0xdc, 0x75, 0xec, 0x48, 0x83, 0xec, 0x20,
        ];
        depth(&probe, exact(0x5020));
        // mov eax, 0x3000; call probe; sub rsp, rax
        depth(&[0xb8, 0, 0x30, 0, 0, 0xe8, 0, 0, 0, 0, 0x48, 0x29, 0xc4], exact(0x3000));
        // push rbx; and rsp, -64; sub rsp, 0x40
        depth(&[0x53, 0x48, 0x83, 0xe4, 0xc0, 0x48, 0x83, 0xec, 0x40], Depth { least: 0x48, exact: false });
        // sub rsp, rcx
        depth(&[0x53, 0x48, 0x29, 0xcc], Depth { least: 8, exact: false });
    }

    #[test]
    fn a_prologue_is_followed_only_to_where_the_thread_is() {
        let bytes = [0x53, 0x53, 0x53, 0x53];
        let depth = Depth::decode(0x1000, 0x1002, &mut Code(0x1000, bytes.to_vec()));
        assert_eq!(depth, Depth { least: 16, exact: true });
    }

    #[test]
    fn jumps_out_of_a_function_are_found() {
        let jumps = |bytes: &[u8]| jumps_out(&(0x1000..0x1000 + bytes.len() as u64), &mut Code(0x1000, bytes.to_vec()));
        assert!(!jumps(&[0x90, 0xeb, 0xfd, 0xc3]));
        assert!(jumps(&[0x90, 0xe9, 0, 1, 0, 0]));
        assert!(jumps(&[0x0f, 0x84, 0, 1, 0, 0, 0xc3]));
        assert!(jumps(&[0xff, 0xe0]));
        assert!(!jumps(&[0xe8, 0, 1, 0, 0, 0xc3]));
    }
}
