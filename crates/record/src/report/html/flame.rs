//! A flame graph of stacks, of slow polls and of wall-clock profiles: as wide as they lasted, the outermost frame on top.
//!
//! Every box is drawn in hundredths of the graph's width: so its text is as large on a telephone as on a desk, and a script can zoom.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use maud::{Markup, html};

use super::Page;
use super::blame::none_slow;
use super::chart::hundredths;
use super::frames::{Piece, pieces, short};
use super::table::class;
use super::text::{name, start_of};
use crate::by_group::ByGroup;
use crate::recording::{Frame, SlowPoll};
use crate::units::{format_ns, format_percent, plural};

const ROW: usize = 22;
/// Pieces of a stack that are drawn.
const DEEPEST: usize = 48;
/// Boxes drawn in all; what is narrower than a hundredth of the graph is not.
const MOST: usize = 400;
const NARROWEST: f64 = 0.01;
/// Graphs with more boxes have shorter names behind each.
const FEW: usize = 80;

/// What a box stands for. Borrowed: there may be a million stacks, and few of them differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind<'a> {
    /// What has no function: the class of its colour, and what it says.
    Said(&'static str, &'static str),
    Spawned(&'a str),
    Future(&'a str),
    Piece(Functions<'a>),
    Call(&'a str),
}

/// Frames that are told apart by their functions, and by their places only where those are not known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Functions<'a>(Piece<'a>);

/// A frame's file and line.
type Place<'a> = (Option<&'a str>, Option<u64>);

impl<'a> Functions<'a> {
    fn key(&self) -> impl Iterator<Item = (Option<&'a str>, Option<Place<'a>>)> + use<'a> {
        let place = |frame: &'a Frame| frame.function.is_none().then_some((frame.file.as_deref(), frame.line));
        self.0.frames.iter().map(move |frame| (frame.function.as_deref(), place(frame)))
    }
}

impl PartialEq for Functions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Functions<'_> {}

impl PartialOrd for Functions<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Functions<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.whose.cmp(&other.0.whose).then_with(|| self.key().cmp(other.key()))
    }
}

/// What was added up where a stack leads to.
#[derive(Default)]
pub(super) struct Node<'a> {
    total_ns: u64,
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
        p { "Each box is a function; it is as wide as the slow polls lasted in which it was seen. The task is on top, what it \
             called below, what blocked at the bottom. What the runtime and the libraries did in between is one box. Point at a \
             box to read it whole." }
        (legend(&[("call", "the system call")]))
        (controls(""))
        @for (index, mode) in with_stacks { (graph(*index, mode)) }
    })
}

/// `ends`: what boxes at the bottom stand for, each with the class of its colour.
pub(super) fn legend(ends: &[(&'static str, &str)]) -> Markup {
    let kinds = [
        ("task", "the task"),
        ("own", "your own code"),
        ("dep", "other crates"),
        ("run", "the runtime"),
        ("sys", "std and C"),
    ];
    html! {
        ul.legend {
            @for (kind, says) in kinds.iter().chain(ends) {
                li { svg.sample viewBox="0 0 34 10" aria-hidden="true" { rect.(*kind) width="34" height="10" {} } (*says) }
            }
        }
    }
}

/// What a script makes work: finding functions, and seeing one of them wider. `of`: what the names of its elements begin with.
pub(super) fn controls(of: &str) -> Markup {
    html! {
        div.controls hidden {
            p role="group" aria-label="Search and zoom the flame graphs" {
                label {
                    "Find " input type="search" id={ (of) "find" } placeholder="a function" autocomplete="off" spellcheck="false";
                } " "
                button type="button" id={ (of) "unzoom" } disabled { "Whole graph" } " "
                output id={ (of) "found" } {}
            }
            p { "Click on a box, or press Enter on it, to make it as wide as the graph. Arrow keys go from box to box; Escape \
                 shows all." }
        }
    }
}

fn graph(index: usize, mode: &ByGroup) -> Markup {
    let mut root = Node::default();
    let mut known = HashMap::new();
    let mut polls = 0;
    for (_, poll) in mode.slow_polls() {
        root.add_poll(poll, &mut known);
        polls += 1;
    }
    let says = format!("{}: {} in {}", name(mode.name), format_ns(root.total_ns), plural(polls, "slow poll"));
    drawing(index, &says, "all slow polls", &root)
}

/// The graph below its heading; `all` is what its first box says.
pub(super) fn drawing(index: usize, says: &str, all: &'static str, root: &Node) -> Markup {
    let mut boxes = Vec::new();
    root.draw(Kind::Said("all", all), 0, 0.0, &mut boxes, root.total_ns);
    boxes.sort_by_key(|drawn| drawn.depth);
    boxes.truncate(MOST);
    let rows = boxes.iter().map(|drawn| drawn.depth + 1).max().unwrap_or(1);
    let columns = if boxes.len() <= FEW { 600 } else { 120 };
    html! {
        h3.mode.(class(index)) { (says) }
        svg.flame width="100%" height=(rows * ROW) role="group" aria-label={ "Flame graph of " (says) } {
            @for drawn in &boxes { (drawn.markup(columns)) }
        }
        p.readout.dim aria-live="polite" {}
    }
}

struct Drawn<'a> {
    kind: Kind<'a>,
    depth: usize,
    /// Shares of the graph.
    x: f64,
    share: f64,
    total_ns: u64,
}

impl Drawn<'_> {
    fn markup(&self, columns: usize) -> Markup {
        let (class, label) = self.kind.shown();
        let whole = self.kind.whole(columns);
        let (x, width) = (hundredths(self.x), hundredths(self.share));
        html! {
            svg.(class) x=(x) y=(self.depth * ROW) width=(width) height=(ROW) tabindex="0" role="img" {
                title { (whole) ": " (format_ns(self.total_ns)) ", " (format_percent(self.share)) }
                rect width="100%" height="100%" {}
                foreignObject width="100%" height="100%" { div { (label) } }
            }
        }
    }
}

