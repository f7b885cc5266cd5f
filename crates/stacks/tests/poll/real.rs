//! Threads that really block, and threads that rest: their stacks are taken by a signal.

use std::cell::UnsafeCell;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_stacks::address::CodeAddress;
use pollscope_stacks::poll::{self, Kind, PollStack};
use tokio::runtime::Builder;

use crate::capture::{rules, symbolized};

/// Where the handler leaves what it takes; one signal at a time.
struct Slot(UnsafeCell<Vec<u64>>);

// SAFETY: it is written by the handler of the one signal that is under way, and read after `TAKEN` has changed.
unsafe impl Sync for Slot {}

static SLOT: Slot = Slot(UnsafeCell::new(Vec::new()));
static TAKEN: AtomicU64 = AtomicU64::new(0);
static ONE: Mutex<()> = Mutex::new(());

extern "C" fn handler(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives the handler a context of this type.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let interrupted = context.uc_mcontext.gregs[libc::REG_RIP as usize] as u64;
    // SAFETY: see `Slot`. The vector has room, so nothing is allocated.
    let stack = unsafe { &mut *SLOT.0.get() };
    stack.clear();
    backtrace::trace(|frame| {
        let address = frame.ip() as u64;
        if stack.is_empty() && address != interrupted {
            return true;
        }
        stack.push(address);
        stack.len() < stack.capacity()
    });
    TAKEN.fetch_add(1, Ordering::Release);
}

/// The stack of another thread of this process.
fn stack_of(thread: libc::pthread_t) -> Vec<CodeAddress> {
    let _one = ONE.lock().unwrap();
    // SAFETY: no signal is under way, and the handler only copies into the slot.
    unsafe {
        (*SLOT.0.get()).reserve(512);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGRTMIN() + 3, &action, std::ptr::null_mut()), 0);
        let before = TAKEN.load(Ordering::Acquire);
        assert_eq!(libc::pthread_kill(thread, libc::SIGRTMIN() + 3), 0);
        let late = Instant::now() + Duration::from_secs(10);
        while TAKEN.load(Ordering::Acquire) == before {
            assert!(Instant::now() < late, "the thread has ended");
            thread::yield_now();
        }
        let addresses = (*SLOT.0.get()).iter().enumerate();
        addresses.map(|(index, a)| if index == 0 { CodeAddress::Exact(*a) } else { CodeAddress::Return(*a) }).collect()
    }
}

fn this_thread() -> libc::pthread_t {
    // SAFETY: it has no conditions.
    unsafe { libc::pthread_self() }
}

fn find(stack: &[CodeAddress]) -> PollStack {
    let symbolized = symbolized(stack);
    let found = poll::find(&symbolized, &rules());
    if std::env::var_os("POLLSCOPE_TEST_SHOW").is_some() {
        poll::frames(&symbolized).for_each(|frame| println!("{frame:?}"));
    }
    found
}

/// Lets a task block, and looks at its thread after a while.
#[track_caller]
fn check(block: impl FnOnce(&AtomicU64) + Send + 'static, release: impl FnOnce()) {
    let line = Arc::new(AtomicU64::new(0));
    let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (send, receive) = mpsc::channel();
    let inner = line.clone();
    let task = runtime.spawn(async move {
        send.send(this_thread()).unwrap();
        block(&inner);
    });
    let thread = receive.recv().unwrap();
    thread::sleep(Duration::from_millis(50));
    let found = find(&stack_of(thread));
    release();
    runtime.block_on(task).unwrap();
    assert_eq!(found.kind, Kind::Task, "{found:#?}");
    if std::env::var_os(crate::capture::SYMBOLS_ONLY).is_none() {
        let known = line.load(Ordering::Relaxed) as u32;
        assert_eq!(found.line().and_then(|frame| frame.line), Some(known), "{found:#?}");
    }
}

/// Notes its line, which is also that of the call after it.
fn here(line: &AtomicU64, at: u32) {
    line.store(at.into(), Ordering::Relaxed);
}

#[test]
fn sleeping() {
    check(
        |line| {
            here(line, line!() + 1);
            thread::sleep(Duration::from_millis(100));
        },
        || (),
    );
}

