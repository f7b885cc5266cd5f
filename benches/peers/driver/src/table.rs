//! Results as one table.

use crate::catalog::{Instrument, Load, Metric};
use crate::results::Results;
use crate::stats::{median, quantile};

/// Where instructions are shown: they are counted once.
const COUNTED: (Load, Metric) = (Load::Yield1, Metric::Cpu);

pub(crate) fn print(results: &Results, loads: &[Load], instruments: &[&Instrument]) {
    println!("medians of all rounds; differences and ratios to the base within a round, with the middle half of");
    println!("them; the base is bare, for asyncio-debug asyncio; instructions: added to a poll, in user space");
    for load in loads {
        for metric in load.metrics() {
            section(results, *load, *metric, instruments);
        }
        footnotes(results, *load, instruments);
    }
}

fn section(results: &Results, load: Load, metric: Metric, instruments: &[&Instrument]) {
    let title = format!("{}: {}", load.name(), metric.title(load));
    println!();
    let instructions = if (load, metric) == COUNTED { "instructions" } else { "" };
    let columns = ["median", "added (middle half)", "ratio (middle half)", instructions];
    println!("{title:<44} {:>9} {:>25} {:>24} {:>13}", columns[0], columns[1], columns[2], columns[3]);
    for instrument in instruments.iter().filter(|instrument| load.suits(instrument)) {
        println!("  {:<42} {}", instrument.name, row(results, load, metric, instrument));
    }
}

fn row(results: &Results, load: Load, metric: Metric, instrument: &Instrument) -> String {
    let Some(middle) = median(&results.values(load, instrument.name, metric)) else {
        let reason = results.trouble(load, instrument.name).map_or("not measured".to_owned(), ToString::to_string);
        return format!("n/a: {reason}");
    };
    let middle_text = shown(middle);
    let added = results.rounds_of(load, |round| results.added(load, instrument, metric, round));
    let ratio = results.rounds_of(load, |round| results.ratio(load, instrument.name, instrument.base, metric, round));
    let is_base = instrument.name == instrument.base;
    if is_base || added.is_empty() {
        return format!("{middle_text:>9}");
    }
    let half = |values: &[f64], show: fn(f64) -> String| {
        let [low, middle, high] = [0.25, 0.5, 0.75].map(|q| quantile(values, q).map_or("n/a".to_owned(), show));
        format!("{middle} ({low} to {high})")
    };
    let instructions = if (load, metric) == COUNTED {
        let added = results.instructions(instrument.name).zip(results.instructions(instrument.base));
        added.map_or("n/a".to_owned(), |(count, base)| format!("{:.0}", count - base))
    } else {
        String::new()
    };
    let three = |value: f64| format!("{value:.3}");
    format!("{middle_text:>9} {:>25} {:>24} {instructions:>13}", half(&added, shown), half(&ratio, three))
}

fn shown(value: f64) -> String {
    if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

/// What makes a section's figures worth less, if anything does.
fn footnotes(results: &Results, load: Load, instruments: &[&Instrument]) {
    let all = |metric| instruments.iter().flat_map(move |instrument| results.values(load, instrument.name, metric));
    match load {
        Load::EchoFull => {
            let least = all(Metric::Utilization).fold(f64::INFINITY, f64::min);
            let bare = median(&results.values(load, "bare", Metric::Utilization));
            if let Some(bare) = bare {
                println!(
                    "  the worker ran {:.0} % of the time (bare, median), at least {:.0} %; below 90 % the client, or",
                    bare * 100.0,
                    least * 100.0
                );
                println!("  another program on its CPU, was the limit");
            }
        }
        Load::EchoHalf => {
            let late: Vec<f64> = all(Metric::Lateness).collect();
            if let Some([median, most]) = quantile(&late, 0.5).zip(quantile(&late, 1.0)).map(<[f64; 2]>::from) {
                println!(
                    "  of that, the client's own lateness at p99.9: {median:.1} us (median run), {most:.1} us (worst run)"
                );
            }
        }
        Load::Yield1 => {
            if let Some(reason) = results.no_instructions() {
                println!("  instructions n/a: {reason}");
            }
        }
        _ => {}
    }
    if load.is_echo() {
        echo_footnotes(results, load, instruments);
    }
}

/// What was left out, and what services took that nobody asked.
fn echo_footnotes(results: &Results, load: Load, instruments: &[&Instrument]) {
    let (kept, left_out) = results.all_slices(load);
    println!("  {left_out} of {} slices were left out: the machine held up the client or a worker", kept + left_out);
    let part = |instrument: &&Instrument| {
        let (kept, left_out) = results.slices(load, instrument.name);
        (kept + left_out > 0)
            .then(|| format!("{} {:.1} %", instrument.name, left_out as f64 / (kept + left_out) as f64 * 100.0))
    };
    let parts: Vec<String> = instruments.iter().filter_map(part).collect();
    println!("  of each: {}", parts.join(", "));
    let idle = |instrument: &&Instrument| {
        let part = median(&results.values(load, instrument.name, Metric::Idle))?;
        Some(format!("{} {:.2} %", instrument.name, part * 100.0))
    };
    let idle: Vec<String> = instruments.iter().filter_map(idle).collect();
    println!("  a service's CPU time while others were asked, as a part of that time: {}", idle.join(", "));
}
