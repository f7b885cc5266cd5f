//! Every distribution of every mode, on one logarithmic axis.

use super::super::layout::{Ink, Line, paragraph};
use super::{Page, WIDE};
use crate::recording::Dist;
use crate::report::measures::MEASURES;
use crate::units::{format_count, format_ns, format_ratio, format_round_ns};

/// What a column says of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stat {
    Count,
    Quantile(f64, &'static str),
    Max,
}

impl Stat {
    fn label(self) -> &'static str {
        match self {
            Stat::Count => "count",
            Stat::Quantile(_, label) => label,
            Stat::Max => "max",
        }
    }

    /// Nanoseconds, but for the count; `None` when nothing was recorded.
    fn of(self, dist: &Dist) -> Option<u64> {
        match self {
            Stat::Count => Some(dist.count()),
            Stat::Quantile(q, _) => dist.shown_quantile_ns(q),
            Stat::Max => dist.max_ns,
        }
    }

    fn show(self, dist: &Dist) -> Option<String> {
        self.of(dist).map(if self == Stat::Count { format_count } else { format_ns })
    }
}

const P50: Stat = Stat::Quantile(0.5, "p50");
const P99: Stat = Stat::Quantile(0.99, "p99");
const NORMAL: [Stat; 3] = [P50, P99, Stat::Max];
const FULL: [Stat; 6] = [Stat::Count, P50, Stat::Quantile(0.9, "p90"), P99, Stat::Quantile(0.999, "p99.9"), Stat::Max];

const LABEL: usize = 18;
const STAT: usize = 9;
const RATIO: usize = 8;
const LONGEST_BAR: usize = 72;
const SHORTEST_BAR: usize = 8;

pub(super) fn section(page: &Page) -> Vec<Line> {
    if page.modes.is_empty() {
        return Vec::new();
    }
    let table = Table::of(page);
    let mut lines = vec![table.header()];
    for (name, of) in MEASURES {
        let dists: Vec<Option<Dist>> = page.modes.iter().map(|mode| of(mode).filter(|d| d.count() > 0)).collect();
        lines.extend(table.measure(name, &dists));
        if name == "loop lag" {
            lines.extend(table.raw_lag());
        }
    }
    lines.extend(table.legend());
    lines
}

/// The columns that fit the page.
struct Table<'p> {
    page: &'p Page<'p>,
    label: usize,
    mode: usize,
    stats: &'static [Stat],
    /// Ratios of the first mode to the last, behind the bar.
    ratios: &'static [Stat],
    axis: Option<Axis>,
}

