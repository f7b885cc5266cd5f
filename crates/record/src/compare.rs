//! Two sets of runs, compared metric by metric: which is better, by how much, and how sure that is. Pure, and the same runs
//! always give the same answer: the resamples come from a fixed seed.
//!
//! Rounds are the unit: a statistic is taken of each round, and the noise between rounds decides what counts as a difference.
//! docs/how-it-works.md says how. A service has no rounds: blocks of its time are in their place. With fewer than [`LEAST_ROUNDS`] rounds nothing is known of that noise; then a
//! percentile has the interval that its own samples give it, and only a gap far beyond it counts.

mod blocks;
mod drift;
mod interval;
mod judge;
mod metric;
mod question;
mod sample;
mod sentence;
mod served;
mod slice;
#[cfg(any(test, feature = "fixture"))]
pub mod synthetic;
#[cfg(test)]
mod tests;

pub use metric::{METRICS, Metric, SERVICE_METRICS, Unit};
pub use question::{Difference, differences, environments};
pub(crate) use sentence::{change, change_of, instead};
pub use sentence::{conclusion, noted, regression};

use crate::recording::{Recording, Run, Subject};

/// From this many rounds of both sides on, the interval is one between rounds.
pub const LEAST_ROUNDS: usize = 3;
/// Further rounds of a mode are not looked at: no scenario has more than 100, but a file may say anything.
const MOST_ROUNDS: usize = 1_000;
/// What warnings advise.
pub const ADVISED_ROUNDS: usize = 10;

/// The runs of one mode that are compared with others.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// What sentences call it.
    pub name: String,
    /// Its runs that ran to their end, in the order of rounds; of services also others, as far as they were recorded.
    pub runs: Vec<&'a Run>,
    /// How many were cut short, and so left out.
    pub cut_short: usize,
}

impl<'a> Side<'a> {
    /// The runs of `mode` in a recording; `name` is what sentences call them.
    pub fn of(recording: &'a Recording, mode: &str, name: impl Into<String>) -> Side<'a> {
        Side::new(recording.runs.iter().filter(|run| run.group == mode), name)
    }

    /// These runs.
    pub fn new(runs: impl Iterator<Item = &'a Run>, name: impl Into<String>) -> Side<'a> {
        // What a service's intervals have was so, whatever came of it.
        let is_whole = |run: &&Run| run.early_end().is_none() || slice::is_known_by_time(run);
        let (runs, cut_short): (Vec<&Run>, Vec<&Run>) = runs.take(MOST_ROUNDS).partition(is_whole);
        Side { name: name.into(), runs, cut_short: cut_short.len() }
    }
}

/// How the rounds of the two sides lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// Made by turns, so that round 3 of one ran beside round 3 of the other: each pair gives a ratio.
    Interleaved,
    /// Made at different times.
    Apart,
}

/// What became of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What sentences call the first side.
    pub a: String,
    /// What sentences call the second side, whose change is judged.
    pub b: String,
    /// Whole rounds of each.
    pub rounds: [usize; 2],
    /// How the rounds lie.
    pub lie: Rounds,
    /// Of services, what of their time is compared.
    pub served: Option<Served>,
    /// One for each of [`METRICS`], of services of [`SERVICE_METRICS`], that both sides know.
    pub rows: Vec<Row>,
    /// What to know when reading it, each a sentence with its remedy.
    pub notes: Vec<Note>,
}

/// What of two services' time is compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Served {
    /// How long that is, in nanoseconds: without what came before the load, the warm-up, and what came after the load.
    pub compared_ns: [u64; 2],
    /// How long all recordings of a side are, in nanoseconds.
    pub recorded_ns: [u64; 2],
    /// The shortest and the longest blocks that a metric has, in nanoseconds; `None` where recordings are the rounds.
    pub blocks_ns: Option<[u64; 2]>,
    /// What stands for the load: polls a second, of what is compared.
    pub polls_per_s: [f64; 2],
    /// Whether that differs, by more than its noise and by more than matters.
    pub load_differs: bool,
}

