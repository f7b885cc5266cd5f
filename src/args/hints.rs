//! What to type instead of a command line that clap refuses: the advice below its message.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use super::values::serving;
use crate::explain;
use crate::scenario::builtin::BUILTIN;
use crate::snippet::nearest;

/// Puts what to type into an error of clap's, in place of clap's own guess, where that is known better here.
pub(super) fn advise(mut error: Error, command: &Command, typed: &[String]) -> Error {
    let advice = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            context(&error, ContextKind::InvalidSubcommand).and_then(|word| no_command(&word, command, typed))
        }
        ErrorKind::UnknownArgument => {
            context(&error, ContextKind::InvalidArg).and_then(|arg| no_argument(&arg, command, typed))
        }
        ErrorKind::MissingRequiredArgument => missing(command, typed),
        _ => None,
    };
    if let Some(advice) = advice {
        error.remove(ContextKind::SuggestedSubcommand);
        if error.remove(ContextKind::SuggestedArg).is_some() {
            // Clap's has the argument that it guessed.
            let usage = of_command(command, typed).render_usage();
            error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
    }
    error
}

/// Advice on an address that stands behind `--console`, and is read as a scenario or an input.
pub(super) fn stray_address(typed: &[String]) -> Option<String> {
    let words = typed.split(|word| word == "--").next().unwrap_or_default();
    let pair = words.windows(2).find(|pair| pair[0] == "--console" && is_address(&pair[1]))?;
    let typed = &pair[1];
    let address = if serving(typed).is_ok() { typed.clone() } else { "127.0.0.1:6669".to_owned() };
    Some(format!(
        "`{typed}` behind `--console` would be read as another argument: write `--console={address}`, or `./{typed}` for a file of \
         that name"
    ))
}

fn is_address(word: &str) -> bool {
    serving(word).is_ok() || word.parse::<std::net::IpAddr>().is_ok() || word == "localhost"
}

fn context(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// What a word is that is no command.
fn no_command(word: &str, command: &Command, typed: &[String]) -> Option<String> {
    let with = |name: &str| format!("did you mean `{}`?", line(&inserted(typed, word, name)));
    let is_builtin = |name: &str| BUILTIN.iter().any(|(builtin, _)| *builtin == name);
    if is_builtin(word) || word.ends_with(".toml") {
        return Some(with("run"));
    }
    if explain::find(word).is_ok() {
        return Some(with("explain"));
    }
    let path = Path::new(word);
    let is_saved = |extension| ["json", "html", "hlog"].iter().any(|saved| extension == *saved);
    if path.extension().is_some_and(is_saved) {
        return Some(with("report"));
    }
    if is_program(path) {
        let mut words = inserted(typed, word, "record");
        let at = words.iter().position(|typed| typed == word)?;
        words.insert(at, "--".to_owned());
        return Some(format!("`{}` records a program", line(&words)));
    }
    if path.is_file() {
        let [report, merge] = ["report", "merge"].map(|name| line(&inserted(typed, word, name)));
        return Some(format!("`{report}` shows a recording; `{merge} -o OUT` merges files"));
    }
    let commands = command.get_subcommands().map(Command::get_name);
    if nearest(word, commands).is_some() {
        return None;
    }
    let scenario = nearest(word, BUILTIN.iter().map(|(name, _)| *name))?;
    Some(format!("did you mean `pollscope run {scenario}`?"))
}

/// Whether it is a file that somebody may execute.
fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o111 != 0)
}

/// What was typed, with a command's name before the first `word`.
fn inserted(typed: &[String], word: &str, name: &str) -> Vec<String> {
    let mut line = typed.get(1..).unwrap_or_default().to_vec();
    let at = line.iter().position(|typed| typed == word).unwrap_or(0);
    line.insert(at, name.to_owned());
    line
}

/// A line for a shell, that begins with the program's name.
fn line(words: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    let quoted = words.iter().map(|word| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    std::iter::once("pollscope".to_owned()).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// The command that was typed.
fn asked<'c>(command: &'c Command, typed: &[String]) -> Option<&'c Command> {
    typed.iter().skip(1).find_map(|word| command.find_subcommand(word))
}

/// The command that was typed, or the whole program's, with its usage.
pub(super) fn of_command(command: &Command, typed: &[String]) -> Command {
    let mut all = command.clone();
    all.build();
    asked(&all, typed).cloned().unwrap_or(all)
}

