//! Two services, or two builds of one: what stands for the rounds of a scenario, and what their load has to do with it.
//!
//! From three recordings a side on, they are the rounds: each is a start of the service, and starts differ. With fewer, the rounds are
//! blocks of the service's own time, which know nothing of how starts differ: a change has to be beyond that as well.

use super::interval::{Estimate, counts_differ_by_chance, of_blocks, of_rounds};
use super::judge::{Judged, between_rounds, changed, ends, excludes_none, open};
use super::metric::{Load, Of, SERVICE_METRICS};
use super::sample::Sample;
use super::slice::{Stretch, are_one_after_the_other};
use super::{
    Basis, Comparison, LEAST_ROUNDS, Metric, Note, Open, Rounds, Row, Served, Side, Verdict, blocks, judge, side_notes,
};

/// Two starts of one build differ by less than this: where memory lies, which thread has which task, what else the machine does.
pub(super) const STARTS: f64 = 1.25;
/// Loads that differ by less than this are alike.
pub(super) const ALIKE: f64 = 1.25;

/// Compares the services of both sides; `None` where one is none, or what its polls were from time to time is not known.
pub(super) fn compare(a: &Side, b: &Side, comparisons: usize) -> Option<Comparison> {
    let are_rounds = |side: &&Side| side.runs.len() >= LEAST_ROUNDS && are_one_after_the_other(&side.runs);
    let are_many = [a, b].iter().all(are_rounds);
    let by_recording = || Some([Stretch::of_recordings(a)?, Stretch::of_recordings(b)?]);
    let (stretches, how) = match by_recording().filter(|_| are_many) {
        Some(stretches) => (stretches, How::Recordings),
        None => (Stretch::of_both(a, b)?, How::Blocks),
    };
    let loads = Loads::of(&stretches, how);
    let known: Vec<Known> = SERVICE_METRICS.iter().filter_map(|metric| Known::of(metric, &stretches, how)).collect();
    // What intervals do not know is compared as of the whole recordings.
    let is_other = |metric: &&Metric| known.iter().all(|known| known.metric != *metric);
    let others = |family| {
        let others = SERVICE_METRICS.iter().filter(is_other);
        others.filter_map(move |metric| judge::row(metric, a, b, Rounds::Apart, family))
    };
    // The more can differ, the more one must to count.
    let can_differ = if how == How::Blocks { known.len() } else { known.len() + others(1).count() };
    let family = comparisons.max(1) * can_differ.max(1);
    let both = Both { stretches: &stretches, how, loads: &loads, family };
    let others = others(family).map(|row| both.of_whole_recordings(row));
    let mut rows: Vec<Row> = known.iter().map(|known| both.row(known)).chain(others).collect();
    rows.sort_by_key(|row| SERVICE_METRICS.iter().position(|metric| metric == row.metric));
    let served = Served {
        compared_ns: stretches.each_ref().map(Stretch::compared_ns),
        recorded_ns: stretches.each_ref().map(|stretch| stretch.recorded_ns),
        blocks_ns: how.blocks_ns(&known, &stretches),
        polls_per_s: loads.polls_per_s,
        load_differs: loads.differ,
    };
    let mut notes = Vec::new();
    let differs = rows.iter().any(|row| matches!(row.verdict, Verdict::Better | Verdict::Worse));
    notes.extend(differs.then_some(Note::Apart));
    if how == How::Blocks {
        notes.push(too_short(&known, &stretches).unwrap_or(Note::OneStart));
    }
    notes.extend(loads.differ.then_some(Note::Load(loads.polls_per_s)));
    [a, b].into_iter().for_each(|side| notes.extend(side_notes(side)));
    let (a_name, b_name) = (a.name.clone(), b.name.clone());
    let rounds = [a.runs.len(), b.runs.len()];
    Some(Comparison { a: a_name, b: b_name, rounds, lie: Rounds::Apart, served: Some(served), rows, notes })
}

/// What stands for rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Recordings,
    Blocks,
}

impl How {
    /// Of how many slices the blocks of both sides are.
    fn length(self, [a, b]: [&Sample; 2], scale: fn(f64) -> f64) -> usize {
        let of = |sample: &Sample| blocks::length(&sample.rounds.iter().copied().map(scale).collect::<Vec<f64>>());
        match self {
            How::Recordings => 1,
            How::Blocks => of(a).max(of(b)),
        }
    }

    /// `None` where there are too few.
    fn estimate(self, [a, b]: [&Sample; 2], scale: fn(f64) -> f64, family: usize) -> Option<Estimate> {
        let (length, least) = (self.length([a, b], scale), a.rounds.len().min(b.rounds.len()));
        match self {
            How::Recordings => (least >= LEAST_ROUNDS).then(|| of_rounds(a, b, false, scale, family)),
            How::Blocks => (least >= blocks::LEAST * length).then(|| of_blocks(a, b, length, scale, family)),
        }
    }

