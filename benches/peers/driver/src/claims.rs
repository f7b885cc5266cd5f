//! What the project says of its cost, checked.

use std::fmt;

use crate::catalog::{Load, Metric, instrument};
use crate::results::Results;
use crate::stats::{median, median_interval};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    No,
    /// Not measured, or too seldom.
    Open,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Yes => "yes",
            Verdict::No => "NO",
            Verdict::Open => "open",
        })
    }
}

#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) what: String,
    pub(crate) figure: String,
    pub(crate) target: String,
    pub(crate) verdict: Verdict,
}

const DURATIONS: &str = "pollscope-durations";
const NO_LATENCY: &str = "pollscope-no-latency";
const LATENCY: &str = "pollscope-latency";
const CAPTURE: &str = "pollscope-capture";
/// What the echo service is asked with.
const AT_AN_ECHO: [&str; 3] = [DURATIONS, NO_LATENCY, CAPTURE];
const TRACKING: &str = "tokio-tracking";
/// Nobody measures both with less.
const FLOOR: &str = "tracking-and-counter";
/// The probe has threads of its own, and any thread costs a process that had one only.
const THREAD: &str = "second-thread";
/// Fewer pairs say nothing of a 99.9th percentile.
const PAIRS: usize = 30;
/// An interval that is wider than this has 1.0 in it whatever the truth is.
const WIDEST: f64 = 0.25;
/// With less of its time taken, the worker was not what limited the throughput.
const SATURATED: f64 = 0.9;

/// What an instrument adds to a yield storm's poll in one round: CPU time. It leaves out the time in which the machine's other
/// work had the CPU, and takes in that of the instrument's own threads.
fn added(results: &Results, load: Load, name: &str, round: usize) -> Option<f64> {
    results.added(load, instrument(name)?, Metric::Cpu, round)
}

fn figure(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "n/a".to_owned() };
    let interval =
        median_interval(values).map_or("no interval".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
    format!("{middle:.3} ({interval}, {} pairs)", values.len())
}

fn at_most(what: String, values: &[f64], target: f64) -> Claim {
    let verdict =
        median(values).map_or(Verdict::Open, |middle| if middle <= target { Verdict::Yes } else { Verdict::No });
    Claim { what, figure: figure(values), target: format!("<= {target:.3}"), verdict }
}

fn includes_one(what: String, values: &[f64], pairs: usize) -> Claim {
    let verdict = match median_interval(values) {
        Some((low, high)) if values.len() >= pairs => match (low..=high).contains(&1.0) {
            true if high - low <= WIDEST => Verdict::Yes,
            true => Verdict::Open,
            false => Verdict::No,
        },
        _ => Verdict::Open,
    };
    let pairs = if pairs > 0 { format!(", {pairs} pairs") } else { String::new() };
    Claim { what, figure: figure(values), target: format!("narrow, has 1.0{pairs}"), verdict }
}

pub(crate) fn check(results: &Results, loads: &[Load]) -> Vec<Claim> {
    let mut claims = Vec::new();
    for load in loads {
        match load {
            Load::Yield1 | Load::Yield4 => {
                durations(&mut claims, results, *load);
                latency(&mut claims, results, *load);
                let ratio =
                    results.rounds_of(*load, |round| results.ratio(*load, CAPTURE, LATENCY, Metric::Cpu, round));
                claims.push(includes_one(format!("3 {}: a poll with capture armed / unarmed", load.name()), &ratio, 0));
            }
            Load::EchoHalf => {
                claims.extend(AT_AN_ECHO.map(|name| response(results, name)));
                claims.push(beside_a_thread(results, *load, "p99.9", Metric::P999));
            }
            Load::EchoFull => {
                claims.extend(AT_AN_ECHO.map(|name| throughput(results, name)));
                let ratio = |round| results.ratio(*load, TRACKING, "bare", Metric::Throughput, round);
                let what = format!("throughput {TRACKING} / bare");
                claims.push(for_information(*load, &what, &results.rounds_of(*load, ratio)));
                claims.push(beside_a_thread(results, *load, "throughput", Metric::Throughput));
            }
            Load::Spawn1 | Load::Spawn4 => {}
        }
    }
    claims
}

