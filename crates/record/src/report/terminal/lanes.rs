//! Lanes over time: the worst of each moment, one lane a mode, all on one axis.

use super::super::layout::{Ink, Line, paragraph};
use super::Page;
use crate::by_group::ByGroup;
use crate::recording::{Interval, Run};
use crate::units::{format_round_ns, plural};

/// Each begins at twice the duration of the one before.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const HIGHEST: usize = STEPS.len() - 1;
const UNKNOWN: char = '?';
/// As in the durations, which stand above.
const LABEL: usize = 18;
const MOST_CELLS: u64 = 120;
/// Columns between two labels of the axis, at least.
const TICK: u64 = 8;

/// A piece of a run's time, and the worst in it; `None` where that is not known.
type Piece = (u64, u64, Option<u64>);

/// What one lane a mode shows.
struct Lane {
    name: &'static str,
    is_measured: fn(&ByGroup) -> bool,
    pieces: fn(&Run) -> Vec<Piece>,
}

const LANES: [Lane; 2] = [
    Lane { name: "loop lag", is_measured: |mode| mode.lag.is_some(), pieces: lags },
    Lane {
        name: "longest poll",
        is_measured: |mode| mode.polls.as_ref().is_some_and(|polls| polls.count() > 0),
        pieces: polls,
    },
];

pub(super) fn section(page: &Page) -> Vec<Line> {
    let Some(chart) = Chart::of(page) else { return Vec::new() };
    let shown = LANES.iter().filter(|lane| page.modes.iter().any(lane.is_measured));
    let shown: Vec<(&str, Vec<Vec<Cell>>)> = shown.map(|lane| (lane.name, chart.cells_of_all(lane))).collect();
    if shown.is_empty() {
        return Vec::new();
    }
    let cells = || shown.iter().flat_map(|(_, modes)| modes.iter().flatten());
    let worst = cells().map(|cell| if let Cell::Worst(ns) = cell { *ns } else { 0 }).max().unwrap_or(0);
    let scale = Scale::of(page.modes[0].threshold_ns(), worst);
    let title = "Over time";
    let prefix = Line::new().text(Ink::Title, title).blank(chart.before.saturating_sub(title.len()).max(2));
    let mut lines = paragraph(prefix, Ink::Dim, &chart.says(), page.width);
    for (name, modes) in &shown {
        lines.extend(chart.lanes(name, modes, &scale));
    }
    lines.push(chart.axis());
    let mut says = scale.says();
    if cells().any(|cell| *cell == Cell::Unknown) {
        says += &format!(", {UNKNOWN} not known");
    }
    lines.extend(paragraph(Line::new(), Ink::Dim, &says, page.width));
    lines
}

/// A piece of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// The run was over.
    Over,
    /// It was not, and nothing is known of it.
    Unknown,
    /// The worst in it.
    Worst(u64),
}

/// The time that all lanes share.
struct Chart<'p> {
    page: &'p Page<'p>,
    /// Columns before the lanes.
    before: usize,
    /// The time of a column.
    cell_ns: u64,
    cells: u64,
    /// Columns that the lanes could have.
    room: u64,
}