/// Its last act is a call: with optimisation, it has no frame.
#[inline(never)]
fn nap(line: &AtomicU64) {
    here(line, line!() + 1);
    thread::sleep(Duration::from_millis(100));
}

#[test]
fn sleeping_in_a_function_without_a_frame() {
    check(|line: &AtomicU64| [line].iter().for_each(|line| nap(line)), || ());
}

#[test]
fn locks() {
    let mutex = Arc::new(Mutex::new(()));
    let (inner, guard) = (mutex.clone(), mutex.lock().unwrap());
    let block = move |line: &AtomicU64| {
        here(line, line!() + 1);
        drop(inner.lock().unwrap());
    };
    check(block, || drop(guard));

    let lock = Arc::new(RwLock::new(()));
    let (inner, guard) = (lock.clone(), lock.read().unwrap());
    let block = move |line: &AtomicU64| {
        here(line, line!() + 1);
        drop(inner.write().unwrap());
    };
    check(block, || drop(guard));
}

#[test]
fn waiting_for_another_thread() {
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let inner = pair.clone();
    let block = move |line: &AtomicU64| {
        let guard = inner.0.lock().unwrap();
        here(line, line!() + 1);
        drop(inner.1.wait_while(guard, |done| !*done).unwrap());
    };
    check(block, || {
        *pair.0.lock().unwrap() = true;
        pair.1.notify_all();
    });

    let (send, receive) = mpsc::channel::<()>();
    let block = move |line: &AtomicU64| {
        here(line, line!() + 1);
        receive.recv().unwrap();
    };
    check(block, || send.send(()).unwrap());

    let barrier = Arc::new(Barrier::new(2));
    let inner = barrier.clone();
    let block = move |line: &AtomicU64| {
        here(line, line!() + 1);
        inner.wait();
    };
    check(block, || {
        barrier.wait();
    });

    let block = move |line: &AtomicU64| {
        let thread = thread::spawn(|| thread::sleep(Duration::from_millis(100)));
        here(line, line!() + 1);
        thread.join().unwrap();
    };
    check(block, || ());
}

#[test]
fn reading_a_pipe() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let block = move |line: &AtomicU64| {
        let mut text = String::new();
        here(line, line!() + 1);
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "end");
    };
    check(block, move || writer.write_all(b"end").unwrap());
}

#[test]
fn waiting_for_a_process() {
    let block = move |line: &AtomicU64| {
        let mut command = std::process::Command::new("sleep");
        here(line, line!() + 1);
        command.arg("0.1").output().unwrap();
    };
    check(block, || ());
}

#[test]
fn computing() {
    let block = move |line: &AtomicU64| {
        let mut numbers: Vec<u64> = (0..200_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let end = Instant::now() + Duration::from_millis(100);
        here(line, line!() + 2);
        while Instant::now() < end {
            numbers.sort_unstable_by_key(|n| n.rotate_left(7));
        }
    };
    check(block, || ());
}

/// Threads that Tokio starts, while there is nothing to do: workers, and one of the blocking pool.
#[test]
fn threads_at_rest() {
    let threads = Arc::new(Mutex::new(Vec::new()));
    let inner = threads.clone();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .on_thread_start(move || inner.lock().unwrap().push(this_thread()))
        .build()
        .unwrap();
    runtime.block_on(async {
        tokio::spawn(tokio::task::yield_now()).await.unwrap();
        tokio::task::spawn_blocking(|| ()).await.unwrap();
    });
    thread::sleep(Duration::from_millis(50));
    let kinds: Vec<Kind> = threads.lock().unwrap().iter().map(|thread| find(&stack_of(*thread)).kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Idle).count(), 2, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::BlockingPool).count(), 1, "{kinds:?}");
}

#[test]
fn a_root_future_at_rest() {
    for (name, runtime) in crate::capture::runtimes() {
        let (send, receive) = mpsc::channel();
        let thread = thread::spawn(move || {
            send.send(this_thread()).unwrap();
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(200)).await });
        });
        let resting = receive.recv().unwrap();
        thread::sleep(Duration::from_millis(100));
        let found = find(&stack_of(resting));
        thread.join().unwrap();
        assert_eq!((found.kind, found.user.len()), (Kind::Idle, 0), "{name} {found:#?}");
    }
}
