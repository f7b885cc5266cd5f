//! What the program tells at its end: when it blocked, and where.

use serde::Deserialize;

/// An async function: its name, and its first and last line in the file of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct AsyncFn(pub(crate) String, pub(crate) u32, pub(crate) u32);

/// A poll that blocked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Stall {
    /// How it blocked.
    pub(crate) way: String,
    /// The function of the lines, and the type whose method calls it, which has its code where it is inlined.
    pub(crate) functions: [String; 2],
    /// Any of them blocks.
    pub(crate) lines: Vec<u32>,
    /// Innermost first.
    pub(crate) chain: Vec<AsyncFn>,
    /// The type of the task's future.
    pub(crate) root: String,
    /// Which of the program's tasks.
    pub(crate) task: u64,
    /// Tokio's id of it, where Tokio tells.
    pub(crate) task_id: Option<u64>,
    /// On which thread.
    pub(crate) tid: u32,
    /// By `CLOCK_MONOTONIC`.
    pub(crate) begin_ns: u64,
    /// By the same clock.
    pub(crate) end_ns: u64,
    /// How often the thread gave up its CPU meanwhile, and how often it was taken.
    pub(crate) switches: [u64; 2],
}

impl Stall {
    pub(crate) fn duration_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.begin_ns)
    }
}

/// What it has counted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Counted {
    /// Calls of its own that a signal interrupted.
    pub(crate) interrupted: u64,
    /// How many stalls it tells.
    pub(crate) stalls: u64,
    /// How many polls there were in which nothing is to be found.
    pub(crate) polls: u64,
    /// When it began, by `CLOCK_MONOTONIC`.
    pub(crate) begin_ns: u64,
    /// When it was over.
    pub(crate) end_ns: u64,
}

/// All of it, from its lines, of which the last is what it has counted.
///
/// # Errors
/// A sentence, where a line is none of them, or there are not as many as it says.
pub(crate) fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<(Vec<Stall>, Counted), String> {
    let mut lines: Vec<&str> = lines.into_iter().collect();
    let last = lines.pop().ok_or("the program told nothing")?;
    let counted: Counted = serde_json::from_str(last).map_err(|error| format!("cannot read `{last}`: {error}"))?;
    let stall = |line: &&str| serde_json::from_str(line).map_err(|error| format!("cannot read `{line}`: {error}"));
    let stalls: Vec<Stall> = lines.iter().map(stall).collect::<Result<_, _>>()?;
    if stalls.len() as u64 != counted.stalls {
        return Err(format!("the program told {} stalls and says it were {}", stalls.len(), counted.stalls));
    }
    Ok((stalls, counted))
}