/// One metric of both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which.
    pub metric: &'static Metric,
    /// The first side's value, in the metric's unit, as other reports show it: a percentile of all rounds put together, the mean
    /// of what is measured once a round.
    pub a: f64,
    /// The second side's.
    pub b: f64,
    /// Second by first; `None` where one of them is 0.
    pub ratio: Option<f64>,
    /// The ends of the ratio's 95 % interval, which the ratio lies between: a lower end of 0 or an upper one of infinity is open.
    /// `None` where there is none.
    pub interval: Option<[f64; 2]>,
    /// What the interval was made from.
    pub basis: Basis,
    /// What it comes to.
    pub verdict: Verdict,
    /// Why that is inconclusive; `None` where it is not.
    pub open: Option<Open>,
}

/// Why a metric is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Fewer than [`LEAST_ROUNDS`], and the samples do not lie far apart.
    FewRounds,
    /// The interval holds a change in either direction.
    Spans,
    /// The interval excludes no change, but among so many metrics one does by chance.
    Chance,
    /// The change is too small to matter, and its interval has room for one that is not.
    Small,
    /// Of a service: fewer than five blocks of a side.
    Short,
    /// Of a service: the interval excludes no change, but two starts of one build may differ by as much.
    Starts,
    /// Of a service: the load differed, and can be the reason.
    Load,
}

impl Open {
    /// All of them.
    pub const ALL: [Open; 7] =
        [Open::FewRounds, Open::Spans, Open::Chance, Open::Small, Open::Short, Open::Starts, Open::Load];

    /// Beside a verdict, and in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Open::FewRounds => "few",
            Open::Spans => "spans 1",
            Open::Chance => "chance",
            Open::Small => "small",
            Open::Short => "short",
            Open::Starts => "starts",
            Open::Load => "load",
        }
    }

    /// What that means, without a full stop.
    pub fn meaning(self) -> String {
        match self {
            Open::FewRounds => {
                format!("with fewer than {LEAST_ROUNDS} rounds of a side, the noise between rounds is unknown")
            }
            Open::Spans => "the interval has room for a change either way".to_owned(),
            Open::Chance => "it may be chance: of so many metrics, one or the other differs as much".to_owned(),
            Open::Small => "a change that hardly matters, with room for one that does".to_owned(),
            Open::Short => {
                let least = blocks::LEAST;
                format!("with fewer than {least} blocks of a side, the noise between blocks is unknown")
            }
            Open::Starts => "a change, but one that two starts of one build may show".to_owned(),
            Open::Load => "the load differed, and can be the reason".to_owned(),
        }
    }
}

/// What an interval was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The differences between rounds.
    Rounds,
    /// The differences between blocks of a service's time.
    Blocks,
    /// The samples within the runs, which know nothing of the noise between runs.
    Samples,
    /// Nothing: there are too few rounds, and no samples.
    Nothing,
}

impl Basis {
    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Basis::Rounds => "rounds",
            Basis::Blocks => "blocks",
            Basis::Samples => "samples",
            Basis::Nothing => "none",
        }
    }
}

/// What a comparison of one metric comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The second side is better, beyond noise.
    Better,
    /// The second side is worse, beyond noise.
    Worse,
    /// A difference that would matter is ruled out, or is smaller than what matters.
    NoDifference,
    /// The noise leaves it open.
    Inconclusive,
}

