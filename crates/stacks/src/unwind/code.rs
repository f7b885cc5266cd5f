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

/// How far the frame pointer is above the stack pointer: at least `least` bytes, and at most `slack` more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) least: u64,
    /// 0: the depth is known. More where the function aligned its stack, much more where it took space of a size that
    /// only it knew.
    pub(super) slack: u64,
}

impl Depth {
    /// A frame pointer is not looked for further up than this, in bytes.
    pub(super) const MOST: u64 = 64 << 10;
    pub(super) const UNKNOWN: Depth = Depth { least: 0, slack: Depth::MOST };

    /// Follows a function from the instruction after `mov rbp, rsp` to the one that `until` is in.
    pub(super) fn decode(start: u64, until: u64, memory: &mut dyn Memory) -> Depth {
        const MOST_CODE: u64 = 256 << 10;
        let length = until.saturating_sub(start);
        let mut bytes = vec![0; length.min(MOST_CODE) as usize + 15];
        let count = memory.code(start, &mut bytes);
        if length > MOST_CODE || (count as u64) < length {
            return Depth::UNKNOWN;
        }
        let mut sweep = Sweep::default();
        let mut decoder = Decoder::with_ip(64, &bytes[..count], start, DecoderOptions::NONE).into_iter().peekable();
        while let Some(instruction) = decoder.next_if(|next| !next.is_invalid() && next.ip() <= until) {
            if !sweep.arrive(&instruction) {
                continue;
            }
            if instruction.next_ip() > until {
                break;
            }
            sweep.follow(&instruction, decoder.peek().is_some_and(subtracts_register));
        }
        sweep.depth
    }
}

/// Follows the stack pointer through a function, in the order of the addresses: code that is jumped to from further up
/// begins as deep as the jump was, and code that is not, as deep as the prologue went.
struct Sweep {
    depth: Depth,
    /// How deep the prologue went.
    body: Option<Depth>,
    /// How deep the stack is where jumps go.
    targets: HashMap<u64, Depth>,
    /// After an instruction that does not go on to the next.
    ended: bool,
    /// How deep the stack will be when it comes to where a register points, or the constant that the register has.
    registers: HashMap<Register, u64>,
    /// The register that the instruction before gave a constant.
    constant: Option<Register>,
}

impl Default for Sweep {
    fn default() -> Sweep {
        Sweep {
            depth: Depth { least: 0, slack: 0 },
            body: None,
            targets: HashMap::new(),
            ended: false,
            registers: HashMap::new(),
            constant: None,
        }
    }
}

impl Sweep {
    /// Comes to an instruction, from the one before or by a jump; false for one that only fills space.
    fn arrive(&mut self, instruction: &Instruction) -> bool {
        let jumped = self.targets.get(&instruction.ip()).copied();
        if self.ended && jumped.is_none() && matches!(instruction.mnemonic(), Mnemonic::Nop | Mnemonic::Int3) {
            return false;
        }
        self.depth = match (jumped, self.ended) {
            (Some(jumped), true) => jumped,
            (Some(jumped), false) if jumped != self.depth => {
                Depth { least: jumped.least.min(self.depth.least), ..Depth::UNKNOWN }
            }
            (None, true) => self.body.unwrap_or(Depth::UNKNOWN),
            (_, false) => self.depth,
        };
        if self.ended || jumped.is_some() {
            self.registers.clear();
        }
        self.ended = false;
        true
    }

