//! No count is lost, and a reading is between what was recorded before it and after it.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;

use super::{Coarse as Few, HIGHEST_NS, Sum};
use crate::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Release};
use crate::sync::model::{explore_orders, explore_reader};
use pollscope_base::Distribution;

fn read(buckets: &Few) -> Distribution {
    let mut sum = Sum::new();
    sum.add(buckets);
    sum.distribution()
}

/// What is in there when just these values are.
fn of(values: &[u64]) -> Distribution {
    let buckets = Few::new();
    values.iter().for_each(|&ns| buckets.record(ns));
    read(&buckets)
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
        let buckets = Arc::new(Few::new());
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
        let buckets = Arc::new(Few::new());
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
        let buckets = Arc::new(Few::new());
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
