//! Who has the lock that a thread waits for: in programs that are built in several ways, and in this one.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pollscope_base::{Held, Holder, HolderUnknown};
use pollscope_stacks::holder::Finder;
use pollscope_stacks::look::{Look, Looker, Namer};
use pollscope_stacks::process::Process;
use pollscope_stacks::thread::ThreadRef;

use crate::support::PATIENCE;

/// A case of the victim that runs, and which threads it says wait and hold.
struct Victim {
    child: Child,
    waiter: ThreadRef,
    holder: u32,
}

impl Victim {
    fn run(program: &PathBuf, case: &str) -> Victim {
        let mut command = Command::new(program);
        let mut child = command.arg(case).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut told = [None; 2];
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
        for line in lines {
            for (place, word) in told.iter_mut().zip(["waiter: ", "holder: "]) {
                *place = line.strip_prefix(word).map(|tid| tid.parse().unwrap()).or(*place);
            }
            if told[0].is_some() && (told[1] != Some(0) || case != "join") {
                break;
            }
        }
        let waiter = Process::open(child.id()).unwrap().thread(told[0].expect("it waits"));
        Victim { child, waiter, holder: told[1].expect("it says who holds") }
    }
    fn ask(&self) -> Option<Held> {
        ask(&self.waiter, &[])
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn build(name: &str, flags: &[&str]) -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/holder/victim.rs");
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("victim-{name}-{}", std::process::id()));
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "-A", "warnings"]).args(flags).arg("-o").arg(&program).arg(source);
    assert!(command.status().unwrap().success(), "{command:?}");
    program
}

/// Who has what a thread waits for, asked once it does.
fn ask(waiter: &ThreadRef, known: &[ThreadRef]) -> Option<Held> {
    let process = waiter.process;
    let (mut looker, mut finder) = (Looker::new(process), Finder::new(process));
    let mut namer = Namer::new(process, Vec::new(), false);
    let begin = Instant::now();
    loop {
        let look = once_it_waits(&mut looker, waiter);
        let gathered =
            finder.gather(waiter, &look, || true, known, |tid| known.iter().any(|of| of.tid == tid).then_some((1, 42)));
        match finder.find(&gathered.expect("it waits in a futex"), look.stack.as_ref().unwrap(), &mut namer) {
            // On a busy machine there was no time for one look.
            Some(Held::Unknown(HolderUnknown::Bounded { looked_at: 0, .. })) if begin.elapsed() < PATIENCE => {}
            held => return held,
        }
    }
}