impl<'p> Chart<'p> {
    fn of(page: &'p Page<'p>) -> Option<Chart<'p>> {
        let runs = || page.modes.iter().flat_map(|mode| &mode.rounds);
        let longest_ns = runs().map(|run| run.elapsed_ns).max().filter(|ns| *ns > 0)?;
        let before = if page.is_narrow() { 2 } else { LABEL } + page.mode_columns();
        let room = (page.width.saturating_sub(before) as u64).clamp(1, MOST_CELLS);
        let cell_ns = round_up(longest_ns.div_ceil(room), &[10, 12, 15, 20, 25, 30, 40, 50, 60, 80]);
        Some(Chart { page, before, cell_ns, cells: longest_ns.div_ceil(cell_ns), room })
    }

    fn says(&self) -> String {
        let rounds = self.page.modes.iter().map(|mode| mode.rounds.len()).max().unwrap_or(1);
        let of = if rounds > 1 { format!(" in any of {}", plural(rounds as u64, "round")) } else { String::new() };
        format!("the worst of each {}{of}", format_round_ns(self.cell_ns))
    }

    fn lanes(&self, name: &str, modes: &[Vec<Cell>], scale: &Scale) -> Vec<Line> {
        let mut lines = Vec::new();
        let is_narrow = self.page.is_narrow();
        if is_narrow {
            lines.push(Line::new().text(Ink::Bold, name));
        }
        for (index, (mode, cells)) in self.page.modes.iter().zip(modes).enumerate() {
            let label = if index == 0 && !is_narrow { name } else { "" };
            let columns = self.page.mode_columns();
            let line = Line::new().left(Ink::Bold, label, self.before - columns);
            let line = line.left(Ink::Mode(index), if columns == 0 { "" } else { mode.name }, columns);
            lines.push(match mode.rounds.iter().all(|run| run.intervals.is_empty()) {
                true => line.text(Ink::Dim, "— the recording has no intervals"),
                false => cells.iter().fold(line, |line, cell| scale.draw(line, index, *cell)),
            });
        }
        lines
    }

    /// Of each mode.
    fn cells_of_all(&self, lane: &Lane) -> Vec<Vec<Cell>> {
        self.page.modes.iter().map(|mode| self.cells_of(mode, lane)).collect()
    }

    /// All rounds lie over one another.
    fn cells_of(&self, mode: &ByGroup, lane: &Lane) -> Vec<Cell> {
        let mut cells = vec![Cell::Over; self.cells as usize];
        for run in &mode.rounds {
            for cell in &mut cells[self.columns(0, run.elapsed_ns)] {
                *cell = if *cell == Cell::Over { Cell::Unknown } else { *cell };
            }
            for (from_ns, to_ns, worst) in (lane.pieces)(run) {
                let Some(worst) = worst else { continue };
                for cell in &mut cells[self.columns(from_ns, to_ns.min(run.elapsed_ns))] {
                    *cell = Cell::Worst(if let Cell::Worst(known) = *cell { known.max(worst) } else { worst });
                }
            }
        }
        cells
    }

    /// The columns that a piece of time is in; at least one, unless it is empty.
    fn columns(&self, from_ns: u64, to_ns: u64) -> std::ops::Range<usize> {
        let start = (from_ns / self.cell_ns).min(self.cells);
        let end = if to_ns > from_ns { to_ns.div_ceil(self.cell_ns).min(self.cells) } else { start };
        start as usize..end as usize
    }

    /// The times at which columns begin, a sign at each.
    fn axis(&self) -> Line {
        let tick_ns = round_up(self.cell_ns.saturating_mul(TICK), &[10, 20, 50]);
        let mut out = String::new();
        let mut used = 0;
        for tick in 0..=self.cells * self.cell_ns / tick_ns {
            let (at, text) = (tick * tick_ns / self.cell_ns, format!("│{}", time(tick * tick_ns)));
            let columns = text.chars().count() as u64;
            if at >= used && at + columns <= self.room {
                out += &" ".repeat((at - used) as usize);
                out += &text;
                used = at + columns;
            }
        }
        Line::indent(self.before).text(Ink::Dim, &out)
    }
}

/// Which steps stand for which durations.
struct Scale {
    /// Where the highest step begins.
    highest_ns: u64,
    /// The step that begins where polls are slow.
    slow: usize,
}

impl Scale {
    /// What is slow is the highest step, unless the worst is so much longer that it takes some more.
    fn of(threshold_ns: u64, worst_ns: u64) -> Scale {
        let times = |doublings: usize| threshold_ns.saturating_mul(1 << doublings);
        let doublings = (1..HIGHEST).rev().find(|more| times(*more) <= worst_ns).unwrap_or(0);
        Scale { highest_ns: times(doublings), slow: HIGHEST - doublings }
    }

    /// Where a step but the lowest begins.
    fn begins_ns(&self, step: usize) -> u64 {
        self.highest_ns >> (HIGHEST - step)
    }

