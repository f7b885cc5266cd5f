//! Stalls that block their thread for a known time, in a known way, on a known line.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_base::reason;
use pollscope_stacks::fault;
use pollscope_stacks::long_copy::LongCopy;
use rustix::fs::fstatfs;

use super::spent::Clocks;
use super::{Injection, child};
use crate::scenario::Flavor;
use pollscope_base::Cause;

/// The shortest time that a stall lasts.
pub(super) const LENGTH: Duration = Duration::from_millis(120);
/// The file-system type of tmpfs, which never waits for a disk.
const TMPFS: u64 = 0x0102_1994;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stall {
    Sleep,
    Lock,
    FullPipe,
    Fsync,
    Spin,
    Kernel,
    PageFault,
    Throttled,
    Suspended,
    BlockInPlace,
    LocalSet,
    Root,
    UnwatchedTask,
    UnwatchedLocal,
    UnwatchedRoot,
}

/// Stalls that a probe may not see: each with what that shows, and what helps.
pub(crate) const UNWATCHED: [(Stall, &str, &str); 3] = [
    (
        Stall::UnwatchedTask,
        "tasks that are not watched: this build lacks `--cfg tokio_unstable`",
        "build with RUSTFLAGS=\"--cfg tokio_unstable\", or put `rustflags = [\"--cfg\", \"tokio_unstable\"]` under [build] in \
         .cargo/config.toml",
    ),
    (
        Stall::UnwatchedRoot,
        "the future given to `block_on`, unless it is watched",
        "`runtime.block_on(probe.watch(main()))`",
    ),
    (
        Stall::UnwatchedLocal,
        "tasks of a `LocalSet`, unless they are watched",
        "`tokio::task::spawn_local(probe.watch(task))`",
    ),
];

/// A closure that blocks the thread that calls it.
pub(super) type Blocker = Box<dyn FnOnce() -> Injection + Send>;

impl Stall {
    /// The stalls that a probe should see, in the order of reports.
    pub(crate) const ALL: [Stall; 12] = [
        Stall::Sleep,
        Stall::Lock,
        Stall::FullPipe,
        Stall::Fsync,
        Stall::Spin,
        Stall::Kernel,
        Stall::PageFault,
        Stall::Throttled,
        Stall::Suspended,
        Stall::BlockInPlace,
        Stall::LocalSet,
        Stall::Root,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Stall::Sleep => "sleep",
            Stall::Lock => "lock",
            Stall::FullPipe => "full pipe",
            Stall::Fsync => "many fsyncs",
            Stall::Spin => "spin",
            Stall::Kernel => "long copy",
            Stall::PageFault => "page fault",
            Stall::Throttled => "CPU quota",
            Stall::Suspended => "process stop",
            Stall::BlockInPlace => "block_in_place",
            Stall::LocalSet => "LocalSet task",
            Stall::Root => "root future",
            Stall::UnwatchedTask => "unwatched task",
            Stall::UnwatchedLocal => "unwatched LocalSet task",
            Stall::UnwatchedRoot => "unwatched root future",
        }
    }

    /// `block_in_place` panics on a current-thread runtime.
    pub(super) fn runs_on(self, flavor: Flavor) -> bool {
        self != Stall::BlockInPlace || flavor == Flavor::MultiThread
    }

    /// Whether it holds up a whole process, which is then one of its own.
    pub(super) fn is_of_a_process(self) -> bool {
        matches!(self, Stall::Throttled | Stall::Suspended)
    }

    /// Prepares everything, so that the poll only blocks.
    ///
    /// # Errors
    /// When it cannot block on this machine: the reason.
    pub(super) fn prepare(self) -> Result<Blocker, String> {
        Clocks::prepare();
        match self {
            Stall::Lock => lock().map_err(|error| format!("cannot start a thread: {}", reason(error))),
            Stall::FullPipe => full_pipe().map_err(|error| format!("cannot fill a pipe: {}", reason(error))),
            Stall::Fsync => fsyncs(),
            Stall::Spin => Ok(Box::new(spin)),
            Stall::Kernel => long_copy(),
            Stall::PageFault => page_fault(),
            Stall::Throttled => Ok(child::throttled()),
            Stall::Suspended => Ok(child::suspended()),
            Stall::BlockInPlace => Ok(Box::new(in_place)),
            _ => Ok(Box::new(sleep)),
        }
    }
}

