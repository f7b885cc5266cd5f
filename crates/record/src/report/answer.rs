//! The answer for a terminal, in few enough lines that none of it scrolls away.

use super::gates;
use super::layout::{Ink, Line, hanging, paragraph, width};
use super::style::Style;
use crate::answer::{Answer, Item, Seen};
use crate::recording::{Gate, GateVerdict};
use crate::units::plural;

/// So many lines at most, where the terminal is at least as wide as most are.
const MOST_LINES: usize = 15;

/// Lines of the user's code around the one that the answer is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Each with its number; the last one is the line itself.
    pub lines: Vec<(u32, String)>,
    /// Where the file is, as a URI that a terminal can open.
    pub link: Option<String>,
}

impl Excerpt {
    /// The same, for a terminal that takes no links.
    pub fn without_link(self) -> Excerpt {
        Excerpt { link: None, ..self }
    }
}

/// The answer, each line ended by a newline. `more`: commands that show more, each a hint.
pub fn render(answer: &Answer, excerpt: Option<&Excerpt>, more: &[String], style: &Style) -> String {
    let mut head = head(answer, style);
    if let (Some(first), Some(link)) = (head.first_mut(), excerpt.and_then(|excerpt| excerpt.link.as_deref())) {
        first.link(Ink::Place, link);
    }
    let code =
        excerpt.filter(|_| answer.shown_place().is_some()).map_or(Vec::new(), |excerpt| code(excerpt, answer, style));
    let mut below = Vec::new();
    if let Some(who) = &answer.meanwhile {
        below.extend(labelled(&format!("meanwhile: {who}"), Ink::Dim, style));
    }
    if let Some(fix) = &answer.fix {
        below.extend(labelled(&format!("fix: {fix}"), Ink::Good, style));
    }
    let more = more.join(" · ");
    let end: Vec<Line> = if more.is_empty() { Vec::new() } else { labelled(&format!("more: {more}"), Ink::Dim, style) };
    // Of each, one line says how much more there is, whatever there is room for.
    let has_facts = !(answer.facts.is_empty() && answer.gates.is_empty());
    let of_others = usize::from(!answer.others.is_empty());
    let of_more = usize::from(has_facts) + of_others;
    let must = head.len() + below.len() + end.len() + of_more;
    let fits = |lines: &Vec<Line>| must + lines.len() <= MOST_LINES;
    let time = answer.loops_time.as_ref().map(|time| format!("loops' time: {time}"));
    let time = time.map_or(Vec::new(), |time| labelled(&time, Ink::Dim, style));
    let time = Some(time).filter(fits).unwrap_or_default();
    below.extend(time);
    let must = head.len() + below.len() + end.len() + of_more;
    let fits = |lines: &Vec<Line>| must + lines.len() <= MOST_LINES;
    let code = Some(code).filter(fits).unwrap_or_default();
    // Without the code, where it was seen has no line of its own to stand on.
    let seen = answer.seen.as_ref().filter(|_| code.is_empty()).and_then(looks).map(|looks| format!("seen: {looks}"));
    let seen = seen.map_or(Vec::new(), |seen| labelled(&seen, Ink::Dim, style));
    let seen = Some(seen).filter(fits).unwrap_or_default();
    let must = head.len() + code.len() + seen.len() + below.len() + end.len();
    let facts = whole(facts(answer, style), 0, MOST_LINES.saturating_sub(must + of_others));
    let others = answer.others.iter().map(|other| item(other, false, style)).collect();
    let others = whole(others, answer.left_out, MOST_LINES.saturating_sub(must + facts.len()));
    head.into_iter()
        .chain(code)
        .chain(seen)
        .chain(below)
        .chain(others)
        .chain(facts)
        .chain(end)
        .map(|line| line.finish(style) + "\n")
        .collect()
}

/// The first line alone: what costs most.
pub fn first_line(answer: &Answer, style: &Style) -> String {
    let Item { mark, place, words, code } = &answer.lead;
    let line = gates::mark(*mark, style.unicode);
    let line =
        place.as_deref().map_or(line.clone(), |place| line.text(Ink::Place, place).blank(2)).text(Ink::Bold, words);
    let line = code.as_deref().map_or(line.clone(), |code| line.blank(1).text(Ink::Dim, &format!("[{code}]")));
    line.finish(&Style { width: usize::MAX, ..*style }) + "\n"
}

