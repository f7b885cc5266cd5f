//! A scenario: the question, the workload that answers it, and the answer that is expected.
//!
//! These are validated values in domain units; [`wire`] is their TOML twin and documents the format.

pub mod builtin;
pub mod wire;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::pipeline::input::Watch;
use crate::pipeline::sink::{Existing, Mode};
use pollscope_record::gate::Gate;

/// A question about an event loop, and how it is asked.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name: the file's stem.
    pub name: String,
    /// The question in one line.
    pub question: String,
    /// Why it exists, in prose.
    pub why: String,
    /// What must come out.
    pub expect: Vec<Gate>,
    /// How it is run.
    pub settings: Settings,
    /// The keys of the settings to which an override gave another value than the scenario itself.
    pub changed: Vec<String>,
}

/// How a scenario is run.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The runtime that is measured.
    pub runtime: RuntimeSettings,
    /// What runs on it.
    pub workload: Workload,
    /// The modes to compare, in this order; at least one, none twice.
    pub modes: Vec<Mode>,
    /// How often each mode runs; the rounds are interleaved.
    pub rounds: u32,
    /// Rounds before those, which are run and thrown away.
    pub warmup: u32,
    /// What counts as a slow poll (`>=`).
    pub slow_poll: Duration,
    /// What else watches the loop.
    pub witness: WitnessSettings,
    /// Of everything random.
    pub seed: u64,
    /// The length of an interval in the recording.
    pub sample_every: Duration,
}

/// The runtime that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Which of Tokio's schedulers.
    pub flavor: Flavor,
    /// Worker threads; 1 for [`Flavor::CurrentThread`].
    pub workers: usize,
}

/// Tokio's schedulers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// One thread.
    CurrentThread,
    /// A work-stealing pool.
    MultiThread,
}

impl Flavor {
    /// The word used in scenarios and in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Flavor::CurrentThread => "current_thread",
            Flavor::MultiThread => "multi_thread",
        }
    }
}

/// What runs on the loop.
#[derive(Debug, Clone, PartialEq)]
pub enum Workload {
    /// Simulated writers, tailed and merged.
    Merge(MergeSettings),
    /// Tasks that each block once.
    Block(BlockSettings),
    /// A user's own files, merged.
    Files(FilesSettings),
}

/// A user's own files, merged into one output.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesSettings {
    /// The files, each once.
    pub inputs: Vec<PathBuf>,
    /// Where the lines go.
    pub output: PathBuf,
    /// What if the output exists.
    pub existing: Existing,
    /// How long a tail sleeps when there is no new data.
    pub poll_interval: Duration,
    /// Lines written at once, at most, if they were read at once.
    pub batch: usize,
    /// Whether to go on at the inputs' ends until told to stop.
    pub follow: bool,
    /// How it is noticed that they grew.
    pub watch: Watch,
    /// The longest line that is merged whole, in bytes without its newline.
    pub max_line: NonZeroUsize,
    /// Whether each line is given its input's tag.
    pub tag: bool,
}

/// Simulated writers, tailed and merged into one output.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeSettings {
    /// Files written and tailed.
    pub inputs: usize,
    /// Lines a file.
    pub lines: u64,
    /// The longest random wait before a line.
    pub max_wait: Duration,
    /// Random letters a line.
    pub letters: usize,
    /// How long a tail sleeps when there is no new data.
    pub poll_interval: Duration,
    /// Lines written at once, at most, if they were read at once.
    pub batch: usize,
    /// Handles are closed this long after the start, or when the writers are done, whichever is later.
    pub close_after: Duration,
    /// Where the lines go.
    pub sink: SinkSettings,
}

/// Where merged lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkSettings {
    /// A regular file.
    File {
        /// The output is synced to the disk after so many lines, before the last one's write counts as done; 0: never.
        sync_every: u64,
    },
    /// A FIFO whose reader writes the merged file.
    Fifo {
        /// The reader stops for this long …
        pause: Duration,
        /// … once in every such period.
        every: Duration,
    },
}

/// Tasks that become ready at the same moment and each block the thread they are on.
/// In naive mode that is the loop; in offloaded mode, the blocking pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSettings {
    /// How many.
    pub tasks: usize,
    /// How long each blocks.
    pub duration: Duration,
    /// How.
    pub how: BlockKind,
    /// When they start, after the run's start.
    pub after: Duration,
    /// How long the whole run lasts, at least.
    pub run_for: Duration,
}

/// How a task blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// `std::thread::sleep`.
    Sleep,
    /// A busy loop.
    Spin,
}

/// What else watches the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessSettings {
    /// The period of a timer on the loop; `None`: no timer.
    pub lag: Option<Duration>,
    /// An echo server on the loop and its outside client; `None`: none.
    pub response: Option<ResponseSettings>,
}

/// An echo server on the loop, and its outside open-loop client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseSettings {
    /// The time between two requests, over all connections.
    pub every: Duration,
    /// Connections; requests go to them in turn.
    pub connections: usize,
}