fn response(results: &Results, name: &str) -> Claim {
    let load = Load::EchoHalf;
    let ratio = results.rounds_of(load, |round| results.ratio(load, name, "bare", Metric::P999, round));
    let mut claim = includes_one(format!("4 {}: p99.9 {name} / bare", load.name()), &ratio, PAIRS);
    if !is_told_by_most(results, load, name) {
        claim.verdict = Verdict::Open;
    }
    claim
}

/// Whether of an instrument and its base no more slices were left out than count: more, and what is left is not what a service
/// does on this machine.
fn is_told_by_most(results: &Results, load: Load, name: &str) -> bool {
    [name, "bare"].into_iter().map(|name| results.slices(load, name)).all(|(kept, left_out)| kept >= left_out)
}

fn throughput(results: &Results, name: &str) -> Claim {
    let load = Load::EchoFull;
    let ratio = results.rounds_of(load, |round| results.ratio(load, name, "bare", Metric::Throughput, round));
    let utilization = median(&results.values(load, "bare", Metric::Utilization));
    let verdict = match median(&ratio) {
        _ if !is_told_by_most(results, load, name) => Verdict::Open,
        Some(middle) if middle < 0.99 => Verdict::No,
        Some(_) if utilization.is_some_and(|part| part >= SATURATED) => Verdict::Yes,
        _ => Verdict::Open,
    };
    let what = format!("4 {}: throughput {name} / bare", load.name());
    Claim { what, figure: figure(&ratio), target: ">= 0.990, saturated".to_owned(), verdict }
}

fn beside_a_thread(results: &Results, load: Load, what: &str, metric: Metric) -> Claim {
    let ratio = results.rounds_of(load, |round| results.ratio(load, CAPTURE, THREAD, metric, round));
    for_information(load, &format!("{what} {CAPTURE} / {THREAD}"), &ratio)
}

/// Poll durations alone, beside others. While the probe cannot leave schedule latency out, what it adds less what Tokio's
/// tracking adds in the same round: that still has the latencies' recording in it.
fn durations(claims: &mut Vec<Claim>, results: &Results, load: Load) {
    let is_measured = !results.rounds_of(load, |round| added(results, load, DURATIONS, round)).is_empty();
    let durations = |round| match is_measured {
        true => added(results, load, DURATIONS, round),
        false => Some(added(results, load, LATENCY, round)? - added(results, load, TRACKING, round)?),
    };
    let name = if is_measured { DURATIONS.to_owned() } else { format!("({LATENCY} - {TRACKING})") };
    let targets = [
        ("two-clock-reads", 1.5),
        ("tokio-histogram", 1.0),
        ("task-monitor", 0.25),
        ("dial9", 0.5),
        ("console", 0.125),
    ];
    for (other, target) in targets {
        let ratio = results.rounds_of(load, |round| Some(durations(round)? / added(results, load, other, round)?));
        claims.push(at_most(format!("1 {}: added by {name} / {other}", load.name()), &ratio, target));
    }
}

/// The probe with schedule latency beside Tokio's tracking, which it has in it; and what there is to compare that with.
fn latency(claims: &mut Vec<Claim>, results: &Results, load: Load) {
    let tracking = |round| added(results, load, TRACKING, round);
    let beside = |name| results.rounds_of(load, |round| Some(added(results, load, name, round)? / tracking(round)?));
    let what = |name: &str| format!("added by {name} / {TRACKING}");
    claims.push(at_most(format!("2 {}: {}", load.name(), what(LATENCY)), &beside(LATENCY), 1.3));
    claims.push(for_information(load, &what(FLOOR), &beside(FLOOR)));
    let step = |round| Some(added(results, load, LATENCY, round)? - added(results, load, DURATIONS, round)?);
    let step = results.rounds_of(load, |round| Some(step(round)? / tracking(round)?));
    claims.push(for_information(load, &what(&format!("({LATENCY} - {DURATIONS})")), &step));
}

fn for_information(load: Load, what: &str, values: &[f64]) -> Claim {
    let what = format!("  {}: for information, {what}", load.name());
    Claim { what, figure: figure(values), target: "none".to_owned(), verdict: Verdict::Open }
}