fn once_it_waits(looker: &mut Looker, waiter: &ThreadRef) -> Look {
    let begin = Instant::now();
    loop {
        match looker.look(waiter, 0).filter(|look| look.futex.is_some()) {
            Some(look) => return look,
            None if begin.elapsed() > PATIENCE => panic!("it does not wait"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

const HELD: [&str; 13] = [
    "guard",
    "guard_of_a_statement",
    "guard_in_a_struct",
    "guard_that_was_handed_on",
    "two_guards",
    "guard_in_a_closure",
    "guard_of_a_heap",
    "writer",
    "writer_and_writer",
    "reader",
    "once",
    "once_lock",
    "lazy_lock",
];
const NOT_KNOWN: [&str; 11] = [
    "dropped_by_scope",
    "dropped_by_hand",
    "dropped_in_a_branch",
    "dropped_conditionally",
    "taken_out",
    "has_another",
    "only_refers",
    "locks_when_dropped",
    "waits_for_a_condition",
    "could_not_lock",
    "readers",
];
const NOBODY: [&str; 3] = ["condition", "park", "channel"];

/// Runs every case in a program that is built so: who has what is never told wrongly, and is told where `knows` says so.
fn check(name: &str, flags: &[&str], knows: impl Fn(&str) -> bool) {
    let program = build(name, flags);
    for case in HELD.iter().chain(&["join"]) {
        let victim = Victim::run(&program, case);
        match victim.ask() {
            Some(Held::By(holder)) => {
                assert_eq!(holder.tid, victim.holder, "{name} {case}: {holder}");
                assert_eq!((holder.sure, holder.task_id), (*case == "join", None), "{name} {case}: {holder}");
            }
            other => {
                assert_eq!(other, Some(Held::Unknown(HolderUnknown::NotSeen)), "{name} {case}");
                assert!(!knows(case), "{name} {case}: it should be known");
            }
        }
    }
    for case in NOT_KNOWN {
        let expected = match case {
            "readers" => HolderUnknown::Several { threads: 3 },
            _ => HolderUnknown::NotSeen,
        };
        assert_eq!(Victim::run(&program, case).ask(), Some(Held::Unknown(expected)), "{name} {case}");
    }
    for case in NOBODY {
        assert_eq!(Victim::run(&program, case).ask(), None, "{name} {case}");
    }
    let _ = std::fs::remove_file(program);
}

#[test]
fn locks_of_a_debug_build() {
    check("debug", &["-g"], |_| true);
}

#[test]
fn locks_of_a_release_build() {
    check("release", &["-Copt-level=3"], |_| true);
}

#[test]
fn locks_of_a_small_build_in_one_piece() {
    check("small", &["-Copt-level=s", "-Clto=fat", "-Ccodegen-units=1"], |_| true);
}

/// Nothing in it says what a function drops when it unwinds.
#[test]
fn locks_of_a_build_that_aborts() {
    check("abort", &["-Copt-level=3", "-Cpanic=abort"], |case| case == "join");
}

/// A thread that says which one it is, runs `first`, and then does `then` once it is told to, or at once.
fn thread<T>(first: impl FnOnce() -> T + Send + 'static, then: impl FnOnce(T) + Send + 'static) -> Thread {
    let (tell, hear) = channel();
    let handle = std::thread::Builder::new().name("holds-it".to_owned()).spawn(move || {
        let first = first();
        tell.send(ThreadRef::current()).unwrap();
        then(first);
    });
    Thread { thread: hear.recv_timeout(PATIENCE).unwrap(), handle: handle.unwrap() }
}

struct Thread {
    thread: ThreadRef,
    handle: JoinHandle<()>,
}

/// One thread takes a lock and stays until it is told to go on, and another one waits for it.
fn held_by<T: 'static>(take: fn() -> T, wait: fn()) -> (Option<Held>, ThreadRef) {
    let (go_on, stay) = channel::<()>();
    let holder = thread(take, move |taken| {
        let _ = stay.recv();
        drop(taken);
    });
    let waiter = thread(|| (), move |()| wait());
    let held = ask(&waiter.thread, &[]);
    drop(go_on);
    waiter.handle.join().unwrap();
    holder.handle.join().unwrap();
    (held, holder.thread)
}

#[track_caller]
fn assert_held(held: Option<Held>, by: &ThreadRef, sure: bool) -> Holder {
    match held {
        Some(Held::By(holder)) if holder.tid == by.tid && holder.sure == sure && holder.thread == "holds-it" => holder,
        other => panic!("not told: {other:?}, but it is {}", by.tid),
    }
}

#[test]
fn locks_of_parking_lot() {
    static MUTEX: parking_lot::Mutex<u64> = parking_lot::Mutex::new(1);
    static LOCK: parking_lot::RwLock<u64> = parking_lot::RwLock::new(1);
    let (held, by) = held_by(|| MUTEX.lock(), || drop(MUTEX.lock()));
    let holder = assert_held(held, &by, false);
    assert_eq!(holder.doing, "is blocked in futex(wait)");
    assert!(holder.line.unwrap().contains("tests/it/holder.rs:"));
    let (held, by) = held_by(|| LOCK.write(), || drop(LOCK.read()));
    assert_held(held, &by, false);
    let (held, by) = held_by(|| LOCK.read(), || drop(LOCK.write()));
    assert_held(held, &by, false);
    let (held, _) = held_by(|| (LOCK.read(), LOCK.read()), || drop(LOCK.write()));
    assert_eq!(held, Some(Held::Unknown(HolderUnknown::Several { threads: 2 })));
}

#[test]
fn a_condition_of_parking_lot_has_no_holder() {
    static MUTEX: parking_lot::Mutex<u64> = parking_lot::Mutex::new(1);
    static CONDITION: parking_lot::Condvar = parking_lot::Condvar::new();
    let waiter = thread(|| (), |()| CONDITION.wait(&mut MUTEX.lock()));
    assert_eq!(ask(&waiter.thread, &[]), None);
    let begin = Instant::now();
    while CONDITION.notify_all() == 0 && !waiter.handle.is_finished() {
        assert!(begin.elapsed() < PATIENCE);
    }
    waiter.handle.join().unwrap();
}

/// A mutex of the C library, made once, and taken and given back by any thread.
struct Pthread<const KIND: i32, const ROBUST: i32, const PROTOCOL: i32>;

impl<const KIND: i32, const ROBUST: i32, const PROTOCOL: i32> Pthread<KIND, ROBUST, PROTOCOL> {
    fn check() {
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = TURN.lock();
        // SAFETY: both are made before they are used; the mutex is given back by the one who took it, and lives until the end.
        let mutex = unsafe {
            let mut attributes = std::mem::zeroed();
            assert_eq!(libc::pthread_mutexattr_init(&mut attributes), 0);
            assert_eq!(libc::pthread_mutexattr_settype(&mut attributes, KIND), 0);
            assert_eq!(libc::pthread_mutexattr_setrobust(&mut attributes, ROBUST), 0);
            assert_eq!(libc::pthread_mutexattr_setprotocol(&mut attributes, PROTOCOL), 0);
            let mutex: &'static mut libc::pthread_mutex_t = Box::leak(Box::new(std::mem::zeroed()));
            assert_eq!(libc::pthread_mutex_init(mutex, &attributes), 0);
            std::ptr::from_mut(mutex) as usize
        };
        // SAFETY: see above.
        let lock = move || assert_eq!(unsafe { libc::pthread_mutex_lock(mutex as *mut _) }, 0);
        // SAFETY: see above.
        let unlock = move || assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex as *mut _) }, 0);
        let (go_on, stay) = channel::<()>();
        let holder = thread(lock, move |()| {
            let _ = stay.recv();
            unlock();
        });
        let waiter = thread(
            || (),
            move |()| {
                lock();
                unlock();
            },
        );
        let held = ask(&waiter.thread, &[]);
        drop(go_on);
        waiter.handle.join().unwrap();
        holder.handle.join().unwrap();
        assert_held(held, &holder.thread, true);
    }
}

