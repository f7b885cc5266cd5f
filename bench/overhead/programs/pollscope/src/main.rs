//! The probe: without its watchdog, and with it.

use std::process::ExitCode;

use overhead_load::{Instrument, Seen};
use pollscope_probe::Probe;
use tokio::runtime::{Builder, Runtime};

#[derive(Clone)]
struct Pollscope {
    captures: bool,
    probe: Probe,
}

impl Instrument for Pollscope {
    fn runtime(&mut self, mut builder: Builder) -> Runtime {
        let probe = Probe::builder().capture(self.captures).install(&mut builder);
        self.probe = probe.expect("the default threshold is not 0");
        builder.build().expect("a runtime can be built")
    }

    fn seen(self, runtime: Runtime) -> Seen {
        // A task can be joined before the hook after its last poll has run.
        drop(runtime);
        let snapshot = self.probe.snapshot();
        let latencies = snapshot.schedule_latency.map(|latencies| latencies.count());
        assert_eq!(latencies, Some(snapshot.polls.count()), "a poll has no schedule latency");
        Seen::Polls(snapshot.polls.count())
    }
}

fn main() -> ExitCode {
    let pollscope = |captures| Some(Ok(Pollscope { captures, probe: Probe::off() }));
    overhead_load::main(|name| match name {
        "pollscope-durations" => Some(Err("the probe has no switch for schedule latency".to_owned())),
        "pollscope-latency" => pollscope(false),
        "pollscope-capture" => pollscope(true),
        _ => None,
    })
}
