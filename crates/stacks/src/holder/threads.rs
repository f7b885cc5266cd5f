//! The other threads of the process, looked at once, while a thread waits.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use super::FutexWait;
use crate::capture::Frames;
use crate::look::{Look, Looker};
use crate::memory;
use crate::process::Process;
use crate::seccomp;
use crate::thread::{self, State, ThreadRef};

/// Threads that are looked at, at most,
const MOST_THREADS: usize = 64;
/// and for how long.
const LONGEST: Duration = Duration::from_millis(20);

/// Looks at the threads of one process for the one that has a lock.
#[derive(Debug)]
pub struct Finder {
    pub(super) process: Process,
    pub(super) looker: Looker,
}

/// What the threads of a process did while one of them waited.
#[derive(Debug)]
pub struct Gathered {
    pub(super) waiter: u32,
    pub(super) wait: FutexWait,
    pub(super) lock: Lock,
    pub(super) seen: Vec<Seen>,
    /// All other threads that are known of.
    pub(super) tids: HashSet<u32>,
    /// How many there are.
    pub(super) others: u64,
    /// Whether the wait was over before all were looked at.
    pub(super) is_late: bool,
}

/// Another thread.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) thread: ThreadRef,
    pub(super) name: String,
    pub(super) look: Look,
    pub(super) frames: Frames,
    pub(super) task_id: Option<u64>,
}

impl Finder {
    /// For threads of this process.
    pub fn new(process: Process) -> Finder {
        Finder { process, looker: Looker::new(process) }
    }

    /// Looks at the other threads while one waits as a look at it shows; `None` where it does not wait in a futex. `goes_on` says
    /// whether it is still in what it did at that look. `known` are threads that may be asked while they run, and `task` tells which
    /// poll of which task a thread is in: the poll's start, and Tokio's id.
    pub fn gather(
        &mut self,
        waiter: &ThreadRef,
        look: &Look,
        goes_on: impl Fn() -> bool,
        known: &[ThreadRef],
        task: impl Fn(u32) -> Option<(u64, u64)>,
    ) -> Option<Gathered> {
        let seen_wait = look.futex?;
        let begun = Instant::now();
        let block = Block::of(waiter).filter(|block| block.wait.is_of_same(&seen_wait) && goes_on());
        let wait = block.map_or(seen_wait, |block| block.wait);
        let before = Around::read(&self.process, wait.address);
        let mut threads = if block.is_some() { self.others(waiter, known) } else { Vec::new() };
        let tids: HashSet<u32> = threads.iter().map(|thread| thread.tid).collect();
        // Who is named beside the lock first, then who can be asked, and those last who wait for something themselves.
        threads.sort_by_cached_key(|thread| {
            let is_named = before.has(thread.tid);
            (!is_named, !known.contains(thread), FutexWait::of_thread(thread).is_some())
        });
        let mut seen = Vec::new();
        for thread in threads.into_iter().take(MOST_THREADS) {
            if begun.elapsed() >= LONGEST {
                break;
            }
            let polls = task(thread.tid);
            if let Some((look, frames)) = self.looker.look_whole(&thread, look.at_ns) {
                let task_id = polls.filter(|_| task(thread.tid) == polls).map(|(_, task)| task);
                seen.push(Seen { name: name(&thread), thread, look, frames, task_id });
            }
        }
        let after = Around::read(&self.process, wait.address);
        let is_late = block.is_none() || Block::of(waiter) != block;
        // Who ended meanwhile is none of them.
        let others = self.count_others().unwrap_or(tids.len() as u64).max(seen.len() as u64);
        // Of others than the one that waits, limits are not told.
        self.looker.take_limits();
        let lock = Lock { before, after };
        Some(Gathered { waiter: waiter.tid, wait, lock, seen, tids, others, is_late })
    }

    /// Drops the unwinding tables: see [`Looker::give_back`].
    pub fn give_back(&mut self) {
        self.looker.give_back();
    }

    /// Removes what it installed: see [`Looker::close`].
    pub fn close(self) {
        self.looker.close();
    }

    /// All threads but the one that waits and the one that asks; those that are known alone where a filter may not expect that a folder
    /// is read.
    fn others(&self, waiter: &ThreadRef, known: &[ThreadRef]) -> Vec<ThreadRef> {
        let tids: Vec<u32> = match seccomp::look() {
            true => self.process.tids().unwrap_or_default(),
            false => known.iter().map(|thread| thread.tid).filter(|tid| *tid != 0).collect(),
        };
        let thread = |tid| {
            let known = known.iter().find(|thread| thread.tid == tid).copied();
            known.unwrap_or_else(|| self.process.thread(tid))
        };
        tids.into_iter().map(thread).filter(|thread| thread.tid != waiter.tid && !thread.is_current()).collect()
    }

    /// How many threads there are but those two; `None` where the kernel does not tell.
    fn count_others(&self) -> Option<u64> {
        let status = fs::read_to_string(self.process.file("status").to_string()).ok()?;
        let threads: u64 = status.lines().find_map(|line| line.strip_prefix("Threads:"))?.trim().parse().ok()?;
        Some(threads.saturating_sub(1 + u64::from(self.process.is_own())))
    }
}

