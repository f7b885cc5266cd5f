//! Every distribution of every mode: its percentiles, and its place on one logarithmic axis.

use super::super::layout::{Ink, Line, paragraph};
use super::{Page, WIDE};
use crate::recording::Dist;
use crate::report::measures::{
    BEST, Best, MEASURES, P50, P90, P99, P999, P9999, Percentile, RAW_LAG, VS_BEST, VS_BEST_IS, factors,
};
use crate::units::{format_count, format_ns, format_round_ns};

/// What a column says of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stat {
    Count,
    Quantile(Percentile),
    Max,
}

impl Stat {
    fn label(self) -> &'static str {
        match self {
            Stat::Count => "count",
            Stat::Quantile(percentile) => percentile.label,
            Stat::Max => "max",
        }
    }

    /// Nanoseconds, but for the count; `None` when too little was recorded.
    fn of(self, dist: &Dist) -> Option<u64> {
        match self {
            Stat::Count => Some(dist.count()),
            Stat::Quantile(percentile) => percentile.of(dist),
            Stat::Max => dist.max_ns,
        }
    }

    fn show(self, dist: &Dist) -> Option<String> {
        self.of(dist).map(if self == Stat::Count { format_count } else { format_ns })
    }
}

/// As they stand, each with its rank: on a page that is too narrow for all, the highest ranks go.
const STATS: [(Stat, usize); 7] = [
    (Stat::Count, 6),
    (Stat::Quantile(P50), 0),
    (Stat::Quantile(P90), 4),
    (Stat::Quantile(P99), 1),
    (Stat::Quantile(P999), 3),
    (Stat::Quantile(P9999), 5),
    (Stat::Max, 2),
];

const LABEL: usize = 18;
const STAT: usize = 8;
const FACTOR: usize = 8;
const LEAST_STATS: usize = 3;
/// It was looked for, and there was none.
const NONE: &str = "none";
const LONGEST_BAR: usize = 72;
const SHORTEST_BAR: usize = 8;

pub(super) fn section(page: &Page) -> Vec<Line> {
    if page.modes.is_empty() {
        return Vec::new();
    }
    if MEASURES.iter().all(|(_, of)| page.modes.iter().all(|mode| of(mode).is_none())) {
        return nothing_measured(page);
    }
    let table = Table::of(page);
    let mut lines = vec![table.header()];
    let mut before = Vec::new();
    for (name, of) in MEASURES {
        let dists: Vec<Option<Dist>> = page.modes.iter().map(of).collect();
        lines.extend(if name == RAW_LAG { table.raw_lag(&dists, &before) } else { table.measure(name, &dists) });
        before = dists;
    }
    lines.extend(table.legend());
    lines
}

/// The 99th percentiles, of which factors are.
fn p99s(dists: &[Option<Dist>]) -> Vec<Option<f64>> {
    dists.iter().map(|dist| Some(P99.of(dist.as_ref()?)? as f64)).collect()
}

/// What a table would have no value of, in a sentence.
fn nothing_measured(page: &Page) -> Vec<Line> {
    let names: Vec<&str> = MEASURES.iter().map(|(name, _)| *name).filter(|name| *name != RAW_LAG).collect();
    let title = Line::new().text(Ink::Title, "Durations").blank(2);
    paragraph(title, Ink::Dim, &format!("not measured: {}", names.join(", ")), page.width)
}

/// The columns that fit the page.
struct Table<'p> {
    page: &'p Page<'p>,
    label: usize,
    mode: usize,
    stats: Vec<Stat>,
    /// Of the factor over the best mode's percentile; 0 where there is one mode, or no room.
    factor: usize,
    axis: Option<Axis>,
}

