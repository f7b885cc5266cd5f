//! tokio-metrics: every task instrumented with one `TaskMonitor`.

use std::process::ExitCode;

use overhead_load::{Instrument, Seen};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_metrics::TaskMonitor;

#[derive(Clone)]
struct Monitored(TaskMonitor);

impl Instrument for Monitored {
    fn runtime(&mut self, mut builder: Builder) -> Runtime {
        builder.build().expect("a runtime can be built")
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, future: F) -> JoinHandle<()> {
        tokio::spawn(self.0.instrument(future))
    }

    fn seen(self, runtime: Runtime) -> Seen {
        drop(runtime);
        Seen::Polls(self.0.cumulative().total_poll_count)
    }
}

fn main() -> ExitCode {
    overhead_load::main(|name| (name == "task-monitor").then(|| Ok(Monitored(TaskMonitor::new()))))
}
