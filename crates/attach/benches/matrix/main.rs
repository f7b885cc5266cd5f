//! How right the look from outside is: `cargo bench -p pollscope-attach --bench matrix`.
//!
//! `contrib/attached`, a program that knows nothing of pollscope, blocks its workers in 19 ways, at random, for 30 to 120 ms, behind two
//! to five async functions, on both runtimes; a quarter of its stalls is followed by another one of the same task within some
//! milliseconds. It is looked at 100 times a second, slow being 15 ms. It tells at its end when each stall was, and where; that is
//! matched with what was seen. Then it is idle, polls for less than a millisecond every five, or has one or eight tasks that wake
//! themselves: there nothing is to be found.
//!
//! One table: of stalls of three periods and more, how many were found; of those, how often the line, its function, the whole chain of
//! async functions, the type of the task's future and Tokio's id of the task were right; how many ends are said to be exact, and by how
//! much those and starts are wrong (in periods); how many others are within what is said of them; how many seen ones have two in them
//! (a millisecond apart and more: that must not be), and how many are one too many; how often a thread gave up its CPU in one, or it was
//! taken. The clocks' difference is not known but within bounds: it is the one that most exact ends speak for.
//!
//! After `--`: `--small`, what the gate has time for; `--floors` makes too little that is right a failure, where perf events are allowed,
//! and a skip elsewhere; `--only WAY`, `--runtime multi|current`, `--seconds N`, `--hz N`, `--slow MS`, `--seed N`; `--wrong N`, how many
//! of those that are wrong are told on stderr; `--target PATH`, a build of the program; or `--tokio` and `--profile`, each `all` or
//! some, comma between them, which are built.

mod build;
mod clocks;
mod floors;
mod looking;
mod matching;
mod options;
mod plan;
mod program;
mod score;
mod seen;
mod table;
mod truth;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pollscope_attach::{Hz, Settings};

use floors::Tally;
use looking::{Looked, look};
use options::Options;
use plan::Planned;
use score::{LOOKS, Score, scores};
use truth::Stall;

fn main() -> ExitCode {
    // `cargo test --benches` only checks that it runs.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    match Options::of(std::env::args().skip(1)).and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("matrix: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), String> {
    if let (Some(hindrance), true) = (floors::hindrance(), options.has_floors) {
        eprintln!("SKIP: {hindrance}");
        return Ok(());
    }
    let mut tally = Tally::default();
    for (build, program) in builds(options)? {
        for planned in plan::runs(options) {
            let name = format!(
                "{build}, {}{}",
                planned.runtime,
                planned.calm.map_or(String::new(), |calm| format!(", {calm}"))
            );
            let looked = look(&program, &planned.arguments, settings(options)?)?;
            tell(options, &name, &planned, &looked);
            let false_ones = looked.matched.false_ones.len() as u64;
            tally.of_nothing[usize::from(planned.calm.is_some())] += false_ones;
            tally.interrupted += looked.counted.interrupted;
            if planned.calm.is_none() {
                tally.by_run.extend(scored(options, &looked, |_| name.clone()));
            }
        }
    }
    println!("\nAll: {} of nothing beside stalls, {} where nothing was.", tally.of_nothing[0], tally.of_nothing[1]);
    println!("{}", table::table(&tally.by_run, period_ns(options)));
    if options.has_floors { floors::check(&tally) } else { Ok(()) }
}

/// What is looked at, by name.
fn builds(options: &Options) -> Result<Vec<(String, PathBuf)>, String> {
    if let Some(program) = &options.program {
        return Ok(vec![(program.display().to_string(), program.clone())]);
    }
    let all = options.tokios.iter().flat_map(|tokio| options.profiles.iter().map(move |profile| (tokio, profile)));
    let built = all.map(|(tokio, profile)| {
        let name = tokio.as_ref().map_or(profile.clone(), |tokio| format!("Tokio {tokio}, {profile}"));
        Ok((name, build::build(tokio.as_deref(), profile)?))
    });
    built.collect()
}

fn settings(options: &Options) -> Result<Settings, String> {
    let hz = Hz::new(options.hz).ok_or_else(|| format!("`--hz {}` is not between 1 and 1,000", options.hz))?;
    #[allow(clippy::needless_update, reason = "it may have more one day")]
    Ok(Settings { hz, slow: Duration::from_millis(options.slow_ms), ..Settings::default() })
}

fn period_ns(options: &Options) -> u64 {
    1_000_000_000 / u64::from(options.hz)
}

fn scored(options: &Options, looked: &Looked, kind: impl Fn(&Stall) -> String) -> BTreeMap<String, Score> {
    scores(&looked.stalls, &looked.seen, &looked.matched, period_ns(options), kind)
}

/// Prints what became of one run.
fn tell(options: &Options, name: &str, planned: &Planned, looked: &Looked) {
    let Looked { stalls, counted, seen, matched, offset, shares, run, .. } = looked;
    let share = |share: Option<f64>| share.map_or("unknown".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    println!(
        "\n{name}: {} stalls, {} seen, {} of which left open, {} of nothing, {} polls; {} looks a second; look {}, name {} of a core; {} calls interrupted",
        stalls.len(),
        seen.len(),
        seen.iter().filter(|seen| seen.is_open).count(),
        matched.false_ones.len(),
        counted.polls,
        run.coverage.looks_per_s.map_or("unknown".to_owned(), |looks| format!("{looks:.1}")),
        share(shares[0]),
        share(shares[1]),
        counted.interrupted
    );
    if planned.calm.is_none() {
        let known = match offset.speak_for_it {
            Some(count) => format!("{count} exact ends speak for the clocks' difference"),
            None => "the clocks' difference is known to some milliseconds".to_owned(),
        };
        let at_ms = offset.ns.saturating_sub(looked.attached_ns) as f64 / 1e6;
        println!("{known}, {at_ms:.3} ms after it was asked to look");
        print!("{}", table::table(&scored(options, looked, |stall| stall.way.clone()), period_ns(options)));
        let depth = |stall: &Stall| format!("{} async functions", stall.chain.len());
        println!("{}", table::table(&scored(options, looked, depth), period_ns(options)));
    }
    run.coverage.missing.iter().for_each(|missing| println!("missing: {missing}"));
    // Where nothing was to be found, what the machine did not let run need not be found either.
    let least_ns = if planned.calm.is_none() { LOOKS * period_ns(options) } else { u64::MAX };
    let wrong = table::wrong(stalls, seen, matched, least_ns, options.wrong);
    wrong.iter().for_each(|wrong| eprintln!("{wrong}"));
}
