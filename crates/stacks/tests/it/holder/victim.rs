//! A program in which one thread waits for a lock that another one has, or that nobody can be known to have. It is compiled by the
//! tests, in several ways, and run with the name of a case: then it says which thread waits and which has the lock, and stays so until
//! its input ends.

use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, RwLock, RwLockWriteGuard};
use std::thread;
use std::time::Duration;

unsafe extern "C" {
    fn gettid() -> i32;
}

static M: Mutex<Vec<u64>> = Mutex::new(Vec::new());
static OTHER: Mutex<u64> = Mutex::new(0);
static RW: RwLock<u64> = RwLock::new(0);
static ONCE: Once = Once::new();
static CELL: OnceLock<u64> = OnceLock::new();
static LAZY: LazyLock<u64> = LazyLock::new(stay_with_one);
static CONDITION: Condvar = Condvar::new();
/// How many threads are where they stay.
static READY: AtomicI32 = AtomicI32::new(0);
static HOLDER: AtomicI32 = AtomicI32::new(0);

/// Where a thread stays. That it is called may unwind, as far as a compiler knows.
#[inline(never)]
fn stay() {
    READY.fetch_add(1, SeqCst);
    thread::sleep(Duration::from_secs(600));
}

#[inline(never)]
fn stay_with_one() -> u64 {
    stay();
    1
}

fn me() -> i32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { gettid() }
}

fn is_holder() {
    HOLDER.store(me(), SeqCst);
}

#[inline(never)]
fn works_on(data: &mut Vec<u64>) {
    data.push(1);
    let text = format!("{data:?}");
    stay();
    data.push(text.len() as u64);
}

struct Stock {
    items: Mutex<Vec<u64>>,
}

impl Stock {
    #[inline(never)]
    fn sells(&self) -> u64 {
        let mut items = self.items.lock().unwrap();
        let boxed = Box::new(me());
        works_on(&mut items);
        items.len() as u64 + *boxed as u64
    }
}

static STOCK: LazyLock<Box<Stock>> = LazyLock::new(|| Box::new(Stock { items: Mutex::new(Vec::new()) }));

struct Session<'a> {
    name: String,
    guard: Option<MutexGuard<'a, Vec<u64>>>,
}

#[inline(never)]
fn takes(session: &mut Session<'_>) {
    session.guard = Some(M.lock().unwrap());
}

#[inline(never)]
fn gets_it(guard: MutexGuard<'_, Vec<u64>>) -> usize {
    stay();
    guard.len()
}

/// The lock is held, and no thread's code knows.
fn leaks() {
    std::mem::forget(M.lock().unwrap());
    READY.fetch_add(1, SeqCst);
}

fn on_its_own(what: impl FnOnce() + Send + 'static) {
    thread::spawn(what);
}

/// Once so many threads stay where they are.
fn when_ready(count: i32, then: impl FnOnce() + Send + 'static) {
    on_its_own(move || {
        while READY.load(SeqCst) < count {
            thread::yield_now();
        }
        println!("holder: {}", HOLDER.load(SeqCst));
        println!("waiter: {}", me());
        then();
    });
}

fn waits_for_mutex(count: i32) {
    when_ready(count, || drop(M.lock()));
}

fn holders(case: &str) -> bool {
    match case {
        "guard" => on_its_own(|| {
            is_holder();
            let guard = M.lock().unwrap();
            stay();
            println!("{}", guard.len());
        }),
        "guard_of_a_statement" => on_its_own(|| {
            is_holder();
            works_on(&mut M.lock().unwrap());
        }),
        "guard_in_a_struct" => on_its_own(|| {
            is_holder();
            let mut session = Session { name: format!("{}", me()), guard: None };
            takes(&mut session);
            let words = vec![session.name.clone(), "b".to_owned()];
            stay();
            println!("{} {}", words.join(" "), session.guard.map_or(0, |guard| guard.len()));
        }),
        "guard_that_was_handed_on" => on_its_own(|| {
            is_holder();
            let guard = M.lock().unwrap();
            println!("length: {}", gets_it(guard));
            stay();
        }),
        "two_guards" => on_its_own(|| {
            is_holder();
            let other = OTHER.lock().unwrap();
            let guard = M.lock().unwrap();
            stay();
            println!("{} {}", guard.len(), other);
        }),
        "guard_in_a_closure" => on_its_own(|| {
            is_holder();
            let guard = M.lock().unwrap();
            let mut all: Vec<u64> = (0..3).collect();
            all.iter_mut().for_each(|one| {
                stay();
                *one += guard.len() as u64;
            });
            println!("{all:?}");
        }),
        _ => return false,
    }
    waits_for_mutex(1);
    true
}