impl<'p> Table<'p> {
    fn of(page: &'p Page<'p>) -> Table<'p> {
        let stats: &[Stat] = if page.width >= WIDE { &FULL } else { &NORMAL };
        let ratios: &[Stat] = match page.modes.len() {
            0 | 1 => &[],
            _ if page.width >= WIDE => &NORMAL,
            _ => &NORMAL[1..2],
        };
        let mode = page.mode_columns();
        let label = match page.is_narrow() {
            false => LABEL,
            // Enough for the title to leave room for the first number's name.
            true if mode == 0 => 4,
            true => 2,
        };
        let used = label + mode + stats.len() * STAT + 2 + ratios.len() * RATIO;
        let columns = page.width.saturating_sub(used).min(LONGEST_BAR);
        let axis = (columns >= SHORTEST_BAR).then(|| Axis::of(page, columns));
        Table { page, label, mode, stats, ratios, axis }
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
        if let Some(axis) = &self.axis {
            line = line.blank(2).text(Ink::Dim, &axis.labels());
        }
        for (i, stat) in self.ratios.iter().enumerate() {
            let label = if i == 0 { format!("x {}", stat.label()) } else { stat.label().to_owned() };
            line = line.right(Ink::Dim, &label, RATIO);
        }
        line
    }

    /// The rows of a measure: one a mode, or a single one when no mode has it.
    fn measure(&self, name: &str, dists: &[Option<Dist>]) -> Vec<Line> {
        let mut lines = Vec::new();
        let narrow = self.page.is_narrow();
        if dists.iter().all(Option::is_none) {
            let label = Line::new().left(Ink::Dim, name, LABEL.max(self.label + self.mode));
            return vec![label.right(Ink::Dim, "—", STAT).text(Ink::Dim, "  not measured")];
        }
        if narrow {
            lines.push(Line::new().text(Ink::Bold, name));
        }
        for (i, dist) in dists.iter().enumerate() {
            let label = if i == 0 && !narrow { name } else { "" };
            let line = Line::new().left(Ink::Bold, label, self.label).left(
                Ink::Mode(i),
                if self.mode == 0 { "" } else { self.page.modes[i].name },
                self.mode,
            );
            let line = self.numbers(line, i, dist.as_ref());
            let last = i + 1 == dists.len();
            lines.push(if last { self.ratio(line, dists[0].as_ref(), dist.as_ref()) } else { line });
        }
        lines
    }

    fn numbers(&self, mut line: Line, mode: usize, dist: Option<&Dist>) -> Line {
        for stat in self.stats {
            let text = dist.and_then(|dist| stat.show(dist));
            let ink = if *stat == P99 { Ink::Bold } else { Ink::Plain };
            line = line.right(ink, &Page::or_unknown(text), STAT);
        }
        match &self.axis {
            Some(axis) => axis.bar(line.blank(2), mode, dist),
            None => line,
        }
    }

    fn ratio(&self, mut line: Line, first: Option<&Dist>, last: Option<&Dist>) -> Line {
        for stat in self.ratios {
            let [first, last] = [first, last].map(|dist| dist.and_then(|dist| stat.of(dist)));
            let ratio = first.zip(last).filter(|&(_, last)| last > 0).map(|(first, last)| first as f64 / last as f64);
            let text = ratio.map_or(String::new(), format_ratio);
            line = line.right(if ratio.is_some_and(|r| r >= 2.0) { Ink::Bold } else { Ink::Plain }, &text, RATIO);
        }
        line
    }

    /// Loop lag without the correction, on one dim line.
    fn raw_lag(&self) -> Vec<Line> {
        let modes = self.page.modes.iter().filter_map(|mode| {
            let raw = mode.lag_raw.as_ref()?;
            let (p99, max) = (raw.shown_quantile_ns(0.99)?, raw.max_ns?);
            let name = if self.mode == 0 { String::new() } else { format!("{} ", mode.name) };
            Some(format!("{name}p99 {}, max {}", format_ns(p99), format_ns(max)))
        });
        let modes: Vec<String> = modes.collect();
        if modes.is_empty() {
            return Vec::new();
        }
        let text = format!("raw: {}", modes.join("; "));
        let indent = if self.page.is_narrow() { 2 } else { LABEL };
        paragraph(Line::indent(indent), Ink::Dim, &text, self.page.width)
    }

    fn legend(&self) -> Vec<Line> {
        let mut parts = Vec::new();
        if self.axis.is_some() {
            let threshold = format_round_ns(self.page.modes[0].threshold_ns());
            parts.push(format!("●━ p50 to p99, ─┤ max, ┊ slow: {threshold}"));
        }
        if let ([first, .., last], false) = (&self.page.modes[..], self.ratios.is_empty()) {
            parts.push(format!("x: {}/{}", first.name, last.name));
        }
        if self.page.modes.iter().any(|mode| mode.lag.is_some()) {
            parts.push("lag corrected for coordinated omission".to_owned());
        }
        if parts.is_empty() {
            return Vec::new();
        }
        paragraph(Line::new(), Ink::Dim, &parts.join("; "), self.page.width)
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
            let [p50, p99] = [0.5, 0.99].map(|q| dist.shown_quantile_ns(q).map_or(0, |ns| self.column(ns)));
            let max = self.column(max);
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
