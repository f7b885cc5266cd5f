//! Where the time of loops went, by looks from outside: how much of it, and at which places.

use super::super::layout::{Ink, Line, cut, cut_start, paragraph, width};
use super::Page;
use crate::by_group::ByGroup;
use crate::loops_time::{LoopsTime, SPOTS, Spot, by_clocks, call_name, spots};
use crate::units::{format_percent, plural};

const TITLE: &str = "Where the loops' time went";
const SHARE: usize = 8;
/// The longest of what a thread did, and a gap before and behind it.
const DID: usize = 2 + "scheduler, blocked".len() + 2;
/// The longest name of a call that is shown whole: `clock_nanosleep`.
const CALL: usize = 15;
/// Columns that a place is to have before the call gets any.
const PLACE: usize = 18;
/// With fewer, a future says nothing.
const FUTURE: usize = 16;

/// Nothing where nobody looked from outside.
pub(super) fn section(page: &Page) -> Vec<Line> {
    let mut lines = Vec::new();
    for (index, mode) in page.modes.iter().enumerate() {
        let Some(time) = mode.loops_time() else { continue };
        let name = if page.modes.len() > 1 { mode.name } else { "" };
        let title = if lines.is_empty() { TITLE } else { "" };
        lines.push(Line::new().text(Ink::Title, title).blank(2).text(Ink::Mode(index), name));
        lines.extend(summary(page, mode, &time));
        lines.extend(places(page, mode, &time));
    }
    lines
}

fn summary(page: &Page, mode: &ByGroup, time: &LoopsTime) -> Vec<Line> {
    let clocks = by_clocks(mode.profiles()).map(|clocks| format!("by the threads' clocks: {clocks}"));
    let told = time.words().into_iter().chain(clocks);
    told.flat_map(|text| paragraph(Line::new(), Ink::Plain, &text, page.width)).collect()
}

fn places(page: &Page, mode: &ByGroup, time: &LoopsTime) -> Vec<Line> {
    let spots = spots(mode.profiles());
    let shown = &spots[..spots.len().min(SPOTS)];
    if shown.is_empty() {
        return Vec::new();
    }
    let columns = Columns::of(page, shown);
    let mut lines = vec![columns.header()];
    lines.extend(shown.iter().map(|spot| columns.row(spot, time)));
    let rest: u64 = spots[shown.len()..].iter().fold(0, |sum, spot| sum.saturating_add(spot.ns));
    if rest > 0 {
        let more = plural((spots.len() - shown.len()) as u64, "more place");
        let line = Line::new().right(Ink::Plain, &share(time, rest), SHARE).blank(2);
        lines.push(line.text(Ink::Dim, &format!("at {more}")));
    }
    lines
}

fn share(time: &LoopsTime, ns: u64) -> String {
    Page::or_unknown(time.share(ns).map(format_percent))
}

/// Which columns there is room for.
struct Columns {
    place: usize,
    call: usize,
    future: usize,
}

impl Columns {
    fn of(page: &Page, shown: &[Spot]) -> Columns {
        let longest = |of: fn(&Spot) -> Option<String>| {
            shown.iter().filter_map(of).map(|text| width(&text) + 2).max().unwrap_or(0)
        };
        let room = page.width.saturating_sub(SHARE + DID);
        let call = longest(|spot| spot.call.map(|call| call_name(call).to_owned())).min(CALL + 2);
        let call = if room >= PLACE + call { call } else { 0 };
        let left = room - call;
        // The future gets as much as the place at most.
        let future = longest(|spot| spot.future.map(str::to_owned)).min(left / 2);
        let future = if future >= FUTURE { future } else { 0 };
        let place = longest(|spot| spot.at.map(str::to_owned)).max(PLACE).min(left - future);
        let future = if future > 0 { longest(|spot| spot.future.map(str::to_owned)).min(left - place) } else { 0 };
        Columns { place, call, future }
    }

    fn header(&self) -> Line {
        let line = Line::indent(SHARE + 2).left(Ink::Dim, "the thread was", DID - 2).left(Ink::Dim, "at", self.place);
        let line = line.left(Ink::Dim, if self.call > 0 { "in" } else { "" }, self.call);
        line.left(Ink::Dim, if self.future > 0 { "of the future" } else { "" }, self.future)
    }

    fn row(&self, spot: &Spot, time: &LoopsTime) -> Line {
        let at = cut_start(spot.at.unwrap_or("—"), self.place.saturating_sub(2));
        let call = spot.call.map_or("", call_name);
        let future = cut_start(spot.future.unwrap_or(""), self.future);
        Line::new()
            .right(Ink::Plain, &share(time, spot.ns), SHARE)
            .blank(2)
            .left(Ink::Plain, spot.did(), DID - 2)
            .left(Ink::Plain, &at, self.place)
            .left(Ink::Plain, &cut(call, self.call.saturating_sub(2)), self.call)
            .left(Ink::Dim, &future, self.future)
    }
}
