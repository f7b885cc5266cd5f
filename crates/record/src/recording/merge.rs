//! What became of the lines of a merge, and what happened to its inputs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::wire;
use crate::message::Message;

/// What happened to the inputs of a merge while they were followed: rotated, cut, gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputEvents {
    /// The first thousand, in their order.
    #[serde(deserialize_with = "wire::bounded::list::<_, _, 10_000>")]
    pub events: Vec<InputEvent>,
    /// How many came after these.
    pub dropped: u64,
    /// How many of all may have cost lines: then the merge is not ok, even if all that was read is in the output.
    pub possible_losses: u64,
    /// How many of all may have made lines come twice, since a file was read again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub possible_repeats: u64,
    /// How many bytes may have come twice by them, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated_bytes_at_most: Option<u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputEvent {
    /// When it was noticed, in nanoseconds since the merge's start.
    pub at_ns: u64,
    /// What it was, in a word.
    pub event: String,
    /// A whole sentence, with the input.
    pub text: Message,
    /// Whether lines may have been lost by it.
    pub may_lose: bool,
    /// Whether lines may have come twice by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_repeat: bool,
}

/// What became of the lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Never ok by default.
    pub verdict: Verdict,
    /// Why the verdict is not ok: file, line and byte of the first difference, or what changed.
    pub reason: Option<Message>,
    /// Inputs read.
    pub inputs: u64,
    /// Lines in the inputs; of a line that was split, each piece.
    pub lines: u64,
    /// Lines of the inputs that were longer than the merge takes, and split.
    pub long_lines: u64,
    /// Bytes in the inputs.
    pub bytes: u64,
    /// Lines of the inputs that the output lacks.
    pub lost: u64,
    /// Copies in the output beyond those in the inputs.
    pub duplicated: u64,
    /// Inputs whose lines are all there, in another order.
    pub reordered: u64,
    /// Output lines that are a piece of an input's line.
    pub torn: u64,
    /// Output lines that belong to no input.
    pub foreign: u64,
    /// Inputs whose last line had no newline; it was delivered with one.
    pub unterminated: u64,
    /// What was written, if that is known: also if the merge is unverifiable.
    pub written: Option<Box<Written>>,
}

/// What a merge wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Lines whose write returned.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Lines that were longer than the merge takes, and split.
    pub long_lines: u64,
}

impl Merge {
    /// A merge of which nothing is known but why; the counts are none.
    pub fn unverifiable(inputs: u64, reason: impl Into<Message>) -> Merge {
        Merge {
            verdict: Verdict::Unverifiable,
            reason: Some(reason.into()),
            inputs,
            lines: 0,
            long_lines: 0,
            bytes: 0,
            lost: 0,
            duplicated: 0,
            reordered: 0,
            torn: 0,
            foreign: 0,
            unterminated: 0,
            written: None,
        }
    }
}

/// What became of a merge, and of each of its inputs: what `pollscope confirm` says. A recording has the merge alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmation {
    /// What became of the lines.
    pub merge: Merge,
    /// The inputs that the output lacks lines of.
    pub missing: Vec<Missing>,
    /// Whether the output is what it should be up to where it ends, but for lines that are torn.
    pub ends_early: bool,
}

/// What an output lacks of an input. Which of several inputs that have a lost line lacks it cannot be known: it is said to
/// be one of which the output shows least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The input, as it was named.
    pub input: PathBuf,
    /// How many lines.
    pub lines: u64,
    /// Of how many.
    pub of: u64,
    /// The first of them, from 1.
    pub line: u64,
    /// Where that begins, in bytes from 0.
    pub byte: u64,
    /// Whether all lines from that one on are missing.
    pub to_the_end: bool,
}

/// Whether the output holds every input's lines, in order, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It does.
    Ok,
    /// It does not.
    Failed,
    /// The evidence changed, or cannot be read again.
    Unverifiable,
}

impl Verdict {
    /// The word used in reports and in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Failed => "failed",
            Verdict::Unverifiable => "unverifiable",
        }
    }
}
