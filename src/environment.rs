//! The machine and the build, for the record.

use pollscope_probe::ClockSource;

use crate::export::console;
use crate::recording::Environment;

/// Tokio's version, from the lock file that this was built with.
const TOKIO_VERSION: &str = env!("POLLSCOPE_TOKIO_VERSION");

/// Asks the system.
pub fn environment(console_on: bool, command: Vec<String>) -> Environment {
    let uname = rustix::system::uname();
    Environment {
        pollscope: env!("CARGO_PKG_VERSION").to_owned(),
        tokio: Some(TOKIO_VERSION.to_owned()),
        os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        kernel: uname.release().to_str().ok().map(str::to_owned),
        cpus: std::thread::available_parallelism().ok().map(|cpus| cpus.get() as u64),
        clock: match ClockSource::here() {
            ClockSource::Tsc => "tsc, checked against CLOCK_MONOTONIC".to_owned(),
            clock => clock.as_str().to_owned(),
        },
        tokio_unstable: Some(pollscope_probe::TOKIO_UNSTABLE),
        console_compiled: Some(console::COMPILED),
        console_on: Some(console_on),
        command,
    }
}
