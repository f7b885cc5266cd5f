//! How a child ends, and its peak memory. Benchmarks include this file, too.

use std::fs;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// Waits for a child, and gives its peak in bytes; `None` when it still runs at the deadline.
///
/// The peak is read again and again while it runs: what the system tells of a child afterwards counts its parent's, too. So does what it
/// tells for a moment before: one that is about to run its program lets its parent go on while it still has that one's memory, and name.
pub(crate) fn wait(child: &mut Child, deadline: Duration) -> Option<(ExitStatus, u64)> {
    let start = Instant::now();
    let own_name = fs::read_to_string("/proc/thread-self/comm").unwrap_or_default();
    let mut peak = 0;
    while start.elapsed() < deadline {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mut lines = status.lines();
        let name = lines.next().and_then(|line| line.strip_prefix("Name:"));
        let runs = name.is_some_and(|name| name.trim() != own_name.trim());
        let line = lines.find_map(|line| line.strip_prefix("VmHWM:")).filter(|_| runs);
        let kib: Option<u64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kib.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().expect("it is ours") {
            return Some((status, peak));
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}
