//! A task of Tokio that is being polled, as its header in memory tells, found from the stack of the thread that polls it.
//!
//! A task's memory begins with a header, whose third word leads to a table: seven functions, of which the first polls the task, and
//! then how far from the header other things are. Whoever polls a task has the header's address somewhere on its stack; that it is
//! the header of this very poll is certain if its table's first function is the one that polls, and the header says that somebody polls
//! it. Tokio 1.28 and later.

use std::collections::HashSet;
use std::ops::Range;

use crate::maps::Maps;

/// What a task's header tells.
///
/// ```
/// let task = pollscope_stacks::task::Task { id: 7, size: 640, spawned_at: None };
/// assert!(task.spawned_at.is_none(), "a program without `tokio_unstable` keeps no such thing");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Tokio's task id.
    pub id: u64,
    /// How large it is in memory, its future included, in bytes.
    pub size: u64,
    /// `file:line` of its spawn, as the compiler was given the path; `None` in programs without `tokio_unstable`.
    pub spawned_at: Option<String>,
}

/// Where on the stack a header's address is looked for: within so many bytes of the frame that polls.
const NEAR: u64 = 16 << 10;
/// So many words next to that frame may be the address of its future; and so many addresses are tried in all.
const FUTURES: usize = 256;
const MOST: usize = 1_000;
/// The future of an async function that is awaited lies within its caller's: so many times two alignments behind the header at most.
const WITHIN: u64 = 8;
/// Tokio puts tasks at multiples of a cache line, of 128 bytes on most machines.
const ALIGNMENT: u64 = 64;
/// The bit of the header's first word that says that somebody polls it.
pub(crate) const RUNNING: u64 = 1;
/// The table's place in the header, and how many functions it begins with.
const TABLE: usize = 2;
pub(crate) const FUNCTIONS: usize = 7;
/// Ids are counted: no process had so many tasks. An address is more.
const MOST_TASKS: u64 = 1 << 44;
/// No future is larger.
const LARGEST: u64 = 1 << 30;
/// A path is no longer.
const LONGEST_PATH: u64 = 4 << 10;

/// Memory of a process, as far as it can be read: how many bytes were.
pub(crate) type Read<'a> = &'a dyn Fn(u64, &mut [u8]) -> usize;

/// The task whose poll has this part of a stack: from the innermost frame up to where the poll returns to. `registers`: what else may be
/// the header's address. `polls`: whether a function that begins at an address is the one that polls it.
pub(crate) fn polled(
    stack: Range<u64>,
    registers: &[u64],
    maps: &Maps,
    read: Read,
    mut polls: impl FnMut(u64) -> bool,
) -> Option<Task> {
    let from = stack.start.max(stack.end.saturating_sub(NEAR)).next_multiple_of(8);
    let mut copy = vec![0; usize::try_from(stack.end.checked_sub(from)?).ok()?];
    let length = read(from, &mut copy);
    let words: Vec<u64> = copy[..length].chunks_exact(8).rev().map(word).collect();
    let headers = registers.iter().chain(&words).copied().filter(|word| word.is_multiple_of(ALIGNMENT));
    // Its future lies behind the header, and whoever polls it has its address.
    let futures = registers.iter().chain(words.iter().take(FUTURES)).map(|word| word & !(2 * ALIGNMENT - 1));
    let futures: Vec<u64> = futures.collect();
    let futures = (0..WITHIN).flat_map(|steps| futures.iter().map(move |at| at.saturating_sub(steps * 2 * ALIGNMENT)));
    let elsewhere = |address: &u64| *address != 0 && !stack.contains(address) && maps.find(*address).is_none();
    let mut tried = HashSet::new();
    let candidates = headers.chain(futures).filter(elsewhere).filter(|header| tried.insert(*header));
    candidates.take(MOST).find_map(|header| task_at(header, maps, read, &mut polls))
}

fn task_at(header: u64, maps: &Maps, read: Read, polls: &mut impl FnMut(u64) -> bool) -> Option<Task> {
    let [state, .., table] = words::<{ TABLE + 1 }>(header, read)?;
    if state & RUNNING == 0 {
        return None;
    }
    let table = Table::at(table, maps, read)?;
    if !polls(table.functions[0]) {
        return None;
    }
    table.task(header, read)
}

/// The table that a task's header leads to: its functions, and how far from the header other things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) functions: [u64; FUNCTIONS],
    /// What is behind the future, and so how large a task is but for that.
    pub(crate) trailer: u64,
    pub(crate) scheduler: u64,
    pub(crate) id: u64,
    /// Of programs with `tokio_unstable`.
    spawned: Option<u64>,
}

impl Table {
    /// So many words are in one at least.
    pub(crate) const WORDS: usize = FUNCTIONS + 3;

    fn at(address: u64, maps: &Maps, read: Read) -> Option<Table> {
        let all = words::<{ Table::WORDS }>(address, read)?;
        let [next] = words(address + 8 * Table::WORDS as u64, read).unwrap_or_default();
        Table::of(&all, next, |function| maps.find(function).is_some())
    }

    /// `next` is the word behind it, which may be none of its own.
    pub(crate) fn of(all: &[u64; Table::WORDS], next: u64, is_code: impl Fn(u64) -> bool) -> Option<Table> {
        let [functions @ .., trailer, scheduler, id] = *all;
        let are_offsets = scheduler < id && id < trailer && trailer < LARGEST && id.is_multiple_of(8);
        let is_offset = id < next && next < trailer && next.is_multiple_of(8);
        (are_offsets && functions.iter().all(|function| is_code(*function))).then_some(Table {
            functions,
            trailer,
            scheduler,
            id,
            spawned: is_offset.then_some(next),
        })
    }

