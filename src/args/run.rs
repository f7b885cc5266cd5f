//! `pollscope run`.

use std::time::Duration;

use clap::Args;
use clap::error::ErrorKind;

use super::Refusal;
use super::outputs::{CliCommon, Common};
use super::values::{baseline, duration, parse_modes, parse_override};
use crate::scenario::wire::Override;

/// What `run` is to do.
#[derive(Debug)]
pub struct RunRequest {
    /// Names or paths; at least one.
    pub scenarios: Vec<String>,
    /// What the command line sets, in order.
    pub overrides: Vec<Override>,
    pub(crate) common: Common,
    /// The name to save the recording under, to be compared with.
    pub save_baseline: Option<String>,
    /// The name of the saved recording to compare with.
    pub baseline: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CliRun {
    /// Names of built-in scenarios, or paths of TOML files
    #[arg(value_name = "SCENARIO", default_value = "merge")]
    scenarios: Vec<String>,
    /// Run only these modes: naive, offloaded, spawn-blocking, tokio-fs, block-in-place; or all
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', value_parser = parse_modes)]
    mode: Vec<String>,
    /// Run every mode this often, interleaved: 5 times, unless said here or in the scenario
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Rounds before those, run and thrown away: 1 if there are several rounds, unless said here or in the scenario
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    warmup: Option<u32>,
    /// What counts as a slow poll, such as 50ms
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    slow: Option<Duration>,
    /// Set any field of the scenario, such as merge.inputs=20 (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override)]
    set: Vec<Override>,
    /// Save the recording as .pollscope/NAME.json in the working directory, to be compared with
    #[arg(long, value_name = "NAME", value_parser = baseline, conflicts_with = "baseline")]
    save_baseline: Option<String>,
    /// Compare with that recording; end with 98 if something is worse beyond noise
    #[arg(long, value_name = "NAME", value_parser = baseline)]
    baseline: Option<String>,
    #[command(flatten)]
    common: CliCommon,
}

impl CliRun {
    /// What no single argument shows.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let is_for_one = self.common.takes_one_recording() || self.save_baseline.is_some() || self.baseline.is_some();
        if self.scenarios.len() > 1 && is_for_one {
            return Err((
                ErrorKind::ArgumentConflict,
                "a file, a baseline or a format other than text takes one recording, and each scenario makes one: run them one by one",
            ));
        }
        if (1..self.mode.len()).any(|i| self.mode[..i].contains(&self.mode[i])) {
            return Err((
                ErrorKind::ArgumentConflict,
                "`--mode` has a mode twice: name each once; `--rounds` repeats them all",
            ));
        }
        Ok(())
    }

    /// The flags that have a field of their own are nothing but overrides of it; they come after `--set`.
    fn overrides(&self) -> Vec<Override> {
        let mut overrides = self.set.clone();
        let mut set = |key: &str, value: String| {
            let parsed = Override::parse(&format!("{key}={value}"));
            overrides.push(parsed.expect("a key of the format and a value that was parsed"));
        };
        if !self.mode.is_empty() {
            set("modes", self.mode.join(","));
        }
        if let Some(rounds) = self.rounds {
            set("rounds", rounds.to_string());
        }
        if let Some(warmup) = self.warmup {
            set("warmup", warmup.to_string());
        }
        if let Some(slow) = self.slow {
            set("slow_poll", crate::units::setting_duration(slow));
        }
        overrides
    }
}

impl From<CliRun> for RunRequest {
    fn from(run: CliRun) -> RunRequest {
        RunRequest {
            overrides: run.overrides(),
            scenarios: run.scenarios,
            common: run.common.into(),
            save_baseline: run.save_baseline,
            baseline: run.baseline,
        }
    }
}