    /// How long the shortest and the longest blocks are.
    fn blocks_ns(self, known: &[Known], stretches: &[Stretch; 2]) -> Option<[u64; 2]> {
        let lengths = || known.iter().map(|known| known.length as u64 * slice_ns(stretches));
        lengths().min().zip(lengths().max()).map(|(least, most)| [least, most]).filter(|_| self == How::Blocks)
    }

    fn basis(self) -> Basis {
        match self {
            How::Recordings => Basis::Rounds,
            How::Blocks => Basis::Blocks,
        }
    }

    fn too_few(self) -> Open {
        match self {
            How::Recordings => Open::FewRounds,
            How::Blocks => Open::Short,
        }
    }
}

/// How much both had to do, as far as polls tell.
struct Loads {
    polls_per_s: [f64; 2],
    differ: bool,
}

impl Loads {
    /// They differ if the polls of a second do, beyond what matters and beyond their noise.
    fn of(stretches: &[Stretch; 2], how: How) -> Loads {
        let [Some(a), Some(b)] = stretches.each_ref().map(|stretch| Sample::of_load(&stretch.slices)) else {
            return Loads { polls_per_s: [0.0; 2], differ: false };
        };
        let is_apart = (b.value / a.value).ln().abs() >= ALIKE.ln();
        let is_noise = || how.estimate([&a, &b], f64::ln_1p, 1).is_some_and(|estimate| !excludes_none(estimate.plain));
        Loads { polls_per_s: [a.value, b.value], differ: is_apart && !is_noise() }
    }

    /// The second by the first.
    fn ratio(&self) -> f64 {
        self.polls_per_s[1] / self.polls_per_s[0]
    }
}

/// How long a slice is.
fn slice_ns(stretches: &[Stretch; 2]) -> u64 {
    let slices: usize = stretches.iter().map(|stretch| stretch.slices.len()).sum();
    stretches.iter().map(Stretch::compared_ns).sum::<u64>() / slices.max(1) as u64
}

/// How long a recording would have to be, where one is too short for some metric.
fn too_short(known: &[Known], stretches: &[Stretch; 2]) -> Option<Note> {
    let is_short = |known: &&Known| known.slices() < blocks::LEAST * known.length;
    let longest = known.iter().filter(is_short).map(|known| known.length).max()?;
    let compared_ns = stretches.iter().map(Stretch::compared_ns).min()?;
    Some(Note::TooShort { compared_ns, needed_ns: (blocks::LEAST * longest) as u64 * slice_ns(stretches) })
}

/// A metric that the slices of both sides know.
struct Known {
    metric: &'static Metric,
    samples: [Sample; 2],
    /// Slices of a block.
    length: usize,
}

impl Known {
    fn of(metric: &'static Metric, [a, b]: &[Stretch; 2], how: How) -> Option<Known> {
        let samples = [Sample::of_slices(metric, &a.slices)?, Sample::of_slices(metric, &b.slices)?];
        if !is_count(metric) && samples.iter().any(|sample| sample.value <= 0.0) {
            return None;
        }
        let length = how.length(samples.each_ref(), if is_count(metric) { f64::sqrt } else { f64::ln });
        Some(Known { metric, samples, length })
    }

    /// Of the side that has fewer.
    fn slices(&self) -> usize {
        let [a, b] = &self.samples;
        a.rounds.len().min(b.rounds.len())
    }
}

fn is_count(metric: &Metric) -> bool {
    metric.of == Of::SlowRate
}

/// Both sides, and how they are compared.
struct Both<'s> {
    stretches: &'s [Stretch; 2],
    how: How,
    loads: &'s Loads,
    family: usize,
}

