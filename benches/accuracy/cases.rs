//! What tasks do in the matrix: calls that block, and loads that compute. Each says on which of its lines.

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

/// How long each of them blocks or computes, about.
pub(crate) const BLOCK: Duration = Duration::from_millis(60);

/// The first and the last line that may be named.
pub(crate) type Lines = (u32, u32);

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What may be said of it.
    pub(crate) causes: &'static [Cause],
    pub(crate) run: fn() -> Lines,
}

const CALL: &[Cause] = &[Cause::BlockingCall];
const LOCK: &[Cause] = &[Cause::Lock];
const CPU: &[Cause] = &[Cause::Cpu];
/// Writing to a file system in memory computes.
const DISK: &[Cause] = &[Cause::BlockingCall, Cause::Cpu];

#[rustfmt::skip]
pub(crate) const CASES: [Case; 20] = [
    Case { name: "thread::sleep", causes: CALL, run: || at((thread::sleep(BLOCK), line!()).1) },
    Case { name: "write to a full pipe", causes: CALL, run: full_pipe },
    Case { name: "std Mutex", causes: LOCK, run: mutex },
    Case { name: "std RwLock", causes: LOCK, run: read_write_lock },
    Case { name: "parking_lot Mutex", causes: LOCK, run: parking_lot },
    Case { name: "TcpStream read", causes: CALL, run: tcp },
    Case { name: "Command::status", causes: CALL, run: || at((Command::new("sleep").arg("0.06").status(), line!()).1) },
    Case { name: "Command::output", causes: CALL, run: || at((Command::new("sleep").arg("0.06").output(), line!()).1) },
    Case { name: "sync_all in a loop", causes: DISK, run: sync },
    Case { name: "mpsc recv", causes: LOCK, run: receive },
    Case { name: "Condvar wait", causes: LOCK, run: condition },
    Case { name: "JoinHandle::join", causes: LOCK, run: join },
    Case { name: "a block_on within", causes: LOCK, run: || block_on(Later(None)) },
    Case { name: "block_on of another runtime", causes: LOCK, run: other_runtime },
    Case { name: "DNS lookup", causes: &[Cause::BlockingCall, Cause::Cpu], run: lookup },
    Case { name: "hash", causes: CPU, run: hash },
    Case { name: "JSON parse", causes: CPU, run: json },
    Case { name: "scan text", causes: CPU, run: scan },
    Case { name: "sort", causes: CPU, run: sort },
    Case { name: "memcpy", causes: CPU, run: copy },
];

fn at(line: u32) -> Lines {
    (line, line)
}

fn full_pipe() -> Lines {
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

fn mutex() -> Lines {
    let lock = Arc::new(Mutex::new(()));
    held(&lock, |lock, wait| {
        let _guard = lock.lock();
        wait();
    });
    at((drop(lock.lock()), line!()).1)
}

fn read_write_lock() -> Lines {
    let lock = Arc::new(RwLock::new(()));
    held(&lock, |lock, wait| {
        let _guard = lock.write();
        wait();
    });
    at((drop(lock.read()), line!()).1)
}

fn parking_lot() -> Lines {
    let lock = Arc::new(parking_lot::Mutex::new(()));
    held(&lock, |lock, wait| {
        let _guard = lock.lock();
        wait();
    });
    at((drop(lock.lock()), line!()).1)
}

fn tcp() -> Lines {
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

fn sync() -> Lines {
    let mut file = tempfile::tempfile().unwrap();
    let first = line!();
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        file.write_all(&[1; 4096]).unwrap();
        file.sync_all().unwrap();
    }
    (first, line!())
}

fn receive() -> Lines {
    let (tell, told) = channel::<()>();
    thread::spawn(move || (thread::sleep(BLOCK), drop(tell)));
    at((told.recv().unwrap_err(), line!()).1)
}

fn condition() -> Lines {
    let (mutex, condition) = (Mutex::new(()), Condvar::new());
    at((drop(condition.wait_timeout(mutex.lock().unwrap(), BLOCK)), line!()).1)
}

fn join() -> Lines {
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
fn block_on(future: impl Future<Output = ()>) -> Lines {
    let first = line!();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
    (first, line!())
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
fn other_runtime() -> Lines {
    let thread = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::sleep(BLOCK).await });
    });
    at((thread.join().unwrap(), line!()).1)
}

/// Does not block where `localhost` is known without asking anybody.
fn lookup() -> Lines {
    let first = line!();
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        black_box(("localhost", 80).to_socket_addrs().map(Iterator::count).unwrap_or(0));
    }
    (first, line!())
}

fn hash() -> Lines {
    let first = line!();
    let (start, data) = (Instant::now(), vec![7u8; 64 << 10]);
    while start.elapsed() < BLOCK {
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        black_box(hasher.finish());
    }
    (first, line!())
}

fn json() -> Lines {
    let first = line!();
    let text = format!("[{}]", vec![r#"{"a":[1,2.5,"x"],"b":{"c":null}}"#; 500].join(","));
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        black_box(serde_json::from_str::<serde_json::Value>(&text).unwrap());
    }
    (first, line!())
}

fn scan() -> Lines {
    let first = line!();
    let (start, text) = (Instant::now(), "the quick brown fox 12:34 ".repeat(2_000));
    while start.elapsed() < BLOCK {
        let found =
            text.as_bytes().windows(5).filter(|w| w[2] == b':' && w[0].is_ascii_digit() && w[4].is_ascii_digit());
        black_box(found.count());
    }
    (first, line!())
}

fn sort() -> Lines {
    let first = line!();
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        let mut numbers: Vec<u64> = (0..20_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        numbers.sort();
        black_box(numbers.into_iter().take(3).collect::<BTreeSet<_>>());
    }
    (first, line!())
}

fn copy() -> Lines {
    let first = line!();
    let (start, from, mut to) = (Instant::now(), vec![1u8; 1 << 20], vec![0u8; 1 << 20]);
    while start.elapsed() < BLOCK {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    }
    (first, line!())
}
