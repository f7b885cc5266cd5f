//! What was measured: plain data in the middle.

use std::collections::BTreeMap;

use crate::catalog::{Instrument, Load, Metric};

/// One run of one program.
pub(crate) type Sample = BTreeMap<Metric, f64>;

#[derive(Debug, Default)]
pub(crate) struct Results {
    /// By round.
    samples: BTreeMap<(Load, &'static str), Vec<Option<Sample>>>,
    /// Why there is nothing.
    missing: BTreeMap<(Load, &'static str), String>,
    instructions: BTreeMap<&'static str, Result<f64, String>>,
}

impl Results {
    pub(crate) fn add(&mut self, load: Load, instrument: &Instrument, sample: Result<Sample, String>) {
        let key = (load, instrument.name);
        let sample = sample.map_err(|reason| self.missing.insert(key, reason)).ok();
        self.samples.entry(key).or_default().push(sample);
    }

    pub(crate) fn missing(&self, load: Load, instrument: &str) -> Option<&str> {
        self.missing
            .iter()
            .find(|((of, name), _)| *of == load && *name == instrument)
            .map(|(_, reason)| reason.as_str())
    }

    pub(crate) fn add_instructions(&mut self, instrument: &Instrument, count: Result<f64, String>) {
        self.instructions.insert(instrument.name, count);
    }

    pub(crate) fn instructions(&self, instrument: &str) -> Option<f64> {
        self.instructions.get(instrument)?.as_ref().ok().copied()
    }

    /// Why nobody's instructions are known.
    pub(crate) fn no_instructions(&self) -> Option<&str> {
        let known = self.instructions.values().any(Result::is_ok);
        self.instructions.values().find_map(|count| count.as_ref().err()).filter(|_| !known).map(String::as_str)
    }

    fn value(&self, load: Load, instrument: &str, metric: Metric, round: usize) -> Option<f64> {
        let (_, rounds) = self.samples.iter().find(|((of, name), _)| *of == load && *name == instrument)?;
        rounds.get(round)?.as_ref()?.get(&metric).copied()
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
