//! How right it is what tasks are said to wait for: `cargo bench -p pollscope-attach --bench waiting`.
//!
//! `waiting` of `contrib/attached`, which knows nothing of pollscope, waits in some forty ways, each within none to eight functions
//! more, in a task of its own, and tells which `.await` lines each is suspended at and what is at their ends. All of its tasks are read,
//! and compared with that. With `--hot` eight more tasks are polled all the time, each of which is in one of two places at any time: it is
//! read again and again, and no reading may mix the two.
//!
//! With `--stuck` some twenty cycles of tasks wait for each other, and as many only seem to: those are to be named, and no other.
//!
//! One table: of each build and runtime, how many tasks there are and were found; how many `.await` lines were right, and ends.
//!
//! After `--`: `--tokio` and `--profile`, each `all` or some, comma between them, which are built; or `--target PATH`, a build of
//! `waiting`, with `--symbols PATH` for what it lacks; `--runtime multi|current|local`; `--readings N` of the hot ones; `--wrong N`, how many
//! of those that are wrong are told on stderr; `--floors` makes too little that is right a failure.

#[path = "../matrix/build.rs"]
mod build;
mod judge;
mod truth;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use pollscope_attach::{Target, Tasks};

use judge::{Score, futures, judge};
use truth::Program;

/// Versions of Tokio whose tasks say where their parts are.
const TOKIOS: [&str; 4] = ["1.28.2", "1.38.2", "1.44.2", "1.54.1"];
/// Builds that have types.
const PROFILES: [&str; 2] = ["full", "full-lto"];
const RUNTIMES: [&str; 3] = ["multi", "current", "local"];
const STARTED_AT: &str = "2026-12-01T02:03:04.000Z";
/// So much must be right of what is told, in hundredths.
const FLOOR: usize = 99;

fn main() -> ExitCode {
    // `cargo test --benches` only checks that it runs.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    match Options::of(std::env::args().skip(1)).and_then(|options| measure(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("waiting: {problem}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    tokios: Vec<Option<String>>,
    profiles: Vec<String>,
    target: Option<PathBuf>,
    symbols: Vec<PathBuf>,
    runtimes: Vec<String>,
    readings: usize,
    wrong: usize,
    has_floors: bool,
}

impl Options {
    fn of(mut typed: impl Iterator<Item = String>) -> Result<Options, String> {
        let strings = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let mut options = Options {
            tokios: vec![None],
            profiles: strings(&PROFILES[..1]),
            target: None,
            symbols: Vec::new(),
            runtimes: strings(&RUNTIMES),
            readings: 100,
            wrong: 10,
            has_floors: false,
        };
        let some = |text: String, all: &[&str]| match text.as_str() {
            "all" => strings(all),
            some => some.split(',').map(str::to_owned).collect(),
        };
        while let Some(name) = typed.next() {
            let mut value = || typed.next().ok_or_else(|| format!("`{name}` needs a value"));
            let number = |text: String| text.parse().map_err(|_| format!("`{text}` is no number"));
            match name.as_str() {
                "--bench" => {}
                "--tokio" => options.tokios = some(value()?, &TOKIOS).into_iter().map(Some).collect(),
                "--profile" => options.profiles = some(value()?, &PROFILES),
                "--target" => options.target = Some(value()?.into()),
                "--symbols" => options.symbols.push(value()?.into()),
                "--runtime" => options.runtimes = vec![value()?],
                "--readings" => options.readings = number(value()?)?,
                "--wrong" => options.wrong = number(value()?)?,
                "--floors" => options.has_floors = true,
                other => return Err(format!("`{other}` is not known")),
            }
        }
        Ok(options)
    }
}

fn measure(options: &Options) -> Result<(), String> {
    println!(
        "{:<44} {:>11}  {:>13}  {:>13}  {:>6}  {:>9}  {:>7}",
        "", "tasks found", "lines right", "ends right", "untold", "readings", "took ms"
    );
    let mut all = Row::default();
    for (name, program) in builds(options)? {
        for runtime in &options.runtimes {
            for is_hot in [false, true] {
                let row = row(&program, runtime, is_hot, options)?;
                println!("{:<44} {row}", format!("{name}, {runtime}{}", if is_hot { ", hot" } else { "" }));
                all.add(&row);
            }
        }
    }
    println!("{:<44} {all}", "all");
    let stuck = stuck(options)?;
    println!("\n{} of {} cycles named with every member, {} others", stuck.named, stuck.there, stuck.others);
    let score = &all.score;
    let is_right = all.found == all.there
        && all.extra == 0
        && score.states == 0
        && score.right * 100 >= score.frames * FLOOR
        && score.leaves_right * 100 >= score.leaves * FLOOR
        && (stuck.named, stuck.others) == (stuck.there, 0);
    if options.has_floors && !is_right { Err(format!("less than {FLOOR} of 100 are right")) } else { Ok(()) }
}

