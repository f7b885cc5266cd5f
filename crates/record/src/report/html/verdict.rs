//! The first screen: what was asked, what came out, and how to ask again.

use maud::{Markup, html};

use super::Page;
use super::answer::answered;
use super::size_limit::totals;
use super::table::{Cell, mode, table};
use super::text::{command_line, name, prose, sentence};
use crate::by_group::ByGroup;
use crate::findings::verdict;
use crate::recording::GateVerdict;
use crate::report::subject::programs;
use crate::report::terminal::first_sentence;
use crate::units::{format_ns, format_percent, format_round_ns, plural};

pub(super) fn card(page: &Page) -> Markup {
    let scenario = page.recording.scenario.as_ref();
    let early = page.recording.runs.iter().filter_map(|run| Some((run, run.early_end()?)));
    let changed =
        scenario.iter().flat_map(|scenario| scenario.changed.iter().map(|key| (key, scenario.settings.get(key))));
    let changed = changed.take(50).filter_map(|(key, value)| Some((key, value?)));
    let changed: Vec<String> = changed.map(|(key, value)| format!("{key} = {value}")).collect();
    let errors = page.recording.runs.iter().flat_map(|run| &run.errors).take(20);
    html! {
        p.brand { "pollscope · " (name(page.recording.name())) }
        (answered(page.recording))
        div.figures {
            // Of slow polls it says no more than how many there were.
            p.question { (prose(&verdict(&totals(page.recording)))) }
            @if let Some(scenario) = scenario { p.dim { (prose(&first_sentence(&scenario.why))) } }
            @for (run, why) in early.take(20) {
                p { b { "Ended early" } ": " (name(&run.label())) ": " (sentence(why)) }
            }
            @for error in errors { p { b { "Error" } ": " (sentence(error)) } }
            (summary(page))
        }
        div.repeat {
            // A service that recorded itself was not started by a command of ours.
            @if !page.recording.environment.command.is_empty() {
                p { b { "Repeat it" } ": " code.command { (command_line(&page.recording.environment.command)) } }
            }
            @if !changed.is_empty() { p { b { "Changed" } ": " (sentence(&changed.join(", "))) } }
            @for program in programs(&page.modes) { p { b { "Program" } ": " (sentence(&program)) } }
            p.dim { (facts(page)) }
        }
    }
}

fn facts(page: &Page) -> String {
    let mut facts = Vec::new();
    facts.extend(page.recording.scenario.as_ref().map(|scenario| format!("seed {}", scenario.seed)));
    if let Some(mode) = page.modes.first() {
        let run = mode.rounds[0];
        let runtimes = run.subject.runtimes().iter();
        facts.extend(runtimes.map(|of| format!("{}, {}", name(&of.flavor), plural(of.workers, "worker"))));
        let rounds = || format!("{} a mode", plural(mode.rounds.len() as u64, "round"));
        facts.extend(run.subject.round().map(|_| rounds()));
        facts.push(format!("slow from {}", format_round_ns(mode.threshold_ns())));
        facts.push(format!("started {}", name(&run.started_at)));
    }
    let gates = &page.recording.gates;
    if !gates.is_empty() {
        let held = gates.iter().filter(|gate| gate.verdict == GateVerdict::Pass).count();
        facts.push(format!("{held} of {} hold", plural(gates.len() as u64, "gate")));
    }
    facts.join(" · ")
}

/// Where polls are not seen one by one, the longest that was seen.
fn worst_poll(group: &ByGroup) -> Cell {
    match (group.longest_poll_ns(), group.worst_poll_ns()) {
        (None, Some(seen)) => Cell::shown(&format!("≥ {}", format_ns(seen)), seen),
        (known, _) => Cell::number(known, format_ns),
    }
}

/// The few numbers that the verdict rests on.
fn summary(page: &Page) -> Markup {
    let row = |(index, group): (usize, &ByGroup)| {
        let p99 = |dist: &Option<crate::recording::Dist>| dist.as_ref().and_then(|dist| dist.shown_quantile_ns(0.99));
        vec![
            mode(index, group.name),
            Cell::shown(&group.slow_number(), group.slow_total()),
            worst_poll(group),
            Cell::number(p99(&group.lag), format_ns),
            Cell::number(p99(&group.response_time), format_ns),
            Cell::number(group.busy_fraction(), format_percent),
        ]
    };
    let rows: Vec<Vec<Cell>> = page.modes.iter().enumerate().map(row).collect();
    if rows.is_empty() {
        return html! {};
    }
    let head = ["mode", "slow polls", "worst poll", "loop lag p99", "response p99", "loop busy"];
    html! {
        (table("Summary", &head, rows))
        @if page.is_of_program() { p.dim { "—: not known, or not measured" } }
    }
}
