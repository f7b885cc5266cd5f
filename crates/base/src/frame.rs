//! A frame of a stack, and whose code runs the program's rather than doing its work.

/// One frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
// Not `non_exhaustive`: every instrument makes them.
pub struct Frame {
    /// The function, as far as the binary's debug information names it.
    pub function: Option<String>,
    /// Its source file, without the workspace's folder.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
}

/// The crates that run the program's code rather than doing its work, by name as in code. `*` at the end stands for anything, or
/// nothing.
pub const RUNTIME_CRATES: [&str; 24] = [
    "tokio",
    "tokio_util",
    "tokio_stream",
    "tokio_macros",
    "tokio_metrics",
    "mio",
    "socket2",
    "hyper",
    "hyper_util",
    "h2",
    "tower*",
    "actix*",
    "tonic*",
    "axum",
    "axum_core",
    "futures*",
    "async_trait",
    "tracing*",
    "console_subscriber",
    "parking_lot*",
    "lock_api",
    "pin_project*",
    "pollscope_probe",
    "pollscope_stacks",
];
