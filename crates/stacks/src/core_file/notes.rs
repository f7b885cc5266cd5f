//! The notes of a core file: its threads' registers, which files were mapped where, and what ended it. Layouts: `linux/elfcore.h` and
//! `fs/binfmt_elf.c`, as gdb writes them as well.

use super::CoreThread;
use crate::registers::Registers;

const NT_PRSTATUS: u32 = 1;
const NT_PRPSINFO: u32 = 3;
const NT_AUXV: u32 = 6;
const NT_FILE: u32 = 0x4649_4c45;
/// Of the auxiliary vector: where the program begins.
const AT_ENTRY: u64 = 9;
/// Where a thread's number and its registers are in its status, and the number of the signal.
const SIGNAL: usize = 12;
const TID: usize = 32;
const REGISTERS: usize = 112;
/// Where the process's number is in what describes it.
const PID: usize = 24;
/// The registers in that order (`struct user_regs_struct`), as DWARF numbers them; the others are of no use here.
const ORDER: [Option<u16>; 20] = [
    Some(15),
    Some(14),
    Some(13),
    Some(12),
    Some(6),
    Some(3),
    Some(11),
    Some(10),
    Some(9),
    Some(8),
    Some(0),
    Some(2),
    Some(1),
    Some(4),
    Some(5),
    None,
    Some(16),
    None,
    None,
    Some(7),
];
/// The place of the number of the call that was begun last.
const CALL: usize = 15;
/// The registers that a call's arguments are in, as DWARF numbers them.
const ARGUMENTS: [u16; 6] = [5, 4, 1, 10, 8, 9];

/// A range of a file that was mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MappedFile {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) offset: u64,
    pub(super) name: String,
}

/// What notes say.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pid: Option<u32>,
    pub(super) signal: Option<u32>,
    pub(super) threads: Vec<CoreThread>,
    pub(super) files: Vec<MappedFile>,
    pub(super) entry: Option<u64>,
}

impl Notes {
    /// Where nothing says which process it was, it has its first thread's number.
    pub(super) fn pid(&self) -> u32 {
        self.pid.or(self.threads.first().map(|thread| thread.tid)).unwrap_or_default()
    }

    /// Takes what it can of them, one after another, until one makes no sense.
    pub(super) fn read(&mut self, mut notes: &[u8]) {
        while let Some((kind, of, rest)) = next(notes) {
            notes = rest;
            match kind {
                NT_PRSTATUS => self.threads.extend(thread(of)),
                NT_PRPSINFO => self.pid = self.pid.or_else(|| half(of, PID)),
                NT_FILE => self.files.extend(files(of).unwrap_or_default()),
                NT_AUXV => self.entry = self.entry.or_else(|| auxiliary(of, AT_ENTRY)),
                _ => {}
            }
            if kind == NT_PRSTATUS && self.threads.len() == 1 {
                let number = of.get(SIGNAL..SIGNAL + 2).and_then(|two| two.try_into().ok()).map(u16::from_le_bytes);
                self.signal = number.map(u32::from).filter(|number| *number != 0);
            }
        }
    }
}

/// A note's kind, what it says, and what comes after it.
fn next(notes: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let [name, size, kind] = [0, 4, 8].map(|at| half(notes, at));
    let (name, size) = (usize::try_from(name?).ok()?, usize::try_from(size?).ok()?);
    let from = 12_usize.checked_add(name.checked_next_multiple_of(4)?)?;
    let end = from.checked_add(size)?;
    let rest = notes.get(end.checked_next_multiple_of(4)?..).unwrap_or_default();
    Some((kind?, notes.get(from..end)?, rest))
}

fn thread(of: &[u8]) -> Option<CoreThread> {
    let mut registers = Registers::default();
    for (index, number) in ORDER.iter().enumerate() {
        let value = word(of, REGISTERS + 8 * index)?;
        number.iter().for_each(|number| registers.set(*number, Some(value)));
    }
    // Whoever is in none has all bits set there.
    let number = word(of, REGISTERS + 8 * CALL).filter(|number| number.cast_signed() >= 0);
    let arguments = ARGUMENTS.map(|register| registers.get(register).unwrap_or_default());
    Some(CoreThread { tid: half(of, TID)?, registers, syscall: number.map(|number| (number, arguments)) })
}

/// A count, a page's size, then so many ranges, then their names. `None` if it breaks off.
fn files(of: &[u8]) -> Option<Vec<MappedFile>> {
    let (count, page) = (usize::try_from(word(of, 0)?).ok()?, word(of, 8)?);
    let names = of.get(16_usize.checked_add(count.checked_mul(24)?)?..)?;
    let names = names.split(|byte| *byte == 0);
    let ranges = of.get(16..)?.chunks_exact(24).take(count).zip(names);
    let its = ranges.map(|(range, name)| {
        let [start, end, offset] = [0, 8, 16].map(|at| word(range, at));
        let offset = offset?.checked_mul(page)?;
        Some(MappedFile { start: start?, end: end?, offset, name: String::from_utf8_lossy(name).into_owned() })
    });
    its.collect()
}

fn auxiliary(of: &[u8], wanted: u64) -> Option<u64> {
    of.chunks_exact(16).find(|pair| word(pair, 0) == Some(wanted)).and_then(|pair| word(pair, 8))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at.checked_add(8)?)?.try_into().ok().map(u64::from_le_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}
