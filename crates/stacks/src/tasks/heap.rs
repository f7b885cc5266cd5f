//! The headers of tasks: in the memory that a program allocates, at multiples of 128 bytes, each with the address of one of the known
//! tables in it.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;

use crate::maps::Region;
use crate::process::Process;
use crate::task::{Read, TABLE, Table, word};
use crate::thread::{State, read_state};

/// Tokio aligns tasks so on this architecture.
const ALIGNMENT: usize = 128;
/// So many bytes are copied at a time.
const PART: usize = 1 << 20;
const PAGE: u64 = 4 << 10;
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

/// All that look like one; more than [`MOST`] are not gone on with.
pub(super) fn headers(
    regions: &[Region],
    tables: &HashMap<u64, Table>,
    stacks: &[Range<u64>],
    read: Read,
) -> Vec<Header> {
    let (lowest, highest) = (tables.keys().min().copied(), tables.keys().max().copied());
    let Some((lowest, highest)) = lowest.zip(highest) else { return Vec::new() };
    let mut found = Vec::new();
    for region in regions.iter().filter(|region| region.can_be_written && !region.is_file && region.name != "[stack]") {
        each_part(region, read, |at, part| {
            let skip = (at.next_multiple_of(ALIGNMENT as u64) - at) as usize;
            for (index, block) in part.get(skip..).unwrap_or_default().chunks(ALIGNMENT).enumerate() {
                let Some(bytes) = block.get(..32) else { continue };
                let table = word(&bytes[8 * TABLE..8 * TABLE + 8]);
                if table < lowest || table > highest || !tables.contains_key(&table) {
                    continue;
                }
                let at = at + (skip + index * ALIGNMENT) as u64;
                let words: Vec<u64> = bytes.chunks_exact(8).map(word).collect();
                // A task is made on a stack and then moved: what has no owner yet and lies on one is a copy that was left.
                let is_left = |header: &Header| header.owner == 0 && stacks.iter().any(|stack| stack.contains(&at));
                found.extend(Header::of(at, &words).filter(|header| !is_left(header)));
            }
            found.len() < MOST
        });
    }
    found
}

/// Goes through what can be read of a region, as long as `take` wants more.
fn each_part(region: &Region, read: Read, mut take: impl FnMut(u64, &[u8]) -> bool) {
    let mut part = vec![0; PART];
    let mut at = region.start;
    while at < region.end {
        let wanted = PART.min((region.end - at) as usize);
        let length = read(at, &mut part[..wanted]);
        if !take(at, &part[..length]) {
            return;
        }
        // A page that cannot be read hides no other.
        at = if length < wanted { (at + length as u64 + PAGE) & !(PAGE - 1) } else { at + length as u64 };
    }
}

/// Where the stacks of a process's threads are, as far as that is known: a thread that runs does not tell.
pub(super) fn stacks(process: &Process, regions: &[Region], read: Read) -> Vec<Range<u64>> {
    let tasks = fs::read_dir(process.file("task").to_string());
    let tids = tasks.into_iter().flatten().flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
    let pointers = tids.filter_map(|tid| match read_state(&process.thread(tid)).ok()? {
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
