//! Gates in words.

use super::layout::{Ink, Line, paragraph, width};
use crate::recording::{Gate, GateVerdict, Verdict};
use crate::units::{format_count, format_ns};

/// The sign of a verdict; nothing is said by colour alone.
pub(super) fn sign(verdict: GateVerdict) -> &'static str {
    match verdict {
        GateVerdict::Pass => "✓",
        GateVerdict::Fail => "✗",
        GateVerdict::Inconclusive => "~",
    }
}

/// The sign of a verdict in its colour, or a word where only ASCII is shown; padded.
pub(super) fn mark(verdict: GateVerdict, unicode: bool) -> Line {
    let (ink, ascii) = match verdict {
        GateVerdict::Pass => (Ink::Good, "ok"),
        GateVerdict::Fail => (Ink::Bad, "FAIL"),
        GateVerdict::Inconclusive => (Ink::Warn, "~"),
    };
    if unicode { Line::new().left(ink, sign(verdict), 2) } else { Line::new().left(ink, ascii, 5) }
}

/// What stands before a merge's verdict.
pub(super) fn of_merge(verdict: Verdict) -> GateVerdict {
    match verdict {
        Verdict::Ok => GateVerdict::Pass,
        Verdict::Failed => GateVerdict::Fail,
        Verdict::Unverifiable => GateVerdict::Inconclusive,
    }
}

/// A line each, its value in a column of its own.
pub(super) fn block(gates: &[Gate], columns: usize, unicode: bool) -> Vec<Line> {
    let longest = gates.iter().map(|gate| width(&gate.expr)).max().unwrap_or(0);
    let before = (longest + 2).min(columns * 2 / 3);
    let line = |gate: &Gate| {
        let line = mark(gate.verdict, unicode).left(Ink::Plain, &gate.expr, before.saturating_sub(2)).blank(2);
        paragraph(line, Ink::Bold, &value(gate), columns)
    };
    gates.iter().flat_map(line).collect()
}

/// What its left side came to, and that it is inconclusive, if it is; empty for a word, such as a merge's verdict: how it went
/// says it all.
pub(super) fn value(gate: &Gate) -> String {
    match (gate.value, gate.verdict) {
        (None, GateVerdict::Inconclusive) => format!("— {}", gate.why.as_deref().unwrap_or("not measured")),
        (None, _) => String::new(),
        (Some(value), GateVerdict::Inconclusive) => {
            let why = gate.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
            format!("{} inconclusive{why}", gate_value(gate, value))
        }
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
