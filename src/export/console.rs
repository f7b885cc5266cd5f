//! tokio-console: lets its client look at a run while it goes on.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Where tokio-console looks unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:6669";

/// Whether console-subscriber was compiled in; it turns on tokio's `tracing` feature, which costs every poll a little.
pub const COMPILED: bool = cfg!(feature = "console");

/// Why tokio-console cannot look at this program.
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

/// Starts recording for tokio-console and listening for its client, on a thread and a runtime of their own. Once a
/// process, and before the runtime to look at is built.
///
/// # Errors
/// When this build cannot, or the address is taken.
pub fn start(address: SocketAddr) -> Result<(), ConsoleError> {
    if !COMPILED {
        return Err(ConsoleError::NotCompiled);
    }
    if !pollscope_probe::TOKIO_UNSTABLE {
        return Err(ConsoleError::Stable);
    }
    // console-subscriber would panic on its own thread, where nobody could say it well.
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
        // Polls of more than a second, which its histogram cuts off by default, are what one looks for here.
        .poll_duration_histogram_max(std::time::Duration::from_secs(64))
        .spawn();
    tracing_subscriber::registry().with(layer).init();
}