impl Verdict {
    /// The words used in reports and in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::NoDifference => "no difference",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

/// What to know when reading a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// Something differs, and what else the machine did can be the reason.
    Apart,
    /// A side has so few rounds that the noise between them is unknown.
    TooFewRounds,
    /// The same, of what has no rounds: a service, or a process.
    OneRecording,
    /// A service of which there are fewer than [`LEAST_ROUNDS`] recordings: how much starts differ is unknown.
    OneStart,
    /// A service's recordings are too short: how long is compared of the shorter, and how long would do for now, in nanoseconds.
    TooShort {
        /// Of the shorter side.
        compared_ns: u64,
        /// At least.
        needed_ns: u64,
    },
    /// The load of the two differed: polls a second.
    Load([f64; 2]),
    /// Metrics that the rounds there are leave open.
    Open(Vec<&'static str>),
    /// A metric rose or fell from round to round: side, metric, last third by first third.
    Trend(String, &'static str, f64),
    /// Round 1 of a side lies apart from its others: side, metrics.
    FirstRound(String, Vec<&'static str>),
    /// Runs of a side that were cut short, and left out.
    CutShort(String, usize),
}

impl Comparison {
    /// What all metrics come to. What the loop's users feel decides before what it costs; it is [`Overall::NoDifference`] where
    /// none is better or worse and most rule out what would matter, of a service at least half.
    pub fn verdict(&self) -> Overall {
        let has =
            |verdict, price| self.rows.iter().filter(move |row| row.verdict == verdict && row.metric.is_price == price);
        let count = |price| (has(Verdict::Better, price).count(), has(Verdict::Worse, price).count());
        let same = [false, true].iter().map(|price| has(Verdict::NoDifference, *price).count()).sum::<usize>();
        // Samples within a run never show that there is none.
        // Of a service there are few, and in two of them, the tails, each half minute differs from the next.
        let is_half = self.served.is_some() && same > 0;
        let could = self.rows.iter().filter(|row| row.basis != Basis::Samples).count();
        match [count(false), count(true)].into_iter().find(|counts| *counts != (0, 0)) {
            None if 2 * same > could || is_half && 2 * same == could => Overall::NoDifference,
            None => Overall::Inconclusive,
            Some((_, 0)) => Overall::Better,
            Some((0, _)) => Overall::Worse,
            Some(_) => Overall::Mixed,
        }
    }

    /// The row of a metric, by its key.
    pub fn row(&self, key: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.metric.key == key)
    }
}

/// What a whole comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overall {
    /// Something is better, and nothing worse.
    Better,
    /// Something is worse, and nothing better.
    Worse,
    /// Some of each.
    Mixed,
    /// Nothing differs, as far as can be told.
    NoDifference,
    /// Too little is known.
    Inconclusive,
}

impl Overall {
    /// The words in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Overall::Better => "better",
            Overall::Worse => "worse",
            Overall::Mixed => "mixed",
            Overall::NoDifference => "no difference",
            Overall::Inconclusive => "inconclusive",
        }
    }
}

/// Compares two sides. `comparisons` (at least 1) is how many the reader is shown at once: the more there are, the more one
/// must differ to count.
///
/// ```
/// use pollscope_record::compare::{Overall, Rounds, Side, compare, conclusion};
/// let nothing = |name| Side::new(std::iter::empty(), name);
/// let comparison = compare(&nothing("naive"), &nothing("offloaded"), Rounds::Interleaved, 1);
/// assert_eq!(comparison.verdict(), Overall::Inconclusive);
/// assert_eq!(conclusion(&comparison), "too little is known to tell naive from offloaded");
/// ```
pub fn compare(a: &Side, b: &Side, lie: Rounds, comparisons: usize) -> Comparison {
    if let Some(served) = served::compare(a, b, comparisons) {
        return served;
    }
    let family = comparisons.max(1) * METRICS.len();
    let rows: Vec<Row> = METRICS.iter().filter_map(|metric| judge::row(metric, a, b, lie, family)).collect();
    let rounds = [a.runs.len(), b.runs.len()];
    let mut notes = Vec::new();
    let differs = rows.iter().any(|row| matches!(row.verdict, Verdict::Better | Verdict::Worse));
    notes.extend((differs && lie == Rounds::Apart).then_some(Note::Apart));
    if rounds.iter().any(|&rounds| rounds < LEAST_ROUNDS) {
        let is_scenario = |run: &&Run| matches!(run.subject, Subject::Scenario(_));
        let has_rounds = a.runs.iter().chain(&b.runs).all(is_scenario);
        notes.push(if has_rounds { Note::TooFewRounds } else { Note::OneRecording });
    } else if rounds.iter().any(|&rounds| rounds < ADVISED_ROUNDS) {
        let open = rows.iter().filter(|row| row.verdict == Verdict::Inconclusive).map(|row| row.metric.name);
        let open: Vec<&str> = open.collect();
        notes.extend((!open.is_empty()).then_some(Note::Open(open)));
    }
    [a, b].into_iter().for_each(|side| notes.extend(side_notes(side)));
    Comparison { a: a.name.clone(), b: b.name.clone(), rounds, lie, served: None, rows, notes }
}

/// What to know of a side's rounds.
fn side_notes(side: &Side) -> Vec<Note> {
    let mut notes = drift::notes(side);
    notes.extend((side.cut_short > 0).then(|| Note::CutShort(side.name.clone(), side.cut_short)));
    notes
}
