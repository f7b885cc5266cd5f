//! console-subscriber: its layer and its server on loopback, to which nobody is connected while the load runs.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::Duration;

use console_api::instrument::InstrumentRequest;
use console_api::instrument::instrument_client::InstrumentClient;
use console_subscriber::ConsoleLayer;
use overhead_load::{Instrument, Seen};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

#[derive(Clone)]
struct Console(SocketAddr);

impl Instrument for Console {
    fn runtime(&mut self, mut builder: Builder) -> Runtime {
        let layer = ConsoleLayer::builder().server_addr(self.0).spawn();
        tracing_subscriber::registry().with(layer).init();
        builder.build().expect("a runtime can be built")
    }

    /// Asks as the console would. Tasks that were more than its buffer holds are dropped, so it is less than all.
    fn seen(self, runtime: Runtime) -> Seen {
        drop(runtime);
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let polls = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), polls(self.0)).await });
        Seen::SomePolls(polls.unwrap_or(0))
    }
}

/// The polls of all tasks in the server's first answer that has any: it hears of what happened up to a second later.
async fn polls(address: SocketAddr) -> u64 {
    let mut client = loop {
        match InstrumentClient::connect(format!("http://{address}")).await {
            Ok(client) => break client.max_decoding_message_size(usize::MAX),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let mut updates = client.watch_updates(InstrumentRequest {}).await.expect("it can be watched").into_inner();
    loop {
        let update = updates.message().await.expect("an answer is whole").expect("the server still runs");
        let tasks = update.task_update.map(|tasks| tasks.stats_update).unwrap_or_default();
        let polls = tasks.values().filter_map(|task| task.poll_stats.as_ref()).map(|polls| polls.polls).sum();
        if polls > 0 {
            return polls;
        }
    }
}

fn main() -> ExitCode {
    overhead_load::main(|name| {
        // Free until somebody else takes it: nobody does so often enough to matter.
        let free = || TcpListener::bind("127.0.0.1:0")?.local_addr();
        (name == "console").then(|| free().map(Console).map_err(|error| format!("no free port: {error}")))
    })
}
