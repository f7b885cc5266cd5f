//! The program: parse, run, print an error once, exit.

use std::process::ExitCode;

use pollscope::stderr::say;
use pollscope::{args, cmd};

fn main() -> ExitCode {
    let request = match args::parse(std::env::args_os().collect()) {
        Ok(request) => request,
        Err(exit) => return exit.into(),
    };
    let exit = cmd::execute(request).unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        error.exit()
    });
    exit.into()
}
