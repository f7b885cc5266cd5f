//! Functions that left no frame, because the last thing they did was to call another.
//!
//! An optimised `fn save(file: &mut File, text: &str) -> io::Result<()> { file.write_all(text.as_bytes()) }` jumps to
//! `write_all`, which then returns to the caller of `save`: the stack does not show the very line that blocks. But the
//! caller's call instruction names `save`, and if there is only one way of jumps from there to the function that is on the
//! stack, it was taken. Calls through a pointer do not name a function; there, such frames stay unknown.

/// So many functions in a row are followed.
const DEPTH: usize = 4;

/// The code of a module, by the addresses of its file.
pub(super) trait Code {
    /// The bytes from an address on.
    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]>;

    /// Where the function that an address is in begins, and its size in bytes.
    fn function(&self, address: u64) -> Option<(u64, u64)>;

    /// The address that a slot of the global offset table holds once the module is loaded.
    fn slot(&self, address: u64) -> Option<u64>;
}

/// The addresses of the jumps, innermost first, that led from the function that was called, and was to return to
/// `returns_to`, to the function that `inner` is in. None if there were no jumps, or no telling which.
pub(super) fn between(code: &impl Code, inner: u64, returns_to: u64) -> Vec<u64> {
    let jumps = || {
        let (begin, _) = code.function(inner)?;
        let called = called(code, returns_to)?;
        if called == begin { None } else { way(code, called, begin, DEPTH) }
    };
    jumps().unwrap_or_default()
}

/// The function that the call before a return address names: in the instruction, or in a slot that no one changes.
fn called(code: &impl Code, returns_to: u64) -> Option<u64> {
    let before = |length: usize| code.bytes(returns_to.checked_sub(length as u64)?, length);
    match (before(5), before(6)) {
        (Some([0xe8, rest @ ..]), _) => Some(returns_to.wrapping_add_signed(displacement(rest)?)),
        (_, Some([0xff, 0x15, rest @ ..])) => code.slot(returns_to.wrapping_add_signed(displacement(rest)?)),
        _ => None,
    }
}

/// The only way of jumps from the beginning of one function to that of another, last jump first.
fn way(code: &impl Code, from: u64, to: u64, depth: usize) -> Option<Vec<u64>> {
    let (begin, size) = code.function(from).filter(|(begin, _)| *begin == from)?;
    let all = jumps(code, begin, code.bytes(begin, usize::try_from(size).ok()?)?);
    let mut direct = all.iter().filter(|(_, target)| *target == to);
    if let Some((jump, _)) = direct.next() {
        return direct.next().is_none().then(|| vec![*jump]);
    }
    let outside = all.iter().filter(|(_, target)| !(begin..begin + size).contains(target));
    let mut ways = outside.filter(|_| depth > 1).filter_map(|(jump, target)| {
        let mut way = way(code, *target, to, depth - 1)?;
        way.push(*jump);
        Some(way)
    });
    let only = ways.next()?;
    ways.next().is_none().then_some(only)
}

/// All jumps that may leave a function, and their targets: `jmp`, `jcc` for a conditional tail call, and `jmp` through a
/// slot. Bytes that merely look like one would have to hit the beginning of the right function by chance.
fn jumps(code: &impl Code, begin: u64, bytes: &[u8]) -> Vec<(u64, u64)> {
    let mut jumps = Vec::new();
    for index in 0..bytes.len() {
        let (length, through_slot) = match bytes[index..] {
            [0xe9, ..] => (1, false),
            [0x0f, 0x80..=0x8f, ..] => (2, false),
            [0xff, 0x25, ..] => (2, true),
            _ => continue,
        };
        let Some(displacement) = displacement(&bytes[index + length..]) else { continue };
        let address = begin + index as u64;
        let named = (address + length as u64 + 4).wrapping_add_signed(displacement);
        let target = if through_slot { code.slot(named) } else { Some(named) };
        jumps.extend(target.map(|target| (address, target)));
    }
    jumps
}

fn displacement(bytes: &[u8]) -> Option<i64> {
    bytes.first_chunk().map(|bytes| i32::from_le_bytes(*bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Functions of 16 bytes each, from address 0x1000 on.
    struct Functions(Vec<[u8; 16]>);

    impl Code for Functions {
        fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
            let offset = usize::try_from(address.checked_sub(0x1000)?).ok()?;
            self.0.as_flattened().get(offset..offset + length)
        }

        fn function(&self, address: u64) -> Option<(u64, u64)> {
            let index = address.checked_sub(0x1000)? / 16;
            ((index as usize) < self.0.len()).then_some((0x1000 + 16 * index, 16))
        }

        /// The slot at 0x2000 leads to the first function, and so on.
        fn slot(&self, address: u64) -> Option<u64> {
            address.checked_sub(0x2000).map(|offset| 0x1000 + 2 * offset)
        }
    }

    /// A function with an instruction of five bytes at each given offset: its opcode, and the function that it leads to.
    fn function(index: i32, instructions: &[(usize, u8, i32)]) -> [u8; 16] {
        let mut bytes = [0x90; 16];
        for (offset, opcode, target) in instructions {
            bytes[*offset] = *opcode;
            let displacement = 16 * (target - index) - *offset as i32 - 5;
            bytes[offset + 1..offset + 5].copy_from_slice(&displacement.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_only_way_is_found() {
        const CALL: u8 = 0xe8;
        const JUMP: u8 = 0xe9;
        let code = Functions(vec![
            function(0, &[(0, CALL, 1), (6, CALL, 2)]),
            function(1, &[(3, JUMP, 2)]),
            function(2, &[(4, JUMP, 3)]),
            function(3, &[]),
            function(4, &[(0, CALL, 5)]),
            function(5, &[(0, JUMP, 3), (8, JUMP, 3)]),
        ]);
        let check = |inner, returns_to, expect: &[u64]| assert_eq!(between(&code, inner, returns_to), expect);
        check(0x1018, 0x1005, &[]); // Into 1, and in 1 it is.
        check(0x1028, 0x1005, &[0x1013]); // Into 1, on to 2.
        check(0x1038, 0x1005, &[0x1024, 0x1013]); // Into 1, on to 2, on to 3.
        check(0x1038, 0x100b, &[0x1024]); // Into 2, on to 3.
        check(0x1038, 0x1045, &[]); // Into 5, and by one of two jumps to 3.
        check(0x1048, 0x1005, &[]); // Nothing leads from 1 to 4.
        check(0x1038, 0x1010, &[]); // Not after a call.
    }

    #[test]
    fn slots_are_followed() {
        // call *0x2008(%rip); nop; jmp *0x2010(%rip); both relative to the next instruction.
        let mut code = [[0x90; 16]; 3];
        code[0][..2].copy_from_slice(&[0xff, 0x15]);
        code[0][2..6].copy_from_slice(&(0x2008i32 - 0x1006).to_le_bytes());
        code[1][..2].copy_from_slice(&[0xff, 0x25]);
        code[1][2..6].copy_from_slice(&(0x2010i32 - 0x1016).to_le_bytes());
        assert_eq!(between(&Functions(code.to_vec()), 0x1028, 0x1006), [0x1010]);
    }
}
