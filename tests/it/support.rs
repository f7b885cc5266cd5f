//! Running the program as a user does.

use std::path::PathBuf;
use std::process::{Command, Output};

/// The program, in a neutral environment.
pub(crate) fn pollscope() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pollscope"));
    for name in ["NO_COLOR", "CLICOLOR_FORCE", "COLUMNS", "RUST_LOG", "POLLSCOPE", "POLLSCOPE_SLOW_POLL", "LC_ALL"] {
        command.env_remove(name);
    }
    command.env("LANG", "C.UTF-8").env("TERM", "xterm-256color");
    command
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What a program wrote to stdout.
pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a program wrote to stderr.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