pub(crate) fn print(claims: &[Claim]) {
    println!();
    println!("{:<76} {:<34} {:<26} met", "claim", "median of pairs (95 % interval)", "target");
    for Claim { what, figure, target, verdict } in claims {
        println!("{what:<76} {figure:<34} {target:<26} {verdict}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Sample;

    /// Rounds of a yield storm in which instruments add so many nanoseconds.
    fn results(rounds: usize, added: &[(&'static str, f64)]) -> Results {
        let mut results = Results::default();
        for round in 0..rounds {
            for (name, ns) in added {
                let noise = (round % 3) as f64;
                let sample = Sample::from([(Metric::Cpu, 60.0 + noise + ns)]);
                results.add(Load::Yield1, instrument(name).unwrap(), Ok(sample));
            }
        }
        results
    }

    fn verdict(claims: &[Claim], what: &str) -> Verdict {
        claims.iter().find(|claim| claim.what.contains(what)).unwrap().verdict
    }

    #[test]
    fn targets_are_met_or_missed() {
        let mut added =
            vec![("bare", 0.0), (LATENCY, 130.0), (TRACKING, 60.0), ("two-clock-reads", 40.0), ("task-monitor", 280.0)];
        let claims = check(&results(8, &added), &[Load::Yield1]);
        assert_eq!(verdict(&claims, "/ two-clock-reads"), Verdict::No);
        assert_eq!(verdict(&claims, "/ task-monitor"), Verdict::Yes);
        assert_eq!(verdict(&claims, "/ console"), Verdict::Open);
        assert_eq!(verdict(&claims, "2 yield-1"), Verdict::No);
        added.push((DURATIONS, 60.0));
        added[1] = (LATENCY, 75.0);
        let claims = check(&results(8, &added), &[Load::Yield1]);
        assert_eq!(verdict(&claims, "/ two-clock-reads"), Verdict::Yes);
        assert_eq!(verdict(&claims, "2 yield-1"), Verdict::Yes);
    }

    #[test]
    fn few_rounds_leave_an_interval_open() {
        let added = [("bare", 0.0), (LATENCY, 100.0), (CAPTURE, 100.0)];
        assert_eq!(verdict(&check(&results(5, &added), &[Load::Yield1]), "3 yield-1"), Verdict::Open);
        assert_eq!(verdict(&check(&results(6, &added), &[Load::Yield1]), "3 yield-1"), Verdict::Yes);
        let added = [("bare", 0.0), (LATENCY, 100.0), (CAPTURE, 120.0)];
        assert_eq!(verdict(&check(&results(6, &added), &[Load::Yield1]), "3 yield-1"), Verdict::No);
    }

    /// Throughput that something else limited, a machine that held up the client, and ratios that are all over the place.
    #[test]
    fn noise_leaves_a_claim_open() {
        let verdicts = |utilization: f64, left_out: usize, spread: f64| {
            let mut results = Results::default();
            for round in 0..40 {
                for load in [Load::EchoFull, Load::EchoHalf] {
                    results.add_slices(load, instrument("bare").unwrap(), (32, left_out));
                    results.add_slices(load, instrument("dial9").unwrap(), (3_200, 0));
                }
                for name in ["bare", CAPTURE] {
                    let p999 = if name == CAPTURE && round % 2 == 0 { 100.0 + spread } else { 100.0 };
                    let full = Sample::from([(Metric::Throughput, 1e5), (Metric::Utilization, utilization)]);
                    results.add(Load::EchoFull, instrument(name).unwrap(), Ok(full));
                    let half = Sample::from([(Metric::P999, p999)]);
                    results.add(Load::EchoHalf, instrument(name).unwrap(), Ok(half));
                }
            }
            let claims = check(&results, &[Load::EchoFull, Load::EchoHalf]);
            ["throughput", "p99.9"].map(|what| verdict(&claims, &format!("{what} {CAPTURE}")))
        };
        assert_eq!(verdicts(0.95, 32, 10.0), [Verdict::Yes; 2]);
        assert_eq!(verdicts(0.5, 5, 60.0), [Verdict::Open; 2]);
        assert_eq!(verdicts(0.95, 33, 10.0), [Verdict::Open; 2]);
    }
}
