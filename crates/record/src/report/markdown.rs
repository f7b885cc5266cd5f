//! Markdown as GitHub reads it: a step's summary, a comment, a page of a wiki.

mod text;

use super::measures::{
    Best, Figure, MEASURES, P50, P90, P99, P999, P9999, PRICE, Percentile, RAW_LAG, VS_BEST_IS, factors,
};
use crate::answer::{Answer, Item, answer};
use crate::blockers::{Blocker, blockers};
use crate::by_group::{ByGroup, by_group};
use crate::findings::{severity, verdict};
use crate::loops_time::{SPOTS, call_name, spots};
use crate::recording::{Cause, Dist, Finding, Recording};
use crate::units::{format_count, format_ns, format_percent, format_round_ns, plural};

use super::slow_poll::{at, holder, still_executing};
use super::subject::{programs, source};
use super::terminal::waits::{blocker_wait, format_wait};
use super::{gates, terminal};
use crate::merge_words::what_happened;
use text::{Table, fenced, md, prose};

/// Rows of a mode in a table.
const ROWS: usize = 6;
/// Gates and findings that are listed: a step's summary takes a megabyte.
const LISTED: usize = 100;

/// The page: the answer, gates, findings, who blocked, who waited, durations and, folded up, the histogram of poll times.
pub fn render(recording: &Recording) -> String {
    let modes = by_group(&recording.runs);
    let sections = [
        heading(recording, &modes),
        errors(recording),
        gates_list(recording),
        findings(recording),
        who_blocked(&modes),
        loops_time(&modes),
        still_running(&modes),
        who_waited(&modes),
        durations(&modes),
        price(&modes),
        events(&modes),
        histogram(recording),
    ];
    let sections: Vec<String> = sections.into_iter().filter(|section| !section.is_empty()).collect();
    sections.join("\n")
}

fn heading(recording: &Recording, modes: &[ByGroup]) -> String {
    let mut out =
        format!("## pollscope {}\n\n{}\n{}\n", md(recording.name()), answered(recording), prose(&verdict(recording)));
    if let Some(mode) = modes.first() {
        let runtimes = mode.first().subject.runtimes().iter();
        let runtimes = runtimes.map(|of| format!("{}, {}, ", md(&of.flavor), plural(of.workers, "worker")));
        out += &format!("\n{}slow from {}\n", runtimes.collect::<String>(), format_round_ns(mode.threshold_ns()));
        for program in programs(modes) {
            let source = source(&mode.first().coverage);
            out += &format!("\n{}; source: {}\n", md(&program), md(&source));
        }
    }
    out
}

/// The answer: its first line in bold, and below it who waited, what to do and what else there is.
fn answered(recording: &Recording) -> String {
    let Answer { lead, seen, meanwhile, fix, loops_time, others, left_out, facts, gates: _ } = answer(recording);
    let item = |item: &Item| {
        let mark = md(gates::sign(item.mark));
        let place = item.place.as_deref().map_or(String::new(), |place| format!("{} ", prose(&format!("`{place}`"))));
        format!(
            "{mark} {place}{}{}",
            prose(&item.words),
            item.code.as_deref().map_or(String::new(), |code| format!(" ({})", md(code)))
        )
    };
    let mut out = format!("**{}**\n\n", item(&lead));
    let caller = seen.and_then(|seen| seen.caller).map(|caller| format!("called from: `{caller}`"));
    let labelled = [
        caller,
        meanwhile.map(|who| format!("meanwhile: {who}")),
        fix.map(|fix| format!("fix: {fix}")),
        loops_time.map(|time| format!("loops' time: {time}")),
    ];
    for text in labelled.iter().flatten() {
        let (label, rest) = text.split_once(": ").unwrap_or(("", text));
        out += &format!("- **{label}**: {}\n", prose(rest));
    }
    let more: Vec<String> = facts.iter().chain(&others).map(|one| format!("- {}\n", item(one))).collect();
    let left = more.len().saturating_sub(ROWS) + left_out;
    out.extend(more.into_iter().take(ROWS));
    out + &if left > 0 { format!("- and {left} more\n") } else { String::new() }
}

/// What happened to the inputs.
fn events(modes: &[ByGroup]) -> String {
    let all = modes.iter().flat_map(|mode| what_happened(mode).into_iter().map(|text| (mode.name, text)));
    let all: Vec<String> = all.map(|(mode, text)| format!("- {}: {}\n", md(mode), md(&text))).collect();
    list("What happened to the inputs", all.into_iter())
}

