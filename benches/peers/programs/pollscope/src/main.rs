//! The probe: poll durations alone, with schedule latency, and with its watchdog.

use std::process::ExitCode;

use overhead_load::{Instrument, Seen};
use pollscope_probe::Probe;
use tokio::runtime::{Builder, Runtime};

#[derive(Clone)]
struct Pollscope {
    latency: bool,
    captures: bool,
    probe: Probe,
}

impl Instrument for Pollscope {
    fn runtime(&mut self, mut builder: Builder) -> Runtime {
        let probe = Probe::builder().schedule_latency(self.latency).capture(self.captures).install(&mut builder);
        self.probe = probe.expect("the default threshold is not 0");
        builder.build().expect("a runtime can be built")
    }

    fn seen(self, runtime: Runtime) -> Seen {
        // A task can be joined before the hook after its last poll has run.
        drop(runtime);
        let snapshot = self.probe.snapshot();
        let latencies = snapshot.schedule_latency.map(|latencies| latencies.count());
        let polls = snapshot.polls.count();
        assert_eq!(latencies, self.latency.then_some(polls), "schedule latencies are not what was asked for");
        Seen::Polls(polls)
    }
}

fn main() -> ExitCode {
    let pollscope = |latency, captures| Some(Ok(Pollscope { latency, captures, probe: Probe::off() }));
    overhead_load::main(|name| match name {
        "pollscope-durations" => pollscope(false, false),
        "pollscope-no-latency" => pollscope(false, true),
        "pollscope-latency" => pollscope(true, false),
        "pollscope-capture" => pollscope(true, true),
        _ => None,
    })
}
