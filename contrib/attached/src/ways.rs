//! The ways to block: each a function of its own, in which comments mark the lines that block: at
//! the end of one, or around several.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::{self, Kit};

/// How many calls were interrupted.
pub static INTERRUPTED: AtomicU64 = AtomicU64::new(0);

/// A way to block.
pub trait Way {
    /// Its name.
    const NAME: &'static str;
    /// The function that has the line, and the type whose method calls it, which has its code where it is inlined.
    const FUNCTIONS: [&'static str; 2];

    /// Sees to what it waits for, without waiting.
    fn prepare(_kit: &mut Kit) {}

    /// Blocks for this time, more or less.
    fn block(kit: &mut Kit, stall: Duration);
}

macro_rules! ways {
    ($($kind:ident, $name:literal, $function:ident $(, prepared by $prepare:ident)?;)*) => {
        /// The names, by which [`by_way!`] has numbers.
        pub const NAMES: [&str; 19] = [$($name),*];
        $(
            /// See the function.
            pub struct $kind;

            impl Way for $kind {
                const NAME: &'static str = $name;
                const FUNCTIONS: [&'static str; 2] = [stringify!($function), stringify!($kind)];

                $(fn prepare(kit: &mut Kit) {
                    $prepare(kit);
                })?

                fn block(kit: &mut Kit, stall: Duration) {
                    $function(kit, stall);
                }
            }
        )*
    };
}

ways! {
    Sleep, "sleep", sleeps;
    SleepPieces, "sleep-pieces", sleeps_in_pieces;
    PipeRead, "pipe-read", reads_pipe, prepared by writes_late;
    PipeWrite, "pipe-write", writes_pipe, prepared by reads_late;
    Connect, "connect", connects, prepared by accepts_late;
    LockMutex, "mutex", locks_mutex, prepared by holds_mutex;
    ReadLock, "rwlock", reads_lock, prepared by holds_lock;
    Wait, "condvar", waits_on_condvar;
    Receive, "mpsc-recv", receives, prepared by sends_late;
    Join, "join", joins, prepared by starts_thread;
    Process, "process-wait", waits_for_process, prepared by starts_process;
    Sync, "fsync", syncs;
    Flock, "flock", locks_file, prepared by holds_file;
    Poll, "poll", polls, prepared by writes_late;
    Udp, "udp-recv", receives_datagram;
    Spin, "spin", spins;
    ShortCalls, "short-calls", calls_shortly;
    PageFaults, "page-faults", touches_pages;
    BlockOn, "block-on", blocks_on;
}

/// Calls an async function for a way that is known by its number, and awaits it. Its line is the one where it is used.
#[collapse_debuginfo(yes)]
macro_rules! by_way {
    ($number:expr, $inner:ident, $kit:expr, $stall:expr) => {
        by_way!(@ $number, $inner, $kit, $stall,
            0 Sleep, 1 SleepPieces, 2 PipeRead, 3 PipeWrite, 4 Connect, 5 LockMutex, 6 ReadLock, 7 Wait, 8 Receive, 9 Join,
            10 Process, 11 Sync, 12 Flock, 13 Poll, 14 Udp, 15 Spin, 16 ShortCalls, 17 PageFaults, 18 BlockOn)
    };
    (@ $number:expr, $inner:ident, $kit:expr, $stall:expr, $($index:literal $kind:ident),*) => {
        match $number {
            $($index => $inner::<crate::ways::$kind>($kit, $stall).await,)*
            number => unreachable!("there is no way {number}"),
        }
    };
}

pub(crate) use by_way;

fn sleeps(_kit: &mut Kit, stall: Duration) {
    thread::sleep(stall); // blocks: sleep
}

fn sleeps_in_pieces(_kit: &mut Kit, stall: Duration) {
    const PIECE: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    let begun = Instant::now();
    // from here: sleep-pieces
    while begun.elapsed() < stall {
        // SAFETY: the time is valid, and nothing is to be written to where the rest would go.
        count(unsafe { libc::nanosleep(&PIECE, null_mut()) });
    }
    // to here: sleep-pieces
}

fn writes_late(kit: &mut Kit) {
    let writer = kit.pipe.1.try_clone().expect("a descriptor");
    kit.help(move |gate| {
        gate.hold();
        (&writer).write_all(&[0; kit::PAGE as usize]).expect("it has room");
    });
}

fn reads_pipe(kit: &mut Kit, stall: Duration) {
    kit.go(stall);
    let mut page = [0; kit::PAGE as usize];
    let read = kit.pipe.0.read(&mut page); // blocks: pipe-read
    count_io(&read);
}

fn reads_late(kit: &mut Kit) {
    kit.pipe.1.write_all(&[0; kit::PAGE as usize]).expect("it has room");
    let reader = kit.pipe.0.try_clone().expect("a descriptor");
    kit.help(move |gate| {
        gate.hold();
        kit::empty(&reader);
    });
}

fn writes_pipe(kit: &mut Kit, stall: Duration) {
    kit.go(stall);
    let written = kit.pipe.1.write(&[0; kit::PAGE as usize]); // blocks: pipe-write
    count_io(&written);
    kit::empty(&kit.pipe.0);
}

fn accepts_late(kit: &mut Kit) {
    let listener = kit.listener.try_clone().expect("a descriptor");
    let first = UnixStream::connect(kit.folder.join("socket")).expect("there is room for one");
    kit.help(move |gate| {
        gate.hold();
        let _first = (first, listener.accept());
        let _second = listener.accept();
    });
}

fn connects(kit: &mut Kit, stall: Duration) {
    let path = kit.folder.join("socket");
    kit.go(stall);
    let connected = UnixStream::connect(path); // blocks: connect
    count_io(&connected);
}

fn holds_mutex(kit: &mut Kit) {
    let mutex = kit.mutex.clone();
    kit.help(move |gate| {
        let _held = mutex.lock().expect("nobody panics");
        gate.hold();
    });
}

fn locks_mutex(kit: &mut Kit, stall: Duration) {
    let mutex = Arc::clone(&kit.mutex);
    kit.go(stall);
    *mutex.lock().expect("nobody panics") += 1; // blocks: mutex
}

fn holds_lock(kit: &mut Kit) {
    let lock = kit.lock.clone();
    kit.help(move |gate| {
        let _held = lock.write().expect("nobody panics");
        gate.hold();
    });
}

fn reads_lock(kit: &mut Kit, stall: Duration) {
    let lock = Arc::clone(&kit.lock);
    kit.go(stall);
    black_box(*lock.read().expect("nobody panics")); // blocks: rwlock
}

fn waits_on_condvar(_kit: &mut Kit, stall: Duration) {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let held = mutex.lock().expect("nobody panics");
    let _held = condvar.wait_timeout(held, stall); // blocks: condvar
}

fn sends_late(kit: &mut Kit) {
    let sender = kit.sender.clone();
    kit.help(move |gate| {
        gate.hold();
        sender.send(7).expect("somebody receives");
    });
}

fn receives(kit: &mut Kit, stall: Duration) {
    kit.go(stall);
    let _seven = kit.receiver.recv(); // blocks: mpsc-recv
}

fn starts_thread(kit: &mut Kit) {
    kit.spawn();
}

fn joins(kit: &mut Kit, stall: Duration) {
    kit.go(stall);
    let thread = kit.thread.take().expect("it was started");
    thread.join().expect("it does not panic"); // blocks: join
}

/// `cat` ends when its input does.
fn starts_process(kit: &mut Kit) {
    let child = kit.child.clone();
    kit.help(move |gate| {
        let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("`cat` is here");
        let stdin = cat.stdin.take();
        *child.lock().expect("nobody panics") = Some(cat);
        gate.hold();
        drop(stdin);
    });
}

fn waits_for_process(kit: &mut Kit, stall: Duration) {
    let mut child = kit.child.lock().expect("nobody panics").take().expect("it was started");
    kit.go(stall);
    let status = child.wait(); // blocks: process-wait
    count_io(&status);
}

fn syncs(kit: &mut Kit, stall: Duration) {
    let block = [7; 16 << 10];
    let begun = Instant::now();
    // from here: fsync
    while begun.elapsed() < stall {
        count_io(&kit.file.write_all_at(&block, 0));
        count_io(&kit.file.sync_data());
    }
    // to here: fsync
}

fn holds_file(kit: &mut Kit) {
    let file = kit.locked[0].try_clone().expect("a descriptor");
    kit.help(move |gate| {
        // SAFETY: the descriptor is open; so below.
        assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
        gate.hold();
        // SAFETY: see above.
        unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) };
    });
}

