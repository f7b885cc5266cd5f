//! tokio-console: lets its client look at a run while it goes on.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Where tokio-console looks unless told otherwise.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:6669";

/// Whether console-subscriber was compiled in; it turns on tokio's `tracing` feature, which costs every poll a little.
pub const COMPILED: bool = cfg!(feature = "console");

/// Why tokio-console cannot look at this program.
#[derive(Debug)]
pub enum ConsoleError {
    /// The feature `console` was off in this build.
    NotCompiled,
    /// The build lacks `--cfg tokio_unstable`, without which Tokio tells nothing.
    Stable,
    /// The address cannot be listened on.
    Address {
        /// As it was asked for.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
}

impl fmt::Display for ConsoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConsoleError::NotCompiled => f.write_str(
                "cannot follow `--console`: this build lacks the cargo feature `console`; build with --features console",
            ),
            ConsoleError::Stable => f.write_str(
                "cannot follow `--console`: this build lacks `--cfg tokio_unstable`, so Tokio reports no tasks; build in \
                 the project's folder without a RUSTFLAGS variable, or with RUSTFLAGS=\"--cfg tokio_unstable\"",
            ),
            ConsoleError::Address { address, error } => write!(
                f,
                "cannot listen for tokio-console on `{address}`: {error}; name a free address with --console=ADDR"
            ),
        }
    }
}

impl std::error::Error for ConsoleError {}

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
