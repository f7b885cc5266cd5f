//! Turns the TOML twin into a scenario: adds defaults, and checks bounds and what excludes what.

use std::time::Duration;

use super::{
    BlockTable, Gates, MergeTable, RuntimeTable, ScenarioFile, SinkTable, Time, TimeOrOff, Whole, WitnessTable, Words,
};
use crate::pipeline::sink::Mode;
use crate::scenario::{
    BlockKind, BlockSettings, Flavor, MergeSettings, ResponseSettings, RuntimeSettings, Scenario, Settings,
    SinkSettings, WitnessSettings, Workload,
};
use pollscope_record::gate::{Gate, GateError};
use pollscope_record::snippet::nearest;
use pollscope_record::units::{format_bytes, format_count, parse_duration, setting_duration};

/// What is wrong with a value. [`super::source`] knows where it was written.
pub(super) struct Fault {
    pub(super) key: &'static str,
    /// Keys to show instead if `key` itself has its default.
    pub(super) others: &'static [&'static str],
    pub(super) cause: FaultCause,
}

/// Why a value is wrong.
pub(super) enum FaultCause {
    Value {
        reason: String,
        help: Option<String>,
    },
    /// The expectation with this index is wrong.
    Gate(usize, GateError),
}

impl Fault {
    fn new(key: &'static str, reason: impl Into<String>) -> Fault {
        Fault { key, others: &[], cause: FaultCause::Value { reason: reason.into(), help: None } }
    }

    fn help(mut self, text: impl Into<String>) -> Fault {
        if let FaultCause::Value { help, .. } = &mut self.cause {
            *help = Some(text.into());
        }
        self
    }

    fn or_at(mut self, others: &'static [&'static str]) -> Fault {
        self.others = others;
        self
    }
}

/// The largest merge, in bytes.
const MAX_MERGE_BYTES: u128 = 10 << 30;

/// As many as a comparison needs to pair them; docs/how-it-works.md explains what fewer and more rounds are worth.
const DEFAULT_ROUNDS: u64 = 5;

/// The assumed length of a line's path and number; the real one is known only when the line is written.
const NAME_BYTES: u128 = 64;

pub(super) fn scenario(name: String, file: ScenarioFile) -> Result<Scenario, Fault> {
    let question = prose("question", file.question)?;
    if question.contains('\n') {
        return Err(Fault::new("question", "has several lines").help("write one line here, and the rest in `why`"));
    }
    let why = prose("why", file.why)?;
    let expect = gates(file.expect.gates)?;
    let workload = match (file.merge, file.block) {
        (Some(_), Some(_)) => {
            return Err(Fault::new("block", "excludes `merge`: a scenario runs one of them")
                .help("keep either `[merge]` or `[block]`, or start from another scenario"));
        }
        (None, Some(given)) => Workload::Block(block(given)?),
        (given, None) => Workload::Merge(merge(given.unwrap_or_default())?),
    };
    let rounds = count("rounds", file.rounds, DEFAULT_ROUNDS, 1, 100)?;
    let runtime = runtime(file.runtime)?;
    let settings = Settings {
        runtime,
        modes: modes(file.modes, runtime.flavor, &workload)?,
        workload,
        rounds,
        // Several rounds are for comparison, and the very first is often unlike the others.
        warmup: count("warmup", file.warmup, u64::from(rounds > 1), 0, 100)?,
        slow_poll: time("slow_poll", file.slow_poll, "100ms", "1us", "1h")?,
        witness: witness(file.witness)?,
        seed: count("seed", file.seed, 1, 0, i64::MAX as u64)?,
        sample_every: time("sample_every", file.sample_every, "100ms", "1ms", "1h")?,
    };
    Ok(Scenario { name, question, why, expect, settings, changed: Vec::new() })
}

fn prose(key: &'static str, given: Option<String>) -> Result<String, Fault> {
    match given.as_deref().map(str::trim) {
        None => Err(Fault::new(key, "is missing").help(format!("add `{key} = \"…\"` at the top of the file"))),
        Some("") => Err(Fault::new(key, "is empty").help("say in a sentence what the scenario is for")),
        Some(text) => Ok(text.to_owned()),
    }
}

fn gates(given: Option<Gates>) -> Result<Vec<Gate>, Fault> {
    let texts = given.map(|Gates(texts)| texts).unwrap_or_default();
    if texts.is_empty() {
        let help = "say what must come out: add `[expect]` and `gates = [\"merge.verdict == ok\"]`";
        return Err(Fault::new("expect.gates", "is missing").or_at(&["expect"]).help(help));
    }
    let gate = |(index, text): (usize, &String)| {
        let known = Mode::ALL.map(Mode::as_str);
        let gate = Gate::parse(text).and_then(|gate| gate.check_groups(&known).map(|()| gate));
        gate.map_err(|error| Fault { key: "expect.gates", others: &[], cause: FaultCause::Gate(index, error) })
    };
    texts.iter().enumerate().map(gate).collect()
}

