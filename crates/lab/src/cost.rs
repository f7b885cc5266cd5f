//! What a run costs beside its polls: what its threads used, and how long closures waited for a thread of the blocking pool.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pollscope_stacks::usage::Usage;

use pollscope_record::recording::Dist;

/// Adds up the cost of a run as its threads report it; clones add to the same cost.
#[derive(Debug, Clone)]
pub(crate) struct CostMeter(Arc<Mutex<Cost>>);

/// The cost of a run.
#[derive(Debug, Clone)]
pub(crate) struct Cost {
    /// What all threads that have ended used; `None` if it is unknown of one of them.
    pub(crate) usage: Option<Usage>,
    /// The time from giving a closure to the pool to the closure's start.
    pub(crate) pool_wait: Dist,
}

impl Default for CostMeter {
    fn default() -> CostMeter {
        CostMeter(Arc::new(Mutex::new(Cost { usage: Some(Usage::default()), pool_wait: Dist::empty(3) })))
    }
}

impl CostMeter {
    /// Adds what the calling thread used since it began. Each thread calls this once, as the last thing that it does.
    pub(crate) fn thread_ends(&self) {
        let used = Usage::of_this_thread();
        self.with(|cost| cost.usage = cost.usage.zip(used).map(|(all, used)| all + used));
    }

    /// Wraps a closure so that it adds the time from now to its start. It adds on the pool's thread, not on the loop.
    pub(crate) fn waiting<T>(&self, f: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T + Send + 'static {
        let (meter, asked) = (self.clone(), Instant::now());
        move || {
            let waited = u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX);
            meter.with(|cost| cost.pool_wait.record(waited));
            f()
        }
    }

    /// The cost so far.
    pub(crate) fn read(&self) -> Cost {
        self.with(|cost| cost.clone())
    }

    fn with<T>(&self, f: impl FnOnce(&mut Cost) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn threads_and_waits_add_up() {
        let meter = CostMeter::default();
        let waiting = meter.waiting(|| 7);
        thread::sleep(Duration::from_millis(2));
        assert_eq!((waiting(), meter.read().pool_wait.count()), (7, 1));
        assert!(meter.read().pool_wait.min_ns >= Some(2_000_000));
        for _ in 0..2 {
            let meter = meter.clone();
            let sleeps = move || {
                thread::sleep(Duration::from_micros(100));
                meter.thread_ends();
            };
            thread::spawn(sleeps).join().expect("no panic");
        }
        let switches = meter.read().usage.map(|usage| usage.voluntary_switches);
        assert_eq!(switches.is_some_and(|switches| switches >= 2), pollscope_stacks::SUPPORTED, "{switches:?}");
    }
}
