//! Who has the lock that a thread waits for in a futex, and what that thread does.
//!
//! The waiting thread's stack says what it waits for. Where the lock's own memory names its owner, as that of a `pthread_mutex_t` does,
//! that is the answer. A lock of Rust names nobody: then it is the one thread whose code would give the lock back if it unwound now.
//! What a function does then is in the program, for every place where it calls another one: it drops what it has there. That code is
//! followed on paper, with the frame's own registers and memory, until it gives back a lock: if it is this one, the frame has
//! it. A reference to the lock, or a guard that was dropped already, does not look like that. Nor does anything in a program that was
//! built with `panic = "abort"`: there nobody is named.
//!
//! - [`Finder::gather`] looks at the other threads, in a moment, while the thread still waits.
//! - [`Finder::find`] says who of them has it. It needs names, which take far longer.

mod ahead;
mod machine;
mod release;
mod state;
mod threads;
mod view;
mod word;

use pollscope_base::{Cause, Held, Holder, HolderUnknown};

use crate::look::{Look, Namer};
use crate::unwind::Stack;
pub use crate::wait::FutexWait;
use crate::wait::Wait;
use machine::LockWord;
use release::Release;
pub use threads::{Finder, Gathered};
use threads::{Lock, Seen};
use view::View;

/// Instructions that are followed to find out who has one lock.
const EFFORT: u32 = 100_000;

/// What was found among the threads.
enum Found {
    /// The lock names this thread.
    Owner(u32),
    /// These have it, by their code.
    Likely(Vec<u32>),
    /// It is held by so many, as it counts them itself.
    Readers(u64),
}

impl Finder {
    /// Who has what the thread waited for, of whose stack this is; `None` where that is nothing that anybody has, or is not known.
    pub fn find(&mut self, gathered: &Gathered, waits: &Stack, namer: &mut Namer) -> Option<Held> {
        let wait = match Wait::of(&namer.functions(waits)) {
            _ if gathered.wait.names_its_owner() => Wait::Pthread,
            wait => wait.filter(|wait| *wait != Wait::Nothing)?,
        };
        if gathered.is_late {
            return Some(Held::Unknown(HolderUnknown::Late));
        }
        let found = match wait {
            Wait::Pthread | Wait::PthreadRwLock | Wait::Join => gathered.owner(wait).map(Found::Owner),
            Wait::Anonymous | Wait::Nothing => None,
            _ => self.likely(gathered, wait, namer),
        };
        Some(match found {
            Some(Found::Owner(tid)) => gathered.by(tid, true, namer),
            Some(Found::Likely(of)) if of.len() == 1 => gathered.by(of[0], false, namer),
            Some(Found::Likely(of)) => Held::Unknown(HolderUnknown::Several { threads: of.len() as u64 }),
            Some(Found::Readers(threads)) => Held::Unknown(HolderUnknown::Several { threads }),
            None => Held::Unknown(gathered.nobody()),
        })
    }

    /// Who has a lock that names nobody, by what their code would do; `None` if there is none.
    fn likely(&mut self, gathered: &Gathered, wait: Wait, namer: &mut Namer) -> Option<Found> {
        let (lock, address) = (&gathered.lock, gathered.wait.address);
        let mut view = View::new(self.process);
        let (word, holders) = match wait {
            Wait::ParkingLot => (lock.parked_for()?, None),
            Wait::ParkingLotRwLock => {
                // To wait for readers it takes the address after the lock's.
                let word = lock.parked_for()? & !1;
                (word, Some(parking_lot_readers(view.word(word, 8).get(8)?)))
            }
            Wait::WriteLock => (address.wrapping_sub(4), Some(lock.std_readers(-4)?)),
            Wait::ReadLock => (address, Some(lock.std_readers(0)?)),
            _ => (address, None),
        };
        if let Some(readers) = holders.filter(|holders| *holders > 1) {
            return Some(Found::Readers(readers));
        }
        let lock = LockWord { address: word, is_once: wait == Wait::Once };
        let (mut have, mut effort) = (Vec::new(), EFFORT);
        for seen in &gathered.seen {
            let release = Release { finder: self, namer, view: &mut view, lock, effort: &mut effort };
            let gives_back = release.gives_back(seen, gathered.wait);
            if gives_back {
                have.push(seen.thread.tid);
            }
        }
        (!have.is_empty()).then_some(Found::Likely(have))
    }
}

impl Gathered {
    fn nobody(&self) -> HolderUnknown {
        let (looked_at, of) = (self.seen.len() as u64, self.others);
        if looked_at < of { HolderUnknown::Bounded { looked_at, of } } else { HolderUnknown::NotSeen }
    }

    /// The thread that the lock names, before and after the others were looked at.
    fn owner(&self, wait: Wait) -> Option<u32> {
        let tid = match wait {
            _ if self.wait.names_its_owner() => self.lock.word(0)? & Lock::OWNER,
            Wait::Join => self.lock.word(0).filter(|tid| *tid == self.wait.value)?,
            Wait::PthreadRwLock => self.lock.rwlock_writer(self.wait.address)?,
            _ => self.lock.mutex_owner()?,
        };
        (tid != self.waiter && self.tids.contains(&tid)).then_some(tid)
    }

    /// The thread of this number, in words.
    fn by(&self, tid: u32, sure: bool, namer: &mut Namer) -> Held {
        let Some(seen) = self.seen.iter().find(|seen| seen.thread.tid == tid) else {
            return Held::Unknown(self.nobody());
        };
        let named = namer.name(&seen.look);
        Held::By(Holder {
            thread: seen.name.clone(),
            tid,
            task_id: seen.task_id,
            line: named.blocking_line,
            function: named.function,
            doing: doing(&seen.look),
            sure,
        })
    }
}

/// How many have an `RwLock` of `parking_lot`, of which this is the state: above four flags it counts those who read.
fn parking_lot_readers(state: u64) -> u64 {
    (state >> 4).max(1)
}

/// What a thread does, as its look shows.
fn doing(look: &Look) -> String {
    match (&look.call, look.off_cpu) {
        (Some(call), _) if call.name.ends_with("nanosleep") => format!("sleeps in {}", call.text),
        (Some(call), _) => format!("is blocked in {}", call.text),
        (None, Some(Cause::PageFault)) => "waits for a page".to_owned(),
        (None, _) => "computes".to_owned(),
    }
}

/// Whether a thread waits for something that it gave a lock back for: what it has then is not what it will give back.
fn waits_for_a_condition(functions: &[String]) -> bool {
    functions.iter().any(|function| function.contains("::condvar::") || function.ends_with("::Condvar::wait"))
}

fn is_same_wait(seen: &Seen, wait: FutexWait) -> bool {
    seen.look.futex.is_some_and(|futex| futex.address == wait.address)
}
