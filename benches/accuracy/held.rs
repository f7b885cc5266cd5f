//! Locks that another thread has: a worker of the same runtime or of one without a probe, a thread of a blocking pool, or of no runtime.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock, Mutex, RwLock};
use std::thread;
use std::time::Instant;

use pollscope_stacks::thread::current_tid;
use tokio::runtime::{Builder, Handle, Runtime, RuntimeFlavor};

use super::cases::{BLOCK, Case, LOCK, Load, at};
use super::truth::Did;

pub(crate) const CASES: [Case; 12] = [
    Case { name: "std Mutex of a worker", off_cpu: LOCK, prepare: |runtime| mutex(worker(runtime)) },
    Case { name: "std Mutex of a foreign worker", off_cpu: LOCK, prepare: |_| mutex(Holder::ForeignWorker) },
    Case { name: "std Mutex of a pool thread", off_cpu: LOCK, prepare: |runtime| mutex(Holder::Pool(runtime)) },
    Case { name: "std Mutex of a foreign thread", off_cpu: LOCK, prepare: |_| mutex(Holder::Thread) },
    Case { name: "std RwLock of a worker", off_cpu: LOCK, prepare: |runtime| read_write(worker(runtime)) },
    Case { name: "std RwLock of a foreign worker", off_cpu: LOCK, prepare: |_| read_write(Holder::ForeignWorker) },
    Case { name: "std RwLock of a pool thread", off_cpu: LOCK, prepare: |runtime| read_write(Holder::Pool(runtime)) },
    Case { name: "std RwLock of a foreign thread", off_cpu: LOCK, prepare: |_| read_write(Holder::Thread) },
    Case { name: "parking_lot Mutex of a worker", off_cpu: LOCK, prepare: |runtime| parking_lot(worker(runtime)) },
    Case {
        name: "parking_lot Mutex of a foreign worker",
        off_cpu: LOCK,
        prepare: |_| parking_lot(Holder::ForeignWorker),
    },
    Case {
        name: "parking_lot Mutex of a pool thread",
        off_cpu: LOCK,
        prepare: |runtime| parking_lot(Holder::Pool(runtime)),
    },
    Case { name: "parking_lot Mutex of a foreign thread", off_cpu: LOCK, prepare: |_| parking_lot(Holder::Thread) },
];

#[derive(Clone, Copy)]
enum Holder<'a> {
    /// Of the runtime that has the probe.
    Worker(&'a Handle),
    /// Of one that has none: it is not asked where it is while it runs.
    ForeignWorker,
    Pool(&'a Handle),
    Thread,
}

/// Another worker than the one that waits, where there is one.
fn worker(runtime: &Handle) -> Holder<'_> {
    match runtime.runtime_flavor() {
        RuntimeFlavor::CurrentThread => Holder::ForeignWorker,
        _ => Holder::Worker(runtime),
    }
}

impl Holder<'_> {
    fn runs(self, hold: impl FnOnce() + Send + 'static) {
        static FOREIGN: LazyLock<Runtime> =
            LazyLock::new(|| Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"));
        match self {
            Holder::Worker(runtime) => drop(runtime.spawn(async { hold() })),
            Holder::ForeignWorker => drop(FOREIGN.spawn(async { hold() })),
            Holder::Pool(runtime) => drop(runtime.spawn_blocking(hold)),
            Holder::Thread => drop(thread::spawn(hold)),
        }
    }

    /// Has it take something, hold it until the poll asks for it, and [`BLOCK`] longer. Every other one computes meanwhile.
    fn holds<T: Send + Sync + 'static>(self, lock: &Arc<T>, take: fn(&T, &mut dyn FnMut())) -> Ask {
        static COMPUTES: AtomicBool = AtomicBool::new(false);
        let computes = COMPUTES.fetch_xor(true, Relaxed);
        let ((tell, told), (ask, asked)) = (channel(), channel::<()>());
        let theirs = Arc::clone(lock);
        self.runs(move || {
            take(&theirs, &mut || {
                tell.send(current_tid()).unwrap();
                hold(&asked, computes);
            });
        });
        let tid = told.recv().unwrap();
        Box::new(move || {
            ask.send(()).unwrap();
            tid
        })
    }
}

type Ask = Box<dyn FnOnce() -> u32 + Send>;

fn hold(asked: &Receiver<()>, computes: bool) {
    asked.recv().unwrap();
    let start = Instant::now();
    match computes {
        true => while start.elapsed() < BLOCK {},
        false => thread::sleep(BLOCK),
    }
}

fn mutex(holder: Holder<'_>) -> Load {
    let lock = Arc::new(Mutex::new(()));
    let ask = holder.holds(&lock, |lock, wait| {
        let _guard = lock.lock();
        wait();
    });
    Box::new(move || {
        let tid = ask();
        held(at((drop(lock.lock()), line!()).1), tid)
    })
}

fn read_write(holder: Holder<'_>) -> Load {
    let lock = Arc::new(RwLock::new(()));
    let ask = holder.holds(&lock, |lock, wait| {
        let _guard = lock.write();
        wait();
    });
    Box::new(move || {
        let tid = ask();
        held(at((drop(lock.read()), line!()).1), tid)
    })
}

fn parking_lot(holder: Holder<'_>) -> Load {
    let lock = Arc::new(parking_lot::Mutex::new(()));
    let ask = holder.holds(&lock, |lock, wait| {
        let _guard = lock.lock();
        wait();
    });
    Box::new(move || {
        let tid = ask();
        held(at((drop(lock.lock()), line!()).1), tid)
    })
}

fn held(did: Did, tid: u32) -> Did {
    Did { holder: Some(tid), ..did }
}
