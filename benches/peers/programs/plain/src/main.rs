//! What needs nothing but Tokio: no instrument, a second thread, hooks that do nothing, two clock reads, Tokio's own
//! histogram.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use overhead_load::{HAS_COUNTER, Instrument, Seen, counter};
use tokio::runtime::{Builder, Runtime};

#[derive(Clone)]
enum Plain {
    Bare,
    /// Holds what the hooks hold, so that it can tell whether the runtime still holds them.
    EmptyHooks(Arc<()>),
    /// `Instant::now()` before and after every poll, from hooks that do nothing else.
    TwoClockReads(Arc<()>),
    /// The processor's counter instead.
    TwoCounterReads(Arc<()>),
    /// Nothing, and a thread that sleeps: glibc and Linux spare a process of one thread some of a system call's work.
    SecondThread,
    PollHistogram,
}

/// Hooks that the runtime drops, with what they hold, when it is dropped or others replace them.
fn hook(builder: &mut Builder, held: &Arc<()>, f: impl Fn() + Copy + Send + Sync + 'static) {
    let [before, after] = [Arc::clone(held), Arc::clone(held)];
    builder.on_before_task_poll(move |_| {
        let _ = &before;
        f();
    });
    builder.on_after_task_poll(move |_| {
        let _ = &after;
        f();
    });
}

impl Instrument for Plain {
    fn runtime(&mut self, mut builder: Builder) -> Runtime {
        match self {
            Plain::Bare => {}
            Plain::EmptyHooks(held) => hook(&mut builder, held, || {}),
            Plain::TwoClockReads(held) => hook(&mut builder, held, || _ = black_box(Instant::now())),
            Plain::TwoCounterReads(held) => hook(&mut builder, held, || _ = black_box(counter())),
            Plain::SecondThread => _ = std::thread::spawn(std::thread::park),
            Plain::PollHistogram => _ = builder.enable_metrics_poll_time_histogram(),
        }
        builder.build().expect("a runtime can be built")
    }

    fn seen(self, runtime: Runtime) -> Seen {
        match self {
            Plain::Bare | Plain::SecondThread => Seen::Nothing,
            Plain::EmptyHooks(held) | Plain::TwoClockReads(held) | Plain::TwoCounterReads(held) => {
                assert!(Arc::strong_count(&held) >= 3, "the runtime does not hold the hooks");
                Seen::Present
            }
            Plain::PollHistogram => {
                let metrics = runtime.metrics();
                // Workers hand in their counts when they end.
                drop(runtime);
                assert!(metrics.poll_time_histogram_enabled());
                let workers = 0..metrics.num_workers();
                let buckets = || 0..metrics.poll_time_histogram_num_buckets();
                let polls = |worker| buckets().map(move |bucket| (worker, bucket));
                let polls = workers.flat_map(polls);
                let counts = polls.map(|(worker, bucket)| metrics.poll_time_histogram_bucket_count(worker, bucket));
                Seen::MergedPolls(counts.sum())
            }
        }
    }
}

fn main() -> ExitCode {
    overhead_load::main(|name| {
        Some(Ok(match name {
            "bare" => Plain::Bare,
            "empty-hooks" => Plain::EmptyHooks(Arc::default()),
            "two-clock-reads" => Plain::TwoClockReads(Arc::default()),
            "two-counter-reads" if !HAS_COUNTER => {
                return Some(Err("this processor's counter cannot be read".to_owned()));
            }
            "two-counter-reads" => Plain::TwoCounterReads(Arc::default()),
            "second-thread" => Plain::SecondThread,
            "tokio-histogram" => Plain::PollHistogram,
            _ => return None,
        }))
    })
}
