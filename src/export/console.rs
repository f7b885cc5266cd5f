//! Lets tokio-console observe a run.

#[cfg(feature = "console")]
mod layer;
#[cfg(feature = "console")]
mod server;
#[cfg(feature = "console")]
mod settings;

use std::io;
use std::net::{SocketAddr, TcpListener};

use pollscope_base::reason;

use crate::exit::Exit;

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
    #[error("cannot use the variable `{name}` for `--console`: its value `{value}` {cause}; {remedy}, or unset it")]
    Variable { name: &'static str, value: String, cause: String, remedy: &'static str },
    #[error("cannot listen for tokio-console on `{address}`: {}; name a free address with --console=ADDR", reason(.error))]
    Address {
        address: SocketAddr,
        #[source]
        error: io::Error,
    },
    #[error("cannot start the thread `console`: {}; raise the limit (`ulimit -u`)", reason(.0))]
    Thread(#[source] io::Error),
}

impl ConsoleError {
    /// The exit code that goes with it: what was typed is a matter of usage.
    pub fn exit(&self) -> Exit {
        match self {
            ConsoleError::Variable { .. } => Exit::Usage,
            _ => Exit::Error,
        }
    }
}

/// Records for tokio-console and listens for its client, on a separate thread and runtime. Call it once per process, before the
/// runtime to observe is built.
///
/// # Errors
/// When this build cannot, a variable TOKIO_CONSOLE_* has no sense, the address is in use, or no thread can be started.
pub fn start(address: SocketAddr) -> Result<(), ConsoleError> {
    if !COMPILED {
        return Err(ConsoleError::NotCompiled);
    }
    if !pollscope_probe::TOKIO_UNSTABLE {
        return Err(ConsoleError::Stable);
    }
    #[cfg(feature = "console")]
    let settings = settings::Settings::from_environment()?;
    let listener = TcpListener::bind(address).map_err(|error| ConsoleError::Address { address, error })?;
    #[cfg(feature = "console")]
    server::serve(listener, settings)?;
    #[cfg(not(feature = "console"))]
    drop(listener);
    Ok(())
}