fn errors(recording: &Recording) -> String {
    let all = recording.runs.iter().flat_map(|run| run.errors.iter().map(|error| (run.label(), error)));
    let all: Vec<String> = all.map(|(run, error)| format!("- {}: {}\n", md(&run), md(error))).collect();
    list("Errors", all.into_iter())
}

/// Where there are several modes, each has its factor over the best one's 99th percentile.
fn durations(modes: &[ByGroup]) -> String {
    const PERCENTILES: [Percentile; 5] = [P50, P90, P99, P999, P9999];
    let head = ["", "mode"].into_iter().chain(PERCENTILES.map(|percentile| percentile.label));
    let are_several = modes.len() > 1;
    let head: Vec<&str> = head.chain(["max"]).chain(are_several.then_some("p99 vs best")).collect();
    let mut table = Table::new(&head, 2);
    for (name, of) in MEASURES {
        let dists: Vec<Option<Dist>> = modes.iter().map(|mode| of(mode).filter(|dist| dist.count() > 0)).collect();
        let p99s: Vec<Option<f64>> = dists.iter().map(|dist| Some(P99.of(dist.as_ref()?)? as f64)).collect();
        let factors = factors(&p99s, Best::Least);
        if dists.iter().all(Option::is_none) {
            continue;
        }
        for (index, (mode, dist)) in modes.iter().zip(&dists).enumerate() {
            let shown = |ns: Option<u64>| ns.map_or("—".to_owned(), format_ns);
            let name = if name == RAW_LAG { "loop lag, raw" } else { name };
            let mut row = vec![if index == 0 { name.to_owned() } else { String::new() }, md(mode.name)];
            row.extend(PERCENTILES.map(|percentile| shown(dist.as_ref().and_then(|dist| percentile.of(dist)))));
            row.push(shown(dist.as_ref().and_then(|dist| dist.max_ns)));
            row.extend(are_several.then(|| factors[index].clone()));
            table.row(&row);
        }
    }
    let section = table.section("Durations");
    if are_several && !section.is_empty() { format!("{section}\n{VS_BEST_IS}.\n") } else { section }
}

fn price(modes: &[ByGroup]) -> String {
    let known: Vec<_> = PRICE.iter().filter(|figure| modes.iter().any(|mode| (figure.of)(mode).is_some())).collect();
    let names = known.iter().map(|figure| figure.name.trim_start());
    let mut table = Table::new(&std::iter::once("mode").chain(names).collect::<Vec<_>>(), 1);
    let all = |figure: &&Figure| modes.iter().map(figure.of).collect::<Vec<_>>();
    let factors: Vec<Vec<String>> = known.iter().map(|figure| factors(&all(figure), figure.best)).collect();
    for (index, mode) in modes.iter().enumerate() {
        let value = |(figure, factors): (&&Figure, &Vec<String>)| {
            let value = (figure.of)(mode).map_or("—".to_owned(), figure.show);
            if factors[index].is_empty() { value } else { format!("{value} ({})", factors[index]) }
        };
        table.row(&std::iter::once(md(mode.name)).chain(known.iter().zip(&factors).map(value)).collect::<Vec<_>>());
    }
    table.section(if modes.len() > 1 { "The price of the fix" } else { "Price" })
}

/// What called it, where rows differ in nothing else.
fn from(blocker: &Blocker, all: &[Blocker]) -> String {
    blocker.caller_among(all).map_or(String::new(), |caller| format!(", called from {caller}"))
}

fn who_blocked(modes: &[ByGroup]) -> String {
    let mut table = Table::new(&["mode", "line", "in", "cause", "polls", "time", "worst", "waited"], 4);
    for mode in modes {
        let all = blockers(mode.slow_polls().map(|(_, poll)| poll));
        for blocker in all.iter().take(ROWS) {
            let waited = blocker_wait(blocker).unwrap_or_else(|| "—".to_owned());
            table.row(&[
                md(mode.name),
                md(&format!("{}{}", blocker.place(), from(blocker, &all))),
                md(blocker.call.unwrap_or_default()),
                md(blocker.cause.map_or("unknown", Cause::as_str)),
                format_count(blocker.polls),
                format_ns(blocker.total_ns),
                format_ns(blocker.worst_ns),
                waited,
            ]);
        }
        table.more(all.len().saturating_sub(ROWS));
    }
    let section = table.section("Who blocked the loop");
    let is_unknown = modes.iter().any(|mode| mode.first().subject.target().is_some() && mode.ledger.is_none());
    if section.is_empty() || !is_unknown { section } else { section + "\n—: who waited is not known\n" }
}

