//! A scenario: a question, the workload that answers it, and the expected answer.
//!
//! These are validated values in domain units; [`wire`] is their TOML twin and documents the format.

pub mod builtin;
mod unknown;
pub mod wire;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::pipeline::input::Watch;
use crate::pipeline::sink::{Existing, Mode};
use pollscope_record::gate::Gate;

/// A question about an event loop, and how to ask it.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The file's stem.
    pub name: String,
    /// The question in one line.
    pub question: String,
    /// Why it exists, as prose.
    pub why: String,
    /// The expected results.
    pub expect: Vec<Gate>,
    /// How to run it.
    pub settings: Settings,
    /// The keys of the settings that an override changed.
    pub changed: Vec<String>,
}

/// How to run a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The measured runtime.
    pub runtime: RuntimeSettings,
    /// What runs on it.
    pub workload: Workload,
    /// The modes to compare, in this order; at least one, none twice.
    pub modes: Vec<Mode>,
    /// The number of runs of each mode; the rounds are interleaved.
    pub rounds: u32,
    /// The number of rounds to run first and throw away.
    pub warmup: u32,
    /// The threshold of a slow poll (`>=`).
    pub slow_poll: Duration,
    /// The witnesses.
    pub witness: WitnessSettings,
    /// The seed of everything random.
    pub seed: u64,
    /// The length of an interval in the recording.
    pub sample_every: Duration,
}

impl Settings {
    /// How long a run lasts at least; `None` where that depends on what it reads.
    pub fn least_duration(&self) -> Option<Duration> {
        match &self.workload {
            Workload::Merge(merge) => Some(merge.close_after),
            Workload::Block(block) => Some(block.run_for),
            Workload::Files(_) => None,
        }
    }
}

/// The measured runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuntimeSettings {
    /// Its scheduler.
    pub flavor: Flavor,
    /// The number of worker threads; 1 for [`Flavor::CurrentThread`].
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
    /// A user's own files, merged into one output.
    Files(FilesSettings),
}

/// A user's own files, merged into one output.
#[derive(Debug, Clone, PartialEq)]
pub struct FilesSettings {
    /// The files, each once.
    pub inputs: Vec<PathBuf>,
    /// Where the lines go.
    pub output: PathBuf,
    /// What to do if the output exists.
    pub existing: Existing,
    /// How long a tail sleeps without new data.
    pub poll_interval: Duration,
    /// The most lines in one write, if they were read at once.
    pub batch: usize,
    /// Whether to go on at the inputs' ends until a request to stop.
    pub follow: bool,
    /// How to notice that they grew.
    pub watch: Watch,
    /// The longest line that is not split, in bytes without its newline.
    pub max_line: NonZeroUsize,
    /// Whether to put its input's tag before each line.
    pub tag: bool,
    /// How long after its write a line may be before the output is synced to the disk; `None`: never synced.
    pub sync_within: Option<Duration>,
}

/// Simulated writers, tailed and merged into one output.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeSettings {
    /// The number of files to write and tail.
    pub inputs: usize,
    /// The number of lines in each file.
    pub lines: u64,
    /// The longest random wait before a line.
    pub max_wait: Duration,
    /// The number of random letters in each line.
    pub letters: usize,
    /// How long a tail sleeps without new data.
    pub poll_interval: Duration,
    /// The most lines in one write, if they were read at once.
    pub batch: usize,
    /// When to close the inputs: so long after the start, or when the writers are done if that is later.
    pub close_after: Duration,
    /// Where the lines go.
    pub sink: SinkSettings,
}

/// Where merged lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkSettings {
    /// A regular file.
    File {
        /// Sync it to the disk after so many lines, before the write of the last of them returns; 0: never.
        sync_every: u64,
    },
    /// A FIFO whose reader writes the merged file.
    Fifo {
        /// How long the reader stops …
        pause: Duration,
        /// … once in every such period.
        every: Duration,
    },
}

/// Tasks that become ready at the same moment and each block the thread they are on.
/// In naive mode that is the loop; in offloaded mode, the blocking pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSettings {
    /// The number of tasks.
    pub tasks: usize,
    /// How long each blocks.
    pub duration: Duration,
    /// How each blocks.
    pub how: BlockKind,
    /// The time from the run's start to theirs.
    pub after: Duration,
    /// The shortest time that the run lasts.
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

/// The witnesses, which feel what other users of the loop feel.
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
    /// The number of connections; requests go to them in turn.
    pub connections: usize,
}
