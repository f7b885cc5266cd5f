//! What follows from the numbers, and how far they can be trusted: findings, merge, gates, coverage.

use super::super::layout::{Ink, Line, hanging, paragraph};
use super::super::{gates, subject};
use super::Page;
use crate::by_group::ByGroup;
use crate::findings::{Severity, severity};
use crate::merge_words::{confirmed, not_confirmed, what_happened};
use crate::recording::{Environment, Finding, Verdict};
use crate::units::plural;

/// Each finding as a compiler would say it; the advice once for all that share it.
pub(super) fn findings(page: &Page) -> Vec<Line> {
    let mut lines = Vec::new();
    let findings = &page.recording.findings;
    for (i, finding) in findings.iter().enumerate() {
        let severity = severity(finding);
        let ink = match severity {
            Severity::Error => Ink::Bad,
            Severity::Warning => Ink::Warn,
            Severity::Note => Ink::Good,
        };
        let prefix = Line::new().text(ink, &format!("{}[{}]", severity.as_str(), finding.code)).text(Ink::Bold, ": ");
        lines.extend(hanging(prefix, 4, Ink::Bold, &finding.sentence, page.width));
        if let Some(at) = finding.at.as_ref().filter(|at| !finding.sentence.contains(at.as_str())) {
            lines.extend(paragraph(Line::new().text(Ink::Dim, "  --> "), Ink::Plain, at, page.width));
        }
        if findings.get(i + 1).is_none_or(|next| !same_advice(finding, next)) {
            lines.extend(paragraph(Line::new().text(Ink::Dim, "  = help: "), Ink::Plain, &finding.advice, page.width));
        }
    }
    lines
}

fn same_advice(a: &Finding, b: &Finding) -> bool {
    a.code == b.code && a.advice == b.advice
}

pub(super) fn merges(page: &Page) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, mode) in page.modes.iter().enumerate() {
        let name = if page.modes.len() > 1 { mode.name } else { "" };
        let start = |verdict| {
            let mark = gates::mark(gates::of_merge(verdict), page.unicode);
            mark.left(Ink::Mode(index), name, page.mode_columns())
        };
        if let Some(text) = confirmed(mode) {
            lines.extend(paragraph(start(Verdict::Ok), Ink::Plain, &text, page.width));
        }
        for run in mode.unconfirmed() {
            let Some(merge) = &run.merge else { continue };
            let text = not_confirmed(mode, run, merge);
            lines.extend(paragraph(start(merge.verdict), Ink::Plain, &text, page.width));
        }
        for text in what_happened(mode) {
            lines.extend(paragraph(Line::new().blank(2 + page.mode_columns()), Ink::Dim, &text, page.width));
        }
    }
    lines
}

pub(super) fn gates(page: &Page) -> Vec<Line> {
    gates::block(&page.recording.gates, page.width, page.unicode)
}

/// What the numbers were made with, and where the instrument is blind.
pub(super) fn coverage(page: &Page) -> Vec<Line> {
    let mut lines = vec![Line::new().text(Ink::Title, "Coverage")];
    let mut row = |label: &str, text: &str| {
        if !text.is_empty() {
            lines.extend(paragraph(Line::new().left(Ink::Dim, label, 10), Ink::Plain, text, page.width));
        }
    };
    let kinds = subject::coverages(&page.modes);
    for (group, coverage) in &kinds {
        let who = if kinds.len() > 1 { format!("{group}: ") } else { String::new() };
        row("source", &format!("{who}{}", subject::source(coverage)));
        row("sees", &coverage.sees.join("; "));
        row("blind to", &coverage.blind_to.join("; "));
    }
    for why in page.recording.missing() {
        row("missing", &why);
    }
    for program in subject::programs(&page.modes) {
        row("program", &program);
    }
    for pool in page.modes.iter().filter_map(subject::blocking_pool) {
        row("pool", &pool);
    }
    row("build", &build(&page.recording.environment));
    row("machine", &machine(&page.recording.environment));
    let limits: Vec<String> = page.modes.iter().filter_map(limits).collect();
    row("limits", &limits.join("; "));
    row("command", &page.recording.environment.command.join(" "));
    lines
}

/// The versions that it was made with.
pub(in crate::report) fn build(environment: &Environment) -> String {
    let tokio = environment.tokio.as_ref().map(|tokio| subject::tokio(tokio, environment.tokio_unstable));
    let console = environment.console_compiled.map(|compiled| match (compiled, environment.console_on) {
        (false, _) => "console not compiled in",
        (true, Some(true)) => "console on: its tracing costs every poll a little",
        (true, _) => "console compiled in, off",
    });
    let facts = [Some(format!("pollscope {}", environment.pollscope)), tokio, console.map(str::to_owned)];
    facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What it was made on.
pub(in crate::report) fn machine(environment: &Environment) -> String {
    let kernel = environment.kernel.as_deref().unwrap_or("—");
    let cpus = environment.cpus.map_or("— CPUs".to_owned(), |cpus| plural(cpus, "CPU"));
    format!("{}, kernel {kernel}, {cpus}, clock {}", environment.os, environment.clock)
}

/// What was counted but not kept or shown.
pub(in crate::report) fn limits(mode: &ByGroup) -> Option<String> {
    let parts = [
        (mode.clamped(), "duration", "clamped to 1 ns to 1 h"),
        (mode.slow_dropped(), "slow poll", "not kept"),
        (mode.lines_suppressed(), "slow-poll line", "held back"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, ..)| *n > 0).map(|(n, noun, what)| format!("{} {what}", plural(*n, noun))).collect();
    (!parts.is_empty()).then(|| format!("{}: {}", mode.name, parts.join(", ")))
}
