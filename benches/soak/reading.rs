//! What a process has in memory at one moment, to the page and to the byte.

use std::fs;
use std::time::Duration;

use crate::heap;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// How much was done until then.
    pub(crate) done: u64,
    pub(crate) live_bytes: i64,
    pub(crate) resident_bytes: i64,
    /// Of these, what is no file's: code and constants of a program become resident where it comes to them.
    pub(crate) anonymous_bytes: i64,
}

impl Reading {
    pub(crate) fn now(done: u64) -> Reading {
        // The counter behind `VmRSS` is off by up to a batch of pages a processor; these are counted when they are asked for.
        let rollup =
            fs::read_to_string("/proc/self/smaps_rollup").expect("the kernel has `smaps_rollup`, from 4.14 on");
        let bytes = |name: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells");
            line.trim().trim_end_matches(" kB").parse::<i64>().expect("a number") << 10
        };
        let (resident_bytes, anonymous_bytes) = (bytes("Rss:"), bytes("Anonymous:"));
        drop(rollup);
        Reading { done, live_bytes: quiet_live_bytes(), resident_bytes, anonymous_bytes }
    }

    /// Prints a line of numbers, for the program that started this one.
    #[allow(dead_code, reason = "for the generated program")]
    pub(crate) fn print(&self) {
        println!("{} {} {} {}", self.done, self.live_bytes, self.resident_bytes, self.anonymous_bytes);
    }

    /// What [`Reading::print`] wrote.
    #[allow(dead_code, reason = "for the program that generates")]
    pub(crate) fn parse(line: &str) -> Option<Reading> {
        let mut numbers = line.split(' ').map(str::parse::<i64>);
        let mut next = || numbers.next()?.ok();
        let done = u64::try_from(next()?).ok()?;
        Some(Reading { done, live_bytes: next()?, resident_bytes: next()?, anonymous_bytes: next()? })
    }
}

/// The least of many: threads that look now and then allocate for a moment.
fn quiet_live_bytes() -> i64 {
    let least = |least: i64, _| {
        std::thread::sleep(Duration::from_micros(200));
        least.min(heap::live_bytes())
    };
    (0..25).fold(heap::live_bytes(), least)
}
