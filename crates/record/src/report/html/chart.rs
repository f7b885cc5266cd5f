//! What charts share: scales, axes, captions, legends.
//!
//! All are drawn 520 units wide, so that two stand side by side on a desk and one fits a telephone. Each axis has a title. That of
//! the vertical one is above it: there it takes no room from the plot, and is read without turning one's head.

use std::ops::Range;

use maud::{Markup, html};

use super::Page;
use super::table::class;
use crate::units::format_round_ns;

/// The width of every chart.
pub(super) const WIDTH: f64 = 520.0;
/// Where the plot begins: the labels of the vertical axis stand before it.
pub(super) const LEFT: f64 = 72.0;
/// Where it ends.
pub(super) const RIGHT: f64 = WIDTH - 12.0;

/// A coordinate as it is written.
pub(super) fn at(units: f64) -> String {
    let text = format!("{units:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A path that is written as steps from one corner to the next: shorter than where each is, and to the same tenths, which do not add up.
#[derive(Debug)]
pub(super) struct Steps {
    d: String,
    /// Where it is, in tenths.
    at: (i64, i64),
}

impl Steps {
    pub(super) const fn new() -> Steps {
        Steps { d: String::new(), at: (0, 0) }
    }

    /// Goes to a corner without a line.
    pub(super) fn go(&mut self, x: f64, y: f64) {
        self.step("m", x, y);
    }

    /// Draws a line to a corner.
    pub(super) fn line(&mut self, x: f64, y: f64) {
        let (dx, dy) = self.steps(x, y);
        match (dx, dy) {
            (_, 0) => self.write("h", &[dx]),
            (0, _) => self.write("v", &[dy]),
            _ => return self.step("l", x, y),
        }
        self.at = (self.at.0 + dx, self.at.1 + dy);
    }

    /// All corners, one after the other, and back to the first.
    pub(super) fn polygon(&mut self, corners: impl Iterator<Item = (f64, f64)>) {
        let mut start = None;
        for (x, y) in corners {
            if start.is_some() {
                self.line(x, y)
            } else {
                self.go(x, y)
            }
            start = start.or(Some(self.at));
        }
        self.close(start.unwrap_or_default());
    }

    fn close(&mut self, start: (i64, i64)) {
        self.d.push('z');
        self.at = start;
    }

    fn step(&mut self, kind: &str, x: f64, y: f64) {
        let (dx, dy) = self.steps(x, y);
        self.write(kind, &[dx, dy]);
        self.at = (self.at.0 + dx, self.at.1 + dy);
    }

    fn steps(&self, x: f64, y: f64) -> (i64, i64) {
        let [x, y] = [x, y].map(|units| (units * 10.0).round() as i64);
        (x - self.at.0, y - self.at.1)
    }

    fn write(&mut self, kind: &str, tenths: &[i64]) {
        self.d += kind;
        for (place, tenths) in tenths.iter().enumerate() {
            if place > 0 && *tenths >= 0 {
                self.d.push(' ');
            }
            let sign = if *tenths < 0 { "-" } else { "" };
            self.d += &match (tenths.unsigned_abs() / 10, tenths.unsigned_abs() % 10) {
                (units, 0) => format!("{sign}{units}"),
                (0, tenth) => format!("{sign}.{tenth}"),
                (units, tenth) => format!("{sign}{units}.{tenth}"),
            };
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.d.is_empty()
    }

    /// As SVG takes it.
    pub(super) fn d(self) -> String {
        self.d
    }
}

/// A share as SVG takes it, without the zeros that say nothing.
pub(super) fn hundredths(share: f64) -> String {
    let text = format!("{:.3}", 100.0 * share);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What the vertical axis shows, above a plot whose top is at `top`.
pub(super) fn title_y(top: f64, text: &str) -> Markup {
    html! { text.axis-title.of-y x="0" y=(at(top - 9.0)) { (text) } }
}

/// What the horizontal axis shows, below its labels: its line is at `bottom`.
pub(super) fn title_x(bottom: f64, text: &str) -> Markup {
    html! { text.axis-title.of-x x=(at(RIGHT)) y=(at(bottom + 38.0)) text-anchor="end" { (text) } }
}

/// The title of a time axis.
pub(super) const TIME: &str = "time since the run's start, s";

/// A logarithmic scale of whole decades.
#[derive(Debug, Clone, Copy)]
pub(super) struct Log {
    low: u32,
    high: u32,
    from: f64,
    to: f64,
}

impl Log {
    /// From the decade of `low` to the end of that of `high`, drawn between two coordinates.
    pub(super) fn new(low: u64, high: u64, from: f64, to: f64) -> Log {
        let low = low.max(1).ilog10();
        let above = high.max(2) - 1;
        Log { low, high: (above.ilog10() + 1).max(low + 1), from, to }
    }

    /// The powers of ten from one end to the other.
    pub(super) fn decades(&self) -> Range<u32> {
        self.low..self.high
    }

    /// The coordinate of a value; of one beyond the ends, the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let share = (value.max(1.0).log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    /// The coordinate of a value that is between the ends.
    pub(super) fn within(&self, value: u64) -> Option<f64> {
        let is_within = value > 0 && (self.low..self.high).contains(&value.ilog10());
        is_within.then(|| self.place(value as f64))
    }

    /// Powers of ten with their coordinates; of many, every second or third.
    pub(super) fn ticks(&self, most: u32) -> impl Iterator<Item = (u64, f64)> + '_ {
        let step = (self.high - self.low).div_ceil(most).max(1);
        (self.low..=self.high)
            .step_by(step as usize)
            .filter_map(|power| 10u64.checked_pow(power))
            .map(|value| (value, self.place(value as f64)))
    }
}

/// Lines across the plot with the durations that they stand for.
pub(super) fn duration_axis(scale: &Log, most: u32) -> Markup {
    let ticks: Vec<(u64, f64)> = scale.ticks(most).collect();
    let lines = ticks.iter().map(|(_, y)| format!("M{} {}H{}", at(LEFT), at(*y), at(RIGHT)));
    html! {
        path.grid d=(lines.collect::<String>()) {}
        g text-anchor="end" {
            @for (ns, y) in &ticks { text x=(at(LEFT - 6.0)) y=(at(y + 4.0)) { (format_round_ns(*ns)) } }
        }
    }
}

/// Seconds since a run's start, drawn from [`LEFT`] to [`RIGHT`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    end_ns: u64,
}

impl Time {
    /// Long enough for all runs, so that modes can be compared.
    pub(super) fn of(page: &Page) -> Time {
        Time { end_ns: page.recording.runs.iter().map(|run| run.elapsed_ns).max().unwrap_or(1).max(1) }
    }

    /// When the axis ends.
    pub(super) fn end_ns(&self) -> u64 {
        self.end_ns
    }

    /// The coordinate of a moment.
    pub(super) fn place(&self, ns: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (ns as f64 / self.end_ns as f64).min(1.0)
    }

    /// Round moments, at most six, below the line at `y`.
    pub(super) fn axis(&self, y: f64) -> Markup {
        let step = self.step_ns();
        let moments: Vec<u64> = (0..=5).map(|i| i * step).take_while(|ns| *ns <= self.end_ns).collect();
        let ticks: String = moments.iter().map(|ns| format!("M{} {}v4", at(self.place(*ns)), at(y))).collect();
        html! {
            path.axis d={ "M" (at(LEFT)) " " (at(y)) "H" (at(RIGHT)) (ticks) } {}
            @for ns in moments {
                text x=(at(self.place(ns))) y=(at(y + 19.0)) text-anchor=(self.anchor(ns)) {
                    (seconds(ns))
                }
            }
            (title_x(y, TIME))
        }
    }

    /// Labels at the ends stay within the chart.
    fn anchor(&self, ns: u64) -> &'static str {
        match self.place(ns) {
            _ if ns == 0 => "start",
            x if x > RIGHT - 20.0 => "end",
            _ => "middle",
        }
    }

    fn step_ns(&self) -> u64 {
        let mut step = 1;
        loop {
            for factor in [1, 2, 5] {
                if self.end_ns / (step * factor) <= 4 {
                    return step * factor;
                }
            }
            step *= 10;
        }
    }
}

/// A moment as an axis has it: seconds, with the digits that it needs.
fn seconds(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A chart with its caption; `says` is what it shows, for those who do not see it.
pub(super) fn figure(caption: Markup, says: &str, height: f64, content: Markup) -> Markup {
    html! {
        figure {
            figcaption { (caption) }
            svg viewBox={ "0 0 " (at(WIDTH)) " " (at(height)) } role="img" aria-label=(says) { (content) }
        }
    }
}

/// A piece of a mode's line with its mark, for captions.
pub(super) fn sample(mode: usize, is_thin: bool) -> Markup {
    html! {
        svg.sample viewBox="0 0 48 14" aria-hidden="true" {
            path.line.thin[is_thin].(class(mode)) d="M1 7H47" {}
            (mark(mode, is_thin, 24.0, 7.0))
        }
    }
}

/// The corners of a mode's mark around its middle, in tenths of its size: the style has the same for names.
const MARKS: [&[(i8, i8)]; 10] = [
    &[(-8, -8), (8, -8), (8, 8), (-8, 8)],
    &[(-4, -9), (4, -9), (9, -4), (9, 4), (4, 9), (-4, 9), (-9, 4), (-9, -4)],
    &[(0, -11), (11, 0), (0, 11), (-11, 0)],
    &[(0, -10), (10, 8), (-10, 8)],
    &[(-10, -8), (10, -8), (0, 10)],
    &[
        (-3, -10),
        (3, -10),
        (3, -3),
        (10, -3),
        (10, 3),
        (3, 3),
        (3, 10),
        (-3, 10),
        (-3, 3),
        (-10, 3),
        (-10, -3),
        (-3, -3),
    ],
    &[(-9, -6), (-6, -9), (0, -4), (6, -9), (9, -6), (4, 0), (9, 6), (6, 9), (0, 4), (-6, 9), (-9, 6), (-4, 0)],
    &[(0, -11), (3, -4), (10, -4), (5, 2), (7, 10), (0, 5), (-7, 10), (-5, 2), (-10, -4), (-3, -4)],
    &[(-9, -9), (9, -9), (-9, 9), (9, 9)],
    &[(-9, -9), (9, 9), (9, -9), (-9, 9)],
];

/// A mode's mark: lines of ten colours alone are not told apart, least of all by those who do not see them all.
pub(super) fn mark(mode: usize, is_thin: bool, x: f64, y: f64) -> Markup {
    let size = if is_thin { 0.3 } else { 0.5 };
    let corners = MARKS[mode % MARKS.len()].iter();
    let mut steps = Steps::new();
    steps.polygon(corners.map(|(right, down)| (x + f64::from(*right) * size, y + f64::from(*down) * size)));
    html! { path.mark.(class(mode)) d=(steps.d()) {} }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_steps_ends_where_its_last_corner_is() {
        let mut steps = Steps::new();
        steps.polygon([(10.0, 20.04), (13.25, 20.04), (13.25, 25.04), (10.0, 25.04)].into_iter());
        steps.go(0.0, 0.3);
        // What is rounded away from each does not add up.
        (1..=20).for_each(|i| steps.line(f64::from(i) * 0.11, 0.3));
        steps.line(2.2, -7.0);
        steps.line(3.3, -7.5);
        let d = steps.d();
        let (rectangle, line) = d.split_once('z').unwrap();
        assert_eq!(rectangle, "m10 20h3.3v5h-3.3");
        assert!(line.starts_with("m-10-19.7h.1h.1"), "{line}");
        let steps = line.split_once('v').unwrap().0.split('h').skip(1).map(|step| step.parse::<f64>().unwrap());
        assert_eq!((steps.sum::<f64>() * 10.0).round(), 22.0);
        assert!(line.ends_with("v-7.3l1.1-.5"), "{line}");
    }

    #[test]
    fn a_scale_ends_with_whole_decades_and_shows_nothing_beyond() {
        let scale = Log::new(2_000, 300_000_000, 100.0, 0.0);
        assert_eq!(scale.place(1_000.0), 100.0);
        assert_eq!(scale.place(1e9), 0.0);
        assert_eq!(scale.within(1_000_000), Some(50.0));
        assert_eq!((scale.within(999), scale.within(2_000_000_000)), (None, None));
        let ticks: Vec<u64> = scale.ticks(3).map(|(value, _)| value).collect();
        assert_eq!(ticks, [1_000, 100_000, 10_000_000, 1_000_000_000]);
    }
}