fn builds(options: &Options) -> Result<Vec<(String, PathBuf)>, String> {
    if let Some(target) = &options.target {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        return Ok(vec![(name, target.clone())]);
    }
    let mut builds = Vec::new();
    for tokio in &options.tokios {
        for profile in &options.profiles {
            let program = build::build(tokio.as_deref(), profile)?.with_file_name("waiting");
            builds.push((format!("Tokio {}, {profile}", tokio.as_deref().unwrap_or("of Cargo.lock")), program));
        }
    }
    Ok(builds)
}

/// Cycles of tasks that wait for each other.
#[derive(Default)]
struct Cycles {
    there: usize,
    named: usize,
    /// Said to be, and are not.
    others: usize,
}

fn stuck(options: &Options) -> Result<Cycles, String> {
    let mut cycles = Cycles::default();
    for (name, program) in builds(options)? {
        for runtime in &options.runtimes {
            let program = Program::start(&program, &[runtime, "--stuck"])?;
            let list = tasks_of(&program, options)?.read(STARTED_AT).map_err(|obstacle| obstacle.to_string())?;
            let seen = futures(&list.tasks);
            if seen.len() != program.truths.len() {
                return Err(format!("{name}, {runtime}: {} tasks were found of {}", seen.len(), program.truths.len()));
            }
            let mut there: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
            for (truth, seen) in program.truths.iter().zip(seen) {
                let cycle = truth.cycle.as_deref().filter(|cycle| !cycle.is_empty());
                if let Some(cycle) = cycle {
                    there.entry(cycle).or_default().push(seen.id);
                }
            }
            let mut told: Vec<Vec<u64>> = list.deadlocks.iter().map(|stuck| stuck.cycle.clone()).collect();
            told.iter_mut().for_each(|cycle| cycle.sort_unstable());
            cycles.there += there.len();
            for (cycle, ids) in there {
                match told.iter().position(|told| *told == ids) {
                    Some(at) => {
                        cycles.named += 1;
                        told.remove(at);
                    }
                    None => eprintln!("{name}, {runtime}: {cycle} is not named: {ids:?}"),
                }
            }
            told.iter().for_each(|ids| eprintln!("{name}, {runtime}: {ids:?} are no cycle"));
            cycles.others += told.len();
        }
    }
    Ok(cycles)
}

fn tasks_of(program: &Program, options: &Options) -> Result<Tasks, String> {
    let target = Target::open(program.pid(), &options.symbols).map_err(|obstacle| obstacle.to_string())?;
    Ok(Tasks::of(target))
}

/// What was read of one program, in one reading or several.
#[derive(Default)]
struct Row {
    there: usize,
    found: usize,
    extra: usize,
    readings: usize,
    took_ns: u64,
    score: Score,
}

impl Row {
    fn add(&mut self, other: &Row) {
        self.there += other.there;
        self.found += other.found;
        self.extra += other.extra;
        self.readings += other.readings;
        self.took_ns += other.took_ns;
        self.score.add(&other.score);
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |part: usize, all: usize| format!("{part}/{all}");
        let found = if self.extra > 0 { format!("{}+{}", self.found, self.extra) } else { self.found.to_string() };
        write!(
            f,
            "{:>11}  {:>13}  {:>13}  {:>6}  {:>9}  {:>7.1}",
            format!("{found}/{}", self.there),
            of(self.score.right, self.score.frames),
            of(self.score.leaves_right, self.score.leaves),
            self.score.untold,
            self.readings,
            self.took_ns as f64 / 1e6 / self.readings.max(1) as f64,
        )
    }
}

fn row(program: &std::path::Path, runtime: &str, is_hot: bool, options: &Options) -> Result<Row, String> {
    let arguments: &[&str] = if is_hot { &[runtime, "--hot"] } else { &[runtime] };
    let program = Program::start(program, arguments)?;
    let mut tasks = tasks_of(&program, options)?;
    let (mut row, mut wrong) = (Row::default(), 0);
    for _ in 0..if is_hot { options.readings } else { 1 } {
        let list = tasks.read(STARTED_AT).map_err(|obstacle| obstacle.to_string())?;
        let seen = futures(&list.tasks);
        row.readings += 1;
        row.took_ns += list.took_ns;
        row.there += program.truths.len();
        row.found += seen.len().min(program.truths.len());
        row.extra += seen.len().saturating_sub(program.truths.len());
        if !list.deadlocks.is_empty() {
            return Err(format!("nobody waits for another one, but {:?}", list.deadlocks));
        }
        if seen.len() != program.truths.len() {
            eprintln!("{} tasks were found of {}", seen.len(), program.truths.len());
            continue;
        }
        for (truth, seen) in program.truths.iter().zip(seen) {
            let score = judge(truth, seen);
            let is_told = truth.hot && score.untold > 0;
            if !score.is_all_right() && !is_told && wrong < options.wrong {
                wrong += 1;
                let told = seen.waits.as_ref().map(|chain| {
                    let ends: Vec<String> = pollscope_record::tasks::ends(chain).into_iter().map(judge::leaf).collect();
                    (judge::lines(chain), ends)
                });
                eprintln!("wrong: {truth:?}\n    seen as {:?} {:?} {told:?}", seen.state, seen.future);
            }
            row.score.add(&score);
        }
    }
    Ok(row)
}
