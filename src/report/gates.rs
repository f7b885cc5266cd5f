//! Gates in words.

use crate::recording::{Gate, GateVerdict};
use crate::units::{format_count, format_ns};

/// What its left side came to, and that it is inconclusive, if it is; empty for a word, such as a merge's verdict: how it went
/// says it all.
pub(super) fn value(gate: &Gate) -> String {
    match (gate.value, gate.verdict) {
        (None, GateVerdict::Inconclusive) => "— not measured".to_owned(),
        (None, _) => String::new(),
        (Some(value), GateVerdict::Inconclusive) => format!("{} inconclusive", gate_value(gate, value)),
        (Some(value), _) => gate_value(gate, value),
    }
}

/// A gate's value: nanoseconds where its left side ends in a statistic of a distribution, else a plain number.
pub(super) fn gate_value(gate: &Gate, value: f64) -> String {
    let left = gate.expr.split(['<', '>', '=', '!']).next().unwrap_or_default().trim();
    let last = left.rsplit('.').next().unwrap_or_default();
    let is_duration = matches!(last, "min" | "p50" | "p90" | "p95" | "p99" | "p999" | "max" | "mean");
    if is_duration && value >= 0.0 {
        format_ns(value.round() as u64)
    } else if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        format_count(value as u64)
    } else {
        format!("{value:.3}")
    }
}
