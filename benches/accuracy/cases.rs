//! What tasks do: calls that block, and loads that compute. Each says on which of its lines.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::pin::pin;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, RwLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pollscope_probe::Cause;
use tokio::runtime::Handle;

use super::truth::Did;

/// How long each of them blocks or computes, about.
pub(crate) const BLOCK: Duration = Duration::from_millis(60);

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What it does off the CPU, as far as it is.
    pub(crate) off_cpu: &'static [Cause],
    /// Gets everything ready, on another thread than the runtime's, and gives what the poll is to do.
    pub(crate) prepare: fn(&Handle) -> Load,
}

pub(crate) type Load = Box<dyn FnOnce() -> Did + Send>;

pub(crate) const CALL: &[Cause] = &[Cause::BlockingCall];
pub(crate) const LOCK: &[Cause] = &[Cause::Lock];
/// What only computes may wait for a page.
pub(crate) const NONE: &[Cause] = &[Cause::PageFault];
/// Syncing may be waiting for a lock of the file system's.
const DISK: &[Cause] = &[Cause::BlockingCall];

/// A case that needs nothing to be got ready.
macro_rules! case {
    ($name:expr, $off_cpu:expr, $run:expr) => {
        Case { name: $name, off_cpu: $off_cpu, prepare: |_| Box::new($run) }
    };
}
pub(crate) use case;

#[rustfmt::skip]
pub(crate) const CASES: [Case; 20] = [
    case!("thread::sleep", CALL, || at((thread::sleep(BLOCK), line!()).1)),
    case!("write to a full pipe", CALL, full_pipe),
    case!("std Mutex", LOCK, mutex),
    case!("std RwLock", LOCK, read_write_lock),
    case!("parking_lot Mutex", LOCK, parking_lot),
    case!("TcpStream read", CALL, tcp),
    case!("Command::status", CALL, || at((Command::new("sleep").arg("0.06").status(), line!()).1)),
    case!("Command::output", CALL, || at((Command::new("sleep").arg("0.06").output(), line!()).1)),
    case!("sync_all in a loop", DISK, sync),
    case!("mpsc recv", LOCK, receive),
    case!("Condvar wait", LOCK, condition),
    case!("JoinHandle::join", LOCK, join),
    case!("a block_on within", LOCK, || block_on(Later(None))),
    case!("block_on of another runtime", LOCK, other_runtime),
    case!("DNS lookup", CALL, lookup),
    case!("hash", NONE, hash),
    case!("JSON parse", NONE, json),
    case!("scan text", NONE, scan),
    case!("sort", NONE, sort),
    case!("memcpy", NONE, copy),
];

#[track_caller]
pub(crate) fn at(line: u32) -> Did {
    Did::at((line, line))
}

fn full_pipe() -> Did {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[0; 64 << 10]).unwrap();
    let drain = thread::spawn(move || (thread::sleep(BLOCK), reader.read(&mut [0; 64 << 10]).unwrap(), reader));
    let line = (writer.write_all(b"x").unwrap(), line!()).1;
    drop(drain.join());
    at(line)
}

/// Has another thread hold something for a while.
fn held<T: Send + Sync + 'static>(lock: &Arc<T>, hold: fn(&T, &mut dyn FnMut())) {
    let (tell, told) = channel();
    let theirs = Arc::clone(lock);
    thread::spawn(move || {
        hold(&theirs, &mut || {
            tell.send(()).unwrap();
            thread::sleep(BLOCK);
        });
    });
    told.recv().unwrap();
}

fn mutex() -> Did {
    let lock = Arc::new(Mutex::new(()));
    held(&lock, |lock, wait| {
        let _guard = lock.lock();
        wait();
    });
    at((drop(lock.lock()), line!()).1)
}

fn read_write_lock() -> Did {
    let lock = Arc::new(RwLock::new(()));
    held(&lock, |lock, wait| {
        let _guard = lock.write();
        wait();
    });
    at((drop(lock.read()), line!()).1)
}

