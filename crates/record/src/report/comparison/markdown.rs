//! A comparison as Markdown, for a summary in CI or a comment.

use super::{Compared, TITLE, change_text, gates, headed, legend, marked, warnings};
use crate::compare::conclusion;
use crate::escape::escape;

pub(super) fn render(compared: &Compared) -> String {
    let mut out = format!("## pollscope compare {}\n", cell(&compared.scenario));
    for side in &compared.sides {
        out += &format!("\n{}\n", cell(side));
    }
    if !compared.gates.is_empty() {
        out += "\n";
    }
    for gate in &compared.gates {
        let value = gates::value(gate);
        let value = if value.is_empty() { value } else { format!(": **{}**", cell(&value)) };
        out += &format!("- {} {}{value}\n", cell(gates::sign(gate.verdict)), cell(&gate.expr));
    }
    for (mode, comparison) in &compared.comparisons {
        out += &format!("\n**{}**\n\n", cell(&headed(mode, conclusion(comparison))));
        out += &format!("| metric | {} | {} | {TITLE} | verdict |\n", cell(&comparison.a), cell(&comparison.b));
        out += "|---|---:|---:|---:|---|\n";
        for row in &comparison.rows {
            let show = |value| row.metric.unit.show(value);
            let (change, verdict) = (cell(&change_text(row)), cell(&marked(row).1));
            out += &format!("| {} | {} | {} | {change} | {verdict} |\n", row.metric.name, show(row.a), show(row.b));
        }
    }
    for text in compared.comparisons.iter().flat_map(|(_, comparison)| legend(comparison)) {
        let line = format!("\n{}\n", cell(&text));
        if !out.contains(&line) {
            out += &line;
        }
    }
    for warning in warnings(compared) {
        out += &format!("\n> warning: {}\n", cell(&warning));
    }
    out
}

/// A text that no table, emphasis, link or page takes for anything but text.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in escape(text).chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}