#[test]
fn mutexes_of_the_c_library_name_their_owner() {
    Pthread::<{ libc::PTHREAD_MUTEX_NORMAL }, { libc::PTHREAD_MUTEX_STALLED }, { libc::PTHREAD_PRIO_NONE }>::check();
    Pthread::<{ libc::PTHREAD_MUTEX_RECURSIVE }, { libc::PTHREAD_MUTEX_STALLED }, { libc::PTHREAD_PRIO_NONE }>::check();
    Pthread::<{ libc::PTHREAD_MUTEX_ERRORCHECK }, { libc::PTHREAD_MUTEX_STALLED }, { libc::PTHREAD_PRIO_NONE }>::check(
    );
    Pthread::<{ libc::PTHREAD_MUTEX_NORMAL }, { libc::PTHREAD_MUTEX_ROBUST }, { libc::PTHREAD_PRIO_NONE }>::check();
    Pthread::<{ libc::PTHREAD_MUTEX_NORMAL }, { libc::PTHREAD_MUTEX_STALLED }, { libc::PTHREAD_PRIO_INHERIT }>::check();
}

#[test]
fn a_lock_of_the_c_library_names_its_writer() {
    // SAFETY: it is made before it is used, is given back by the one who took it, and lives until the end.
    let lock = Box::leak(Box::new(unsafe { std::mem::zeroed::<libc::pthread_rwlock_t>() }));
    let lock = std::ptr::from_mut(lock) as usize;
    for waits_to_write in [false, true] {
        // SAFETY: see above.
        let write = move || assert_eq!(unsafe { libc::pthread_rwlock_wrlock(lock as *mut _) }, 0);
        // SAFETY: see above.
        let read = move || assert_eq!(unsafe { libc::pthread_rwlock_rdlock(lock as *mut _) }, 0);
        // SAFETY: see above.
        let unlock = move || assert_eq!(unsafe { libc::pthread_rwlock_unlock(lock as *mut _) }, 0);
        let (go_on, stay) = channel::<()>();
        let holder = thread(write, move |()| {
            let _ = stay.recv();
            unlock();
        });
        let waiter = thread(
            || (),
            move |()| {
                if waits_to_write {
                    write()
                } else {
                    read()
                }
                unlock();
            },
        );
        let held = ask(&waiter.thread, &[]);
        drop(go_on);
        waiter.handle.join().unwrap();
        holder.handle.join().unwrap();
        assert_held(held, &holder.thread, true);
    }
}

