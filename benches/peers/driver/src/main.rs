//! Runs the instruments' programs by turns, and prints what each adds. Started by `run`, which builds them.

mod catalog;
mod claims;
mod echo;
mod fresh;
mod instructions;
mod program;
mod results;
mod stats;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use catalog::{INSTRUMENTS, Instrument, LOADS, Load, Metric, instrument};
use echo::{Cpus, Cut};
use instructions::Counter;
use program::{Programs, Trouble};
use results::Results;

const USAGE: &str = "\
usage: benches/peers/run [--rounds N] [--loads A,B] [--instruments A,B] [--quick]

  --rounds N         rounds, each of which runs every instrument once [default: 30, with --quick 3]
  --loads A,B        yield-1, yield-4, spawn-1, spawn-4, echo-full, echo-half [default: all]
  --instruments A,B  see the table; an instrument's base is always with it [default: all]
  --quick            small loads: whether everything runs, in less than two minutes
  --help             this";

#[derive(Debug)]
struct Plan {
    rounds: usize,
    loads: Vec<Load>,
    instruments: Vec<&'static Instrument>,
    yields: u64,
    cut: Cut,
    programs: Programs,
}

fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Plan, String> {
    let mut arguments = arguments.into_iter();
    let programs = Programs { folder: PathBuf::new(), python: PathBuf::new(), unbuilt: Vec::new() };
    let (mut rounds, mut is_quick) = (None, false);
    let mut plan = Plan {
        rounds: 30,
        loads: LOADS.to_vec(),
        instruments: INSTRUMENTS.iter().collect(),
        yields: 500_000,
        cut: Cut { cycles: 32, slice: Duration::from_millis(25) },
        programs,
    };
    while let Some(option) = arguments.next() {
        if option == "--quick" {
            is_quick = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("`{option}` is no option, or has no value"))?;
        let names = || value.split(',');
        match option.as_str() {
            "--rounds" => {
                rounds = Some(value.parse().ok().filter(|n| *n > 0).ok_or(format!("`{value}` is no number of rounds"))?)
            }
            "--loads" => {
                let load =
                    |name| LOADS.into_iter().find(|load| load.name() == name).ok_or(format!("`{name}` is no load"));
                plan.loads = names().map(load).collect::<Result<_, _>>()?;
            }
            "--instruments" => plan.instruments = chosen(names())?,
            "--programs" => plan.programs.folder = value.into(),
            "--python" => plan.programs.python = value.into(),
            "--unbuilt" => {
                let (package, reason) = value.split_once('=').ok_or("`--unbuilt` takes PACKAGE=REASON")?;
                plan.programs.unbuilt.push((package.to_owned(), reason.to_owned()));
            }
            _ => return Err(format!("`{option}` is no option")),
        }
    }
    if is_quick {
        (plan.rounds, plan.yields, plan.cut.cycles) = (3, 50_000, 4);
    }
    plan.rounds = rounds.unwrap_or(plan.rounds);
    Ok(plan)
}

/// In the table's order, each with its base.
fn chosen<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<&'static Instrument>, String> {
    let find = |name| instrument(name).ok_or_else(|| format!("`{name}` is no instrument"));
    let asked = names.map(find).collect::<Result<Vec<_>, _>>()?;
    let is_chosen = |name| asked.iter().any(|asked| asked.name == name || asked.base == name);
    Ok(INSTRUMENTS.iter().filter(|instrument| is_chosen(instrument.name)).collect())
}

/// Requests a second at half load: half of what a bare service can answer, the same for all.
fn half_load(plan: &Plan) -> Result<f64, Trouble> {
    let bare = instrument("bare").expect("it is in the catalog");
    let mut full = Vec::new();
    for seed in 0..10 {
        match echo::round(&plan.programs, &[bare], Load::EchoFull, 0.0, plan.cut, seed).samples.remove(0) {
            Ok(sample) => full.push(sample[&Metric::Throughput]),
            // The machine was too busy in that round.
            Err(Trouble::Unavailable(_)) => {}
            Err(failed) => return Err(failed),
        }
        if full.len() == 3 {
            break;
        }
    }
    let nothing = || Trouble::Unavailable("the machine was too busy to find out what half of the load is".to_owned());
    stats::median(&full).map(|full| full / 2.0).ok_or_else(nothing)
}

