//! What was measured: plain data in the middle.

use std::collections::BTreeMap;

use crate::catalog::{Instrument, Load, Metric};
use crate::program::Trouble;

/// One run of one program.
pub(crate) type Sample = BTreeMap<Metric, f64>;

#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By round.
    samples: BTreeMap<(Load, &'static str), Vec<Option<Sample>>>,
    /// Every run without a sample, and why.
    troubles: Vec<(Load, &'static str, Trouble)>,
    /// Slices of all rounds that count, and that were left out.
    slices: BTreeMap<(Load, &'static str), (usize, usize)>,
    instructions: BTreeMap<&'static str, Result<f64, Trouble>>,
}

impl Results {
    pub(crate) fn add(&mut self, load: Load, instrument: &Instrument, sample: Result<Sample, Trouble>) {
        let key = (load, instrument.name);
        let sample = sample.map_err(|trouble| self.troubles.push((load, instrument.name, trouble))).ok();
        self.samples.entry(key).or_default().push(sample);
    }

    pub(crate) fn add_slices(&mut self, load: Load, instrument: &Instrument, (kept, left_out): (usize, usize)) {
        let slices = self.slices.entry((load, instrument.name)).or_default();
        *slices = (slices.0 + kept, slices.1 + left_out);
    }

    /// An instrument's: those that count, and those that were left out.
    pub(crate) fn slices(&self, load: Load, instrument: &str) -> (usize, usize) {
        self.slices.get(&(load, instrument)).copied().unwrap_or_default()
    }

    /// All instruments'.
    pub(crate) fn all_slices(&self, load: Load) -> (usize, usize) {
        let slices = self.slices.iter().filter(|((of, _), _)| *of == load);
        slices.fold((0, 0), |all, (_, slices)| (all.0 + slices.0, all.1 + slices.1))
    }

    pub(crate) fn trouble(&self, load: Load, instrument: &str) -> Option<&Trouble> {
        self.troubles.iter().find(|(of, name, _)| *of == load && *name == instrument).map(|(.., trouble)| trouble)
    }

    /// What should have worked and did not, however often it did otherwise: the first time, and how often it did not.
    pub(crate) fn failures(&self) -> BTreeMap<(Load, &'static str), (&Trouble, usize)> {
        let mut failures = BTreeMap::new();
        for (load, instrument, trouble) in &self.troubles {
            if matches!(trouble, Trouble::Failed(_)) {
                failures.entry((*load, *instrument)).or_insert((trouble, 0)).1 += 1;
            }
        }
        failures
    }

    pub(crate) fn add_instructions(&mut self, instrument: &Instrument, count: Result<f64, Trouble>) {
        self.instructions.insert(instrument.name, count);
    }

    pub(crate) fn instructions(&self, instrument: &str) -> Option<f64> {
        self.instructions.get(instrument)?.as_ref().ok().copied()
    }

    /// Why nobody's instructions are known.
    pub(crate) fn no_instructions(&self) -> Option<&Trouble> {
        let known = self.instructions.values().any(Result::is_ok);
        self.instructions.values().find_map(|count| count.as_ref().err()).filter(|_| !known)
    }

    fn value(&self, load: Load, instrument: &str, metric: Metric, round: usize) -> Option<f64> {
        self.samples.get(&(load, instrument))?.get(round)?.as_ref()?.get(&metric).copied()
    }

    fn rounds(&self, load: Load) -> usize {
        self.samples.iter().filter(|((of, _), _)| *of == load).map(|(_, rounds)| rounds.len()).max().unwrap_or(0)
    }

    /// All rounds' values.
    pub(crate) fn values(&self, load: Load, instrument: &str, metric: Metric) -> Vec<f64> {
        self.rounds_of(load, |round| self.value(load, instrument, metric, round))
    }

    /// Something of each round that has it: differences and ratios are taken within a round.
    pub(crate) fn rounds_of(&self, load: Load, f: impl Fn(usize) -> Option<f64>) -> Vec<f64> {
        (0..self.rounds(load)).filter_map(f).collect()
    }

    /// What an instrument adds to its base in one round.
    pub(crate) fn added(&self, load: Load, instrument: &Instrument, metric: Metric, round: usize) -> Option<f64> {
        let base = self.value(load, instrument.base, metric, round)?;
        Some(self.value(load, instrument.name, metric, round)? - base)
    }

    /// Its ratio to another in one round.
    pub(crate) fn ratio(&self, load: Load, instrument: &str, to: &str, metric: Metric, round: usize) -> Option<f64> {
        Some(self.value(load, instrument, metric, round)? / self.value(load, to, metric, round)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_and_how_often_it_was() {
        let [bare, other] = [0, 1].map(|index| &crate::catalog::INSTRUMENTS[index]);
        let mut results = Results::default();
        for round in 0..30 {
            results.add(Load::Yield1, bare, Err(Trouble::Failed(format!("thread {round} panicked"))));
            let busy = Err(Trouble::Unavailable("busy".to_owned()));
            results.add(Load::Yield1, other, if round == 7 { Err(Trouble::Failed("blind".to_owned())) } else { busy });
        }
        let failures = results.failures().into_iter();
        let told: Vec<_> = failures.map(|((_, name), (trouble, runs))| (name, trouble.to_string(), runs)).collect();
        let expected = [(bare.name, "FAILED, thread 0 panicked", 30), (other.name, "FAILED, blind", 1)];
        assert_eq!(told, expected.map(|(name, trouble, runs)| (name, trouble.to_owned(), runs)));
    }
}
