//! Stacks that something has written over.

use std::io::Read as _;

use pollscope_stacks::capture::Capturer;
use pollscope_stacks::maps::Maps;
use pollscope_stacks::memory;
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::State;
use pollscope_stacks::unwind::{End, Memory, Registers, Unwinder};

use crate::support::{capture_in, spawn};

/// Memory of this process, in which some words read differently.
struct Changed<F>(F);

impl<F: Fn(u64, u64) -> Option<u64>> Memory for Changed<F> {
    fn stack(&mut self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        (memory::read(&Process::current(), address, &mut word) == 8).then_some(())?;
        (self.0)(address, u64::from_le_bytes(word))
    }

    fn code(&mut self, address: u64, into: &mut [u8]) -> usize {
        memory::read(&Process::current(), address, into)
    }
}

#[test]
fn a_broken_stack_is_incomplete() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let blocked = spawn(move || drop(reader.read(&mut [0])));
    let capture = capture_in(&mut Capturer::new(), &blocked.thread, "read");
    let State::InSyscall { sp, pc, .. } = capture.state else { panic!() };
    let registers = Registers::blocked(sp, pc);
    let mut unwinder = Unwinder::new(Maps::read(&Process::current()).unwrap());
    let whole = unwinder.unwind(&registers, &mut Changed(|_, word| Some(word)));
    assert_eq!(whole, capture.stack);

    // The first byte of a function may well follow a call that does not return; the second does not.
    let within = a_broken_stack_is_incomplete as *const () as u64 + 1;

    // Each return address in turn is destroyed: the frames further in are found, or fewer, and the end is never called
    // the root.
    for (index, broken) in whole.frames.iter().enumerate().skip(1) {
        for instead in [0, 1, 0xdead_beef, pc, sp, u64::MAX, within] {
            let stack = unwinder
                .unwind(&registers, &mut Changed(|_, word| Some(if word == broken.raw() { instead } else { word })));
            let End::Incomplete { .. } = stack.end else {
                panic!("frame {index} is {instead:#x}: {stack:#x?}, not {whole:#x?}");
            };
            assert!(whole.frames.starts_with(&stack.frames), "frame {index} is {instead:#x}: {stack:#x?}");
            assert!(stack.frames.len() <= index);
        }
    }

    // The stack ends early.
    for size in [0, 8, 64, 200, 400] {
        let stack = unwinder.unwind(&registers, &mut Changed(|address, word| (address < sp + size).then_some(word)));
        assert!(!stack.is_complete(), "{size}: {stack:#x?}");
    }

    // Nonsense to begin with.
    for (sp, pc) in [(0, 0), (sp, 0), (0, pc), (u64::MAX, pc), (sp, u64::MAX), (sp + 4, pc), (sp, sp)] {
        let stack = unwinder.unwind(&Registers::blocked(sp, pc), &mut Changed(|_, word| Some(word)));
        assert!(!stack.is_complete(), "{sp:#x} {pc:#x}: {stack:#x?}");
    }
    drop(writer);
    blocked.handle.join().unwrap();
}