impl<'p> Table<'p> {
    fn of(page: &'p Page<'p>) -> Table<'p> {
        // Numbers keep a column of their cell free.
        let mode = page.mode_columns().saturating_sub(usize::from(page.is_narrow()));
        let label = match page.is_narrow() {
            false => LABEL,
            // Enough for the title to leave room for the first number's name.
            true if mode == 0 => 5,
            true => 2,
        };
        let room = page.width.saturating_sub(label + mode);
        let most = if page.width >= WIDE { STATS.len() } else { STATS.len() - 1 };
        let factor = if page.modes.len() > 1 && room >= LEAST_STATS * STAT + FACTOR { FACTOR } else { 0 };
        let count = ((room - factor) / STAT).clamp(LEAST_STATS, most);
        let stats: Vec<Stat> = STATS.iter().filter(|(_, rank)| *rank < count).map(|(stat, _)| *stat).collect();
        let columns = room.saturating_sub(stats.len() * STAT + factor + 2).min(LONGEST_BAR);
        let axis = (columns >= SHORTEST_BAR).then(|| Axis::of(page, columns));
        Table { page, label, mode, stats, factor, axis }
    }

    fn header(&self) -> Line {
        let columns = self.label + self.mode;
        let title = "Durations";
        let mut line = Line::new().text(Ink::Title, title).blank(columns.saturating_sub(title.len()));
        for (i, stat) in self.stats.iter().enumerate() {
            // On a narrow page the title is wider than the columns before the numbers.
            let taken = if i == 0 { title.len().saturating_sub(columns) } else { 0 };
            line = line.right(Ink::Dim, stat.label(), STAT - taken.min(STAT));
        }
        line = line.right(Ink::Dim, if self.factor > 0 { VS_BEST } else { "" }, self.factor);
        if let Some(axis) = &self.axis {
            line = line.blank(2).text(Ink::Dim, &axis.labels());
        }
        line
    }

    /// The rows of a measure: one a mode, or a single one when there is nothing to show.
    fn measure(&self, name: &str, dists: &[Option<Dist>]) -> Vec<Line> {
        if dists.iter().flatten().all(|dist| dist.count() == 0) {
            let label = Line::new().left(Ink::Dim, name, LABEL.max(self.label + self.mode));
            return vec![match dists.iter().any(Option::is_some) {
                true => label.right(Ink::Dim, NONE, STAT),
                false => label.right(Ink::Dim, "—", STAT).text(Ink::Dim, "  not measured"),
            }];
        }
        self.rows(name, Ink::Bold, dists)
    }

    fn rows(&self, name: &str, ink: Ink, dists: &[Option<Dist>]) -> Vec<Line> {
        let is_narrow = self.page.is_narrow();
        let mut lines = Vec::new();
        if is_narrow {
            lines.push(Line::new().text(ink, name));
        }
        let factors = factors(&p99s(dists), Best::Least);
        for (i, dist) in dists.iter().enumerate() {
            let label = if i == 0 && !is_narrow { name } else { "" };
            let mode = if self.mode == 0 { "" } else { self.page.modes[i].name };
            let mode_ink = if ink == Ink::Dim { ink } else { Ink::Mode(i) };
            let mut line = Line::new().left(ink, label, self.label).left(mode_ink, mode, self.mode);
            if dist.as_ref().is_some_and(|dist| dist.count() == 0) {
                lines.push(line.right(Ink::Dim, NONE, STAT));
                continue;
            }
            for stat in &self.stats {
                let text = dist.as_ref().and_then(|dist| stat.show(dist));
                let ink = match ink {
                    Ink::Dim => Ink::Dim,
                    _ if *stat == Stat::Quantile(P99) => Ink::Bold,
                    _ => Ink::Plain,
                };
                line = line.right(ink, &Page::or_unknown(text), STAT);
            }
            let factor = if self.factor > 0 { factors[i].as_str() } else { "" };
            line =
                line.right(if ink == Ink::Dim || factor == BEST { Ink::Dim } else { Ink::Bold }, factor, self.factor);
            lines.push(match &self.axis {
                Some(axis) if ink != Ink::Dim => axis.bar(line.blank(2), i, dist.as_ref()),
                _ => line,
            });
        }
        lines
    }

    /// Loop lag without the correction, where that makes a difference.
    fn raw_lag(&self, raw: &[Option<Dist>], corrected: &[Option<Dist>]) -> Vec<Line> {
        if raw.iter().flatten().all(|dist| dist.count() == 0) {
            return Vec::new();
        }
        let shown =
            |dist: &Option<Dist>| dist.as_ref().map(|dist| self.stats.iter().map(|stat| stat.show(dist)).collect());
        let shown = |dists: &[Option<Dist>]| dists.iter().map(shown).collect::<Vec<Option<Vec<Option<String>>>>>();
        if shown(raw) == shown(corrected) {
            let indent = if self.page.is_narrow() { 2 } else { LABEL };
            return paragraph(Line::indent(indent), Ink::Dim, "raw: the same", self.page.width);
        }
        self.rows(if self.page.is_narrow() { "raw loop lag" } else { "  raw" }, Ink::Dim, raw)
    }

    fn legend(&self) -> Vec<Line> {
        let mut parts = Vec::new();
        if self.axis.is_some() {
            let threshold = format_round_ns(self.page.modes[0].threshold_ns());
            parts.push(format!("●━ p50 to p99, ─┤ max, ┊ slow: {threshold}"));
        }
        if self.factor > 0 {
            parts.push(VS_BEST_IS.to_owned());
        }
        if self.page.modes.iter().any(|mode| mode.lag.is_some()) {
            parts.push("lag corrected for coordinated omission".to_owned());
        }
        if self.has_too_few() {
            parts.push("—: too few values for that percentile".to_owned());
        }
        if parts.is_empty() {
            return Vec::new();
        }
        paragraph(Line::new(), Ink::Dim, &parts.join("; "), self.page.width)
    }

    fn has_too_few(&self) -> bool {
        let dists = MEASURES.iter().flat_map(|(_, of)| self.page.modes.iter().filter_map(of));
        dists.filter(|dist| dist.count() > 0).any(|dist| self.stats.iter().any(|stat| stat.of(&dist).is_none()))
    }
}

