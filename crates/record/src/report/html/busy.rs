//! Where the loop's time went: slow polls, other polls, no poll; and which tasks' polls they were.

use maud::{Markup, html};

use super::Page;
use super::chart::{RIGHT, at, figure, title_x};
use super::table::{Cell, class, mode, table};
use super::text::{name, or_unknown, place};
use crate::by_group::ByGroup;
use crate::recording::Run;
use crate::units::{format_count, format_ns, format_percent, plural};

/// Spawn sites shown of each mode.
const SITES: usize = 12;

pub(super) fn section(page: &Page) -> Option<Markup> {
    // Of those the section of a wall-clock profile says it.
    let is_told = page.modes.iter().all(|mode| mode.busy_ns().is_none() && mode.loops_time().is_some());
    (!is_told).then(|| {
        html! {
            div.charts { @for (index, mode) in page.modes.iter().enumerate() { (bar(index, mode)) } }
            (sites(page))
        }
    })
}

/// Nanoseconds in slow polls, as far as they were kept, in all polls, and that all workers had.
struct Split {
    slow_ns: u64,
    busy_ns: u64,
    available_ns: u64,
    is_slow_known: bool,
}

impl Split {
    /// `None` where the time that polls took is not known.
    fn of(mode: &ByGroup) -> Option<Split> {
        let of_run = |run: &&Run| Some(run.elapsed_ns.saturating_mul(run.subject.workers()?));
        Some(Split {
            slow_ns: mode.slow_polls().map(|(_, poll)| poll.duration_ns).sum(),
            busy_ns: mode.busy_ns()?,
            available_ns: mode.rounds.iter().map(of_run).sum::<Option<u64>>()?,
            is_slow_known: mode.slow_dropped() == 0,
        })
    }

    fn share(&self, ns: u64) -> Option<f64> {
        (self.available_ns > 0).then(|| ns as f64 / self.available_ns as f64)
    }
}

fn bar(index: usize, mode: &ByGroup) -> Markup {
    let Some(split) = Split::of(mode) else {
        let share = mode.busy_fraction().map_or("not known".to_owned(), format_percent);
        return html! { div { h3.mode.(class(index)) { (name(mode.name)) } p.dim { "the loop was busy: " (share) } } };
    };
    let rest_ns = split.busy_ns.saturating_sub(split.slow_ns);
    let idle_ns = split.available_ns.saturating_sub(split.busy_ns);
    let percent = |ns| or_unknown(split.share(ns).map(format_percent));
    let least = if split.is_slow_known { "" } else { "at least " };
    let parts = [
        ("slow", format!("slow polls: {least}{}, {}", format_ns(split.slow_ns), percent(split.slow_ns)), split.slow_ns),
        ("rest", format!("other polls: {}, {}", format_ns(rest_ns), percent(rest_ns)), rest_ns),
        ("idle", format!("no poll: {}, {}", format_ns(idle_ns), percent(idle_ns)), idle_ns),
    ];
    stacked(index, mode, &parts, split.available_ns.max(split.busy_ns), "share of the time that all workers had, %")
}

/// A bar of parts, each with the class of its colour and what it says.
pub(super) fn stacked(
    index: usize,
    mode: &ByGroup,
    parts: &[(&'static str, String, u64)],
    whole_ns: u64,
    axis: &str,
) -> Markup {
    let scale = (RIGHT - 2.0) / whole_ns.max(1) as f64;
    let mut from = 2.0;
    let pieces: Vec<(&str, &str, f64, f64)> = parts
        .iter()
        .map(|(kind, says, ns)| {
            let width = *ns as f64 * scale;
            let piece = (*kind, says.as_str(), from, width);
            from += width;
            piece
        })
        .collect();
    let caption = html! {
        h3.mode.(class(index)) { (name(mode.name)) }
        ul.legend {
            @for (kind, says, _) in parts {
                li { svg.sample viewBox="0 0 34 10" aria-hidden="true" { rect.(*kind) width="34" height="10" {} } (says) }
            }
        }
    };
    let content = html! {
        @for (kind, says, x, width) in pieces {
            rect.(kind) x=(at(x)) y="4" width=(at(width)) height="30" { title { (says) } }
        }
        rect.frame x="2" y="4" width=(at(RIGHT - 2.0)) height="30" {}
        @for percent in [0, 25, 50, 75, 100] {
            @let x = 2.0 + (RIGHT - 2.0) * f64::from(percent) / 100.0;
            path.axis d={ "M" (at(x)) " 34v4" } {}
            text x=(at(x)) y="53" text-anchor=(match percent { 0 => "start", 100 => "end", _ => "middle" }) { (percent) }
        }
        (title_x(34.0, axis))
    };
    let says: Vec<&str> = parts.iter().map(|(_, says, _)| says.as_str()).collect();
    figure(caption, &format!("{}: {}", name(mode.name), says.join("; ")), 80.0, content)
}

fn sites(page: &Page) -> Markup {
    let mut rows = Vec::new();
    let mut left_out = 0;
    for (index, group) in page.modes.iter().enumerate() {
        let split = Split::of(group);
        left_out += group.known_sites().len().saturating_sub(SITES) as u64;
        for site in group.known_sites().iter().take(SITES) {
            rows.push(vec![
                mode(index, group.name),
                Cell::markup(html! { code { (place(&site.spawned_at)) } }),
                Cell::text(&or_unknown(site.task_name.as_deref().map(name))),
                Cell::number(Some(site.polls.sum_ns), format_ns),
                Cell::number(split.as_ref().and_then(|split| split.share(site.polls.sum_ns)), format_percent),
                Cell::number(Some(site.polls.count()), format_count),
                Cell::number(Some(site.slow), format_count),
                Cell::number(site.polls.shown_quantile_ns(0.99), format_ns),
                Cell::number(site.polls.max_ns, format_ns),
            ]);
        }
    }
    let head = ["mode", "spawned at", "task", "time", "of run", "polls", "slow", "p99", "worst"];
    if rows.is_empty() && page.is_of_program() {
        return html! { h3 { "By spawn site" } p.dim { "— not known: polls were not seen one by one" } };
    }
    html! {
        h3 { "By spawn site" }
        (table("Where the loop's time went, by spawn site", &head, rows))
        @if left_out > 0 { p.dim { "and " (plural(left_out, "more site")) ", which took less" } }
    }
}