/// Why a mode is impossible here, and what to do about it.
fn no_mode_here(mode: Mode, flavor: Flavor, workload: &Workload) -> Option<(&'static str, &'static str)> {
    match mode {
        Mode::BlockInPlace if flavor == Flavor::CurrentThread => Some((
            "needs other workers to give its tasks to, and a `current_thread` runtime has none",
            "leave it out, or pass `--set runtime.flavor=multi_thread`",
        )),
        Mode::TokioFs if matches!(workload, Workload::Block(_)) => {
            Some(("writes files, and a `[block]` scenario has none", "leave it out, or choose `spawn-blocking`"))
        }
        _ => None,
    }
}

fn modes(given: Option<Words>, flavor: Flavor, workload: &Workload) -> Result<Vec<Mode>, Fault> {
    let Some(Words(names)) = given else { return Ok(vec![Mode::Naive, Mode::Offloaded]) };
    if names == ["all"] {
        return Ok(Mode::ALL.into_iter().filter(|&mode| no_mode_here(mode, flavor, workload).is_none()).collect());
    }
    let known: Vec<&str> = Mode::ALL.iter().map(|mode| mode.as_str()).collect();
    let all = known.iter().map(|mode| format!("`{mode}`")).collect::<Vec<_>>().join(", ");
    let mut modes = Vec::new();
    for name in &names {
        let Some(mode) = Mode::from_name(name) else {
            let fault = Fault::new("modes", format!("has `{name}`, which is no mode; write some of {all}"));
            return Err(match nearest(name, known) {
                Some(near) => fault.help(format!("did you mean `{near}`?")),
                None => fault,
            });
        };
        if modes.contains(&mode) {
            let help = "name each mode once; `rounds` runs every mode several times";
            return Err(Fault::new("modes", format!("has `{name}` twice")).help(help));
        }
        if let Some((why, help)) = no_mode_here(mode, flavor, workload) {
            return Err(Fault::new("modes", format!("has `{name}`, which {why}"))
                .or_at(&["runtime.flavor"])
                .help(help));
        }
        modes.push(mode);
    }
    if modes.is_empty() {
        return Err(Fault::new("modes", format!("is empty, but must name at least one mode of {all}")));
    }
    Ok(modes)
}

fn runtime(given: RuntimeTable) -> Result<RuntimeSettings, Fault> {
    let flavors = [Flavor::CurrentThread, Flavor::MultiThread].map(|flavor| (flavor.as_str(), flavor));
    let flavor = word("runtime.flavor", given.flavor, &flavors)?.unwrap_or(Flavor::CurrentThread);
    let default = if flavor == Flavor::CurrentThread { 1 } else { 4 };
    let workers = count("runtime.workers", given.workers, default, 1, 64)?;
    if flavor == Flavor::CurrentThread && workers != 1 {
        return Err(Fault::new(
            "runtime.workers",
            format!("is {workers}, but a `current_thread` runtime has 1 worker"),
        )
        .help("leave it out, or write `flavor = \"multi_thread\"`"));
    }
    Ok(RuntimeSettings { flavor, workers })
}

fn merge(given: MergeTable) -> Result<MergeSettings, Fault> {
    let settings = MergeSettings {
        inputs: count("merge.inputs", given.inputs, 5, 1, 5_000)?,
        lines: count("merge.lines", given.lines, 10, 1, 10_000_000)?,
        max_wait: time("merge.max_wait", given.max_wait, "100ms", "1us", "1h")?,
        letters: count("merge.letters", given.letters, 10, 1, 1_000_000)?,
        poll_interval: time("merge.poll_interval", given.poll_interval, "100ms", "1ms", "1h")?,
        batch: count("merge.batch", given.batch, 1, 1, 1_000_000)?,
        close_after: time("merge.close_after", given.close_after, "1s", "0", "1h")?,
        sink: sink(given.sink)?,
    };
    let bytes = settings.inputs as u128 * u128::from(settings.lines) * (settings.letters as u128 + NAME_BYTES);
    if bytes > MAX_MERGE_BYTES {
        let planned = format_bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
        let reason =
            format!("is {}: the merge would write about {planned}, but must stay within 10 GiB", settings.lines);
        return Err(Fault::new("merge.lines", reason)
            .or_at(&["merge.letters", "merge.inputs"])
            .help("lower `merge.inputs`, `merge.lines` or `merge.letters`"));
    }
    Ok(settings)
}

