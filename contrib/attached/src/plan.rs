//! When a task blocks next, how, and for how long: at random, from a seed.

use std::time::{Duration, Instant};

use crate::options::Options;
use crate::ways;

/// What a task does next.
#[derive(Clone, Copy)]
pub struct Turn {
    /// It sleeps as asynchronous code does.
    pub pause: Duration,
    /// Then it blocks in this way,
    pub way: usize,
    /// for so long.
    pub stall: Duration,
}

/// The turns of a task.
pub struct Plan {
    random: Random,
    only: Option<usize>,
    /// The way of a pair of which one is over.
    pair: Option<usize>,
    until: Instant,
}

impl Plan {
    /// Each task has random numbers of its own.
    pub fn new(options: &Options, task: usize, until: Instant) -> Plan {
        let random = Random(options.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (task as u64 + 1) << 32 | 1);
        Plan { random, only: options.way, pair: None, until }
    }

    fn way(&mut self) -> usize {
        let any = self.random.below(ways::NAMES.len() as u64) as usize;
        self.only.unwrap_or(any)
    }
}

impl Iterator for Plan {
    type Item = Turn;

    /// A quarter of the stalls is followed by another one of the same way, 1 to 3 ms later.
    fn next(&mut self) -> Option<Turn> {
        if Instant::now() > self.until {
            return None;
        }
        let stall = Duration::from_micros(30_000 + self.random.below(90_001));
        if let Some(way) = self.pair.take() {
            return Some(Turn { pause: Duration::from_millis(1 + self.random.below(3)), way, stall });
        }
        let way = self.way();
        self.pair = (self.random.below(4) == 0).then_some(way);
        Some(Turn { pause: Duration::from_micros(30_000 + self.random.below(220_000)), way, stall })
    }
}

/// xorshift64*, by Vigna.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