impl Both<'_> {
    fn row(&self, Known { metric, samples: [a, b], .. }: &Known) -> Row {
        let ratio = (a.value > 0.0 && b.value > 0.0).then(|| b.value / a.value);
        let (interval, judged) = if is_count(metric) {
            (None, self.counted(metric, [a, b], metric.least, Stretch::compared_ns))
        } else {
            self.timed(metric, [a, b], metric.least)
        };
        let (verdict, open) = self.under_load(metric, judged);
        let is_known = open != Some(self.how.too_few());
        let basis = if is_known { self.how.basis() } else { Basis::Nothing };
        Row { metric, a: a.value, b: b.value, ratio, interval, basis, verdict, open }
    }

    /// What is not known by time has no blocks. The samples of a recording are far more alike than those of two: on a busy machine
    /// a p99 of one build was three times another's, without their intervals touching. So it is shown, and decides nothing.
    fn of_whole_recordings(&self, row: Row) -> Row {
        let (verdict, open) = match (self.how, row.verdict) {
            (How::Blocks, Verdict::Inconclusive) | (How::Recordings, _) => {
                self.under_load(row.metric, (row.verdict, row.open))
            }
            (How::Blocks, _) => open(Open::FewRounds),
        };
        Row { verdict, open, ..row }
    }

    /// Its interval, and what it comes to.
    fn timed(&self, metric: &Metric, [a, b]: [&Sample; 2], least: f64) -> (Option<[f64; 2]>, Judged) {
        let ratio = b.value / a.value;
        let Some(estimate) = self.how.estimate([a, b], f64::ln, self.family) else {
            return (None, open(self.how.too_few()));
        };
        let moved = ratio.ln().abs() >= metric.least_ratio.ln() && (b.value - a.value).abs() >= least;
        let judged = match self.how {
            How::Recordings => between_rounds(metric, &estimate, moved),
            How::Blocks => between_blocks(metric, &estimate, moved),
        };
        let judged = match judged.0 {
            Verdict::NoDifference if !self.would_be_none(metric, &estimate) => open(Open::Load),
            _ => judged,
        };
        (ends(ratio, estimate.plain.map(f64::exp)), judged)
    }

    /// Whether a metric that more load worsens would not differ under the same load either: had it grown as the load did, or not at all.
    fn would_be_none(&self, metric: &Metric, estimate: &Estimate) -> bool {
        if !self.loads.differ || metric.load != Load::Worsens {
            return true;
        }
        let grown = self.loads.ratio().ln();
        let [low, high] = estimate.plain;
        let room = room(metric);
        low - grown.max(0.0) >= -room && high - grown.min(0.0) <= room
    }

    /// Slow polls come in bursts: their sums must differ by more than chance, and their blocks by more than the noise between them.
    fn counted(&self, metric: &Metric, [a, b]: [&Sample; 2], least: f64, exposure: fn(&Stretch) -> u64) -> Judged {
        let moved =
            (b.value - a.value).abs() >= least && a.value.max(b.value) >= metric.least_ratio * a.value.min(b.value);
        // The square root makes a count's noise the same whatever the count.
        let Some(estimate) = self.how.estimate([a, b], f64::sqrt, self.family) else {
            return open(self.how.too_few());
        };
        let slow = |stretch: &Stretch| stretch.slices.iter().filter_map(|slice| slice.slow).sum::<u64>() as f64;
        let exposed = self.stretches.each_ref().map(|stretch| exposure(stretch) as usize);
        let chance = counts_differ_by_chance(self.stretches.each_ref().map(slow), exposed) * self.family as f64;
        match moved {
            false => (Verdict::NoDifference, None),
            true if chance < 0.05 && excludes_none(estimate.strict) => (changed(metric, b.value > a.value), None),
            true => open(Open::Chance),
        }
    }

    /// Where the loads differ, a change counts that goes against what the load does; and one of what comes with polls that is one by
    /// time and by the poll.
    fn under_load(&self, metric: &Metric, judged: Judged) -> Judged {
        if !self.loads.differ || judged.0 == Verdict::Inconclusive {
            return judged;
        }
        let stands = match (metric.load, judged.0) {
            (Load::Adds, verdict) => self.by_the_poll(metric).is_some_and(|by_poll| by_poll.0 == verdict),
            (Load::Worsens, Verdict::Better) => self.loads.ratio() > 1.0,
            (Load::Worsens, Verdict::Worse) => self.loads.ratio() < 1.0,
            // That was looked at with the interval.
            (Load::Worsens, _) => true,
        };
        if stands { judged } else { open(Open::Load) }
    }

    fn by_the_poll(&self, metric: &Metric) -> Option<Judged> {
        let of = |stretch: &Stretch| Sample::by_the_poll(metric, &stretch.slices);
        let [a, b] = self.stretches.each_ref().map(of);
        let (a, b) = (a?, b?);
        if is_count(metric) {
            // As few as a minute's, at the lower load.
            let least = metric.least / (60.0 * self.loads.polls_per_s[0].min(self.loads.polls_per_s[1]));
            let polls = |stretch: &Stretch| stretch.slices.iter().map(|slice| slice.polls.count()).sum();
            return Some(self.counted(metric, [&a, &b], least, polls));
        }
        (a.value > 0.0 && b.value > 0.0).then(|| self.timed(metric, [&a, &b], 0.0).1)
    }
}

/// Within this, as a logarithm, a change is none: the square of what matters.
fn room(metric: &Metric) -> f64 {
    2.0 * metric.least_ratio.ln().max(STARTS.ln())
}

/// A change counts if the family's interval leaves room for none that two starts may differ by.
fn between_blocks(metric: &Metric, estimate: &Estimate, moved: bool) -> Judged {
    let starts = STARTS.ln();
    let is_beyond = estimate.strict[0] > starts || estimate.strict[1] < -starts;
    if moved && is_beyond {
        return (changed(metric, estimate.value > 0.0), None);
    }
    let room = room(metric);
    let is_within = estimate.plain[0] >= -room && estimate.plain[1] <= room;
    match (moved, excludes_none(estimate.plain)) {
        (_, false) | (false, _) if is_within => (Verdict::NoDifference, None),
        (_, false) => open(Open::Spans),
        (true, true) if excludes_none(estimate.strict) => open(Open::Starts),
        (true, true) => open(Open::Chance),
        (false, true) => open(Open::Small),
    }
}
