//! A flame graph of slow polls' stacks: as wide as they lasted, the outermost frame on top.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::Page;
use super::blame::none_slow;
use super::chart::{WIDTH, at};
use super::table::class;
use super::text::name;
use crate::by_group::ByGroup;
use crate::recording::{Frame, SlowPoll};
use crate::report::layout::cut;
use crate::units::{format_ns, format_percent, plural};

const ROW: f64 = 20.0;
/// Frames of a stack that are drawn.
const DEEPEST: usize = 48;
/// Frames drawn in all; what is narrower than a hundredth of the graph is not.
const MOST: usize = 400;
const NARROWEST: f64 = 0.01;
/// Units of a letter.
const LETTER: f64 = 6.6;

/// What a box stands for. Borrowed: there may be a million stacks, and few of them differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind<'a> {
    Spawned(&'a str),
    Future(&'a str),
    Function(&'a str),
    Place(Option<&'a str>, Option<u64>),
}

#[derive(Default)]
struct Node<'a> {
    total_ns: u64,
    polls: u64,
    below: BTreeMap<Kind<'a>, Node<'a>>,
}

pub(super) fn section(page: &Page) -> Option<Markup> {
    let has_stack = |mode: &&(usize, &ByGroup)| mode.1.slow_polls().any(|(_, poll)| !poll.stack.is_empty());
    let modes: Vec<(usize, &ByGroup)> = page.modes.iter().enumerate().collect();
    let with_stacks: Vec<&(usize, &ByGroup)> = modes.iter().filter(has_stack).collect();
    if with_stacks.is_empty() {
        let is_calm = page.modes.iter().all(|mode| mode.slow_total() == 0);
        let why = if is_calm { none_slow(page) } else { "No slow poll's stack was seen." };
        return (!page.modes.is_empty()).then(|| html! { p { (why) } });
    }
    Some(html! {
        p { "Each box is a function; it is as wide as the slow polls lasted in which it was seen. The task is on top, what it called \
             below, what blocked at the bottom. Point at a box to read it whole." }
        @for (index, mode) in with_stacks { (graph(*index, mode)) }
    })
}

fn graph(index: usize, mode: &ByGroup) -> Markup {
    let mut root = Node::default();
    for (_, poll) in mode.slow_polls() {
        root.add(poll);
    }
    let mut boxes = Vec::new();
    root.draw("slow polls", 0, 0.0, &mut boxes, root.total_ns);
    boxes.sort_by_key(|drawn| drawn.depth);
    boxes.truncate(MOST);
    let height = boxes.iter().map(|drawn| drawn.depth + 1).max().unwrap_or(1) as f64 * ROW + 2.0;
    let says = format!("{}: {} in {}", name(mode.name), format_ns(root.total_ns), plural(root.polls, "slow poll"));
    html! {
        h3.mode.(class(index)) { (says) }
        div.scroll tabindex="0" role="region" aria-label={ "Flame graph of " (name(mode.name)) } {
            svg.flame viewBox={ "0 0 " (at(2.0 * WIDTH)) " " (at(height)) } role="img" aria-label=(says) {
                @for drawn in &boxes {
                    g {
                        title { (drawn.text) ": " (format_ns(drawn.total_ns)) ", " (format_percent(drawn.share)) }
                        rect.f0[drawn.depth % 2 == 0].f1[drawn.depth % 2 == 1] x=(at(drawn.x)) y=(at(drawn.depth as f64 * ROW + 1.0))
                            width=(at((drawn.width - 1.0).max(0.5))) height=(at(ROW - 1.0)) {}
                        @if drawn.width > 5.0 * LETTER {
                            text x=(at(drawn.x + 4.0)) y=(at(drawn.depth as f64 * ROW + 14.5)) {
                                (cut(short(&drawn.text), ((drawn.width - 8.0) / LETTER) as usize))
                            }
                        }
                    }
                }
            }
        }
    }
}

struct Drawn {
    text: String,
    depth: usize,
    x: f64,
    width: f64,
    share: f64,
    total_ns: u64,
}

impl<'a> Node<'a> {
    fn add(&mut self, poll: &'a SlowPoll) {
        let frames = poll.stack.iter().rev().map(Kind::of);
        let call = poll.syscall.as_ref().map(|call| Kind::Function(&call.name));
        let mut node = self;
        node.count(poll);
        for kind in Kind::root(poll).into_iter().chain(frames).take(DEEPEST).chain(call) {
            node = node.below.entry(kind).or_default();
            node.count(poll);
        }
    }

    fn count(&mut self, poll: &SlowPoll) {
        self.total_ns += poll.duration_ns;
        self.polls += 1;
    }

    fn draw(&self, text: &str, depth: usize, x: f64, boxes: &mut Vec<Drawn>, all_ns: u64) {
        let share = self.total_ns as f64 / all_ns.max(1) as f64;
        if share < NARROWEST {
            return;
        }
        let width = 2.0 * WIDTH * share;
        boxes.push(Drawn { text: text.to_owned(), depth, x, width, share, total_ns: self.total_ns });
        let mut below: Vec<(&Kind, &Node)> = self.below.iter().collect();
        below.sort_by_key(|(_, node)| std::cmp::Reverse(node.total_ns));
        let mut x = x;
        for (kind, node) in below {
            node.draw(&kind.text(), depth + 1, x, boxes, all_ns);
            x += 2.0 * WIDTH * node.total_ns as f64 / all_ns.max(1) as f64;
        }
    }
}

impl<'a> Kind<'a> {
    /// Whose stack it is; `None` where neither the spawn site nor the type of the future is known.
    fn root(poll: &'a SlowPoll) -> Option<Kind<'a>> {
        let future = || poll.detail.as_ref()?.future.as_deref().map(Kind::Future);
        poll.spawned_at.as_deref().map(Kind::Spawned).or_else(future)
    }

    fn of(frame: &'a Frame) -> Kind<'a> {
        frame.function.as_deref().map_or(Kind::Place(frame.file.as_deref(), frame.line), Kind::Function)
    }

    fn text(self) -> String {
        match self {
            Kind::Spawned(at) => format!("spawned at {}", super::text::place(at)),
            Kind::Future(future) => format!("future type {}", name(future)),
            Kind::Function(function) => name(function),
            Kind::Place(Some(file), Some(line)) => super::text::place(&format!("{file}:{line}")),
            Kind::Place(..) => "?".to_owned(),
        }
    }
}

/// A function's last two names: the modules before them are the same over and over.
fn short(text: &str) -> &str {
    if text.contains(['<', ' ']) {
        return text;
    }
    let mut parts = text.rmatch_indices("::").map(|(at, _)| at + 2);
    parts.nth(1).map_or(text, |at| &text[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_keep_their_last_two_names() {
        assert_eq!(short("std::thread::sleep"), "thread::sleep");
        assert_eq!(short("main"), "main");
        assert_eq!(short("<a::B as c::D>::poll"), "<a::B as c::D>::poll");
    }
}
