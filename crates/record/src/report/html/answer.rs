//! The answer, first of all: what held the loop, where, who waited and what to do.

use maud::{Markup, html};

use super::text::{name, place, prose};
use crate::answer::{Answer, Item, Seen, answer};
use crate::recording::Recording;
use crate::report::gates::sign;
use crate::units::plural;

/// Other things that were found, shown of them.
const OTHERS: usize = 4;

pub(super) fn answered(recording: &Recording) -> Markup {
    // Where the loops' time went is the section below.
    let Answer { lead, seen, meanwhile, fix, loops_time: _, others, left_out, facts, gates: _ } = answer(recording);
    let more: Vec<&Item> = facts.iter().chain(&others).collect();
    html! {
        // The sign is also what the style makes a capital of, and not the name of a file or a call.
        h1 { (sign(lead.mark)) " " (prose(&lead.words)) }
        div.answer {
            @if let Some(at) = &lead.place { p { b { "At" } " " code { (place(at)) } (looks(seen.as_ref())) } }
            @if let Some(who) = &meanwhile { p { b { "Meanwhile" } ": " (prose(who)) } }
            @if let Some(fix) = &fix { p { b { "Fix" } ": " (prose(fix)) } }
            @for item in more.iter().take(OTHERS) { p { (one(item)) } }
            @if more.len() > OTHERS { p.dim { "and " (more.len() - OTHERS + left_out) " more, below" } }
        }
    }
}

fn one(item: &Item) -> Markup {
    html! {
        (sign(item.mark)) " "
        @if let Some(at) = &item.place { code { (place(at)) } " " }
        (prose(&item.words))
        @if let Some(code) = &item.code { " [" (name(code)) "]" }
    }
}

fn looks(seen: Option<&Seen>) -> Markup {
    html! {
        @if let Some((here, all)) = seen.and_then(|seen| seen.looks) { ", seen in " (here) " of " (plural(all, "look")) }
        @if let Some(caller) = seen.and_then(|seen| seen.caller.as_deref()) { ", called from " code { (place(caller)) } }
    }
}
