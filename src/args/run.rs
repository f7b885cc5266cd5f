//! `pollscope run`.

use std::time::Duration;

use clap::builder::StringValueParser;
use clap::error::ErrorKind;
use clap::{Args, ValueHint};

use super::Refusal;
use super::listed::listed;
use super::outputs::{BaselineNames, CliBaseline, CliCommon, Common};
use super::values::{duration, modes_or_all, parse_modes, parse_override, rounds, scenarios, warmup};
use crate::scenario::wire::Override;

#[derive(Debug)]
pub(crate) struct RunRequest {
    /// Names or paths; at least one.
    pub(crate) scenarios: Vec<String>,
    /// In the order in which they apply.
    pub(crate) overrides: Vec<Override>,
    pub(crate) common: Common,
    pub(crate) baseline: BaselineNames,
}

#[derive(Debug, Args)]
pub(super) struct CliRun {
    /// Names of built-in scenarios, as `pollscope scenarios` lists them, or paths of TOML files
    #[arg(value_name = "SCENARIO", default_value = "slow-sink", hide_possible_values = true,
        value_parser = listed(StringValueParser::new(), scenarios))]
    scenarios: Vec<String>,
    /// Run only these modes, with commas between, or all
    #[arg(long, value_name = "MODE,…", value_delimiter = ',', value_parser = listed(parse_modes, modes_or_all))]
    mode: Vec<String>,
    /// Run every mode this many times, interleaved [default: the scenario's, or 5]
    #[arg(long, value_name = "N", value_parser = rounds, value_hint = ValueHint::Other)]
    rounds: Option<u32>,
    /// Discard this many rounds first [default: the scenario's, or 1 if there are several rounds]
    #[arg(long, value_name = "N", value_parser = warmup, value_hint = ValueHint::Other)]
    warmup: Option<u32>,
    /// The shortest slow poll, such as 50ms
    #[arg(long, value_name = "DURATION", value_parser = duration, value_hint = ValueHint::Other)]
    slow: Option<Duration>,
    /// Set any field of the scenario, such as merge.inputs=20 (repeatable; see `pollscope help settings`)
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_override, value_hint = ValueHint::Other)]
    set: Vec<Override>,
    #[command(flatten)]
    baseline: CliBaseline,
    #[command(flatten)]
    common: CliCommon,
}

impl CliRun {
    /// Checks what clap cannot.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let is_for_one = self.common.takes_one_recording() || self.baseline.is_asked();
        if self.scenarios.len() > 1 && is_for_one {
            return Err((
                ErrorKind::ArgumentConflict,
                "a file, a page, a baseline or a format other than text takes one recording, and each scenario makes one: run them one at a time"
                    .to_owned(),
            ));
        }
        if (1..self.mode.len()).any(|i| self.mode[..i].contains(&self.mode[i])) {
            return Err((
                ErrorKind::ArgumentConflict,
                "`--mode` names a mode twice: name each once; `--rounds` repeats them all".to_owned(),
            ));
        }
        Ok(())
    }

    /// `--set`, then the flags, each of which overrides a field too.
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
            baseline: run.baseline.into(),
        }
    }
}