/// It runs, and is asked by a signal; nothing in its loop can unwind.
#[test]
fn a_holder_that_computes_is_told_with_its_task() {
    static MUTEX: std::sync::Mutex<u64> = std::sync::Mutex::new(1);
    static STOP: AtomicBool = AtomicBool::new(false);
    let holder = thread(
        || MUTEX.lock().unwrap(),
        |mut guard| {
            let mut number = 1_u64;
            while !STOP.load(Relaxed) {
                number = number.wrapping_mul(31);
            }
            *guard = number;
        },
    );
    let waiter = thread(|| (), |()| drop(MUTEX.lock()));
    let begin = Instant::now();
    let held = loop {
        match ask(&waiter.thread, &[holder.thread]) {
            Some(Held::By(holder)) => break holder,
            other if begin.elapsed() > PATIENCE => panic!("not told: {other:?}"),
            // It did not run when it was asked.
            _ => {}
        }
    };
    STOP.store(true, Relaxed);
    waiter.handle.join().unwrap();
    holder.handle.join().unwrap();
    assert_eq!((held.tid, held.task_id, held.doing.as_str()), (holder.thread.tid, Some(42), "computes"));
}

#[test]
fn only_so_many_threads_are_looked_at() {
    let (reader, writer) = std::io::pipe().unwrap();
    // A pipe that is read keeps them out of any futex.
    let many: Vec<Thread> = (0..100)
        .map(|_| {
            let mut reader = reader.try_clone().unwrap();
            thread(|| (), move |()| _ = std::io::Read::read(&mut reader, &mut [0]))
        })
        .collect();
    // Its guard is forgotten, so that no code tells who has it.
    let mutex: &'static std::sync::Mutex<u64> = Box::leak(Box::new(std::sync::Mutex::new(1)));
    std::mem::forget(mutex.lock());
    // It waits for ever.
    let waiter = thread(|| (), |()| drop(mutex.lock()));
    match ask(&waiter.thread, &[]) {
        Some(Held::Unknown(HolderUnknown::Bounded { looked_at, of })) => {
            assert!((1..=64).contains(&looked_at) && of > 100, "{looked_at} of {of}");
        }
        other => panic!("{other:?}"),
    }
    drop(writer);
    many.into_iter().for_each(|thread| thread.handle.join().unwrap());
}

#[test]
fn a_wait_that_is_over_is_not_told_of_others() {
    static MUTEX: std::sync::Mutex<u64> = std::sync::Mutex::new(1);
    let (go_on, stay) = channel::<()>();
    let holder = thread(
        || MUTEX.lock().unwrap(),
        move |guard| {
            let _ = stay.recv();
            drop(guard);
        },
    );
    let waiter = thread(|| (), |()| drop(MUTEX.lock()));
    let process = waiter.thread.process;
    let look = once_it_waits(&mut Looker::new(process), &waiter.thread);
    drop(go_on);
    waiter.handle.join().unwrap();
    holder.handle.join().unwrap();
    let mut finder = Finder::new(process);
    let gathered = finder.gather(&waiter.thread, &look, || true, &[], |_| None).unwrap();
    let held = finder.find(&gathered, look.stack.as_ref().unwrap(), &mut Namer::new(process, Vec::new(), false));
    assert_eq!(held, Some(Held::Unknown(HolderUnknown::Late)));
}

/// A thread that polls may be in its next poll, which waits for the same lock: whoever has it now may not have had it then.
#[test]
fn a_wait_of_something_else_is_not_told_of() {
    static MUTEX: std::sync::Mutex<u64> = std::sync::Mutex::new(1);
    let (go_on, stay) = channel::<()>();
    let holder = thread(
        || MUTEX.lock().unwrap(),
        move |guard| {
            let _ = stay.recv();
            drop(guard);
        },
    );
    let waiter = thread(|| (), |()| drop(MUTEX.lock()));
    let process = waiter.thread.process;
    let look = once_it_waits(&mut Looker::new(process), &waiter.thread);
    let mut namer = Namer::new(process, Vec::new(), false);
    let mut held = |goes_on| {
        let mut finder = Finder::new(process);
        let gathered = finder.gather(&waiter.thread, &look, || goes_on, &[], |_| None).unwrap();
        finder.find(&gathered, look.stack.as_ref().unwrap(), &mut namer)
    };
    assert_eq!(held(false), Some(Held::Unknown(HolderUnknown::Late)));
    assert!(matches!(held(true), Some(Held::By(by)) if by.tid == holder.thread.tid));
    drop(go_on);
    waiter.handle.join().unwrap();
    holder.handle.join().unwrap();
}