fn ink(mark: GateVerdict) -> Ink {
    match mark {
        GateVerdict::Pass => Ink::Good,
        GateVerdict::Fail => Ink::Bold,
        GateVerdict::Inconclusive => Ink::Warn,
    }
}

/// The place, which alone is red, and what happened there.
fn head(answer: &Answer, style: &Style) -> Vec<Line> {
    item(&answer.lead, true, style)
}

fn item(item: &Item, is_lead: bool, style: &Style) -> Vec<Line> {
    let Item { mark, place, words, code } = item;
    let start = gates::mark(*mark, style.unicode);
    let start = match place {
        Some(place) if is_lead => start.text(Ink::Place, place).blank(2),
        Some(place) => start.text(Ink::Plain, place).blank(2),
        None => start,
    };
    let words = code.as_ref().map_or(words.clone(), |code| format!("{words} [{code}]"));
    let ink = if is_lead { ink(*mark) } else { Ink::Plain };
    hanging(start, 2, ink, &words, style.width)
}

/// A line that starts with a word and a colon, which has the colour.
fn labelled(text: &str, ink: Ink, style: &Style) -> Vec<Line> {
    let (label, rest) = text.split_once(": ").unwrap_or(("", text));
    let start = Line::indent(2).text(ink, &format!("{label}:")).blank(1);
    hanging(start, 4, Ink::Plain, rest, style.width)
}

/// The lines of code, with how often it was seen there behind the last one, or below it where there is no room.
fn code(excerpt: &Excerpt, answer: &Answer, style: &Style) -> Vec<Line> {
    let Some((number, last)) = excerpt.lines.last() else { return Vec::new() };
    let digits = number.to_string().len().max(3);
    let gutter = |number: &str| Line::indent(2).right(Ink::Dim, number, digits).text(Ink::Dim, " │ ");
    let mut lines: Vec<Line> =
        excerpt.lines.iter().map(|(number, text)| gutter(&number.to_string()).text(Ink::Plain, text)).collect();
    let Some(looks) = answer.seen.as_ref().and_then(looks) else { return lines };
    let used = digits + 5 + width(last);
    if used + 4 + width(&looks) <= style.width {
        let line = lines.pop().unwrap_or_default();
        lines.push(line.blank(2).text(Ink::Bad, &format!("← {looks}")));
    } else {
        let start = gutter("").text(Ink::Bad, "↑ ");
        lines.extend(paragraph(start, Ink::Bad, &looks, style.width));
    }
    lines
}

/// How often it was seen there, and from where it is called; nothing where neither is known.
fn looks(seen: &Seen) -> Option<String> {
    let looks = seen.looks.map(|(here, all)| format!("{here} of {} here", plural(all, "look")));
    let caller = seen.caller.as_ref().map(|caller| format!("called from {caller}"));
    let parts: Vec<String> = looks.into_iter().chain(caller).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// As many as there is room for, each whole; and how many more there are, if there is no room for all. `left_out` are not among them.
fn whole(items: Vec<Vec<Line>>, left_out: usize, room: usize) -> Vec<Line> {
    let (mut lines, count) = (Vec::new(), items.len() + left_out);
    for (at, item) in items.into_iter().enumerate() {
        let is_last = at + 1 == count;
        if lines.len() + item.len() + usize::from(!is_last) > room {
            lines.push(Line::indent(2).text(Ink::Dim, &format!("and {} more", count - at)));
            break;
        }
        lines.extend(item);
    }
    lines
}

fn facts(answer: &Answer, style: &Style) -> Vec<Vec<Line>> {
    let facts = answer.facts.iter().map(|fact| item(fact, false, style));
    facts.chain(answer.gates.iter().map(|gate| gate_lines(gate, style))).collect()
}

fn gate_lines(gate: &Gate, style: &Style) -> Vec<Line> {
    let value = gates::value(gate);
    let what = if gate.verdict == GateVerdict::Fail { "gate failed: " } else { "gate: " };
    let start = gates::mark(gate.verdict, style.unicode).text(Ink::Plain, what).text(Ink::Bold, &gate.expr);
    hanging(start.blank(2), 4, Ink::Plain, &value, style.width)
}

#[cfg(test)]
mod tests;