    /// The task whose header is there; `None` if that has no id.
    pub(crate) fn task(&self, header: u64, read: Read) -> Option<Task> {
        let [id] = words(header + self.id, read)?;
        let spawned_at = self.spawned.and_then(|spawned| location(header + spawned, read));
        (1..MOST_TASKS).contains(&id).then_some(Task { id, size: self.trailer, spawned_at })
    }
}

/// What a reference to a `Location` leads to, if it is one: the path's address and length, the line and the column.
fn location(reference: u64, read: Read) -> Option<String> {
    let [location] = words(reference, read)?;
    let [path, length, place] = words(location, read)?;
    let (line, column) = (place as u32, place >> 32);
    if !(1..LONGEST_PATH).contains(&length) || line == 0 || column == 0 {
        return None;
    }
    let mut text = vec![0; length as usize];
    let is_whole = read(path, &mut text) == text.len();
    let text = String::from_utf8(text).ok().filter(|text| is_whole && text.ends_with(".rs"))?;
    Some(format!("{text}:{line}"))
}

/// So many words at an address; `None` if not all can be read.
pub(crate) fn words<const N: usize>(address: u64, read: Read) -> Option<[u64; N]> {
    let mut bytes = vec![0; 8 * N];
    if address == 0 || read(address, &mut bytes) < bytes.len() {
        return None;
    }
    let mut words = [0; N];
    words.iter_mut().zip(bytes.chunks_exact(8)).for_each(|(into, bytes)| *into = word(bytes));
    Some(words)
}

pub(crate) fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

#[cfg(all(test, supported))]
mod tests {
    use super::*;
    use crate::process::Process;

    extern "C" fn function() {}

    /// A memory of words that begins there.
    const BASE: u64 = 1 << 20;

    fn read_of(memory: &[u64]) -> impl Fn(u64, &mut [u8]) -> usize {
        let bytes: Vec<u8> = memory.iter().flat_map(|word| word.to_le_bytes()).collect();
        move |address, into| {
            let Some(rest) = address.checked_sub(BASE).and_then(|from| bytes.get(from as usize..)) else { return 0 };
            let length = rest.len().min(into.len());
            into[..length].copy_from_slice(&rest[..length]);
            length
        }
    }

    /// Where, in words: a stack of eight, a header, its table, a place and its path.
    const AT: u64 = 16;
    const HEADER: usize = 16;
    const FUNCTION: usize = 24;
    const PLACE: usize = 40;
    const PATH: usize = 48;

    fn memory() -> Vec<u64> {
        let address = |word: usize| BASE + 8 * word as u64;
        let mut memory = vec![0; 64];
        memory[5] = BASE + 8 * AT;
        (memory[HEADER], memory[HEADER + TABLE]) = (RUNNING | 3 << 6, address(FUNCTION));
        (memory[HEADER + 5], memory[HEADER + 6]) = (77, address(PLACE));
        memory[FUNCTION..FUNCTION + FUNCTIONS].fill(function as *const () as u64);
        memory[FUNCTION + FUNCTIONS..FUNCTION + FUNCTIONS + 4].copy_from_slice(&[96, 32, 40, 48]);
        memory[PLACE..PLACE + 3].copy_from_slice(&[address(PATH), 8, 12 | 5 << 32]);
        memory[PATH] = u64::from_le_bytes(*b"src/a.rs");
        memory
    }

    fn found_with(memory: &[u64], registers: &[u64], polls: bool) -> Option<Task> {
        let maps = Maps::read(&Process::current()).unwrap();
        polled(BASE..BASE + 64, registers, &maps, &read_of(memory), |_| polls)
    }

    #[test]
    fn a_header_on_the_stack_tells_of_the_task_that_is_polled() {
        let task = Task { id: 77, size: 96, spawned_at: Some("src/a.rs:12".to_owned()) };
        assert_eq!(found_with(&memory(), &[], true), Some(task));
        assert_eq!(found_with(&memory(), &[], false), None, "another task's");
        let mut memory = memory();
        let header = std::mem::take(&mut memory[5]);
        let of = |registers: &[u64]| found_with(&memory, registers, true).map(|task| task.id);
        assert_eq!((of(&[]), of(&[3, header])), (None, Some(77)), "it is in a register");
        assert_eq!([header + 48, header + 900].map(|future| of(&[future])), [Some(77); 2], "its future is");
        memory[6] = header + 40;
        assert_eq!(found_with(&memory, &[], true).map(|task| task.id), Some(77), "or on the stack");
    }

    #[test]
    fn what_is_no_header_is_none() {
        let changed = |index: usize, value: u64| {
            let mut memory = memory();
            memory[index] = value;
            found_with(&memory, &[], true)
        };
        assert_eq!(changed(5, BASE + 8 * (AT - 1)), None, "not where tasks are");
        assert_eq!(changed(5, u64::MAX - 63), None, "no memory");
        assert_eq!(changed(HEADER, 3 << 6), None, "nobody polls it");
        assert_eq!(changed(FUNCTION + 2, 12), None, "no function");
        assert_eq!(changed(FUNCTION + FUNCTIONS, 40), None, "nothing has room behind the id");
        assert_eq!(changed(HEADER + 5, 0), None, "no id is 0");
        assert_eq!(changed(HEADER + 6, 3).unwrap().spawned_at, None, "no place");
        assert_eq!(changed(PLACE + 1, 7).unwrap().spawned_at, None, "not a source file");
    }
}