fn measure(plan: &Plan) -> Results {
    let mut results = Results::default();
    for load in &plan.loads {
        let instruments: Vec<_> =
            plan.instruments.iter().copied().filter(|instrument| load.suits(instrument)).collect();
        let rate = match load {
            Load::EchoHalf => half_load(plan),
            _ => Ok(0.0),
        };
        let rate = match rate {
            Ok(rate) => rate,
            Err(trouble) => {
                instruments.iter().for_each(|instrument| results.add(*load, instrument, Err(trouble.clone())));
                continue;
            }
        };
        for round in 0..plan.rounds {
            eprint!("\r{}: round {} of {} ", load.name(), round + 1, plan.rounds);
            match load.is_echo() {
                true => echo_round(plan, &mut results, *load, &instruments, rate, round),
                false => storm_round(plan, &mut results, *load, &instruments, round),
            }
        }
        eprintln!();
        if *load == Load::EchoHalf {
            println!("half load: {rate:.0} requests/s");
        }
    }
    if plan.loads.contains(&Load::Yield1) {
        count_instructions(plan, &mut results);
    }
    results
}

fn storm_round(plan: &Plan, results: &mut Results, load: Load, instruments: &[&Instrument], round: usize) {
    for index in 0..instruments.len() {
        // Nobody is always the one after the slowest.
        let instrument = instruments[(index + round) % instruments.len()];
        results.add(load, instrument, plan.programs.storm(instrument, load, load.units(instrument, plan.yields)));
    }
}

fn echo_round(plan: &Plan, results: &mut Results, load: Load, instruments: &[&Instrument], rate: f64, round: usize) {
    let measured = echo::round(&plan.programs, instruments, load, rate, plan.cut, round as u64);
    for ((instrument, sample), slices) in instruments.iter().zip(measured.samples).zip(measured.slices) {
        results.add(load, instrument, sample);
        results.add_slices(load, instrument, slices);
    }
}

fn count_instructions(plan: &Plan, results: &mut Results) {
    let counter = Counter::find();
    match counter {
        None => println!("instructions: n/a, neither `perf stat -e instructions:u` nor valgrind works here"),
        Some(counter) => println!("instructions: counted by {counter:?}"),
    }
    for instrument in plan.instruments.iter().filter(|instrument| instrument.package.is_some()) {
        eprint!("\rinstructions of {:<24}", instrument.name);
        let count = counter.ok_or_else(|| Trouble::Unavailable("there is no counter".to_owned()));
        results.add_instructions(instrument, count.and_then(|counter| counter.per_poll(&plan.programs, instrument)));
    }
    eprintln!();
}

fn main() -> ExitCode {
    if std::env::args().skip(1).any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let plan = match parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("error: {error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Cut { cycles, slice } = plan.cut;
    println!("{} rounds; {} yields a storm; {cycles} slices of {slice:?} an echo", plan.rounds, plan.yields);
    match Cpus::here() {
        Some(Cpus { others, worker, clients: [one, two], cores }) => println!(
            "echo: the worker on CPU {worker}, its other threads on {others}, the client on {one} and {two}; {cores} cores"
        ),
        None => println!("echo: nothing is pinned, as there are fewer than four CPUs: it is noisy"),
    }
    println!("by turns:");
    plan.instruments.iter().for_each(|instrument| println!("  {:<20} {}", instrument.name, instrument.what));
    let results = measure(&plan);
    table::print(&results, &plan.loads, &plan.instruments);
    claims::print(&claims::check(&results, &plan.loads));
    let failures = results.failures();
    for ((load, instrument), (trouble, runs)) in &failures {
        eprintln!("error: {instrument} under {}, {runs} of its runs, the first: {trouble}", load.name());
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
