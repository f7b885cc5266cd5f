//! Who has the lock that a late poll waits for: asked once, at the first look that shows it wait, by the thread that names, so that the
//! watchdog is not late for other polls.

use pollscope_base::Held;
use pollscope_stacks::holder::Finder;
use pollscope_stacks::look::{Look, Namer};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::ThreadRef;

use super::thread_of;
use crate::clock::Moment;
use crate::journal::Key;
use crate::shared::Shared;

/// A poll that waits, and its thread.
pub(super) struct Waiter {
    pub(super) key: Key,
    pub(super) thread: ThreadRef,
}

pub(super) struct Holders {
    process: Process,
    finder: Finder,
}

impl Holders {
    pub(super) fn new(process: Process) -> Holders {
        Holders { process, finder: Finder::new(process) }
    }

    /// Who has what a poll waits for as a look shows; `None` where nobody can have it, or it does not wait in a futex.
    pub(super) fn find(&mut self, waiter: &Waiter, look: &Look, namer: &mut Namer, shared: &Shared) -> Option<Held> {
        let slots = shared.slots();
        let (number, start) = waiter.key;
        // Its thread may be in the next poll by now, which waits for the same.
        let goes_on = || slots.iter().any(|slot| slot.number == number && slot.polling.is_in(start));
        let polls = |tid: u32| {
            let slot = slots.iter().find(|slot| thread_of(slot, self.process).tid == tid)?;
            let polling = slot.polling.now().filter(|polling| polling.task != 0)?;
            let Moment(start) = polling.start;
            Some((start, polling.task))
        };
        let known: Vec<ThreadRef> = slots.iter().map(|slot| thread_of(slot, self.process)).collect();
        let gathered = self.finder.gather(&waiter.thread, look, goes_on, &known, polls)?;
        self.finder.find(&gathered, look.stack.as_ref()?, namer)
    }

    /// Drops what was read to look at threads.
    pub(super) fn give_back(&mut self) {
        self.finder.give_back();
    }

    /// Removes what was installed for it.
    pub(super) fn close(self) {
        self.finder.close();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::{Duration, Instant};

    use pollscope_base::HolderUnknown;
    use pollscope_stacks::SUPPORTED;
    use pollscope_stacks::look::Looker;

    use super::*;
    use crate::clock::Clock;

    /// Whatever its thread waits for by now, it is not what the poll waited for.
    #[test]
    fn a_poll_that_is_over_is_not_told_of_who_has_the_lock_now() {
        if !SUPPORTED {
            return;
        }
        let process = Process::current();
        let (mutex, (tell, told)) = (Mutex::new(()), channel());
        let guard = mutex.lock().unwrap();
        let held = thread::scope(|scope| {
            scope.spawn(|| {
                tell.send(ThreadRef::current()).unwrap();
                drop(mutex.lock());
            });
            let (thread, mut looker) = (told.recv().unwrap(), Looker::new(process));
            let (begin, waits) = (Instant::now(), |look: &Look| look.futex.is_some());
            let look = loop {
                if let Some(look) = looker.look(&thread, 0).filter(waits) {
                    break Some(look);
                }
                if begin.elapsed() > Duration::from_secs(60) {
                    break None;
                }
                thread::yield_now();
            };
            let (shared, mut namer) = (Shared::new(Clock::monotonic(), 1, 0), Namer::new(process, Vec::new(), false));
            let waiter = Waiter { key: (0, Moment(7)), thread };
            let held = look.map(|look| Holders::new(process).find(&waiter, &look, &mut namer, &shared));
            drop(guard);
            held
        });
        assert_eq!(held.expect("it waits"), Some(Held::Unknown(HolderUnknown::Late)));
    }
}