impl FutexWait {
    fn is_of_same(&self, other: &FutexWait) -> bool {
        (self.address, self.operation) == (other.address, other.operation)
    }

    fn of_thread(thread: &ThreadRef) -> Option<FutexWait> {
        FutexWait::of(&thread::state(thread).ok()?)
    }
}

fn name(thread: &ThreadRef) -> String {
    let name = fs::read(thread.process.file_of_thread(thread.tid, "comm").to_string()).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned()
}

/// One block of a thread in a futex.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Block {
    wait: FutexWait,
    sp: u64,
    slices: u64,
}

impl Block {
    /// `None` when the thread is in none, or nobody could tell it from another one.
    fn of(thread: &ThreadRef) -> Option<Block> {
        let slices = thread::slices(thread)?;
        let state = thread::state(thread).ok()?;
        let State::InSyscall { sp, .. } = state else { return None };
        Some(Block { wait: FutexWait::of(&state)?, sp, slices })
    }
}

/// How much is read on either side of a futex.
const SIDE: usize = 48;

/// What is around a futex: as much as could be read.
#[derive(Debug, PartialEq)]
struct Around {
    below: Vec<u8>,
    above: Vec<u8>,
}

impl Around {
    fn read(process: &Process, address: u64) -> Around {
        let bytes = |from: u64| {
            let mut bytes = vec![0; SIDE];
            let count = memory::read(process, from, &mut bytes);
            bytes.truncate(count);
            bytes
        };
        Around { below: bytes(address.saturating_sub(SIDE as u64)), above: bytes(address) }
    }

    /// The bytes this far from the futex.
    fn bytes<const COUNT: usize>(&self, offset: i64) -> Option<[u8; COUNT]> {
        let (side, at) = match offset {
            0.. => (&self.above, offset),
            _ => (&self.below, offset + SIDE as i64),
        };
        let at = usize::try_from(at).ok()?;
        side.get(at..at + COUNT)?.try_into().ok()
    }

    fn has(&self, tid: u32) -> bool {
        (-(SIDE as i64)..SIDE as i64)
            .step_by(4)
            .any(|offset| self.bytes(offset).is_some_and(|word| u32::from_le_bytes(word) & Lock::OWNER == tid))
    }
}

/// A lock, before and after the other threads were looked at. What changed meanwhile is not known.
#[derive(Debug)]
pub(super) struct Lock {
    before: Around,
    after: Around,
}

impl Lock {
    /// `FUTEX_TID_MASK`.
    pub(super) const OWNER: u32 = 0x3fff_ffff;

    /// The word this far from the futex.
    pub(super) fn word(&self, offset: i64) -> Option<u32> {
        let (before, after) = (self.before.bytes(offset)?, self.after.bytes(offset)?);
        (before == after).then_some(u32::from_le_bytes(before))
    }

    /// Who has a `pthread_mutex_t` that begins at the futex: its fields are `lock`, `count`, `owner`, `nusers`, `kind`.
    pub(super) fn mutex_owner(&self) -> Option<u32> {
        /// Of a mutex that outlives its owner, the lock itself has the owner's number.
        const ROBUST: u32 = 16;
        /// Neither these four types, nor robust, nor with a ceiling: the rest are flags of its own.
        const KINDS: u32 = 0x7f & !(3 | ROBUST | 64);
        let [lock, owner, users, kind] = [0, 8, 12, 16].map(|offset| self.word(offset));
        let (lock, owner, kind) = (lock?, owner?, kind?);
        let is_mutex = lock != 0 && users? >= 1 && kind & KINDS == 0;
        let agrees = kind & ROBUST == 0 || lock & Lock::OWNER == owner;
        (is_mutex && agrees && owner != 0).then_some(owner)
    }

    /// Who has a `pthread_rwlock_t` to write: its fields are `readers`, `writers`, `wrphase_futex`, `writers_futex`, two fillers,
    /// `cur_writer`, and its address is a multiple of 8.
    pub(super) fn rwlock_writer(&self, futex: u64) -> Option<u32> {
        let start = if futex.is_multiple_of(8) { -8 } else { -12 };
        self.word(start + 24).filter(|tid| *tid != 0)
    }

    /// How many have a `std::sync::RwLock` whose state is this far from the futex; one is a writer or a reader. `None` when nobody has.
    pub(super) fn std_readers(&self, offset: i64) -> Option<u64> {
        const MASK: u32 = (1 << 30) - 1;
        match self.word(offset)? & MASK {
            0 => None,
            MASK => Some(1),
            readers => Some(u64::from(readers)),
        }
    }

    /// What a thread waits for that `parking_lot` parked in this futex. It is in the same structure: `key`, `next_in_queue`,
    /// `unpark_token`, `park_token`, and the futex.
    pub(super) fn parked_for(&self) -> Option<u64> {
        let (low, high) = (self.word(-32)?, self.word(-28)?);
        Some(u64::from(high) << 32 | u64::from(low))
    }
}
