//! tokio-blocked: its layer alone, which is less than its documentation sets up, and warns from 100 ms on, so never here.

use std::process::ExitCode;
use std::time::Duration;

use overhead_load::{Instrument, Seen};
use tokio::runtime::{Builder, Runtime};
use tokio_blocked::TokioBlockedLayer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Clone)]
struct Blocked;

impl Instrument for Blocked {
    fn runtime(&mut self, mut builder: Builder) -> Runtime {
        let layer = TokioBlockedLayer::new().with_warn_busy_single_poll(Some(Duration::from_millis(100)));
        tracing_subscriber::registry().with(layer).init();
        builder.build().expect("a runtime can be built")
    }

    /// Its figures have no names outside of it, but they can be printed.
    fn seen(self, runtime: Runtime) -> Seen {
        drop(runtime);
        let sites = tracing::dispatcher::get_default(|dispatch| {
            let layer: &TokioBlockedLayer = dispatch.downcast_ref().expect("the layer is installed");
            layer.snapshot().iter().map(|site| format!("{site:?}")).collect::<Vec<_>>()
        });
        let field = |site: &str, name: &str| {
            let (_, value) = site.split_once(&format!("{name}: ")).expect("it prints its fields");
            value.split([',', ' ']).next().expect("a split has a first part").to_owned()
        };
        assert!(sites.iter().any(|site| field(site, "total_busy") != "0ns"), "no time was measured: {sites:?}");
        let tasks = sites.iter().filter(|site| site.contains("\"runtime.spawn\""));
        Seen::Tasks(tasks.map(|site| field(site, "count").parse::<u64>().expect("a count is a number")).sum())
    }
}

fn main() -> ExitCode {
    overhead_load::main(|name| (name == "tokio-blocked").then_some(Ok(Blocked)))
}
