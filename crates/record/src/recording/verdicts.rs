//! What was concluded: findings and gates.

use serde::{Deserialize, Serialize};

/// A diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Such as `PS001`; stable.
    pub code: String,
    /// The group that it was found in.
    #[serde(alias = "mode")]
    pub group: String,
    /// What was found.
    pub sentence: String,
    /// What to do.
    pub advice: String,
    /// `file:line`, where one is to blame.
    pub at: Option<String>,
}

/// An expectation and how it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// As it was written.
    pub expr: String,
    /// How it went.
    pub verdict: GateVerdict,
    /// The value on its left side; `None` where it was not measured.
    pub value: Option<f64>,
    /// Why it is inconclusive, in words; `None` for one that is not.
    #[serde(default)]
    pub why: Option<String>,
}

/// How an expectation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateVerdict {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// What it speaks of was not measured, or not well enough.
    Inconclusive,
}