/// Threads that have the lock's address on their stacks, or had the lock, while it is held where no code tells.
fn decoys(case: &str) -> bool {
    let decoy: fn() = match case {
        "dropped_by_scope" => || {
            {
                let mut guard = M.lock().unwrap();
                guard.push(1);
            }
            stay();
        },
        "dropped_by_hand" => || {
            let guard = M.lock().unwrap();
            let length = guard.len();
            drop(guard);
            stay();
            println!("{length}");
        },
        "dropped_in_a_branch" => || {
            let guard = M.lock().unwrap();
            let guard = if std::env::args().count() > 1 {
                drop(guard);
                None
            } else {
                Some(guard)
            };
            stay();
            println!("{}", guard.is_some());
        },
        "dropped_conditionally" => || {
            let guard = M.lock().unwrap();
            if std::env::args().count() > 1 {
                drop(guard);
            }
            stay();
        },
        "taken_out" => || {
            let mut session = Session { name: "a".to_owned(), guard: None };
            takes(&mut session);
            drop(session.guard.take());
            stay();
            println!("{}", session.name);
        },
        "has_another" => || {
            let other = OTHER.lock().unwrap();
            drop(M.lock().unwrap());
            stay();
            println!("{other}");
        },
        "only_refers" => || {
            let all = [&M, &M];
            stay();
            println!("{}", std::hint::black_box(all).len());
        },
        "locks_when_dropped" => || {
            struct Locks(u64);
            impl Drop for Locks {
                fn drop(&mut self) {
                    M.lock().unwrap().push(self.0);
                }
            }
            let locks = Locks(7);
            stay();
            println!("{}", locks.0);
        },
        "waits_for_a_condition" => || {
            let guard = M.lock().unwrap();
            READY.fetch_add(1, SeqCst);
            drop(CONDITION.wait(guard));
        },
        "could_not_lock" => || {
            // Its own turn comes after the leak.
            while READY.load(SeqCst) < 1 {
                thread::yield_now();
            }
            let tried = M.try_lock();
            stay();
            println!("{}", tried.is_ok());
        },
        _ => return false,
    };
    if case == "could_not_lock" {
        on_its_own(leaks);
        on_its_own(decoy);
    } else {
        on_its_own(decoy);
        on_its_own(|| {
            while READY.load(SeqCst) < 1 {
                thread::yield_now();
            }
            leaks();
        });
    }
    waits_for_mutex(2);
    true
}

fn others(case: &str) {
    match case {
        "guard_of_a_heap" => {
            on_its_own(|| {
                is_holder();
                println!("{}", STOCK.sells());
            });
            when_ready(1, || drop(STOCK.items.lock()));
        }
        "writer" | "writer_and_writer" => {
            on_its_own(|| {
                is_holder();
                let guard: RwLockWriteGuard<'_, u64> = RW.write().unwrap();
                stay();
                println!("{guard}");
            });
            if case == "writer" { when_ready(1, || drop(RW.read())) } else { when_ready(1, || drop(RW.write())) }
        }
        "reader" | "readers" => {
            let count = if case == "reader" { 1 } else { 3 };
            for _ in 0..count {
                on_its_own(|| {
                    is_holder();
                    let guard = RW.read().unwrap();
                    stay();
                    println!("{guard}");
                });
            }
            when_ready(count, || drop(RW.write()));
        }
        "once" => {
            on_its_own(|| {
                is_holder();
                ONCE.call_once(stay);
            });
            when_ready(1, || ONCE.call_once(|| {}));
        }
        "once_lock" => {
            on_its_own(|| {
                is_holder();
                println!("{}", CELL.get_or_init(stay_with_one));
            });
            when_ready(1, || println!("{}", CELL.get_or_init(|| 2)));
        }
        "lazy_lock" => {
            on_its_own(|| {
                is_holder();
                println!("{}", *LAZY);
            });
            when_ready(1, || println!("{}", *LAZY));
        }
        "join" => when_ready(0, || {
            let thread = thread::spawn(|| {
                println!("holder: {}", me());
                stay();
            });
            thread.join().unwrap();
        }),
        "condition" => when_ready(0, || drop(CONDITION.wait(M.lock().unwrap()))),
        "park" => when_ready(0, thread::park),
        "channel" => when_ready(0, || {
            let (tell, told) = std::sync::mpsc::channel::<()>();
            let _ = told.recv();
            drop(tell);
        }),
        other => panic!("no case `{other}`"),
    }
}

fn main() {
    let case = std::env::args().nth(1).expect("a case");
    if !holders(&case) && !decoys(&case) {
        others(&case);
    }
    let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0]);
    std::process::exit(0);
}
