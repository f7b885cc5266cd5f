//! Stalls that block their thread for a known time, in a known way, on a known line.

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_stacks::fault;
use pollscope_stacks::thread::{ThreadRef, read_schedule};
use rustix::fs::fstatfs;
use rustix::time::{ClockId, clock_gettime};

use super::Injection;
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
    PageFault,
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
    pub(crate) const ALL: [Stall; 9] = [
        Stall::Sleep,
        Stall::Lock,
        Stall::FullPipe,
        Stall::Fsync,
        Stall::Spin,
        Stall::PageFault,
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
            Stall::PageFault => "page fault",
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

    /// Prepares everything, so that the poll only blocks.
    ///
    /// # Errors
    /// When it cannot block on this machine: the reason.
    pub(super) fn prepare(self) -> Result<Blocker, String> {
        match self {
            Stall::Lock => Ok(Box::new(lock())),
            Stall::FullPipe => full_pipe().map_err(|error| format!("cannot fill a pipe: {error}")),
            Stall::Fsync => fsyncs(),
            Stall::Spin => Ok(Box::new(spin)),
            Stall::PageFault => page_fault(),
            Stall::BlockInPlace => Ok(Box::new(in_place)),
            _ => Ok(Box::new(sleep)),
        }
    }
}

/// Runs a blocking expression; gives its length, by this thread's clock, and its line.
macro_rules! measured {
    ($cause:expr, $blocks:expr) => {{
        let start = Instant::now();
        $blocks;
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Injection { ns, cause: $cause, line: format!("{}:{}", file!(), line!()) }
    }};
}

fn sleep() -> Injection {
    measured!(Cause::BlockingCall, thread::sleep(LENGTH))
}

fn spin() -> Injection {
    let start = Instant::now();
    let cpu = cpu_time();
    let injected = measured!(Cause::Cpu, while start.elapsed() < LENGTH {});
    // A spin never waits: when it did not compute, another thread did.
    let computed = cpu_time().saturating_sub(cpu).as_nanos() >= u128::from(injected.ns / 2);
    Injection { cause: if computed { injected.cause } else { Cause::Preempted }, ..injected }
}

fn in_place() -> Injection {
    tokio::task::block_in_place(|| Injection { cause: Cause::BlockInPlace, ..sleep() })
}

/// A mutex that another thread holds until [`LENGTH`] after this thread asks for it.
fn lock() -> impl FnOnce() -> Injection + Send {
    let mutex = Arc::new(Mutex::new(()));
    let theirs = Arc::clone(&mutex);
    let (tell, told) = mpsc::channel();
    let (ask, asked) = mpsc::channel();
    thread::spawn(move || {
        let _guard = theirs.lock();
        let _ = tell.send(());
        let _ = asked.recv();
        thread::sleep(LENGTH);
    });
    let _ = told.recv();
    move || {
        let _ = ask.send(());
        measured!(Cause::Lock, drop(mutex.lock().unwrap_or_else(PoisonError::into_inner)))
    }
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
    let cannot = |error: io::Error| format!("cannot make a file to sync: {error}");
    let file = tempfile::tempfile().map_err(cannot)?;
    if fstatfs(&file).map_err(|error| cannot(error.into()))?.f_type as u64 == TMPFS {
        return Err("the folder for temporary files is in memory; set TMPDIR to one on a disk".to_owned());
    }
    Ok(Box::new(move || {
        let (start, cpu, delay) = (Instant::now(), cpu_time(), run_delay());
        let line = format!("{}:{}", file!(), line!() + 1);
        let sync = |file: &File| (&*file).write_all(b"x").and_then(|()| file.sync_all()).is_ok();
        let injected = measured!(Cause::BlockingCall, while start.elapsed() < LENGTH && sync(&file) {});
        let computed = cpu_time().saturating_sub(cpu);
        let waited = run_delay().zip(delay).map(|(now, before)| now.saturating_sub(before));
        Injection { cause: cause_of_syncs(Duration::from_nanos(injected.ns), computed, waited), line, ..injected }
    }))
}

/// What took most of the time: a fast disk leaves only computing, and on a busy machine each sync waits for a CPU.
/// `waited` is the wait for a CPU, if known.
fn cause_of_syncs(length: Duration, computed: Duration, waited: Option<Duration>) -> Cause {
    let blocked = waited.map_or(length, |waited| length.saturating_sub(waited)).saturating_sub(computed);
    match waited {
        _ if computed >= blocked.max(waited.unwrap_or(computed)) => Cause::Cpu,
        Some(waited) if waited > blocked => Cause::Preempted,
        _ => Cause::BlockingCall,
    }
}

/// This thread's time on the CPU.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// How long this thread was ready to run and had no CPU; `None` if the kernel does not say.
fn run_delay() -> Option<Duration> {
    read_schedule(&ThreadRef::current()).ok().map(|schedule| Duration::from_nanos(schedule.run_delay_ns))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_named_after_what_took_the_most_of_them() {
        let ms = Duration::from_millis;
        for (computed, waited, cause) in [
            (10, Some(20), Cause::BlockingCall),
            (10, None, Cause::BlockingCall),
            (10, Some(80), Cause::Preempted),
            (60, Some(10), Cause::Cpu),
            (60, None, Cause::Cpu),
        ] {
            assert_eq!(cause_of_syncs(ms(120), ms(computed), waited.map(ms)), cause, "{computed} {waited:?}");
        }
    }
}