fn parking_lot() -> Did {
    let lock = Arc::new(parking_lot::Mutex::new(()));
    held(&lock, |lock, wait| {
        let _guard = lock.lock();
        wait();
    });
    at((drop(lock.lock()), line!()).1)
}

fn tcp() -> Did {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        thread::sleep(BLOCK);
        peer.write_all(b"x").unwrap();
    });
    let line = (stream.read_exact(&mut [0]).unwrap(), line!()).1;
    peer.join().unwrap();
    at(line)
}

fn sync() -> Did {
    let mut file = tempfile::tempfile().unwrap();
    let first = line!();
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        file.write_all(&[1; 4096]).unwrap();
        file.sync_all().unwrap();
    }
    drop(file); // Which may take its time as well.
    Did::at((first, line!()))
}

fn receive() -> Did {
    let (tell, told) = channel::<()>();
    thread::spawn(move || (thread::sleep(BLOCK), drop(tell)));
    at((told.recv().unwrap_err(), line!()).1)
}

fn condition() -> Did {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    at((drop(condition.wait_timeout(mutex.lock().unwrap(), BLOCK)), line!()).1)
}

fn join() -> Did {
    let thread = thread::spawn(|| thread::sleep(BLOCK));
    at((thread.join().unwrap(), line!()).1)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor for one future, as other crates have it; the line to name is its own, where it waits.
fn block_on(future: impl Future<Output = ()>) -> Did {
    let first = line!();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
    Did::at((first, line!()))
}

/// Ready after a while.
struct Later(Option<Instant>);

impl Future for Later {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(until) = self.0 {
            return if Instant::now() < until { Poll::Pending } else { Poll::Ready(()) };
        }
        self.0 = Some(Instant::now() + BLOCK);
        let waker = cx.waker().clone();
        thread::spawn(move || (thread::sleep(BLOCK + Duration::from_millis(1)), waker.wake()));
        Poll::Pending
    }
}

/// Tokio forbids it on the same thread, so people do this.
fn other_runtime() -> Did {
    let thread = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::sleep(BLOCK).await });
    });
    at((thread.join().unwrap(), line!()).1)
}

/// Does not block where `localhost` is known without asking anybody.
fn lookup() -> Did {
    let first = line!();
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        black_box(("localhost", 80).to_socket_addrs().map(Iterator::count).unwrap_or(0));
    }
    Did::at((first, line!()))
}

fn hash() -> Did {
    let first = line!();
    let (start, data) = (Instant::now(), vec![7u8; 64 << 10]);
    while start.elapsed() < BLOCK {
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        black_box(hasher.finish());
    }
    Did::at((first, line!()))
}

fn json() -> Did {
    let first = line!();
    let text = format!("[{}]", vec![r#"{"a":[1,2.5,"x"],"b":{"c":null}}"#; 500].join(","));
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        black_box(serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }
    Did::at((first, line!()))
}

fn scan() -> Did {
    let first = line!();
    let (start, text) = (Instant::now(), "the quick brown fox 12:34 ".repeat(2_000));
    while start.elapsed() < BLOCK {
        let found =
            text.as_bytes().windows(5).filter(|w| w[2] == b':' && w[0].is_ascii_digit() && w[4].is_ascii_digit());
        black_box(found.count());
    }
    Did::at((first, line!()))
}

fn sort() -> Did {
    let first = line!();
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        let mut numbers: Vec<u64> = (0..20_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        numbers.sort();
        black_box(numbers.into_iter().take(3).collect::<BTreeSet<_>>());
    }
    Did::at((first, line!()))
}

fn copy() -> Did {
    let first = line!();
    let (start, from, mut to) = (Instant::now(), vec![1u8; 1 << 20], vec![0u8; 1 << 20]);
    while start.elapsed() < BLOCK {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    Did::at((first, line!()))
}