    /// Takes one instruction into account. `probe`: the next one takes a register's value off the stack pointer.
    fn follow(&mut self, instruction: &Instruction, probe: bool) {
        if let Some(target) = target(instruction) {
            self.body.get_or_insert(self.depth);
            let loops_to_probe =
                target.is_some_and(|target| target <= instruction.ip()) && self.body == Some(self.depth);
            if let Some(target) = target.filter(|_| !loops_to_probe) {
                self.targets.entry(target).or_insert(self.depth);
            }
            self.ended = instruction.mnemonic() == Mnemonic::Jmp;
            return;
        }
        self.ended = matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Ud2 | Mnemonic::Int3 | Mnemonic::Hlt);
        if instruction.mnemonic() == Mnemonic::Call {
            // A function that touches every page gets the size in `rax`, and leaves it there.
            if self.constant.is_none() || !probe {
                self.body.get_or_insert(self.depth);
                self.registers.clear();
            }
            return;
        }
        self.move_stack(instruction);
        self.note_register(instruction);
    }

    /// What an instruction does to the stack pointer.
    fn move_stack(&mut self, instruction: &Instruction) {
        let operand = instruction.op_count() > 0 && instruction.op0_kind() == OpKind::Register;
        let moves = operand && instruction.op0_register() == Register::RSP;
        let constant = instruction.try_immediate(1).ok();
        let known = |register| self.registers.get(&whole(register)).copied();
        match instruction.mnemonic() {
            Mnemonic::Push | Mnemonic::Pushfq => self.down(8),
            Mnemonic::Pop | Mnemonic::Popfq => self.down(8_u64.wrapping_neg()),
            // The loop that touches every page ends when the stack pointer is where the register points.
            Mnemonic::Cmp if moves => match known(instruction.op1_register()) {
                Some(depth) => self.depth.least = depth,
                None => self.lose(),
            },
            Mnemonic::Cmp | Mnemonic::Test => {}
            Mnemonic::Sub if moves => match constant.or_else(|| known(instruction.op1_register())) {
                Some(bytes) => self.down(bytes),
                None => self.lose(),
            },
            Mnemonic::Add if moves && constant.is_some() => self.down(constant.unwrap_or_default().wrapping_neg()),
            Mnemonic::And if moves && constant.is_some_and(|mask| mask.wrapping_neg().is_power_of_two()) => {
                self.depth.slack += constant.unwrap_or_default().wrapping_neg();
            }
            Mnemonic::Lea if moves && !has_index(instruction) && instruction.memory_base() == Register::RSP => {
                self.down(instruction.memory_displacement64().wrapping_neg());
            }
            Mnemonic::Lea if moves && !has_index(instruction) && instruction.memory_base() == Register::RBP => {
                self.depth = Depth { least: instruction.memory_displacement64().wrapping_neg(), slack: 0 };
            }
            Mnemonic::Mov
                if moves
                    && instruction.op1_kind() == OpKind::Register
                    && instruction.op1_register() == Register::RBP =>
            {
                self.depth = Depth { least: 0, slack: 0 };
            }
            Mnemonic::Leave => self.depth = Depth::UNKNOWN,
            _ if moves => self.lose(),
            _ => {}
        }
    }

    /// Which register will tell how deep the stack is.
    fn note_register(&mut self, instruction: &Instruction) {
        self.constant = None;
        let untouched = matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push);
        if untouched || instruction.op_count() == 0 || instruction.op0_kind() != OpKind::Register {
            return;
        }
        let register = whole(instruction.op0_register());
        let value = match instruction.mnemonic() {
            Mnemonic::Lea if instruction.memory_base() == Register::RSP && !has_index(instruction) => {
                Some(self.depth.least.wrapping_sub(instruction.memory_displacement64()))
            }
            Mnemonic::Mov => instruction.try_immediate(1).ok(),
            _ => None,
        };
        match value {
            Some(value) => {
                self.registers.insert(register, value);
                self.constant = (instruction.mnemonic() == Mnemonic::Mov).then_some(register);
            }
            None => drop(self.registers.remove(&register)),
        }
    }

    fn down(&mut self, bytes: u64) {
        self.depth.least = self.depth.least.wrapping_add(bytes);
        // Above the frame pointer, at the end of the function, there is nothing to tell.
        if self.depth.least > u64::MAX / 2 {
            self.depth = Depth::UNKNOWN;
        }
    }

    /// Takes space of a size that is not known. Nor is it known further down, where no known jump leads to.
    fn lose(&mut self) {
        self.depth = Depth { least: self.body.unwrap_or(self.depth).least, ..Depth::UNKNOWN };
        self.body = Some(self.depth);
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

/// Where an instruction jumps to: `Some(None)` is anywhere.
fn target(instruction: &Instruction) -> Option<Option<u64>> {
    if instruction.mnemonic() == Mnemonic::Call || instruction.op_count() == 0 {
        return None;
    }
    if instruction.op0_kind() == OpKind::NearBranch64 {
        return Some(Some(instruction.near_branch_target()));
    }
    (instruction.mnemonic() == Mnemonic::Jmp).then_some(None)
}

/// The jump without a condition that code begins with.
pub(super) fn jump(address: u64, memory: &mut dyn Memory) -> Option<Instruction> {
    let mut bytes = [0; 32];
    let count = memory.code(address, &mut bytes);
    let mut decoder = Decoder::with_ip(64, &bytes[..count], address, DecoderOptions::NONE);
    let mut instruction = decoder.decode();
    if instruction.mnemonic() == Mnemonic::Endbr64 {
        instruction = decoder.decode();
    }
    (instruction.mnemonic() == Mnemonic::Jmp).then_some(instruction)
}

/// Where code goes that begins with a jump: a stub for a function of another file leads to that function.
pub(crate) fn follow_jumps(mut address: u64, memory: &mut dyn Memory) -> u64 {
    const MOST: usize = 4;
    for _ in 0..MOST {
        let Some(instruction) = jump(address, memory) else { break };
        let mut pointer = [0; 8];
        address = match target(&instruction).flatten() {
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
        .filter_map(|instruction| target(&instruction))
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
    fn depth(bytes: &[u8], least: u64, slack: u64) {
        let until = 0x1000 + bytes.len() as u64;
        assert_eq!(Depth::decode(0x1000, until, &mut Code(0x1000, bytes.to_vec())), Depth { least, slack });
    }

    /// Any amount.
    const LOST: u64 = Depth::MOST;

    #[test]
    fn a_prologue_tells_the_depth() {
        // push r15; push rbx; sub rsp, 0x18; call
        depth(&[0x41, 0x57, 0x53, 0x48, 0x83, 0xec, 0x18, 0xe8, 0, 0, 0, 0, 0x90], 0x28, 0);
        // sub rsp, 0x1234; mov rdi, rax
        depth(&[0x48, 0x81, 0xec, 0x34, 0x12, 0, 0, 0x48, 0x89, 0xc7, 0x90], 0x1234, 0);
        // add rsp, -128
        depth(&[0x48, 0x83, 0xc4, 0x80, 0x90], 128, 0);
        // lea r11, [rsp-0x5000]; sub rsp, 0x1000; mov qword [rsp], 0; cmp rsp, r11; jne; sub rsp, 0x20
        let probe = [
            0x4c, 0x8d, 0x9c, 0x24, 0, 0xb0, 0xff, 0xff, 0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0x48, 0xc7, 0x04, 0x24, 0, 0,
            0, 0, 0x4c, 0x39, 0xdc, 0x75, 0xec, 0x48, 0x83, 0xec, 0x20, 0x90,
        ];
        depth(&probe, 0x5020, 0);
        // mov eax, 0x3000; call probe; sub rsp, rax
        depth(&[0xb8, 0, 0x30, 0, 0, 0xe8, 0, 0, 0, 0, 0x48, 0x29, 0xc4, 0x90], 0x3000, 0);
        // push rbx; and rsp, -64; sub rsp, 0x40
        depth(&[0x53, 0x48, 0x83, 0xe4, 0xc0, 0x48, 0x83, 0xec, 0x40, 0x90], 0x48, 64);
    }

    #[test]
    fn what_only_the_function_knows_is_not_told() {
        // push rbx; sub rsp, rcx
        depth(&[0x53, 0x48, 0x29, 0xcc, 0x90], 8, LOST);
        // push rbx; call; sub rsp, rax: a size that a function returned
        depth(&[0x53, 0xe8, 0, 0, 0, 0, 0x48, 0x29, 0xc4, 0x90], 8, LOST);
        // mov eax, 16; xor eax, eax; call; sub rsp, rax
        depth(&[0xb8, 16, 0, 0, 0, 0x31, 0xc0, 0xe8, 0, 0, 0, 0, 0x48, 0x29, 0xc4, 0x90], 0, LOST);
        // cmp rsp, rdx: a loop that touches pages of a size that is not known
        depth(&[0x53, 0x48, 0x39, 0xd4, 0x90], 8, LOST);
    }

    #[test]
    fn the_body_is_followed_too() {
        // push rbx; call; push rax; push rax: arguments
        depth(&[0x53, 0xe8, 0, 0, 0, 0, 0x50, 0x50, 0x90], 24, 0);
        // sub rsp, 8; je +3; push rax; pop rax; ret; where the jump leads
        depth(&[0x48, 0x83, 0xec, 0x08, 0x74, 0x03, 0x50, 0x58, 0xc3, 0x90], 8, 0);
        // sub rsp, 8; test eax, eax; jne +5; add rsp, 8; ret; code that nothing known leads to
        depth(&[0x48, 0x83, 0xec, 8, 0x85, 0xc0, 0x75, 0x10, 0x48, 0x83, 0xc4, 8, 0xc3, 0x50, 0x50], 24, 0);
        // sub rsp, 8; je +3; leave; ret; nop; where the jump leads
        depth(&[0x48, 0x83, 0xec, 0x08, 0x74, 0x03, 0xc9, 0xc3, 0x90, 0x90], 8, 0);
        // sub rsp, 8; je; sub rsp, rcx; ret; code that nothing known leads to
        depth(&[0x48, 0x83, 0xec, 8, 0x74, 0x10, 0x48, 0x29, 0xcc, 0xc3, 0x50], 16, LOST);
        // sub rsp, 64; call; lea rsp, [rbp-0x10]
        depth(&[0x48, 0x83, 0xec, 0x40, 0xe8, 0, 0, 0, 0, 0x48, 0x8d, 0x65, 0xf0, 0x90], 0x10, 0);
    }

    #[test]
    fn a_function_is_followed_only_to_where_the_thread_is() {
        let bytes = [0x53, 0x53, 0x53, 0x53];
        let depth = Depth::decode(0x1000, 0x1002, &mut Code(0x1000, bytes.to_vec()));
        assert_eq!(depth, Depth { least: 16, slack: 0 });
    }

    #[test]
    fn a_stub_is_a_jump_through_a_pointer() {
        let stub = |bytes: &[u8]| {
            jump(0x1000, &mut Code(0x1000, bytes.to_vec())).is_some_and(|jump| jump.is_ip_rel_memory_operand())
        };
        assert!(stub(&[0xff, 0x25, 1, 2, 3, 4, 0x68, 0, 0, 0, 0]));
        assert!(stub(&[0xf3, 0x0f, 0x1e, 0xfa, 0xff, 0x25, 1, 2, 3, 4]));
        assert!(stub(&[0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 1, 2, 3, 4])); // with `bnd`
        assert!(!stub(&[0xff, 0xe0])); // jmp rax
        assert!(!stub(&[0xff, 0x24, 0xc5, 1, 2, 3, 4])); // jmp [rax*8+…]: a `match`
        assert!(!stub(&[0xe9, 1, 2, 3, 4]));
        assert!(!stub(&[0xff, 0x15, 1, 2, 3, 4])); // call [rip+…]
        assert!(!stub(&[0x50, 0xff, 0x25, 1, 2, 3, 4]));
        assert!(!stub(&[]));
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
