//! The headers of tasks: in the memory that a program allocates, each with the address of one of the known tables in it.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::core_file::CoreFile;
use crate::maps::Region;
use crate::process::Process;
use crate::task::{Read, Table, word};
use crate::thread::{State, read_state};

/// What is allocated begins at a multiple of this. Newer versions of Tokio have tasks at multiples of 128.
const ALIGNMENT: usize = 16;
/// So much of a header is looked at.
const HEADER: usize = 32;
/// A part that is searched has so much of the next one.
const OVERLAP: u64 = (HEADER - ALIGNMENT) as u64;
/// So many bytes of a heap are gone through by one thread.
const SHARE: u64 = 64 << 20;
/// So many threads help.
const MOST_THREADS: usize = 7;
/// So many bytes are copied at a time.
const PART: usize = 1 << 20;
const PAGE: u64 = 4 << 10;
/// Of a page's word: that it is in memory, or in the swap.
const IS_THERE: u64 = 1 << 63 | 1 << 62;
/// So many tasks are told of.
pub(super) const MOST: usize = 1 << 20;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) at: u64,
    pub(super) state: u64,
    pub(super) table: u64,
    /// Which runtime has it; 0 is none.
    pub(super) owner: u64,
}

/// Bits of a header's first word, beside that which says that it is polled.
pub(super) const COMPLETE: u64 = 1 << 1;
pub(super) const NOTIFIED: u64 = 1 << 2;
pub(super) const CANCELLED: u64 = 1 << 5;
/// How many have a reference to it is counted from this bit on.
pub(super) const REFERENCES_FROM: u64 = 1 << 6;
/// Nobody has so many.
const MOST_REFERENCES: u64 = 1 << 24;

impl Header {
    /// What these four words say, if they can be a header's.
    pub(super) fn of(at: u64, words: &[u64]) -> Option<Header> {
        let &[state, _, table, owner] = words.first_chunk()?;
        let references = state / REFERENCES_FROM;
        // What nobody refers to was freed.
        (1..MOST_REFERENCES).contains(&references).then_some(Header { at, state, table, owner })
    }

    pub(super) fn read(at: u64, read: Read) -> Option<Header> {
        Header::of(at, &crate::task::words::<4>(at, read)?)
    }
}

/// How headers are told apart from what only looks like one.
pub(super) struct Search<'a> {
    pub(super) tables: &'a HashMap<u64, Table>,
    pub(super) stacks: &'a [Range<u64>],
    /// Which parts of a range are there: what was never written to is not read, as that would make pages of it.
    pub(super) present: &'a (dyn Fn(&Range<u64>) -> Vec<Range<u64>> + Sync),
    /// From several threads at once.
    pub(super) read: &'a (dyn Fn(u64, &mut [u8]) -> usize + Sync),
}

impl Search<'_> {
    /// All that look like one, by their addresses; more than [`MOST`] are not gone on with. A large heap is gone through by several threads.
    pub(super) fn headers(&self, regions: &[Region]) -> Vec<Header> {
        let is_heap = |region: &&Region| region.can_be_written && region.inode == 0 && region.name != "[stack]";
        let parts: Vec<Range<u64>> = regions.iter().filter(is_heap).flat_map(shares).collect();
        let next = AtomicUsize::new(0);
        let search = || {
            let mut found = Vec::new();
            while let Some(part) = parts.get(next.fetch_add(1, Relaxed)).filter(|_| found.len() < MOST) {
                for part in (self.present)(part) {
                    self.search(&part, &mut found);
                }
            }
            found
        };
        let others = parts.len().min(std::thread::available_parallelism().map_or(1, usize::from)).saturating_sub(1);
        let mut found = std::thread::scope(|scope| {
            // Those that cannot be started leave the work to the others.
            let started = |_| std::thread::Builder::new().spawn_scoped(scope, search).ok();
            let others: Vec<_> = (0..others.min(MOST_THREADS)).filter_map(started).collect();
            let mut found = search();
            others.into_iter().for_each(|other| found.extend(other.join().unwrap_or_default()));
            found
        });
        found.sort_unstable_by_key(|header| header.at);
        found.truncate(MOST);
        found
    }

    fn search(&self, part: &Range<u64>, found: &mut Vec<Header>) {
        let (Some(lowest), Some(highest)) = (self.tables.keys().min(), self.tables.keys().max()) else { return };
        each_part(part, self.read, |at, part| {
            let skip = (at.next_multiple_of(ALIGNMENT as u64) - at) as usize;
            // The header's second 16 bytes begin with its table.
            let halves = part.get(skip..).unwrap_or_default().as_chunks::<ALIGNMENT>().0;
            for (index, half) in halves.iter().enumerate().skip(1) {
                let table = word(&half[..8]);
                if table < *lowest || table > *highest || !self.tables.contains_key(&table) {
                    continue;
                }
                let from = skip + (index - 1) * ALIGNMENT;
                let Some(bytes) = part.get(from..from + HEADER) else { continue };
                let at = at + from as u64;
                let words: Vec<u64> = bytes.chunks_exact(8).map(word).collect();
                // A task is made on a stack and then moved: what lies on one is a copy that was left.
                let is_left = self.stacks.iter().any(|stack| stack.contains(&at));
                found.extend(Header::of(at, &words).filter(|_| !is_left));
            }
            found.len() < MOST
        });
    }
}

