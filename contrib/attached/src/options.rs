//! What the program can be told, as `NAME VALUE`:
//!
//! - `--mode stalls|idle|gaps|hot`: what its tasks do; `stalls` without it.
//! - `--runtime multi|current`, `--workers N` of a multi-thread one, `--tasks N`.
//! - `--seconds N`: for how long; `--seed N`: which random numbers.
//! - `--way NAME`: only stalls of this kind.

use std::str::FromStr;
use std::time::Duration;

use crate::ways;

/// What tasks do.
#[derive(Clone, Copy)]
pub enum Mode {
    /// Each blocks again and again.
    Stalls,
    /// Each sleeps without blocking.
    Idle,
    /// Each computes for less than a millisecond, every five.
    Gaps,
    /// Each computes for some 45 µs and wakes itself.
    Hot,
}

/// Which runtime.
#[derive(Clone, Copy)]
pub enum Flavor {
    /// Of several workers.
    Multi,
    /// Of one thread.
    Current,
}

impl Flavor {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Flavor::Multi => "multi",
            Flavor::Current => "current",
        }
    }
}

/// All of it.
pub struct Options {
    /// What tasks do.
    pub mode: Mode,
    /// Which runtime.
    pub flavor: Flavor,
    /// Of a multi-thread one.
    pub workers: usize,
    /// How many.
    pub tasks: usize,
    /// For how long.
    pub time: Duration,
    /// Which random numbers.
    pub seed: u64,
    /// The only way to block, by its place in the list.
    pub way: Option<usize>,
}

impl Options {
    /// From what was typed.
    pub fn of(mut typed: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            mode: Mode::Stalls,
            flavor: Flavor::Multi,
            workers: 4,
            tasks: 8,
            time: Duration::from_secs(10),
            seed: 1,
            way: None,
        };
        while let Some(name) = typed.next() {
            let value = typed.next().ok_or_else(|| format!("`{name}` needs a value"))?;
            options.set(&name, &value)?;
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match (name, value) {
            ("--mode", "stalls") => self.mode = Mode::Stalls,
            ("--mode", "idle") => self.mode = Mode::Idle,
            ("--mode", "gaps") => self.mode = Mode::Gaps,
            ("--mode", "hot") => self.mode = Mode::Hot,
            ("--runtime", "multi") => self.flavor = Flavor::Multi,
            ("--runtime", "current") => self.flavor = Flavor::Current,
            ("--workers", count) => self.workers = number(name, count)?,
            ("--tasks", count) => self.tasks = number(name, count)?,
            ("--seconds", seconds) => self.time = Duration::from_secs(number(name, seconds)?),
            ("--seed", seed) => self.seed = number(name, seed)?,
            ("--way", way) => {
                let place = ways::NAMES.iter().position(|name| *name == way);
                self.way = Some(place.ok_or_else(|| format!("no way `{way}`: there are {}", ways::NAMES.join(", ")))?);
            }
            _ => return Err(format!("cannot read `{name} {value}`: see `src/options.rs`")),
        }
        Ok(())
    }
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{name}` needs a number, not `{text}`"))
}
