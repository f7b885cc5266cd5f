//! What is printed: one table, by way to block and in all.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::matching::Matched;
use crate::score::{Score, quantile};
use crate::seen::Seen;
use crate::truth::Stall;

/// The columns, of which the first is as wide as the longest name.
const HEADER: [&str; 16] = [
    "",
    "stalls",
    "found",
    "line",
    "function",
    "chain",
    "root",
    "id",
    "exact",
    "end p50/95/99 ms",
    "other ends",
    "start p50/95",
    "merged",
    "extra",
    "given up",
    "taken",
];

/// The table, with a last line of all.
pub(crate) fn table(scores: &BTreeMap<String, Score>, period_ns: u64) -> String {
    let mut all = Score::default();
    scores.values().for_each(|score| all.add(score));
    let named = scores.iter().map(|(name, score)| (name.as_str(), score)).chain([("all", &all)]);
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(named.map(|(name, score)| row(name, score, period_ns)));
    aligned(&rows)
}

fn row(name: &str, score: &Score, period_ns: u64) -> [String; 16] {
    let ms = |q| quantile(&score.exact, q).map_or("-".to_owned(), |ns| format!("{:.3}", ns as f64 / 1e6));
    let periods =
        |q| quantile(&score.starts, q).map_or("-".to_owned(), |ns| format!("{:.2}", ns as f64 / period_ns as f64));
    let each = |kind: usize| match score.found {
        0 => "-".to_owned(),
        found => format!("{:.2}", score.switches[kind] as f64 / found as f64),
    };
    [
        name.to_owned(),
        score.stalls.to_string(),
        score.found.to_string(),
        score.line.to_string(),
        score.function.to_string(),
        score.chain.to_string(),
        score.root.to_string(),
        format!("{}/{}", score.id, score.with_id),
        score.exact.len().to_string(),
        format!("{}/{}/{}", ms(0.5), ms(0.95), ms(0.99)),
        if score.beyond > 0 { format!("{}, wrong {}", score.within, score.beyond) } else { score.within.to_string() },
        format!("{}/{}", periods(0.5), periods(0.95)),
        format!("{}, apart {}", score.merged, score.merged_apart),
        score.extra.to_string(),
        each(0),
        each(1),
    ]
}

pub(crate) fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
        }
        text.push('\n');
    }
    text
}

/// An end that is said to be exact, and is off by more, is told of.
const END_OFF_NS: u64 = 200_000;

/// By how much an end that is said to be exact is later than the true one.
fn seen_end_off_ns(seen: &Seen, stall: &Stall) -> Option<i64> {
    let is_exact = seen.end_is.is_none() && !seen.is_open;
    is_exact.then(|| seen.end_ns as i64 - stall.end_ns as i64)
}

/// At most so many sentences on what is wrong: what was not found, not right, one too many or of nothing.
pub(crate) fn wrong(stalls: &[Stall], seen: &[Seen], matched: &Matched, least_ns: u64, most: usize) -> Vec<String> {
    let mut wrong: Vec<String> =
        matched.false_ones.iter().map(|one| format!("of nothing: {}", of(&seen[*one]))).collect();
    for merged in &matched.merged {
        let gap_ms = merged.gap_ns as f64 / 1e6;
        let (is, covers) = (was(&stalls[merged.is]), was(&stalls[merged.covers]));
        wrong.push(format!(
            "merged, {gap_ms:.2} ms apart: {is}\n    and {covers}\n    seen as {}",
            of(&seen[merged.seen])
        ));
    }
    wrong.extend(matched.extra.iter().map(|one| format!("one too many: {}", of(&seen[*one]))));
    for (stall, seen_of) in stalls.iter().zip(&matched.seen_of).filter(|(stall, _)| stall.duration_ns() >= least_ns) {
        let Some(one) = seen_of.map(|index| &seen[index]) else {
            wrong.push(format!("not found: {}", was(stall)));
            continue;
        };
        let judged = [
            ("line", one.has_line_of(stall)),
            ("chain", one.has_chain_of(stall)),
            ("root", one.has_root_of(stall)),
            ("task id", stall.task_id.is_none() || one.has_task_id_of(stall)),
        ];
        let off_ns = seen_end_off_ns(one, stall).filter(|ns| ns.unsigned_abs() > END_OFF_NS);
        if let Some(ns) = off_ns {
            wrong.push(format!("end off by {:.3} ms: {}", ns as f64 / 1e6, was(stall)));
        }
        let missed: Vec<&str> = judged.iter().filter(|(_, is_right)| !is_right).map(|(what, _)| *what).collect();
        if !missed.is_empty() {
            let stack = if missed == ["task id"] { String::new() } else { stack(one) };
            wrong.push(format!("wrong {}: {}\n    seen as {}{stack}", missed.join(", "), was(stall), of(one)));
        }
    }
    let left = wrong.len().saturating_sub(most);
    wrong.truncate(most);
    if left > 0 {
        wrong.push(format!("and {left} more"));
    }
    wrong
}

fn was(stall: &Stall) -> String {
    let Stall { way, root, task, tid, .. } = stall;
    let (from_ms, took_ms) = (stall.begin_ns as f64 / 1e6, stall.duration_ns() as f64 / 1e6);
    format!(
        "{way} of {root}, task {task}, on thread {tid} at {from_ms:.1} ms for {took_ms:.1} ms, switches {:?}",
        stall.switches
    )
}

fn of(seen: &Seen) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let (from_ms, took_ms) = (seen.start_ns as f64 / 1e6, seen.end_ns.saturating_sub(seen.start_ns) as f64 / 1e6);
    format!(
        "{} in {} of {}, task id {}, at {from_ms:.1} ms for {took_ms:.1} ms, start {:?}, end {:?}{}, cause {}, call {}, stack complete: {:?}",
        text(&seen.line),
        text(&seen.function),
        text(&seen.future),
        seen.task_id.map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
        seen.start_is,
        seen.end_is,
        if seen.is_open { ", open" } else { "" },
        text(&seen.cause),
        text(&seen.call),
        seen.stack_complete,
    )
}

fn stack(seen: &Seen) -> String {
    let frame = |frame: &crate::seen::Frame| {
        let place = frame.place.as_ref().map_or_else(|| "?".to_owned(), |(file, line)| format!("{file}:{line}"));
        format!("\n        {} {place}", frame.function)
    };
    // What is between is the runtime's, mostly.
    let (first, last) = (seen.stack.len().min(10), seen.stack.len().saturating_sub(6).max(10));
    let rest = seen.stack.get(last..).unwrap_or_default();
    seen.stack[..first].iter().chain(rest).map(frame).collect()
}