    fn step(&self, ns: u64) -> usize {
        (1..=HIGHEST).rev().find(|step| ns >= self.begins_ns(*step)).unwrap_or(0)
    }

    fn draw(&self, line: Line, mode: usize, cell: Cell) -> Line {
        match cell {
            Cell::Over => line.blank(1),
            Cell::Unknown => line.text(Ink::Dim, UNKNOWN.encode_utf8(&mut [0; 4])),
            Cell::Worst(ns) => {
                let step = self.step(ns);
                let ink = if step >= self.slow { Ink::Bad } else { Ink::Mode(mode) };
                line.text(ink, STEPS[step].encode_utf8(&mut [0; 4]))
            }
        }
    }

    fn says(&self) -> String {
        let begins = |step: usize| format_round_ns(self.begins_ns(step));
        let [lowest, highest, slow] = [0, HIGHEST, self.slow].map(|step| STEPS[step]);
        let (under, most, slow_from) = (begins(1), begins(HIGHEST), begins(self.slow));
        match self.slow {
            HIGHEST => {
                format!("{lowest} under {under}, each step twice as long (log scale), {highest} slow: {most} or more")
            }
            _ => format!(
                "{lowest} under {under}, each step twice as long (log scale), {slow} slow: {slow_from}, {highest} {most} or more"
            ),
        }
    }
}

/// The least round number that is no less: one of `steps` (tenths, from 10 on) times a power of ten.
fn round_up(ns: u64, steps: &[u64]) -> u64 {
    let power = 10u64.pow(ns.max(1).ilog10());
    let all = steps.iter().chain([&100]).map(|step| (u128::from(power) * u128::from(*step)).div_ceil(10));
    all.map(|step| u64::try_from(step).unwrap_or(u64::MAX)).find(|step| *step >= ns).unwrap_or(ns).max(1)
}

/// `0 s`, `500 ms`, `1.5 s`
fn time(ns: u64) -> String {
    if ns == 0 { "0 s".to_owned() } else { format_round_ns(ns) }
}

/// Each interval, from its start to the next one's.
fn intervals(run: &Run) -> impl DoubleEndedIterator<Item = (&Interval, u64)> {
    let ends = run.intervals.iter().skip(1).map(|next| next.start_ns).chain([run.elapsed_ns]);
    let ends: Vec<u64> = ends.collect();
    run.intervals.iter().zip(ends)
}

/// While the loop is held up, its timer does not fire: how late it then is, the next firing tells.
fn lags(run: &Run) -> Vec<Piece> {
    let mut late_since = u64::MAX;
    let mut late = 0;
    let mut pieces = Vec::with_capacity(run.intervals.len());
    for (interval, end_ns) in intervals(run).rev() {
        let fired = interval.lag.as_ref().and_then(|lag| lag.max_ns);
        if let Some(ns) = fired {
            (late_since, late) = (end_ns.saturating_sub(ns), ns);
        }
        let worst = fired.or_else(|| (interval.lag.is_some() && late_since < end_ns).then_some(late));
        pieces.push((interval.start_ns, end_ns, worst));
    }
    pieces
}

