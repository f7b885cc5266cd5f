//! What follows from the numbers, and how far they can be trusted: findings, gates, coverage.

use maud::{Markup, html};

use super::Page;
use super::table::{Cell, table};
use super::text::{name, place, prose, sentence};
use crate::by_group::ByGroup;
use crate::findings::severity;
use crate::merge_words::{confirmed, not_confirmed, what_happened};
use crate::recording::{Finding, Gate, GateVerdict, Run, Verdict};
use crate::report::gates::{gate_value, of_merge};
use crate::report::subject;
use crate::report::terminal::summary::{build, limits, machine};

/// Findings shown.
const FINDINGS: usize = 60;

pub(super) fn findings(page: &Page) -> Option<Markup> {
    let findings = &page.recording.findings;
    Some(html! {
        @if findings.is_empty() { p { "Nothing was found that wants fixing." } }
        @for finding in findings.iter().take(FINDINGS) { (one(finding)) }
        @if findings.len() > FINDINGS { p.dim { "and " (findings.len() - FINDINGS) " more" } }
        @let merges: Vec<(Verdict, String)> = page.modes.iter().flat_map(merges).collect();
        @if !merges.is_empty() {
            h3 { "Is the merge right?" }
            ul.plain { @for (verdict, text) in &merges { li { (mark(of_merge(*verdict))) " " (sentence(text)) } } }
            @let events: Vec<String> = page.modes.iter().flat_map(what_happened).collect();
            @if !events.is_empty() { ul.plain { @for text in &events { li.dim { (sentence(text)) } } } }
        }
    })
}

fn one(finding: &Finding) -> Markup {
    let severity = severity(finding);
    html! {
        article.finding.(severity.as_str()) {
            p { b { (severity.as_str()) "[" (name(&finding.code)) "]" } ": " (prose(&finding.sentence)) }
            @if let Some(at) = finding.at.as_ref().filter(|at| !finding.sentence.contains(at.as_str())) { p { "at " code { (place(at)) } } }
            p { b { "help" } ": " (prose(&finding.advice)) }
        }
    }
}

fn merges(mode: &ByGroup) -> Vec<(Verdict, String)> {
    let ok = confirmed(mode).map(|text| (Verdict::Ok, format!("{}: {text}", mode.name)));
    let wrong = |run: &'_ Run| {
        let merge = run.merge.as_ref()?;
        Some((merge.verdict, format!("{}: {}", mode.name, not_confirmed(mode, run, merge))))
    };
    ok.into_iter().chain(mode.unconfirmed().filter_map(wrong)).collect()
}

fn mark(verdict: GateVerdict) -> Markup {
    match verdict {
        GateVerdict::Pass => html! { span.pass { "✓ pass" } },
        GateVerdict::Fail => html! { span.fail { "✗ fail" } },
        GateVerdict::Inconclusive => html! { span.unsure { "~ inconclusive" } },
    }
}

pub(super) fn gates(page: &Page) -> Option<Markup> {
    let row = |gate: &Gate| {
        let value = match (gate.value, gate.verdict) {
            (Some(value), _) => {
                let why = gate.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
                gate_value(gate, value) + &why
            }
            (None, GateVerdict::Inconclusive) => format!("— {}", gate.why.as_deref().unwrap_or("not measured")),
            // A word, such as a merge's verdict: the mark says it all.
            (None, _) => String::new(),
        };
        vec![
            Cell::markup(mark(gate.verdict)),
            Cell::markup(html! { code { (name(&gate.expr)) } }),
            Cell::text(&sentence(&value)),
        ]
    };
    let rows: Vec<Vec<Cell>> = page.recording.gates.iter().map(row).collect();
    Some(if rows.is_empty() {
        html! { p { "No gate was judged: give one with " code { "--fail-on" } "." } }
    } else {
        table("Gates", &["verdict", "gate", "value"], rows)
    })
}

/// What the numbers were made with, and where the instrument is blind.
pub(super) fn coverage(page: &Page) -> Option<Markup> {
    let environment = &page.recording.environment;
    let missing = page.recording.missing();
    let limits: Vec<String> = page.modes.iter().filter_map(limits).collect();
    let programs = subject::programs(&page.modes);
    let pools: Vec<String> = page.modes.iter().filter_map(subject::blocking_pool).collect();
    let kinds = subject::coverages(&page.modes);
    Some(html! {
        dl {
            @for (mode, coverage) in &kinds {
                dt { "Source" @if kinds.len() > 1 { " of " (name(mode)) } }
                dd { (name(&subject::source(coverage))) }
                dt { "Sees" } dd { (list(coverage.sees.iter().map(String::as_str))) }
                dt { "Blind to" } dd { (list(coverage.blind_to.iter().map(String::as_str))) }
            }
            dt { "Missing" } dd { (list(missing.iter().map(String::as_str))) }
            dt { "Limits" } dd { (list(limits.iter().map(String::as_str))) }
            @if !programs.is_empty() { dt { "Program" } dd { (list(programs.iter().map(String::as_str))) } }
            @if !pools.is_empty() { dt { "Blocking pool" } dd { (list(pools.iter().map(String::as_str))) } }
            dt { "Build" } dd { (sentence(&build(environment))) }
            dt { "Machine" } dd { (sentence(&machine(environment))) }
        }
    })
}

fn list<'t>(texts: impl Iterator<Item = &'t str>) -> Markup {
    let texts: Vec<&str> = texts.take(50).collect();
    html! {
        @if texts.is_empty() { "nothing" } @else { ul { @for text in texts { li { (sentence(text)) } } } }
    }
}
