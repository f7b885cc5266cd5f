//! How the watchdog sleeps: until a time, or, while no thread has anything to do, until one has.
//!
//! A thread says that it is awake, then looks whether the watchdog sleeps; the watchdog says that it sleeps, then looks whether
//! a thread is awake. In one order for all of them (`SeqCst`) at least one sees the other, so that no poll begins unwatched.

use std::time::{Duration, Instant};

use crate::sync::OnceLock;
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};
use crate::sync::atomic::{AtomicBool, fence};
use crate::sync::thread::{self, Thread};

#[cfg(all(test, pollscope_loom))]
mod model;

#[derive(Debug, Default)]
pub(crate) struct Alarm {
    thread: OnceLock<Thread>,
    is_asleep: AtomicBool,
    is_stopped: AtomicBool,
    /// Whether the time to wait until may be another now.
    is_changed: AtomicBool,
}

impl Alarm {
    /// The calling thread is the one that sleeps.
    pub(crate) fn is_mine(&self) {
        let _ = self.thread.set(thread::current());
        fence(SeqCst);
    }

    /// Asks the thread to end.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Release);
        self.unpark();
    }

    /// A worker goes on, and said so where the watchdog looks for it. A system call, if it slept: once in a second at most.
    #[inline]
    pub(crate) fn ring(&self) {
        if self.is_asleep.load(SeqCst) {
            self.wake_up();
        }
    }

    #[cold]
    fn wake_up(&self) {
        if self.is_asleep.swap(false, SeqCst) {
            self.unpark();
        }
    }

    /// Wakes the thread, or, while nobody knows which it is, has it see what was said before when it is about to wait.
    fn unpark(&self) {
        fence(SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// When to look may have changed: the thread asks again.
    pub(crate) fn interrupt(&self) {
        self.is_changed.store(true, Release);
        self.unpark();
    }

    /// Whether it is time to end; waits until then, or for so long, or until it is interrupted.
    pub(crate) fn wait(&self, ns: u64) -> bool {
        let (start, length) = (Instant::now(), Duration::from_nanos(ns));
        while !self.is_stopped.load(Acquire) {
            let left = length.saturating_sub(start.elapsed());
            if left.is_zero() || self.is_changed.swap(false, AcqRel) {
                return false;
            }
            thread::park_timeout(left);
        }
        true
    }

    /// Sleeps until somebody rings, unless a thread is awake: whether it did; whether it is time to end is asked afterwards.
    pub(crate) fn sleep(&self, is_all_quiet: impl FnOnce() -> bool) -> bool {
        self.is_asleep.store(true, SeqCst);
        let sleeps = is_all_quiet();
        while sleeps && self.is_asleep.load(SeqCst) && !self.is_stopped.load(Acquire) {
            thread::park();
        }
        self.is_asleep.store(false, SeqCst);
        sleeps
    }

    #[cfg(test)]
    pub(crate) fn is_asleep(&self) -> bool {
        self.is_asleep.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn it_sleeps_until_somebody_rings() {
        let alarm = Arc::new(Alarm::default());
        alarm.is_mine();
        alarm.ring();
        assert!(!alarm.sleep(|| false), "somebody is awake");
        let ringing = Arc::clone(&alarm);
        let slept = alarm.sleep(|| {
            thread::spawn(move || ringing.ring());
            true
        });
        assert!(slept && !alarm.wait(0));
        let stopping = Arc::clone(&alarm);
        alarm.sleep(|| {
            thread::spawn(move || stopping.stop());
            true
        });
        assert!(alarm.wait(u64::MAX), "stopped, whatever the time");
    }
}
