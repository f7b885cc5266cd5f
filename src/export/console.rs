//! Lets tokio-console observe a run.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// tokio-console's default address.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:6669";

/// Whether console-subscriber is compiled in. It turns on Tokio's `tracing` feature, which costs every poll a little.
pub const COMPILED: bool = cfg!(feature = "console");

/// Why tokio-console cannot observe this program.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's message says when it happens")]
pub enum ConsoleError {
    #[error("cannot use `--console`: this build lacks the cargo feature `console`; build with --features console")]
    NotCompiled,
    #[error(
        "cannot use `--console`: this build lacks `--cfg tokio_unstable`, so Tokio reports no tasks; build in the project's folder \
         without a RUSTFLAGS variable, or with RUSTFLAGS=\"--cfg tokio_unstable\""
    )]
    Stable,
    #[error("cannot listen for tokio-console on `{address}`: {error}; name a free address with --console=ADDR")]
    Address {
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
}

/// Records for tokio-console and listens for its client, on a separate thread and runtime. Call it once per process, before the
/// runtime to observe is built.
///
/// # Errors
/// When this build cannot, or the address is in use.
pub fn start(address: SocketAddr) -> Result<(), ConsoleError> {
    if !COMPILED {
        return Err(ConsoleError::NotCompiled);
    }
    if !pollscope_probe::TOKIO_UNSTABLE {
        return Err(ConsoleError::Stable);
    }
    // console-subscriber would panic on its own thread instead.
    TcpListener::bind(address).map(drop).map_err(|error| ConsoleError::Address { address, error })?;
    #[cfg(feature = "console")]
    record(address);
    Ok(())
}

#[cfg(feature = "console")]
fn record(address: SocketAddr) {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let layer = console_subscriber::ConsoleLayer::builder()
        .with_default_env()
        .server_addr(address)
        // By default its histogram cuts off polls of more than a second: the polls that matter here.
        .poll_duration_histogram_max(std::time::Duration::from_secs(64))
        .spawn();
    tracing_subscriber::registry().with(layer).init();
}
