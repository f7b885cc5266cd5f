//! The program: parse, run, print an error once, exit.

use std::process::ExitCode;

use pollscope::stderr::{finish, say};
use pollscope::{args, cmd};

fn main() -> ExitCode {
    let exit = match args::parse(std::env::args_os().collect()) {
        Ok(request) => cmd::execute(request).unwrap_or_else(|error| {
            say(error.lines());
            error.exit()
        }),
        Err(exit) => exit,
    };
    finish();
    exit.into()
}
