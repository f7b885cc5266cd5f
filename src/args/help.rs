//! `pollscope help`: a command's help, as `--help` prints it.

use clap::error::ErrorKind;
use clap::{Command, CommandFactory, Error};

use super::{Cli, hints};
use crate::escape::escape;
use crate::explain;
use crate::explain::topics::Topic;
use crate::snippet::nearest;

/// The commands' names, in the order in which help lists them.
pub(super) fn commands() -> Vec<&'static str> {
    vec![
        "run",
        "record",
        "top",
        "tasks",
        "merge",
        "confirm",
        "scenarios",
        "report",
        "compare",
        "init",
        "doctor",
        "explain",
        "agents",
        "schema",
        "completions",
        "man",
        "help",
    ]
}

/// What there is help on.
pub(super) fn names() -> Vec<&'static str> {
    [commands(), Topic::ALL.map(Topic::as_str).to_vec()].concat()
}

/// The help of a command, or of all of them; or the error that there is none. Topics are no matter of clap's.
pub(super) fn of(name: Option<&str>, command: &Command) -> Error {
    let line = match name {
        None => vec!["pollscope", "--help"],
        Some(name) if command.find_subcommand(name).is_some() => vec!["pollscope", name, "--help"],
        Some(name) => return unknown(name, command),
    };
    Cli::command().try_get_matches_from(line).expect_err("help is one of clap's errors")
}

fn unknown(name: &str, command: &Command) -> Error {
    let near = nearest(name, names());
    let instead = match near {
        _ if explain::find(name).is_ok() => format!("did you mean `pollscope explain {name}`?"),
        Some(near) => format!("did you mean `pollscope help {near}`?"),
        None => format!("the topics are `{}`", Topic::ALL.map(Topic::as_str).join("`, `")),
    };
    let message = format!("cannot help with `{}`: it is neither a command nor a topic; {instead}", escape(name));
    hints::of_command(command, &["pollscope", "help"].map(str::to_owned)).error(ErrorKind::InvalidValue, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_commands() {
        let command = Cli::command();
        assert_eq!(command.get_subcommands().map(Command::get_name).collect::<Vec<_>>(), commands());
    }
}