/// Places where loops were that were not parked.
fn loops_time(modes: &[ByGroup]) -> String {
    let mut table = Table::new(&["mode", "", "at", "in", "future", "share"], 5);
    for mode in modes {
        let Some(time) = mode.loops_time() else { continue };
        let spots = spots(mode.profiles());
        for spot in spots.iter().take(SPOTS) {
            let known = |text: Option<&str>| text.map_or("—".to_owned(), md);
            let call = spot.call.map_or(String::new(), |call| md(call_name(call)));
            let share = time.share(spot.ns).map_or("—".to_owned(), format_percent);
            table.row(&[md(mode.name), md(spot.did()), known(spot.at), call, known(spot.future), share]);
        }
        table.more(spots.len().saturating_sub(SPOTS));
    }
    table.section("Where the loops' time went")
}

/// The polls that had not ended when the recording did.
fn still_running(modes: &[ByGroup]) -> String {
    let open = modes.iter().flat_map(|mode| {
        mode.rounds.iter().flat_map(|run| &run.stalls_open).map(|poll| {
            let at = at(poll);
            let held = holder(poll).map_or(String::new(), |held| format!(", {held}"));
            format!("- {}: {}\n", md(mode.name), md(&format!("{}{at}{held}", still_executing(poll))))
        })
    });
    list("Still running when the recording ended", open.collect::<Vec<_>>().into_iter())
}

fn who_waited(modes: &[ByGroup]) -> String {
    let mut table = Table::new(&["mode", "who waited", "behind slow polls of", "waits", "waited"], 3);
    for mode in modes {
        let charges = mode.ledger.as_ref().map_or(&[][..], |ledger| &ledger.charges);
        for charge in charges.iter().take(ROWS) {
            let waited = format_wait(charge.wait_ns, charge.wait_most_ns);
            let waits = format_count(charge.tasks);
            table.row(&[md(mode.name), md(&charge.waiter), md(&charge.culprit), waits, waited]);
        }
        table.more(charges.len().saturating_sub(ROWS));
        if let Some(ledger) = mode.ledger.as_ref().filter(|ledger| !ledger.charges.is_empty()) {
            let waited = format_ns(ledger.unattributed_ns);
            table.row(&[md(mode.name), "otherwise, in all".to_owned(), String::new(), String::new(), waited]);
        }
    }
    table.section("Who waited")
}

fn gates_list(recording: &Recording) -> String {
    let lines = recording.gates.iter().map(|gate| {
        let mark = md(gates::sign(gate.verdict));
        let value = gates::value(gate);
        let value = if value.is_empty() { value } else { format!(": **{}**", md(&value)) };
        format!("- {mark} {}{value}\n", md(&gate.expr))
    });
    list("Gates", lines)
}

fn findings(recording: &Recording) -> String {
    list("Findings", recording.findings.iter().map(finding))
}

fn finding(finding: &Finding) -> String {
    let at = finding.at.as_ref().filter(|at| !finding.sentence.contains(at.as_str()));
    let at = at.map_or(String::new(), |at| format!(" ({})", md(at)));
    let (severity, code) = (severity(finding).as_str(), md(&finding.code));
    format!("- **{severity} {code}** {}{at}<br>{}\n", prose(&finding.sentence), prose(&finding.advice))
}

/// A section with a list, or nothing.
fn list(title: &str, lines: impl ExactSizeIterator<Item = String>) -> String {
    let count = lines.len();
    if count == 0 {
        return String::new();
    }
    let items: String = lines.take(LISTED).collect();
    let more = count.saturating_sub(LISTED);
    let more = if more > 0 { format!("- … and {} more\n", format_count(more as u64)) } else { String::new() };
    format!("### {title}\n\n{items}{more}")
}

fn histogram(recording: &Recording) -> String {
    let chart = terminal::poll_times(recording);
    if chart.is_empty() {
        return String::new();
    }
    // Without the blank lines GitHub takes what is between the tags for HTML.
    format!("<details>\n<summary>Poll times</summary>\n\n{}\n</details>\n", fenced(&chart))
}

#[cfg(test)]
mod tests;