/// Runs an expression that blocks, in that off the CPU; gives what this thread measured of it, and its line.
macro_rules! measured {
    ($off_cpu:expr, $blocks:expr) => {{
        let clocks = $crate::doctor::spent::Clocks::start();
        $blocks;
        clocks.spent().injection($off_cpu, format!("{}:{}", file!(), line!()))
    }};
}
pub(super) use measured;

fn sleep() -> Injection {
    measured!(Cause::BlockingCall, thread::sleep(LENGTH))
}

fn spin() -> Injection {
    let start = Instant::now();
    measured!(Cause::BlockingCall, while start.elapsed() < LENGTH {})
}

/// Time in the kernel that no signal ends: of one call, or of a few where one cannot be made to take that long.
fn long_copy() -> Result<Blocker, String> {
    let mut copy = LongCopy::lasting(LENGTH + LENGTH / 4).map_err(|error| error.to_string())?;
    Ok(Box::new(move || {
        let start = Instant::now();
        measured!(Cause::BlockingCall, while start.elapsed() < LENGTH && copy.call().is_ok() {})
    }))
}

fn in_place() -> Injection {
    tokio::task::block_in_place(|| Injection { causes: vec![Some(Cause::BlockInPlace)], ..sleep() })
}

/// A mutex that another thread holds until [`LENGTH`] after this thread asks for it.
fn lock() -> io::Result<Blocker> {
    const HOLDER: &str = "doctor-holder";
    let mutex = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&mutex);
    let (tell, told) = mpsc::channel();
    let (ask, asked) = mpsc::channel();
    thread::Builder::new().name(HOLDER.to_owned()).spawn(move || {
        let _guard = theirs.lock();
        let _ = tell.send(());
        let _ = asked.recv();
        thread::sleep(LENGTH);
    })?;
    let _ = told.recv();
    Ok(Box::new(move || {
        let _ = ask.send(());
        let injected = measured!(Cause::Lock, drop(mutex.lock().unwrap_or_else(PoisonError::into_inner)));
        Injection { holder: Some(HOLDER.to_owned()), ..injected }
    }))
}

/// A full pipe, which is emptied [`LENGTH`] after this thread writes to it.
fn full_pipe() -> io::Result<Blocker> {
    let (read, write) = rustix::pipe::pipe()?;
    let size = rustix::pipe::fcntl_getpipe_size(&write)?;
    let (mut reader, mut writer) = (File::from(read), File::from(write));
    writer.write_all(&vec![0; size])?;
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        let _ = asked.recv();
        thread::sleep(LENGTH);
        let _ = io::copy(&mut reader, &mut io::sink());
    });
    Ok(Box::new(move || {
        let _ = ask.send(());
        measured!(Cause::BlockingCall, writer.write_all(b"x").ok())
    }))
}

/// A file that is written and synced until the time is over: no single sync can be made to take that long.
fn fsyncs() -> Result<Blocker, String> {
    let cannot = |error: io::Error| format!("cannot make a file to sync: {}", reason(error));
    let file = tempfile::tempfile().map_err(cannot)?;
    if fstatfs(&file).map_err(|error| cannot(error.into()))?.f_type as u64 == TMPFS {
        return Err("the folder for temporary files is in memory; set TMPDIR to one on a disk".to_owned());
    }
    Ok(Box::new(move || {
        let start = Instant::now();
        let line = format!("{}:{}", file!(), line!() + 1);
        let sync = |file: &File| (&*file).write_all(b"x").and_then(|()| file.sync_all()).is_ok();
        let injected = measured!(Cause::BlockingCall, while start.elapsed() < LENGTH && sync(&file) {});
        Injection { line, ..injected }
    }))
}

/// A page that arrives [`LENGTH`] after this thread touches it.
fn page_fault() -> Result<Blocker, String> {
    let (page, supplier) = fault::late_page().map_err(|error| error.to_string())?;
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        let _ = asked.recv();
        thread::sleep(LENGTH);
        // If that fails, the supplier is gone, and the page arrives.
        let _ = supplier.supply();
    });
    Ok(Box::new(move || {
        let bytes: &[u8] = &page;
        let _ = ask.send(());
        measured!(Cause::PageFault, black_box(bytes[0]))
    }))
}
