//! Tokio's modules by what their code is for, under every name that they have had since 1.0: up to 1.20 the schedulers were
//! `thread_pool` and `basic_scheduler`, and parking had modules beside the runtime's.

use super::place::Place;

/// What polls a task.
const TASK: [&str; 2] = ["tokio::runtime::task::raw", "tokio::runtime::task::harness"];

/// The workers of a multi-thread runtime.
const WORKERS: [&str; 3] = [
    "tokio::runtime::scheduler::multi_thread",
    "tokio::runtime::scheduler::multi_thread_alt",
    "tokio::runtime::thread_pool",
];

/// The schedulers, and what enters them.
const SCHEDULER: [&str; 5] = [
    "tokio::runtime::scheduler",
    "tokio::runtime::context",
    "tokio::runtime::thread_pool",
    "tokio::runtime::basic_scheduler",
    "tokio::runtime::enter",
];

/// The same in the type of a task's scheduler.
const SCHEDULER_TYPES: [&str; 3] =
    ["tokio::runtime::scheduler::", "tokio::runtime::thread_pool::", "tokio::runtime::basic_scheduler::"];

/// The type of the scheduler of a job of the blocking pool.
const POOL_TYPES: [&str; 2] = ["::BlockingSchedule", "::NoopSchedule"];

/// A thread that waits for a future of its own, and runs no other.
const WAITS_FOR_ONE: [&str; 4] =
    ["tokio::runtime::park", "tokio::runtime::handle", "tokio::runtime::enter", "tokio::park"];

/// What waits for something to do: the schedulers, and the drivers of I/O, time, signals and processes.
const PARKS: [&str; 6] = [
    "tokio::runtime",
    "tokio::park",
    "tokio::io::driver",
    "tokio::time::driver",
    "tokio::signal::unix::driver",
    "tokio::process::imp::driver",
];

/// What a frame of Tokio stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It polls a task.
    Poll,
    /// It polls a root future.
    BlockOn,
    BlockInPlace,
    LocalSet,
    Pool,
    Scheduler,
    Nothing,
}

pub(super) fn mark(place: &Place) -> Mark {
    let name = place.name();
    if !place.is_in("tokio") {
        Mark::Nothing
    } else if name == "poll" && is_in(place, &TASK) {
        Mark::Poll
    } else if matches!(name, "block_in_place" | "exit_runtime") || place.path == "tokio::runtime::enter::exit" {
        Mark::BlockInPlace
    } else if place.is_in("tokio::task::local") {
        Mark::LocalSet
    } else if place.is_in("tokio::runtime::blocking") {
        Mark::Pool
    } else if name == "block_on" && is_in(place, &["tokio::runtime", "tokio::park"]) {
        Mark::BlockOn
    } else if is_in(place, &SCHEDULER) {
        Mark::Scheduler
    } else {
        Mark::Nothing
    }
}

/// Whether it is not the function that polls a task, but what calls it through the task's table.
pub(super) fn calls_poll(place: &Place) -> bool {
    place.path.ends_with("::RawTask::poll")
}

/// What runs a task, by the type of its scheduler; `None` if that does not tell.
pub(super) fn runs(scheduler: &str) -> Option<Mark> {
    let is_one_of = |types: &[&str]| types.iter().any(|one| scheduler.contains(one));
    if scheduler.contains("tokio::task::local::") {
        Some(Mark::LocalSet)
    } else if is_one_of(&POOL_TYPES) {
        Some(Mark::Pool)
    } else if is_one_of(&SCHEDULER_TYPES) {
        Some(Mark::Scheduler)
    } else {
        None
    }
}

/// Whether it is a worker's own code.
pub(super) fn is_worker(place: &Place) -> bool {
    is_in(place, &WORKERS)
}

/// Whether a `block_on` holds up no more than its own thread.
pub(super) fn waits_for_one(place: &Place) -> bool {
    is_in(place, &WAITS_FOR_ONE)
}

/// Whether Tokio waits there for something to do.
pub(super) fn parks(place: &Place) -> bool {
    is_in(place, &PARKS)
        && matches!(
            place.name(),
            "park" | "park_timeout" | "park_internal" | "park_condvar" | "park_driver" | "park_thread_timeout" | "turn"
        )
}

fn is_in(place: &Place, modules: &[&str]) -> bool {
    modules.iter().any(|module| place.is_in(module))
}