/// The pieces of stacks that were seen, by where each stack is: polls share them.
type Known<'a> = HashMap<(*const Frame, usize), Vec<Kind<'a>>>;

impl<'a> Node<'a> {
    fn add_poll(&mut self, poll: &'a SlowPoll, known: &mut Known<'a>) {
        let stack: &'a [Frame] = &poll.stack;
        let within = known.entry((stack.as_ptr(), stack.len())).or_insert_with(|| Kind::of_stack(stack).collect());
        let call = poll.syscall.as_ref().map(|call| Kind::Call(&call.name));
        self.add(Kind::root(poll).into_iter().chain(within.iter().copied()).chain(call), poll.duration_ns);
    }

    /// Adds what went there, from the outermost on.
    pub(super) fn add(&mut self, path: impl Iterator<Item = Kind<'a>>, ns: u64) {
        let mut node = self;
        node.count(ns);
        for kind in path {
            node = node.below.entry(kind).or_default();
            node.count(ns);
        }
    }

    fn count(&mut self, ns: u64) {
        self.total_ns = self.total_ns.saturating_add(ns);
    }

    pub(super) fn total_ns(&self) -> u64 {
        self.total_ns
    }

    fn draw(&self, kind: Kind<'a>, depth: usize, x: f64, boxes: &mut Vec<Drawn<'a>>, all_ns: u64) {
        let of_all = |ns: u64| ns as f64 / all_ns.max(1) as f64;
        let share = of_all(self.total_ns);
        if share < NARROWEST {
            return;
        }
        boxes.push(Drawn { kind, depth, x, share, total_ns: self.total_ns });
        let mut below: Vec<(&Kind, &Node)> = self.below.iter().collect();
        below.sort_by_key(|(_, node)| std::cmp::Reverse(node.total_ns));
        let mut x = x;
        for (kind, node) in below {
            node.draw(*kind, depth + 1, x, boxes, all_ns);
            x += of_all(node.total_ns);
        }
    }
}

impl<'a> Kind<'a> {
    /// Whose stack it is; `None` where neither the spawn site nor the type of the future is known.
    fn root(poll: &'a SlowPoll) -> Option<Kind<'a>> {
        let future = || poll.future.as_deref().map(Kind::Future);
        poll.spawned_at.as_deref().map(Kind::Spawned).or_else(future)
    }

    /// The boxes of a stack, from the outermost on.
    pub(super) fn of_stack(stack: &'a [Frame]) -> impl Iterator<Item = Kind<'a>> {
        pieces(stack).into_iter().rev().map(|piece| Kind::Piece(Functions(piece))).take(DEEPEST)
    }

    /// Its class, and its name as a box has it.
    fn shown(self) -> (&'static str, String) {
        match self {
            Kind::Said(class, says) => (class, says.to_owned()),
            Kind::Spawned(at) => ("task", format!("spawned at {}", super::text::place(at))),
            Kind::Future(future) => ("task", format!("future type {}", name(&short(future)))),
            Kind::Piece(Functions(piece)) => (piece.whose.class(), piece.label()),
            Kind::Call(call) => ("call", format!("{}()", name(call))),
        }
    }

    /// All of its name; of several frames those of all, outermost first.
    fn whole(self, columns: usize) -> String {
        match self {
            Kind::Future(future) => format!("future type {}", start_of(future, 2 * columns)),
            Kind::Piece(Functions(Piece { frames: [frame], .. })) if frame.function.is_some() => {
                start_of(frame.function.as_deref().unwrap_or_default(), 2 * columns)
            }
            Kind::Piece(Functions(piece)) => {
                let functions = piece.frames.iter().rev().map(|frame| frame.function.as_deref().unwrap_or("?"));
                let each = functions.take(DEEPEST).map(|function| start_of(function, columns / 2));
                format!("{}\n{}\n", self.shown().1, each.collect::<Vec<_>>().join("\n"))
            }
            _ => self.shown().1,
        }
    }
}
