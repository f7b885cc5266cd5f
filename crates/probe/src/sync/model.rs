//! Stand-ins for the standard library's types under loom, and how models are run.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Count;
use std::sync::atomic::Ordering::Relaxed;

use loom::model::Builder;

thread_local! {
    /// Whether all accesses to one counter are taken for dependent on each other.
    static ARE_DEPENDENT: Cell<bool> = const { Cell::new(false) };
}

/// For one thread that writes and one that only reads, the second started by the first before it writes: plays every execution
/// there is. The reader runs last, and each of its loads returns any store that the memory model allows it to return then:
/// as nobody sees what the reader does, no other order of the two gives it anything else.
pub(crate) fn explore_reader(name: &str, model: impl Fn() + Send + Sync + 'static) {
    explore(name, 0, false, model);
}

/// For threads that see what the others do: plays every order of what they do with at most so many forced switches.
pub(crate) fn explore_orders(name: &str, preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    explore(name, preemptions, true, model);
}

fn explore(name: &str, preemptions: usize, are_dependent: bool, model: impl Fn() + Send + Sync + 'static) {
    let executions = Arc::new(Count::new(0));
    let mut builder = Builder::new();
    let preemptions = if are_dependent { builder.preemption_bound.unwrap_or(preemptions) } else { preemptions };
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    let counted = Arc::clone(&executions);
    // The model's threads take turns on this one.
    ARE_DEPENDENT.set(are_dependent);
    builder.check(move || {
        counted.fetch_add(1, Relaxed);
        model();
    });
    let executions = executions.load(Relaxed);
    // Past the test harness, which keeps what a passing test prints.
    writeln!(std::io::stderr(), "{name}: {executions} executions").expect("standard error");
    assert!(executions > 1, "nothing of it is shared");
}

pub(crate) mod atomic {
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

    use super::ARE_DEPENDENT;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence};

    /// Loom forgets that one thread loaded a value once another did, and then does not try what the second one stores next before
    /// the first one's load. A counter's only writer loads before it stores: where orders are played, each access is preceded
    /// by one that is dependent on all others, and that orders nothing else.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicU64 {
        value: loom::sync::atomic::AtomicU64,
        accesses: loom::sync::atomic::AtomicU32,
    }

    impl AtomicU64 {
        pub(crate) fn new(value: u64) -> AtomicU64 {
            AtomicU64 { value: value.into(), ..AtomicU64::default() }
        }

        pub(crate) fn load(&self, ordering: Ordering) -> u64 {
            self.access();
            self.value.load(ordering)
        }

        pub(crate) fn store(&self, value: u64, ordering: Ordering) {
            self.access();
            self.value.store(value, ordering);
        }

        pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
            self.access();
            self.value.fetch_add(value, ordering)
        }

        fn access(&self) {
            if ARE_DEPENDENT.get() {
                self.accesses.fetch_add(0, Relaxed);
            }
        }
    }

    /// With `SeqCst` as the standard library means it. Loom takes such a load or store for an acquire or a release; what it does
    /// give one order for all threads is what reads and writes at once. So a load that is `SeqCst` writes back what it read,
    /// unless that was stored otherwise, and every store reads: but no load releases by that, and no store acquires.
    #[derive(Debug, Default)]
    pub(crate) struct AtomicBool {
        value: loom::sync::atomic::AtomicBool,
        /// Whether what was stored last is in the one order.
        is_ordered: std::sync::atomic::AtomicBool,
    }

    impl AtomicBool {
        pub(crate) fn load(&self, ordering: Ordering) -> bool {
            match ordering {
                SeqCst if self.is_ordered.load(Relaxed) => self.value.fetch_or(false, Acquire),
                SeqCst => self.value.load(Acquire),
                _ => self.value.load(ordering),
            }
        }

        pub(crate) fn store(&self, value: bool, ordering: Ordering) {
            self.value.swap(value, if ordering == SeqCst { Release } else { ordering });
            self.is_ordered.store(ordering == SeqCst, Relaxed);
        }

        pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
            let before = self.value.swap(value, ordering);
            self.is_ordered.store(ordering == SeqCst, Relaxed);
            before
        }
    }
}

/// Only what is documented of the standard library's: what was set is seen whole.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    is_set: loom::sync::atomic::AtomicBool,
    value: std::sync::OnceLock<T>,
}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock::new()
    }
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> OnceLock<T> {
        OnceLock { is_set: false.into(), value: std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.is_set.load(atomic::Ordering::Acquire).then(|| self.value.get()).flatten()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.is_set.store(true, atomic::Ordering::Release);
        Ok(())
    }

    /// By one thread only.
    pub(crate) fn get_or_init(&self, new: impl FnOnce() -> T) -> &T {
        if self.get().is_none() {
            let _ = self.set(new());
        }
        self.get().expect("just set")
    }
}

pub(crate) mod thread {
    pub(crate) use loom::thread::*;

    /// As if the time were never over.
    pub(crate) fn park_timeout(_length: std::time::Duration) {
        park();
    }
}