fn sink(given: SinkTable) -> Result<SinkSettings, Fault> {
    let kinds = [("file", false), ("fifo", true)];
    let is_fifo = word("merge.sink.kind", given.kind, &kinds)?.unwrap_or(false);
    let only_for = |key, kind| {
        Fault::new(key, format!("is only for `kind = \"{kind}\"`")).help("leave it out, or write that `kind`")
    };
    if !is_fifo {
        for (key, given) in [("merge.sink.pause", given.pause), ("merge.sink.every", given.every)] {
            if given.is_some() {
                return Err(only_for(key, "fifo"));
            }
        }
        return Ok(SinkSettings::File {
            sync_every: count("merge.sink.sync_every", given.sync_every, 0, 0, 10_000_000)?,
        });
    }
    if given.sync_every.is_some() {
        return Err(only_for("merge.sink.sync_every", "file"));
    }
    let every = time("merge.sink.every", given.every, "500ms", "1us", "1h")?;
    let pause = time("merge.sink.pause", given.pause, "200ms", "0", "1h")?;
    if pause >= every {
        let (pause, every) = (setting_duration(pause), setting_duration(every));
        let reason = format!("is {pause}, but must be less than `merge.sink.every`, which is {every}");
        return Err(Fault::new("merge.sink.pause", reason).or_at(&["merge.sink.every"]));
    }
    Ok(SinkSettings::Fifo { pause, every })
}

fn block(given: BlockTable) -> Result<BlockSettings, Fault> {
    let how = word("block.how", given.how, &[("sleep", BlockKind::Sleep), ("spin", BlockKind::Spin)])?;
    Ok(BlockSettings {
        tasks: count("block.tasks", given.tasks, 1, 1, 10_000)?,
        duration: time("block.duration", given.duration, "500ms", "1us", "60s")?,
        how: how.unwrap_or(BlockKind::Sleep),
        after: time("block.after", given.after, "250ms", "0", "1h")?,
        run_for: time("block.run_for", given.run_for, "1500ms", "0", "1h")?,
    })
}

fn witness(given: WitnessTable) -> Result<WitnessSettings, Fault> {
    let lag = periodic("witness.lag", given.lag)?;
    let connections = count("witness.connections", given.connections, 1, 1, 1_000)?;
    let response = periodic("witness.response", given.response)?;
    Ok(WitnessSettings { lag, response: response.map(|every| ResponseSettings { every, connections }) })
}

fn periodic(key: &'static str, given: Option<TimeOrOff>) -> Result<Option<Duration>, Fault> {
    match given {
        Some(TimeOrOff(None)) => Ok(None),
        Some(TimeOrOff(Some(period))) => time(key, Some(Time(period)), "10ms", "1ms", "1h").map(Some),
        None => time(key, None, "10ms", "1ms", "1h").map(Some),
    }
}

/// A whole number from `min` to `max`, which fit in `T`.
fn count<T: TryFrom<i128>>(
    key: &'static str,
    given: Option<Whole>,
    default: u64,
    min: u64,
    max: u64,
) -> Result<T, Fault> {
    let number = given.map_or(i128::from(default), |Whole(number)| number);
    let within = (i128::from(min)..=i128::from(max)).contains(&number);
    match T::try_from(number) {
        Ok(number) if within => Ok(number),
        _ => {
            let (min, max) = (format_count(min), format_count(max));
            Err(Fault::new(key, format!("is {number}, but must be from {min} to {max}")))
        }
    }
}

/// A duration from `min` to `max`. The bounds are texts, so that the message shows them as they are written here.
fn time(key: &'static str, given: Option<Time>, default: &str, min: &str, max: &str) -> Result<Duration, Fault> {
    let constant = |text| parse_duration(text).expect("a bound or default of this file is a duration");
    let duration = given.map_or_else(|| constant(default), |Time(duration)| duration);
    if (constant(min)..=constant(max)).contains(&duration) {
        return Ok(duration);
    }
    Err(Fault::new(key, format!("is {}, but must be from {min} to {max}", setting_duration(duration))))
}

fn word<T: Copy>(key: &'static str, given: Option<String>, known: &[(&'static str, T)]) -> Result<Option<T>, Fault> {
    let Some(given) = given else { return Ok(None) };
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == given) {
        return Ok(Some(*value));
    }
    let words = || known.iter().map(|(word, _)| *word);
    let all = words().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let fault = Fault::new(key, format!("is `{given}`, but must be {all}"));
    Err(match nearest(&given, words()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    })
}
