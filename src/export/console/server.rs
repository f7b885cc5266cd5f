//! Gathers what the layer sends and serves it to clients, on a thread of its own.

use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use console_subscriber::{ConsoleLayer, Server, ServerParts};

use pollscope_base::reason;
use tokio::task::unconstrained;
use tracing_core::dispatcher::{self, Dispatch};
use tracing_core::subscriber::NoSubscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::ConsoleError;
use super::layer::OfTheRun;
use super::settings::Settings;
use crate::signal_mask::without_signals;
use crate::stderr::say;

/// By default a histogram cuts off polls of more than a second: the polls that matter here.
const LONGEST_POLL: Duration = Duration::from_secs(64);

/// Starts the thread, then lets everything that is spawned from now on be seen.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn serve(listener: TcpListener, settings: Settings) -> Result<(), ConsoleError> {
    let Settings { retention, publish_interval, buffer_capacity, record_path } = settings;
    let mut builder = ConsoleLayer::builder()
        .retention(retention)
        .publish_interval(publish_interval)
        .event_buffer_capacity(buffer_capacity)
        .poll_duration_histogram_max(LONGEST_POLL);
    if let Some(path) = record_path {
        builder = builder.recording_path(path);
    }
    let (layer, server) = builder.build();
    let on_thread = move || {
        let _unseen = dispatcher::set_default(&Dispatch::new(NoSubscriber::default()));
        if let Err(error) = run(listener, server) {
            say(format!("warning: tokio-console can no longer observe this run: {}", reason(error)));
        }
    };
    let thread = thread::Builder::new().name("pollscope-console".to_owned());
    without_signals(|| thread.spawn(on_thread)).map_err(ConsoleError::Thread)?;
    tracing_subscriber::registry().with(OfTheRun::filtered(layer)).init();
    Ok(())
}

fn run(listener: TcpListener, server: Server) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let ServerParts { instrument_server, aggregator, .. } = server.into_parts();
        // It takes events until there is none, at most once an interval. Tokio's budget would end that after 128, and tasks
        // would be shown minutes late, or never.
        tokio::spawn(unconstrained(aggregator.run()));
        let router = tonic::transport::Server::builder().add_service(instrument_server);
        router
            .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener))
            .await
            .map_err(io::Error::other)
    })
}