/// Which pages of a process are there.
pub(super) enum Pages {
    /// Those of which the kernel tells so.
    Told(File),
    Core(&'static CoreFile),
    /// All are taken to be.
    Unknown,
}

impl Pages {
    pub(super) fn of(process: &Process) -> Pages {
        let told = || File::open(process.file("pagemap").to_string()).map_or(Pages::Unknown, Pages::Told);
        process.core().map_or_else(told, Pages::Core)
    }

    /// The parts of a range that are in memory, or were moved out of it.
    pub(super) fn present(&self, range: &Range<u64>) -> Vec<Range<u64>> {
        let (first, end) = (range.start / PAGE, range.end.div_ceil(PAGE));
        let told = match self {
            Pages::Core(core) => return core.present(range),
            Pages::Told(file) => entries(file, first, end),
            Pages::Unknown => None,
        };
        told.map_or_else(|| vec![range.clone()], |told| present(first, &told, range))
    }
}

/// A word for each page.
#[cfg(unix)]
fn entries(file: &File, first: u64, end: u64) -> Option<Vec<u64>> {
    let mut bytes = vec![0; usize::try_from(8 * end.checked_sub(first)?).ok()?];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 8 * first).ok()?;
    Some(bytes.chunks_exact(8).map(word).collect())
}

#[cfg(not(unix))]
fn entries(_file: &File, _first: u64, _end: u64) -> Option<Vec<u64>> {
    None
}

/// Pages next to each other are one part.
pub(super) fn present(first: u64, told: &[u64], within: &Range<u64>) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    for (index, entry) in told.iter().enumerate() {
        if entry & IS_THERE == 0 {
            continue;
        }
        let start = (PAGE * (first + index as u64)).max(within.start);
        let end = (PAGE * (first + index as u64 + 1)).min(within.end);
        match parts.last_mut().filter(|last| last.end == start) {
            Some(last) => last.end = end,
            None => parts.push(start..end),
        }
    }
    parts
}

/// What threads take one after another.
fn shares(region: &Region) -> impl Iterator<Item = Range<u64>> {
    let (start, end) = (region.start, region.end);
    (start..end).step_by(SHARE as usize).map(move |at| at..end.min(at + SHARE + OVERLAP))
}

/// Goes through what can be read of a part, as long as `take` wants more.
fn each_part(region: &Range<u64>, read: Read, mut take: impl FnMut(u64, &[u8]) -> bool) {
    let mut part = vec![0; PART];
    let mut at = region.start;
    while at < region.end {
        let wanted = PART.min((region.end - at) as usize);
        let length = read(at, &mut part[..wanted]);
        if !take(at, &part[..length]) {
            return;
        }
        at += length as u64;
        if length < wanted {
            // A page that cannot be read hides no other.
            at = (at + PAGE) & !(PAGE - 1);
        } else if at < region.end {
            // One that begins at the very end of a part is whole in the next.
            at -= OVERLAP;
        }
    }
}

/// Where the stacks of a process's threads are, as far as that is known: a thread that runs does not tell.
pub(super) fn stacks(process: &Process, regions: &[Region], read: Read) -> Vec<Range<u64>> {
    if let Some(core) = process.core() {
        let pointers = core.threads().iter().filter_map(|thread| thread.registers.sp());
        return pointers.filter_map(|sp| stack(sp, regions, read)).collect();
    }
    let tids = process.tids().unwrap_or_default();
    let pointers = tids.into_iter().filter_map(|tid| match read_state(&process.thread(tid)).ok()? {
        State::InSyscall { sp, .. } | State::Stopped { sp, .. } => Some(sp),
        State::Running => None,
    });
    pointers.filter_map(|sp| stack(sp, regions, read)).collect()
}

/// A stack's region may be one with what the kernel put above it; a thread's own block is between the two.
fn stack(sp: u64, regions: &[Region], read: Read) -> Option<Range<u64>> {
    let region = regions.iter().find(|region| (region.start..region.end).contains(&sp))?;
    let mut end = region.end;
    let mut part = vec![0; PART];
    let mut at = sp.next_multiple_of(64);
    // The block begins with its own address, and has it once more as its third word.
    while at < region.end.min(sp + (8 << 20)) {
        let wanted = PART.min((region.end - at) as usize);
        let length = read(at, &mut part[..wanted]);
        let words: Vec<u64> = part[..length].chunks_exact(8).map(word).collect();
        let block = words.windows(3).enumerate().step_by(8).find(|(index, words)| {
            let here = at + 8 * *index as u64;
            words[0] == here && words[2] == here
        });
        if let Some((index, _)) = block {
            end = at + 8 * index as u64;
            break;
        }
        if length < wanted || length <= 64 {
            break;
        }
        at += (length - 64) as u64;
    }
    Some(region.start..end)
}
