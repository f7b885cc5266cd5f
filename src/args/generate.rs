//! Completions and manual pages, generated from the definition of the command line.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// The script that a shell reads.
pub(super) fn completions(mut command: Command, shell: Shell) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    text(script)
}

/// The manual page of the program or of a command, in roff.
///
/// # Errors
/// When there is no such command; the message lists the commands.
pub(super) fn man(mut command: Command, of: Option<&str>) -> Result<String, String> {
    let known: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    // Names the page of `run` `pollscope-run`.
    command.build();
    let described = match of {
        None => command,
        Some(name) if known.iter().any(|known| known == name) => {
            command.find_subcommand(name).expect("one of its names").clone()
        }
        Some(_) => return Err(format!("unknown command; choose one of `{}`", known.join("`, `"))),
    };
    let mut page = Vec::new();
    let rendered: io::Result<()> = Man::new(described).render(&mut page);
    rendered.expect("memory takes everything");
    Ok(text(page))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("all of it was text")
}
