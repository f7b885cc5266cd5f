//! What `SpanLayer` adds to a span of `tracing`: `cargo bench -p pollscope-probe --features span --bench spans`.
//!
//! A subscriber with the registry alone, and one with the layer. Every round measures both, one after the other, in turns, and
//! compares them within the round; the table shows the median round, and the middle half of all. What `common` has is not here: it is
//! the program's, and this is built with the probe alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pollscope_probe::{Probe, SpanLayer};
use tracing::{Dispatch, Instrument, Span, dispatcher, info_span};
use tracing_subscriber::layer::SubscriberExt;

/// What is done many times over.
type Load = (&'static str, fn(u64) -> Duration);

const LOADS: [Load; 4] = [
    ("enter and leave a span", |times| {
        let span = info_span!("request", route = "/items/{id}");
        timed(times, || span.in_scope(|| _ = black_box(&span)))
    }),
    ("enter and leave two, one within the other", |times| {
        let (request, query) = (info_span!("request", route = "/items/{id}"), info_span!("query"));
        timed(times, || request.in_scope(|| query.in_scope(|| _ = black_box(&query))))
    }),
    ("make and close a span, no field asked for", |times| timed(times, || drop(black_box(info_span!("request"))))),
    ("make and close a span, one field asked for", |times| {
        timed(times, || drop(black_box(info_span!("request", route = "/items/{id}"))))
    }),
];

fn timed(times: u64, mut once: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..times).for_each(|_| once());
    start.elapsed()
}

/// A task whose polls are each in a span, under a probe.
fn polls(times: u64) -> Duration {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let probe = Probe::builder().install(&mut runtime).expect("the default threshold is not 0");
    let runtime = runtime.build().expect("a runtime can be built");
    let task = async move {
        for _ in 0..times {
            tokio::task::yield_now().await;
        }
    };
    let task = probe.watch(task.instrument(info_span!("request", route = "/items/{id}")));
    let start = Instant::now();
    runtime.block_on(task);
    start.elapsed()
}

fn is_measuring() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

fn quantile(values: impl IntoIterator<Item = f64>, q: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * q).round() as usize]
}

fn main() {
    let (rounds, times) = if is_measuring() { (200, 20_000) } else { (2, 10) };
    println!("what SpanLayer adds, beside the registry alone");
    println!("{rounds} rounds of {times} times; the median of each");
    let layer = || SpanLayer::new().field("route");
    let subscribers =
        [Dispatch::new(tracing_subscriber::registry()), Dispatch::new(tracing_subscriber::registry().with(layer()))];
    assert!(dispatcher::with_default(&subscribers[1], Span::current).is_none());
    println!("{:<46} {:>8} {:>8} {:>8}  (middle half)", "nanoseconds", "without", "with", "added");
    for (name, load) in LOADS.into_iter().chain([("a poll within a span, with a probe", polls as fn(u64) -> Duration)])
    {
        let run = |which: usize| {
            let taken = dispatcher::with_default(&subscribers[which], || load(times));
            taken.as_nanos() as f64 / times as f64
        };
        (0..2).for_each(|which| _ = run(which));
        let rounds: Vec<[f64; 2]> = (0..rounds)
            .map(|round| {
                let mut taken = [0.0; 2];
                (0..2).map(|turn| (turn + round) % 2).for_each(|which| taken[which] = run(which));
                taken
            })
            .collect();
        let of = |which: usize| quantile(rounds.iter().map(|round| round[which]), 0.5);
        let added = |q| quantile(rounds.iter().map(|[without, with]| with - without), q);
        let half = format!("({:.1} to {:.1})", added(0.25), added(0.75));
        println!("{name:<46} {:>8.1} {:>8.1} {:>8.1}  {half}", of(0), of(1), added(0.5));
    }
}
