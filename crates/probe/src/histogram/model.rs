//! No count is lost, and a reading is between what was recorded before it and after it.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use super::{Coarse as Few, HIGHEST_NS, Overflow, distribution};
use crate::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use crate::sync::model::{explore_orders, explore_reader};
use pollscope_base::Distribution;

/// One thread's buckets, of which 0 and 1 are its own, and their overflow.
struct Histogram(Few, Overflow<8>);

impl Histogram {
    fn new() -> Histogram {
        Histogram(Few::new(), Few::overflow())
    }

    fn record(&self, ns: u64) {
        self.0.record(ns, &self.1);
    }
}

fn read(histogram: &Histogram) -> Distribution {
    distribution([(&histogram.0, &histogram.1)])
}

/// What is in there when just these values are.
fn of(values: &[u64]) -> Distribution {
    let histogram = Histogram::new();
    values.iter().for_each(|&ns| histogram.record(ns));
    read(&histogram)
}

fn count_at(distribution: &Distribution, low_ns: u64) -> u64 {
    distribution.buckets.iter().filter(|bucket| bucket.low_ns == low_ns).map(|bucket| bucket.count).sum()
}

/// Whether every part of `a` is at most what it is in `b`.
fn is_within(a: &Distribution, b: &Distribution) -> bool {
    (0..=HIGHEST_NS).all(|low_ns| count_at(a, low_ns) <= count_at(b, low_ns))
        && (a.sum_ns <= b.sum_ns && a.clamped <= b.clamped && a.max_ns <= b.max_ns)
        && a.min_ns.is_none_or(|min| b.min_ns.is_some_and(|least| least <= min))
}

/// The last is beyond the buckets.
const VALUES: [u64; 3] = [2, 1, HIGHEST_NS + 6];

#[test]
fn a_reading_is_between_what_was_before_and_after() {
    explore_reader("histogram: three values, read twice meanwhile", || {
        let buckets = Arc::new(Histogram::new());
        // How many values were recorded for sure.
        let recorded = Arc::new(AtomicU64::new(0));
        let (reading, counted) = (Arc::clone(&buckets), Arc::clone(&recorded));
        let reader = thread::spawn(move || {
            let before = counted.load(Acquire) as usize;
            let (first, second) = (read(&reading), read(&reading));
            assert!(is_within(&of(&VALUES[..before]), &first), "{before} were recorded: {first:?}");
            assert!(is_within(&first, &second), "it went back: {first:?} {second:?}");
            assert!(is_within(&second, &of(&VALUES)), "never recorded: {second:?}");
        });
        for (index, ns) in VALUES.into_iter().enumerate() {
            buckets.record(ns);
            recorded.store(index as u64 + 1, Release);
        }
        let last = read(&buckets);
        let whole = (last.count(), last.clamped, last.sum_ns, last.min_ns, last.max_ns);
        assert_eq!(whole, (3, 1, VALUES.iter().sum(), Some(1), Some(VALUES[2])));
        reader.join().unwrap();
    });
}

#[test]
fn what_is_not_empty_has_a_count() {
    explore_reader("histogram: the first value", || {
        let buckets = Arc::new(Histogram::new());
        let reading = Arc::clone(&buckets);
        let reader = thread::spawn(move || {
            let reading = read(&reading);
            assert!(reading.min_ns.is_none() || reading.count() == 1, "{reading:?}");
        });
        buckets.record(2);
        reader.join().unwrap();
    });
}

/// The next thread of a slot goes on with what the last one counted.
#[test]
fn counts_go_on_with_the_next_thread() {
    explore_orders("histogram: two threads, one after the other", 3, || {
        let buckets = Arc::new(Histogram::new());
        let free = Arc::new(Mutex::new(()));
        let threads = [1, 2].map(|ns| {
            let (buckets, free) = (Arc::clone(&buckets), Arc::clone(&free));
            thread::spawn(move || {
                let _mine = free.lock().unwrap();
                buckets.record(ns);
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(read(&buckets), of(&[1, 2]));
    });
}

/// A counter that is full begins again, and what it had is counted elsewhere.
#[test]
fn a_full_counter_is_read_meanwhile() {
    explore_reader("histogram: a counter that is full", || {
        let histogram = Arc::new(Histogram::new());
        let recorded = Arc::new(AtomicU64::new(0));
        histogram.record(1);
        let (reading, counted) = (Arc::clone(&histogram), Arc::clone(&recorded));
        let reader = thread::spawn(move || {
            let before = 1 + counted.load(Acquire);
            let (first, second) = (read(&reading).count(), read(&reading).count());
            assert!(before <= first && first <= second && second <= 3, "{before} {first} {second}");
        });
        for times in 1..=2 {
            histogram.record(1);
            recorded.store(times, Release);
        }
        assert_eq!(read(&histogram).count(), 3);
        reader.join().unwrap();
    });
}

/// Two threads have full counters, and values that do not fit, at the same time.
#[test]
fn threads_share_an_overflow() {
    explore_orders("histogram: two threads and their overflow", 2, || {
        let overflow = Arc::new(Few::overflow());
        let threads = [(); 2].map(|()| {
            let overflow = Arc::clone(&overflow);
            thread::spawn(move || {
                let buckets = Few::new();
                [1, 1, 3].into_iter().for_each(|ns| buckets.record(ns, &overflow));
                buckets
            })
        });
        let threads = threads.map(|thread| thread.join().unwrap());
        let read = distribution(threads.iter().map(|buckets| (buckets, &*overflow)));
        assert_eq!((read.count(), count_at(&read, 1), count_at(&read, 3)), (6, 4, 2));
    });
}
