//! Where the time of loops went, by looks from outside: parked or not, at which places, and a flame graph of what was not parked.

use maud::{Markup, html};

use super::Page;
use super::busy::stacked;
use super::flame::{Kind, Node, controls, drawing, legend};
use super::frames::short;
use super::table::{Cell, mode, table};
use super::text::{name, or_unknown, place};
use crate::by_group::ByGroup;
use crate::loops_time::{Found, LoopsTime, Spot, by_clocks, call_name, spots, unplaced};
use crate::recording::{ProfilePlace, ThreadState};
use crate::units::{format_ns, format_percent, plural};

/// Nothing where nobody looked.
pub(super) fn section(page: &Page) -> Option<Markup> {
    let modes = page.modes.iter().enumerate();
    let known: Vec<(usize, &ByGroup, LoopsTime)> =
        modes.filter_map(|(index, mode)| Some((index, mode, mode.loops_time()?))).collect();
    let has_graph = known.iter().any(|(_, mode, _)| graph(mode).total_ns() > 0);
    (!known.is_empty()).then(|| {
        html! {
            div.charts { @for (index, mode, time) in &known { (bar(*index, mode, time)) } }
            @if has_graph {
                p { "Each box is a function; it is as wide as the time in which looks found a thread in it that was not parked. The \
                     future that was polled is on top, what it called below, what the thread did there at the bottom." }
                (legend(&[("call", "off the CPU: the system call"), ("cpu", "on the CPU")]))
                (controls("loops-"))
                @for (index, mode, time) in &known { (flame(*index, mode, time)) }
            }
            (places(&known))
        }
    })
}

fn bar(index: usize, mode: &ByGroup, time: &LoopsTime) -> Markup {
    let part = |(found, ns): (Found, u64)| {
        let says = format!("{}: {}, {}", found.as_str(), format_ns(ns), or_unknown(time.share(ns).map(format_percent)));
        (color(found), says, ns)
    };
    let parts: Vec<(&str, String, u64)> = time.parts().map(part).collect();
    let whole_ns = parts.iter().fold(0, |sum: u64, (.., ns)| sum.saturating_add(*ns));
    html! {
        div {
            (stacked(index, mode, &parts, whole_ns, "share of the loops' time, %"))
            p.dim {
                "by " (plural(time.looks(), "look")) " from outside"
                @if let Some(clocks) = by_clocks(mode.profiles()) { "; by the threads' clocks: " (clocks) }
            }
        }
    }
}

/// The class of a colour.
fn color(found: Found) -> &'static str {
    match found {
        Found::Parked => "idle",
        Found::OffCpu => "slow",
        Found::OnCpu => "rest",
        Found::Scheduler => "run",
        Found::NotSampled => "dep",
        Found::Elsewhere => "own",
        Found::Unknown => "sys",
    }
}

/// All that was not parked.
fn graph<'a>(mode: &ByGroup<'a>) -> Node<'a> {
    let mut root = Node::default();
    for profile in mode.profiles() {
        for (found, looks) in
            unplaced(profile).into_iter().filter(|(found, looks)| *found != Found::Parked && *looks > 0)
        {
            root.add(std::iter::once(Kind::Said("sys", found.as_str())), profile.ns(looks));
        }
        profile.places.iter().for_each(|place| root.add(path(place), profile.ns(place.looks)));
    }
    root
}

fn path(place: &ProfilePlace) -> impl Iterator<Item = Kind<'_>> {
    let root = place.future.as_deref().map(Kind::Future);
    let root = root.unwrap_or(Kind::Said(
        "task",
        match place.state {
            ThreadState::PollOnCpu | ThreadState::PollOffCpu => "a future of a type that is not known",
            ThreadState::SchedulerOnCpu | ThreadState::SchedulerOffCpu => Found::Scheduler.as_str(),
            ThreadState::Other => Found::Elsewhere.as_str(),
        },
    ));
    let end = match place.state {
        ThreadState::PollOnCpu | ThreadState::SchedulerOnCpu => Some(Kind::Said("cpu", "on the CPU")),
        ThreadState::PollOffCpu | ThreadState::SchedulerOffCpu => Some(Kind::Said("call", "off the CPU")),
        ThreadState::Other => None,
    };
    let call = place.call.as_deref().map(|call| Kind::Call(call_name(call)));
    std::iter::once(root).chain(Kind::of_stack(&place.stack)).chain(call.or(end))
}

fn flame(index: usize, mode: &ByGroup, time: &LoopsTime) -> Markup {
    let root = graph(mode);
    if root.total_ns() == 0 {
        return html! {};
    }
    let share = or_unknown(time.share(root.total_ns()).map(format_percent));
    let says = format!("{}: {} not parked, {share}", name(mode.name), format_ns(root.total_ns()));
    drawing(index, &says, "all that was not parked", &root)
}

/// A function's modules take more room than they say.
fn at(spot: &Spot) -> String {
    match spot.at {
        Some(function) if !spot.is_line => name(&short(function)),
        at => or_unknown(at.map(place)),
    }
}

fn places(known: &[(usize, &ByGroup, LoopsTime)]) -> Markup {
    let mut rows = Vec::new();
    for (index, group, time) in known {
        for spot in spots(group.profiles()) {
            rows.push(vec![
                mode(*index, group.name),
                Cell::number(time.share(spot.ns), format_percent),
                Cell::number(Some(spot.ns), format_ns),
                Cell::text(spot.did()),
                Cell::markup(html! { code { (at(&spot)) } }),
                Cell::text(&spot.call.map_or(String::new(), name)),
                Cell::markup(html! { code { (spot.future.map_or(String::new(), |future| name(&short(future)))) } }),
            ]);
        }
    }
    let head = ["mode", "share", "time", "the thread was", "at", "in", "of the future"];
    html! { @if !rows.is_empty() { (table("Where the loops' time went, by place", &head, rows)) } }
}