fn locks_file(kit: &mut Kit, stall: Duration) {
    let fd = kit.locked[1].as_raw_fd();
    kit.go(stall);
    // SAFETY: the descriptor is open; so below.
    count(unsafe { libc::flock(fd, libc::LOCK_EX) }); // blocks: flock
    // SAFETY: see above.
    unsafe { libc::flock(fd, libc::LOCK_UN) };
}

fn polls(kit: &mut Kit, stall: Duration) {
    let mut wanted = libc::pollfd { fd: kit.pipe.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    kit.go(stall);
    // SAFETY: there is one, and it may be written to.
    count(unsafe { libc::poll(&mut wanted, 1, -1) }); // blocks: poll
    kit::empty(&kit.pipe.0);
}

fn receives_datagram(_kit: &mut Kit, stall: Duration) {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a socket");
    socket.set_read_timeout(Some(stall)).expect("it is not 0");
    let received = socket.recv(&mut [0; 512]); // blocks: udp-recv
    count_io(&received);
}

fn spins(_kit: &mut Kit, stall: Duration) {
    let (begun, mut number) = (Instant::now(), 1u64);
    // from here: spin
    while begun.elapsed() < stall {
        number = black_box(number.wrapping_mul(3));
    }
    // to here: spin
}

/// Some microseconds in the kernel, some outside.
fn calls_shortly(_kit: &mut Kit, stall: Duration) {
    let zeros = File::open("/dev/zero").expect("it is there");
    let (begun, mut number, mut block) = (Instant::now(), 1u64, [0; 32 << 10]);
    // from here: short-calls
    while begun.elapsed() < stall {
        let read = (&zeros).read(&mut block);
        for byte in &block {
            number = black_box(number.wrapping_mul(3) ^ u64::from(*byte));
        }
        if read.is_err() {
            break;
        }
    }
    // to here: short-calls
}

fn touches_pages(_kit: &mut Kit, stall: Duration) {
    const LENGTH: usize = 8 << 20;
    let begun = Instant::now();
    // from here: page-faults
    while begun.elapsed() < stall {
        // SAFETY: a mapping of its own.
        let pages = unsafe { libc::mmap(null_mut(), LENGTH, 3, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
        for page in (0..LENGTH).step_by(4_096) {
            // SAFETY: it is within the mapping.
            unsafe { pages.cast::<u8>().add(page).write_volatile(7) };
        }
        // SAFETY: nothing of it is used any more.
        unsafe { libc::munmap(pages, LENGTH) };
    }
    // to here: page-faults
}

/// As libraries do it that have an async side alone: a runtime on another thread, for which this one waits.
fn blocks_on(_kit: &mut Kit, stall: Duration) {
    let other = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move { tokio::time::sleep(stall).await });
    });
    other.join().expect("it does not panic"); // blocks: block-on
}

fn count(returned: i32) {
    if returned < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
        INTERRUPTED.fetch_add(1, Relaxed);
    }
}

fn count_io<T>(returned: &io::Result<T>) {
    if returned.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
        INTERRUPTED.fetch_add(1, Relaxed);
    }
}
