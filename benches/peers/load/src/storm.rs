//! Polls that do nothing, as fast as they go: what is left is the runtime and the instrument.

use tokio::runtime::Runtime;
use tokio::task::yield_now;

use crate::{Done, Instrument, Stopwatch, Took};

/// Tasks that yield at the same time.
const YIELDERS: u64 = 100;
/// Tasks that each spawn one task after the other and await it.
const CHAINS: u64 = 16;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Tasks that ask again and again to be polled later.
    Yield,
    /// Tasks that spawn one that is ready at once, await it, and spawn the next.
    Spawn,
}

/// `yield-4`: a shape, and how many workers.
pub(crate) fn parse(load: &str) -> Option<(Shape, usize)> {
    Some(match load {
        "yield-1" => (Shape::Yield, 1),
        "yield-4" => (Shape::Yield, 4),
        "spawn-1" => (Shape::Spawn, 1),
        "spawn-4" => (Shape::Spawn, 4),
        _ => return None,
    })
}

/// A storm to warm up, and one that is measured, each of about so many units: polls of yielders, or tasks spawned.
pub(crate) fn run<I: Instrument>(runtime: &Runtime, instrument: &I, shape: Shape, workers: usize, units: u64) -> Done {
    let mut done = Done { is_exact: matches!(shape, Shape::Yield) || workers == 1, ..Done::default() };
    let mut once = |is_measured: bool| {
        let storm = || match shape {
            Shape::Yield => yields(runtime, instrument, units),
            Shape::Spawn => spawns(runtime, instrument, units),
        };
        let (storm, units, took) = if is_measured { measured(storm) } else { storm() };
        done.tasks += storm.tasks;
        done.polls += storm.polls;
        if is_measured {
            let ns = took.wall.as_nanos() as f64 * workers as f64 / units as f64;
            println!("storm ns={ns} cpu_ns={} units={units}", took.cpu.as_nanos() as f64 / units as f64);
        }
    };
    once(false);
    once(true);
    done
}

/// What callgrind counts is what runs in here; `driver/src/instructions.rs` knows it by its name.
#[inline(never)]
fn measured<T>(storm: impl FnOnce() -> T) -> T {
    storm()
}

fn yields<I: Instrument>(runtime: &Runtime, instrument: &I, units: u64) -> (Done, u64, Took) {
    let yields = units / YIELDERS - 1;
    let watch = Stopwatch::start();
    runtime.block_on(async {
        let yielder = || async move {
            for _ in 0..yields {
                yield_now().await;
            }
        };
        let tasks: Vec<_> = (0..YIELDERS).map(|_| instrument.spawn(yielder())).collect();
        for task in tasks {
            task.await.expect("yielding does not panic");
        }
    });
    let polls = YIELDERS * (yields + 1);
    (Done { tasks: YIELDERS, polls, is_exact: true }, polls, watch.stop())
}

/// On one thread, a task that awaits another is polled once more for it; on several, the other may be ready before.
fn spawns<I: Instrument>(runtime: &Runtime, instrument: &I, units: u64) -> (Done, u64, Took) {
    let length = units / CHAINS;
    let watch = Stopwatch::start();
    runtime.block_on(async {
        let chain = || {
            let instrument = instrument.clone();
            let spawner = instrument.clone();
            spawner.spawn(async move {
                for _ in 0..length {
                    instrument.spawn(async {}).await.expect("an empty task does not panic");
                }
            })
        };
        let tasks: Vec<_> = (0..CHAINS).map(|_| chain()).collect();
        for task in tasks {
            task.await.expect("spawning does not panic");
        }
    });
    let took = watch.stop();
    let spawned = CHAINS * length;
    let is_alone = runtime.metrics().num_workers() == 1;
    let polls = if is_alone { 2 * spawned + CHAINS } else { spawned + CHAINS };
    (Done { tasks: spawned + CHAINS, polls, is_exact: is_alone }, spawned, took)
}
