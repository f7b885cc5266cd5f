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
    let script = text(script);
    match shell {
        Shell::Bash => for_bash(&script),
        Shell::Zsh => for_zsh(&script, &command),
        Shell::Fish => script + &for_fish(&command),
        _ => script,
    }
}

/// Bash is offered every option where a file or a name is due, and so no file: options are for who types `-`.
fn for_bash(script: &str) -> String {
    let all = r#"COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )"#;
    let without_options = r#"COMPREPLY=( $(compgen -X '-*' -W "${opts}" -- "${cur}") )"#;
    let mut commands = false;
    let lines = script.lines().map(|line| {
        let begun = line.trim_start();
        if let Some((condition, _)) = line.split_once(" || ${COMP_CWORD} -eq 2 ]]") {
            commands = true;
            return format!("{condition} ]] ; then\n");
        }
        // Of those after that line the deeper one is in the condition.
        let is_last = commands && begun == all && line.len() - begun.len() == 12;
        if is_last { format!("{}{without_options}\n", " ".repeat(12)) } else { format!("{line}\n") }
    });
    lines.collect()
}

/// Zsh is offered the built-in scenarios alone, and files are scenarios as well; and no option behind an argument.
fn for_zsh(script: &str, command: &Command) -> String {
    let names = positional_values(command, "run").join(" ");
    let either =
        format!(r#"{{_alternative "scenarios:scenario:({names})" "files:scenario file:_files -g \"*.toml\""}}"#);
    // With two colons, no option is completed behind the first of several arguments.
    script.replace(&format!(":({names})'"), &format!(":{either}'")).replace("\n'*::", "\n'*:")
}

/// Fish is offered no value of an argument that has no option.
fn for_fish(command: &Command) -> String {
    let lines = command.get_subcommands().filter_map(|sub| {
        let name = sub.get_name();
        let values = positional_values(command, name).join(" ");
        // A scenario may be a file.
        let files = if name == "run" { "" } else { " -f" };
        let using = format!("__fish_{}_using_subcommand {name}", command.get_name());
        (!values.is_empty())
            .then(|| format!("complete -c {} -n \"{using}\"{files} -a \"{values}\"\n", command.get_name()))
    });
    lines.collect()
}

/// What the arguments of a command may be that have no option.
fn positional_values(command: &Command, name: &str) -> Vec<String> {
    let of = command.find_subcommand(name).into_iter().flat_map(Command::get_positionals);
    of.flat_map(|arg| arg.get_possible_values()).map(|value| value.get_name().to_owned()).collect()
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
