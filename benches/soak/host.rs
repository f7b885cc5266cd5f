//! What a process has: memory, files, threads, signal handlers.

use std::fs;
use std::mem;
use std::ptr;
use std::time::{Duration, Instant};

use crate::common::rss_kib;
use crate::heap;

/// At one moment.
pub(crate) struct Host {
    pub(crate) live_bytes: i64,
    pub(crate) rss_kib: u64,
    pub(crate) fds: usize,
    pub(crate) threads: usize,
}

impl Host {
    pub(crate) fn now() -> Host {
        Host { live_bytes: heap::live_bytes(), rss_kib: rss_kib(), fds: fds(), threads: threads().len() }
    }
}

/// Without the one that reads the folder.
fn fds() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count() - 1
}

/// Makes every page resident that the process may write to, its threads' stacks included: what becomes resident afterwards is new.
/// Kernels before 5.14 cannot, and are asked in vain.
pub(crate) fn make_resident() {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc is mounted");
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some("rw-p")) = (fields.next(), fields.next()) else { continue };
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        let Some((start, end)) = range.split_once('-').and_then(|(start, end)| address(start).zip(address(end))) else {
            continue;
        };
        // SAFETY: it changes no content, and what is not mapped any more is an error.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_POPULATE_WRITE) };
    }
}

/// The names of all threads.
pub(crate) fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    // One that ends meanwhile has no name any more.
    tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).map(|name| name.trim().into()).collect()
}

/// Waits until there are no more threads than that, for at most so long; the names of all otherwise.
pub(crate) fn wait_for_threads(most: usize, patience: Duration) -> Result<(), Vec<String>> {
    let start = Instant::now();
    loop {
        let threads = threads();
        if threads.len() <= most {
            return Ok(());
        }
        if start.elapsed() > patience {
            return Err(threads);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a signal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disposition {
    signal: i32,
    handler: usize,
    flags: i32,
    /// Bit 0 is signal 1.
    mask: u64,
}

/// Of all signals that the C library lets one ask for: all but the few that it keeps to itself.
pub(crate) fn dispositions() -> Vec<Disposition> {
    (1..=libc::SIGRTMAX()).filter_map(disposition).collect()
}

fn disposition(signal: i32) -> Option<Disposition> {
    // SAFETY: all zeros are a valid `sigaction`; the kernel only writes to it, and nothing is installed.
    let action = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        if libc::sigaction(signal, ptr::null(), &raw mut action) != 0 {
            return None;
        }
        action
    };
    // SAFETY: the mask is a valid set, and the signals exist.
    let is_masked = |signal: i32| unsafe { libc::sigismember(&raw const action.sa_mask, signal) } == 1;
    let mask = (1..=libc::SIGRTMAX()).filter(|signal| is_masked(*signal)).map(|signal| 1 << (signal - 1)).sum();
    Some(Disposition { signal, handler: action.sa_sigaction, flags: action.sa_flags, mask })
}
