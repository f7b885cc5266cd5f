//! The report that a terminal shows.
//!
//! From the answer down to the evidence: verdict, durations, lanes over time, counts, poll-time histogram, spawn sites, slow
//! polls, what was around long ones, findings, merge, gates, coverage. Every line fits the page; nothing is said by colour alone.

mod around;
mod blockers;
mod durations;
mod lanes;
mod loops_time;
mod poll_times;
pub(super) mod summary;
mod tables;
pub(super) mod waits;

#[cfg(test)]
mod tests;

use super::layout::{Ink, Line, hanging, paragraph};
use super::style::Style;
use crate::by_group::{ByGroup, by_group};
use crate::findings::verdict;
use crate::recording::Recording;
use crate::units::{format_round_ns, plural};

/// The report of a recording, each line ended by a newline.
pub fn render(recording: &Recording, style: &Style) -> String {
    let page = Page::of(recording, style);
    let sections = [
        page.header(),
        page.verdict(),
        durations::section(&page),
        lanes::section(&page),
        tables::counts(&page),
        blockers::who_blocked(&page),
        loops_time::section(&page),
        waits::who_waited(&page),
        poll_times::section(&page),
        tables::sites(&page),
        tables::slow_polls(&page),
        tables::stalls_open(&page),
        around::section(&page),
        summary::findings(&page),
        summary::merges(&page),
        summary::gates(&page),
        summary::coverage(&page),
    ];
    let mut out = String::new();
    for section in sections.into_iter().filter(|lines| !lines.is_empty()) {
        if !out.is_empty() {
            out.push('\n');
        }
        for line in section {
            out.push_str(&line.finish(style));
            out.push('\n');
        }
    }
    out
}

/// The histogram of poll times alone, plain, as wide as a page of code.
pub(super) fn poll_times(recording: &Recording) -> String {
    let style = Style { width: 100, color: false, unicode: true };
    poll_times::section(&Page::of(recording, &style)).into_iter().map(|line| line.finish(&style) + "\n").collect()
}

/// What every section is made from.
struct Page<'a> {
    recording: &'a Recording,
    modes: Vec<ByGroup<'a>>,
    width: usize,
    unicode: bool,
}

/// Below this many columns, sections put their first column on a line of its own.
const NARROW: usize = 84;
/// From this many columns on, tables say more.
const WIDE: usize = 130;

impl<'a> Page<'a> {
    fn of(recording: &'a Recording, style: &Style) -> Page<'a> {
        Page { recording, modes: by_group(&recording.runs), width: style.width, unicode: style.unicode }
    }

    fn is_narrow(&self) -> bool {
        self.width < NARROW
    }

    /// Columns for the modes' names; 0 when there is one mode and so nothing to tell apart.
    fn mode_columns(&self) -> usize {
        let longest = self.modes.iter().map(|mode| super::layout::width(mode.name)).max().unwrap_or(0);
        if self.modes.len() < 2 { 0 } else { longest.min(14) + 2 }
    }

    /// As [`Page::mode_columns`], in a table of places: a narrow page has none for them.
    fn mode_columns_of_places(&self) -> usize {
        if self.is_narrow() { 0 } else { self.mode_columns() }
    }

    /// Whose rows of places follow, where there is no column for that.
    fn mode_line(&self, index: usize) -> Option<Line> {
        let is_told = self.is_narrow() && self.modes.len() > 1;
        is_told.then(|| Line::new().text(Ink::Mode(index), self.modes[index].name))
    }

    /// `unknown` where there is no value.
    fn or_unknown(text: Option<String>) -> String {
        text.unwrap_or_else(|| "—".to_owned())
    }

    fn header(&self) -> Vec<Line> {
        let mut facts = Vec::new();
        facts.extend(self.recording.scenario.as_ref().map(|scenario| format!("seed {}", scenario.seed)));
        if let Some(mode) = self.modes.first() {
            let runtimes = mode.first().subject.runtimes().iter();
            facts.extend(runtimes.map(|of| format!("{}, {}", of.flavor, plural(of.workers, "worker"))));
            let is_labelled = mode.first().subject.name().is_some_and(|name| name != mode.name);
            facts.extend((is_labelled && self.modes.len() == 1).then(|| mode.name.to_owned()));
            facts.extend(mode.first().subject.round().map(|_| self.rounds()));
            facts.push(format!("slow from {}", format_round_ns(mode.threshold_ns())));
        }
        let title = Line::new().text(Ink::Title, "pollscope").blank(1).text(Ink::Bold, self.recording.name()).blank(1);
        let mut lines = hanging(title, 2, Ink::Dim, &format!("· {}", facts.join(" · ")), self.width);
        let Some(scenario) = &self.recording.scenario else { return lines };
        let question = first_sentence(&scenario.why);
        if !question.is_empty() {
            lines.extend(paragraph(Line::new(), Ink::Plain, &question, self.width));
        }
        if !scenario.changed.is_empty() {
            let value = |key: &String| scenario.settings.get(key).map(|value| format!("{key} = {value}"));
            let changed: Vec<String> = scenario.changed.iter().filter_map(value).collect();
            let label = Line::new().text(Ink::Warn, "changed: ");
            lines.extend(paragraph(label, Ink::Plain, &changed.join(", "), self.width));
        }
        lines
    }

    /// How many rounds of each mode there are.
    fn rounds(&self) -> String {
        let rounds = self.modes.iter().map(|mode| mode.rounds.len()).max().unwrap_or(1) as u64;
        let only = match &self.modes[..] {
            [only] => format!("{} mode, ", only.name),
            _ => String::new(),
        };
        let together = if rounds > 1 { " a mode, put together" } else { "" };
        only + &plural(rounds, "round") + &self.warmup() + together
    }

    /// The rounds that were thrown away.
    fn warmup(&self) -> String {
        let settings = self.recording.scenario.as_ref().map(|scenario| &scenario.settings);
        let rounds = settings
            .and_then(|settings| settings.get("warmup"))
            .and_then(|rounds| rounds.parse().ok())
            .filter(|rounds| *rounds > 0_u64);
        rounds.map_or(String::new(), |rounds| format!(" after {}", plural(rounds, "warm-up round")))
    }

    fn verdict(&self) -> Vec<Line> {
        let mark = Line::new().text(Ink::Bold, "▌ ");
        let mut lines = paragraph(mark, Ink::Bold, &verdict(self.recording), self.width);
        for (who, why) in self.recording.early_ends() {
            let who = format!("{who}, ended early: ");
            lines.extend(paragraph(Line::indent(2).text(Ink::Warn, &who), Ink::Plain, why, self.width));
        }
        lines
    }
}

/// Up to the first full stop or question mark that ends a word, on one line.
pub(super) fn first_sentence(prose: &str) -> String {
    let mut sentence = String::new();
    for word in prose.split_whitespace() {
        sentence.push_str(if sentence.is_empty() { "" } else { " " });
        sentence.push_str(word);
        if word.ends_with(['.', '?', '!']) {
            break;
        }
    }
    sentence
}