/// A logarithmic axis of whole decades that holds all distributions and the slow-poll threshold.
struct Axis {
    /// Powers of ten, in nanoseconds.
    low: u32,
    high: u32,
    columns: usize,
    threshold_ns: u64,
}

impl Axis {
    fn of(page: &Page, columns: usize) -> Axis {
        let threshold_ns = page.modes[0].threshold_ns();
        let (mut low, mut high) = (threshold_ns.max(1), threshold_ns.max(1));
        for dist in MEASURES.iter().flat_map(|(_, of)| page.modes.iter().filter_map(of)) {
            low = low.min(dist.shown_quantile_ns(0.5).unwrap_or(low).max(1));
            high = high.max(dist.max_ns.unwrap_or(high));
        }
        let (low, above) = (low.ilog10(), high.ilog10() + 1);
        Axis { low, high: above.max(low + 1), columns, threshold_ns }
    }

    /// The column of a duration, from 0.
    fn column(&self, ns: u64) -> usize {
        let decades = f64::from(self.high - self.low);
        let at = ((ns.max(1) as f64).log10() - f64::from(self.low)) / decades;
        ((at * self.columns as f64).floor().max(0.0) as usize).min(self.columns - 1)
    }

    /// The decades that have room, each starting at its column.
    fn labels(&self) -> String {
        let mut out = String::new();
        let mut used = 0;
        for power in self.low..=self.high {
            let text = format_round_ns(10u64.pow(power)).replace(' ', "");
            let columns = text.chars().count();
            let start = self.column(10u64.pow(power)).min(self.columns.saturating_sub(columns));
            if used == 0 || start > used {
                out.extend(std::iter::repeat_n(' ', start - used));
                out.push_str(&text);
                used = start + columns;
            }
        }
        out.extend(std::iter::repeat_n(' ', self.columns.saturating_sub(used)));
        out
    }

    /// p50 to p99 thick, on to the maximum thin; what reaches the threshold in the colour of slow polls.
    fn bar(&self, mut line: Line, mode: usize, dist: Option<&Dist>) -> Line {
        let mut signs: Vec<char> = vec![' '; self.columns];
        let slow_from = self.column(self.threshold_ns);
        signs[slow_from] = '┊';
        if let Some((dist, max)) = dist.and_then(|dist| Some((dist, dist.max_ns?))) {
            let max = self.column(max);
            let p50 = dist.shown_quantile_ns(0.5).map_or(0, |ns| self.column(ns));
            // As far as the values go: of a hundred or more, to the 99th percentile.
            let p99 = [P99, P90].into_iter().find_map(|p| p.of(dist)).map_or(p50, |ns| self.column(ns));
            signs[p50..=max].fill('─');
            signs[p50..=p99].fill('━');
            signs[max] = '┤';
            signs[p50] = '●';
        }
        for (column, sign) in signs.into_iter().enumerate() {
            let ink = match sign {
                '┊' => Ink::Dim,
                _ if column >= slow_from => Ink::Bad,
                _ => Ink::Mode(mode),
            };
            line = line.text(ink, sign.encode_utf8(&mut [0; 4]));
        }
        line
    }
}
