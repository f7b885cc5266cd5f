//! The program: parse, run, print an error once, exit.

use std::io::Write;
use std::process::ExitCode;

use pollscope::{args, cmd};

fn main() -> ExitCode {
    let request = match args::parse(std::env::args_os().collect()) {
        Ok(request) => request,
        Err(exit) => return exit.into(),
    };
    let exit = cmd::execute(request).unwrap_or_else(|error| {
        // A closed stderr must not change the exit code.
        let _ = writeln!(std::io::stderr(), "error: {error}");
        error.exit()
    });
    exit.into()
}
