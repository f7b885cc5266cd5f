//! The tables that headers of tasks lead to: in the constants of the program and its libraries, one for each type of future that is
//! spawned.

use std::collections::{HashMap, HashSet};

use crate::maps::{Maps, Region};
use crate::task::{Read, Table, word};

/// So many bytes are copied at a time.
const PART: usize = 1 << 20;
/// No more of one region is gone through.
const MOST: u64 = 1 << 30;

/// All of them, by their addresses. What looks like one and is none is told apart by what its first function is called.
pub(super) fn tables(regions: &[Region], maps: &Maps, read: Read) -> HashMap<u64, Table> {
    let mut found = HashMap::new();
    // Of files that have code as well: one that a program has mapped as its data may be of any size.
    let programs: HashSet<(u64, &str)> =
        maps.all().iter().map(|mapping| (mapping.inode, mapping.name.as_str())).collect();
    let is_program = |region: &&Region| region.inode != 0 && programs.contains(&(region.inode, region.name.as_str()));
    for region in regions.iter().filter(is_program) {
        search(region, read, |address, words| {
            let (all, next) = (words.first_chunk()?, words.get(Table::WORDS).copied().unwrap_or(0));
            let table = Table::of(all, next, |function| maps.find(function).is_some())?;
            found.insert(address, table);
            Some(())
        });
    }
    found
}

/// Goes through a region word by word; `take` is given the words from an address on.
fn search(region: &Region, read: Read, mut take: impl FnMut(u64, &[u64]) -> Option<()>) {
    let overlap = 8 * (Table::WORDS + 1);
    let mut at = region.start;
    let end = region.end.min(region.start + MOST);
    let mut part = vec![0; PART];
    while at < end {
        let wanted = PART.min((end - at) as usize);
        let length = read(at, &mut part[..wanted]);
        let words: Vec<u64> = part[..length].chunks_exact(8).map(word).collect();
        for (index, start) in words.windows(Table::WORDS).enumerate() {
            // Most words are refused by the offsets, which are small.
            if start[Table::WORDS - 3] < 1 << 30 {
                _ = take(at + 8 * index as u64, &words[index..]);
            }
        }
        if length <= overlap || at + length as u64 >= end {
            return;
        }
        at += (length - overlap) as u64;
    }
}
