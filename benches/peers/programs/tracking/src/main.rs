//! Tokio's schedule-latency tracking, with nobody who reads it; and with hooks that read the processor's counter before and after
//! each poll, which nobody can do without who measures both.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use overhead_load::{HAS_COUNTER, Instrument, Seen, counter};
use tokio::runtime::{Builder, Runtime};

#[derive(Clone)]
struct Tracking {
    reads_counter: bool,
}

/// With a hook it can be seen; the measured runtime has none.
fn is_tracked() -> bool {
    let known = Arc::new(AtomicU64::new(0));
    let mut builder = Builder::new_current_thread();
    let hook = Arc::clone(&known);
    builder.track_task_schedule_latency().on_before_task_poll(move |meta| {
        hook.fetch_add(u64::from(meta.schedule_latency().is_some()), Relaxed);
    });
    let runtime = builder.build().expect("a runtime can be built");
    runtime.block_on(async { tokio::spawn(async {}).await.expect("an empty task does not panic") });
    known.load(Relaxed) == 1
}

impl Instrument for Tracking {
    fn runtime(&mut self, mut builder: Builder) -> Runtime {
        assert!(is_tracked(), "this build of tokio does not track schedule latency");
        if self.reads_counter {
            builder.on_before_task_poll(|_| _ = black_box(counter()));
            builder.on_after_task_poll(|_| _ = black_box(counter()));
        }
        builder.track_task_schedule_latency().build().expect("a runtime can be built")
    }

    fn seen(self, _: Runtime) -> Seen {
        Seen::Present
    }
}

fn main() -> ExitCode {
    let tracking = |reads_counter| Some(Ok(Tracking { reads_counter }));
    overhead_load::main(|name| match name {
        "tokio-tracking" => tracking(false),
        "tracking-and-counter" if !HAS_COUNTER => Some(Err("this processor's counter cannot be read".to_owned())),
        "tracking-and-counter" => tracking(true),
        _ => None,
    })
}