/// What to do instead of an argument that a command has not.
fn no_argument(argument: &str, command: &Command, typed: &[String]) -> Option<String> {
    let name = asked(command, typed)?.get_name();
    let known = match (name, argument) {
        ("report", "--mode") => {
            "a report has every mode of its recording; `pollscope compare FILE --mode A,B` compares two of them"
        }
        ("run", "-o" | "--output") => {
            "`--json FILE` writes the recording, `--html FILE` a page; `pollscope help formats` lists all"
        }
        ("compare", "-o" | "--output") => "a comparison goes to stdout: write `> FILE` behind the command",
        ("compare", "--json") => "`--format json` writes the comparison as JSON to stdout",
        ("record", other) if !other.starts_with('-') => {
            "one process is recorded at a time; the program stands behind `--`: `pollscope record [OPTIONS] -- PROGRAM [ARGUMENTS]`"
        }
        ("top", other) if !other.starts_with('-') => {
            "one process is shown at a time; a program stands behind `--`: `pollscope top -- PROGRAM [ARGUMENTS]`"
        }
        ("doctor", other) if !other.starts_with('-') => "one process is examined at a time: `pollscope doctor 4711`",
        ("scenarios", other) if !other.starts_with('-') => "`pollscope run SCENARIO` runs one of them",
        _ => "",
    };
    if !known.is_empty() {
        return Some(known.to_owned());
    }
    let has = |of: &&Command| {
        of.get_arguments().any(|known| {
            let long = known.get_long().is_some_and(|long| argument.strip_prefix("--") == Some(long));
            long || known.get_short().is_some_and(|short| argument == format!("-{short}"))
        })
    };
    let others: Vec<&str> = command.get_subcommands().filter(has).map(Command::get_name).collect();
    if others.is_empty() {
        return None;
    }
    let verb = if others.len() == 1 { "has" } else { "have" };
    Some(format!("`{name}` has no `{argument}`, but {} {verb} one", listed(&others)))
}

/// Names in a sentence: `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, first)) if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => quoted.concat(),
    }
}

/// What to add to a command that lacks something.
fn missing(command: &Command, typed: &[String]) -> Option<String> {
    let name = asked(command, typed)?.get_name();
    if name == "top" {
        return Some(
            "give the number of a process, or name a program behind `--`: `pollscope top -- ./service`".to_owned(),
        );
    }
    if name == "record" {
        let what =
            "name the program behind `--`: `pollscope record -- ./service --port 8080`; or the number of a process";
        return Some(what.to_owned());
    }
    if !["merge", "confirm"].contains(&name) {
        return None;
    }
    let Some(inputs) = inputs_alone(command, typed) else {
        return Some(format!("name the inputs, then the output: `pollscope {name} a.log b.log -o merged.log`"));
    };
    let (last, first) = inputs.split_last()?;
    let mut words = typed.get(1..).unwrap_or_default().to_vec();
    // What a merge would make is not there yet.
    if first.is_empty() || (name == "merge" && last.exists()) {
        return Some(format!("name the output: `{} -o OUT`", line(&words)));
    }
    let last = last.to_string_lossy();
    let at = words.iter().rposition(|word| *word == last)?;
    words.remove(at);
    words.extend(["-o".to_owned(), last.to_string()]);
    Some(format!("every name is read as an input, `{last}` too; name the output: `{}`", line(&words)))
}

/// The inputs of a line that lacks only its output.
fn inputs_alone(command: &Command, typed: &[String]) -> Option<Vec<PathBuf>> {
    let words = typed.iter().map(OsString::from).chain(["--output", "OUT"].map(OsString::from));
    let matches = command.clone().try_get_matches_from(words).ok()?;
    let (_, of) = matches.subcommand()?;
    Some(of.get_many::<PathBuf>("inputs")?.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_address_behind_console_is_noticed_and_a_name_is_not() {
        for address in ["7000", ":7000", "127.0.0.1:7000", "127.0.0.1", "localhost", "localhost:7000", "[::1]:7000"] {
            let advice = stray_address(&words(&format!("pollscope run --console {address}"))).expect(address);
            let shown = if address.contains("7000") { address } else { "127.0.0.1:6669" };
            assert!(advice.contains(&format!("`--console={shown}`")), "{advice}");
        }
        for line in ["run --console merge", "run 7000 --console", "run --console=7000 8000", "merge -- --console 7000"]
        {
            assert_eq!(stray_address(&words(&format!("pollscope {line}"))), None, "{line}");
        }
    }

    #[test]
    fn a_line_is_one_that_a_shell_reads() {
        let shown = line(&["run", "a b.toml", "it's", ""].map(str::to_owned));
        assert_eq!(shown, r"pollscope run 'a b.toml' 'it'\''s' ''");
    }

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        assert_eq!(["a", "b", "c"].map(|last| listed(&["x", last])), ["`x` and `a`", "`x` and `b`", "`x` and `c`"]);
        assert_eq!((listed(&["x"]).as_str(), listed(&["x", "y", "z"]).as_str()), ("`x`", "`x`, `y` and `z`"));
    }
}