/// Slow polls where they were; of the others, the longest of each interval. That none ended in one is known too.
fn polls(run: &Run) -> Vec<Piece> {
    let threshold_ns = run.slow_poll_threshold_ns;
    let mut pieces = Vec::with_capacity(run.intervals.len() + run.slow_polls.len());
    for (interval, end_ns) in intervals(run) {
        let Some(polls) = &interval.polls else { continue };
        let short = polls.buckets().take_while(|bucket| bucket.low_ns < threshold_ns).last();
        let short_ns = short.map_or(0, |bucket| bucket.high_ns.min(threshold_ns - 1));
        pieces.push((interval.start_ns, end_ns, Some(short_ns)));
        // Of one that was not kept, only its interval is known, and that it was under way before its end.
        if let Some(ns) = polls.max_ns.filter(|ns| run.slow_polls_dropped > 0 && *ns >= threshold_ns) {
            pieces.push((interval.start_ns.min(end_ns.saturating_sub(ns)), end_ns, Some(ns)));
        }
    }
    let slow = run.slow_polls.iter();
    pieces.extend(
        slow.map(|poll| (poll.start_ns, poll.start_ns.saturating_add(poll.duration_ns), Some(poll.duration_ns))),
    );
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, MS};
    use crate::recording::Dist;
    use crate::report::{Style, terminal::render};

    fn dist(values: &[u64]) -> Dist {
        let mut dist = Dist::empty(3);
        values.iter().for_each(|ns| dist.record(*ns));
        dist
    }

    /// Intervals of 100 ms, each with its lags and its polls, in milliseconds.
    fn run(mode: &str, intervals: &[(&[u64], &[u64])]) -> Run {
        let ns = |values: &[u64]| dist(&values.iter().map(|ms| ms * MS).collect::<Vec<_>>());
        let made = intervals.iter().zip(0..).map(|((lags, polls), index)| {
            let polls = ns(polls);
            Interval {
                start_ns: index * 100 * MS,
                busy_ns: Some(polls.sum_ns),
                polls: Some(polls),
                pool: None,
                slow: None,
                lag: Some(ns(lags)),
                longest_stretch_ns: None,
                queued: None,
            }
        });
        let elapsed_ns = intervals.len() as u64 * 100 * MS;
        Run { intervals: made.collect(), elapsed_ns, ..fixture::run(mode) }
    }

    /// The section, on a page that has 20 columns for each lane of two modes.
    fn shown(runs: Vec<Run>) -> Vec<String> {
        section_of(runs, Style { width: 33, color: false, unicode: true })
    }

    fn section_of(runs: Vec<Run>, style: Style) -> Vec<String> {
        let report = render(&fixture::recording_of(runs), &style);
        let lines =
            report.lines().skip_while(|line| !line.starts_with("Over time")).take_while(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn each_step_is_twice_the_one_below_and_the_last_is_slow() {
        for (ns, sign) in [
            (0, '▁'),
            (1_562_499, '▁'),
            (1_562_500, '▂'),
            (3_125_000, '▃'),
            (6_250_000, '▄'),
            (12_500_000, '▅'),
            (25_000_000, '▆'),
            (99_999_999, '▇'),
            (100 * MS, '█'),
            (u64::MAX, '█'),
        ] {
            assert_eq!(STEPS[Scale::of(100 * MS, 199 * MS).step(ns)], sign, "{ns}");
        }
    }

    #[test]
    fn what_is_far_beyond_slow_has_steps_of_its_own() {
        for (worst_ms, slow, highest_ms) in [
            (0, '█', 100),
            (199, '█', 100),
            (200, '▇', 200),
            (500, '▆', 400),
            (6_399, '▃', 3_200),
            (6_400, '▂', 6_400),
            (3_600_000, '▂', 6_400),
        ] {
            let scale = Scale::of(100 * MS, worst_ms * MS);
            assert_eq!((STEPS[scale.slow], scale.highest_ns), (slow, highest_ms * MS), "{worst_ms}");
            assert_eq!(scale.begins_ns(scale.slow), 100 * MS, "{worst_ms}");
            assert_eq!((scale.step(100 * MS) >= scale.slow, scale.step(100 * MS - 1) < scale.slow), (true, true));
        }
        assert!(Scale::of(0, 0).step(0) >= Scale::of(0, 0).slow, "everything is slow");
        assert_eq!(
            Scale::of(100 * MS, 500 * MS).says(),
            "▁ under 6.25 ms, each step twice as long (log scale), ▆ slow: 100 ms, █ 400 ms or more"
        );
        assert!(Scale::of(u64::MAX, u64::MAX).says().ends_with("or more"));
    }

    #[test]
    fn times_are_round() {
        let halves = [10, 15, 20, 50];
        for (ns, round) in [(0, 1), (1, 1), (11, 15), (16, 20), (21, 50), (51, 100), (1_000, 1_000), (1_001, 1_500)] {
            assert_eq!(round_up(ns, &halves), round, "{ns}");
        }
        assert_eq!(round_up(u64::MAX, &halves), u64::MAX);
    }

    #[test]
    fn modes_share_an_axis_and_slow_polls_stand_where_they_were() {
        let mut naive = run("naive", &[(&[1], &[1]), (&[], &[]), (&[150], &[150]), (&[1, 7], &[13])]);
        let slow = fixture::blocked("naive", &[150 * MS]).slow_polls.remove(0);
        naive.slow_polls = vec![crate::recording::SlowPoll { start_ns: 100 * MS, ..slow }];
        naive.slow_polls_total = 1;
        assert_eq!(
            shown(vec![naive, run("offloaded", &[(&[1], &[1]), (&[2], &[3])])]),
            [
                "Over time    the worst of each",
                "           20 ms",
                "loop lag",
                "  naive      ▁▁▁▁▁██████████▄▄▄▄▄",
                "  offloaded  ▁▁▁▁▁▂▂▂▂▂",
                "longest poll",
                "  naive      ▁▁▁▁▁████████▁▁▅▅▅▅▅",
                "  offloaded  ▁▁▁▁▁▂▂▂▂▂",
                "             │0 s      │200 ms",
                "▁ under 1.56 ms, each step twice",
                "as long (log scale), █ slow:",
                "100 ms or more",
            ]
        );
    }

    #[test]
    fn what_is_not_known_differs_from_what_is_short() {
        let mut gap = run("naive", &[(&[1], &[1]), (&[], &[]), (&[3], &[]), (&[1], &[1])]);
        gap.intervals.remove(0);
        let mut torn = run("offloaded", &[(&[1], &[1])]);
        torn.intervals.clear();
        let lines = shown(vec![gap, torn]);
        assert_eq!(
            lines[3..8],
            [
                "  naive      ??????????▂▂▂▂▂▁▁▁▁▁",
                "  offloaded  — the recording has…",
                "longest poll",
                "  naive      ?????▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁",
                "  offloaded  — the recording has…"
            ]
        );
        assert!(lines.concat().ends_with("? not known"), "{lines:?}");
    }

    #[test]
    fn a_slow_poll_that_was_not_kept_fills_its_interval() {
        let mut naive = run("naive", &[(&[], &[]), (&[], &[]), (&[230], &[230]), (&[1], &[1])]);
        (naive.slow_polls_dropped, naive.slow_polls_total) = (1, 1);
        let lines = section_of(vec![naive], Style { width: 22, color: false, unicode: true });
        let lanes: Vec<&String> = lines.iter().filter(|line| line.contains('█') && line.contains('▁')).collect();
        assert_eq!(lanes[..2], ["  ███████████████▁▁▁▁▁", "  ▁▁▁████████████▁▁▁▁▁"]);
    }

    #[test]
    fn all_rounds_lie_over_one_another() {
        let rounds = vec![
            run("naive", &[(&[1], &[1]), (&[60], &[1])]),
            run("naive", &[(&[8], &[1]), (&[8], &[1]), (&[8], &[1])]),
        ];
        let lines = section_of(rounds, Style { width: 100, color: false, unicode: true });
        assert!(lines[0].ends_with("the worst of each 4 ms in any of 2 rounds"), "{lines:?}");
        let signs = ['▄', '▇', '▄'].map(|sign| sign.to_string().repeat(25)).concat();
        assert_eq!(lines[1], format!("loop lag          {signs}"));
    }

    #[test]
    fn without_unicode_the_steps_keep_their_order() {
        let style = Style { width: 60, color: false, unicode: false };
        let lags: [&[u64]; 8] = [&[1], &[2], &[4], &[7], &[13], &[30], &[60], &[150]];
        let intervals: Vec<(&[u64], &[u64])> = lags.iter().map(|lag| (*lag, &[1][..])).collect();
        let lane = section_of(vec![run("naive", &intervals)], style).remove(2);
        let mut signs: Vec<char> = lane.trim().chars().collect();
        signs.dedup();
        assert_eq!(signs, ['_', '.', ':', '-', '=', '+', '*', '#']);
    }
}
