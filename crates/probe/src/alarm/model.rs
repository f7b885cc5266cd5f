//! No poll begins unwatched while the watchdog sleeps, and it never sleeps through being stopped: a lost wake-up would leave all
//! threads waiting, which loom reports.

use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;

use super::Alarm;
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::model::explore_orders;
use crate::worker::Awake;

/// A worker, as the watchdog sees it.
#[derive(Default)]
struct Worker {
    awake: Awake,
    is_polling: AtomicBool,
    slow_polls: AtomicU64,
}

impl Worker {
    /// As in `Entry::wake`.
    fn wake(&self, alarm: &Alarm) {
        self.awake.wake();
        alarm.ring();
    }

    fn rest(&self) {
        self.awake.rest();
    }

    /// As in `Watching::is_all_quiet`.
    fn is_quiet(&self) -> bool {
        !self.awake.is_awake() && !self.is_polling.load(Acquire) && self.slow_polls.load(Acquire) == 0
    }
}

/// Has a watchdog look until it is stopped, asleep whenever it can be; it tells the one who is in a poll, and takes slow polls.
fn watch(alarm: &Alarm, workers: &[Arc<Worker>], seen: &[Arc<Notify>]) {
    alarm.is_mine();
    while !alarm.wait(0) {
        for (worker, seen) in workers.iter().zip(seen) {
            if worker.is_polling.load(Acquire) {
                seen.notify();
            }
            if worker.slow_polls.load(Acquire) > 0 {
                seen.notify();
            }
        }
        if !alarm.sleep(|| workers.iter().all(|worker| worker.is_quiet())) {
            thread::yield_now();
        }
    }
}

#[test]
fn a_poll_that_blocks_for_good_is_seen() {
    explore_orders("alarm: a worker that rests, wakes and blocks", 3, || {
        let alarm = Arc::new(Alarm::default());
        let (worker, seen) = (Arc::new(Worker::default()), Arc::new(Notify::new()));
        let watchdog = {
            let (alarm, worker, seen) = (Arc::clone(&alarm), Arc::clone(&worker), Arc::clone(&seen));
            thread::spawn(move || watch(&alarm, &[worker], &[seen]))
        };
        worker.wake(&alarm);
        worker.rest();
        worker.wake(&alarm);
        worker.is_polling.store(true, Release);
        // It blocks until it is seen.
        seen.wait();
        worker.is_polling.store(false, Release);
        worker.rest();
        alarm.stop();
        watchdog.join().unwrap();
    });
}

#[test]
fn both_workers_are_seen() {
    explore_orders("alarm: two workers that wake and block", 2, || {
        let alarm = Arc::new(Alarm::default());
        let workers = [(); 2].map(|()| Arc::new(Worker::default()));
        let seen = [(); 2].map(|()| Arc::new(Notify::new()));
        let watchdog = {
            let (alarm, workers, seen) = (Arc::clone(&alarm), workers.clone(), seen.clone());
            thread::spawn(move || watch(&alarm, &workers, &seen))
        };
        let others: Vec<_> = workers
            .into_iter()
            .zip(seen)
            .map(|(worker, seen)| {
                let alarm = Arc::clone(&alarm);
                thread::spawn(move || {
                    worker.wake(&alarm);
                    worker.is_polling.store(true, Release);
                    seen.wait();
                })
            })
            .collect();
        others.into_iter().for_each(|worker| worker.join().unwrap());
        alarm.stop();
        watchdog.join().unwrap();
    });
}

/// Who finds that a thread rests finds what it left behind.
#[test]
fn it_does_not_sleep_on_a_slow_poll() {
    explore_orders("alarm: a slow poll left behind", 3, || {
        let alarm = Arc::new(Alarm::default());
        let (worker, seen) = (Arc::new(Worker::default()), Arc::new(Notify::new()));
        worker.wake(&alarm);
        let watchdog = {
            let (alarm, worker, seen) = (Arc::clone(&alarm), Arc::clone(&worker), Arc::clone(&seen));
            thread::spawn(move || watch(&alarm, &[worker], &[seen]))
        };
        worker.slow_polls.store(1, Relaxed);
        worker.rest();
        seen.wait();
        alarm.stop();
        watchdog.join().unwrap();
    });
}

#[test]
fn it_is_stopped_whenever_that_is() {
    explore_orders("alarm: stopped while it starts, and falls asleep", 4, || {
        let alarm = Arc::new(Alarm::default());
        let sleeping = Arc::clone(&alarm);
        let watchdog = thread::spawn(move || {
            sleeping.is_mine();
            sleeping.sleep(|| true);
            assert!(sleeping.wait(0));
        });
        alarm.stop();
        watchdog.join().unwrap();
    });
}

/// Here the time to wait until is never over.
#[test]
fn it_asks_again_when_it_is_interrupted() {
    explore_orders("alarm: interrupted while it waits", 4, || {
        let alarm = Arc::new(Alarm::default());
        let threshold = Arc::new(AtomicU64::new(1));
        let (waiting, asked) = (Arc::clone(&alarm), Arc::clone(&threshold));
        let watchdog = thread::spawn(move || {
            waiting.is_mine();
            while asked.load(Relaxed) == 1 {
                assert!(!waiting.wait(u64::MAX));
            }
        });
        threshold.store(2, Relaxed);
        alarm.interrupt();
        watchdog.join().unwrap();
    });
}
