//! What `--help` shows of each command: lines to type.

/// The program's.
pub(super) fn of_the_program(more: &str) -> String {
    format!("{PROGRAM}\n\n{TOPICS}\n\n{more}")
}

/// A command's, with a word on gates.
pub(super) fn with_gates(examples: &str) -> String {
    format!("{examples}\n\n{GATES}")
}

const TOPICS: &str = "\
Topics:
  pollscope help gates      what `--fail-on` takes
  pollscope help formats    what a report can be
  pollscope help settings   the keys of scenarios, for `--set`
  pollscope help config     what a project says once, in `pollscope.toml`
  pollscope help glossary   the words of reports";

const GATES: &str = "\
Gates (--fail-on):
  'lag.p99 < 10ms'            must hold in every mode
  'naive.slow_polls >= 3'     in that one
  'offloaded.lag.p99 < 0.1 * naive.lag.p99'
  The whole grammar: `pollscope help gates`";

const PROGRAM: &str = "\
Examples:
  pollscope run slow-sink          what blocks, and the fix
  pollscope record -- ./service    what blocks yours
  pollscope report saved.json
  pollscope explain PS001";

pub(super) const RUN: &str = "\
Examples:
  pollscope run slow-sink
  pollscope run ./mine.toml --rounds 3 --html page.html
  pollscope run merge --mode all --set merge.inputs=20
  pollscope run slow-sink --fail-on 'offloaded.lag.p99 < 1s'";

pub(super) const RECORD: &str = "\
Examples:
  pollscope record -- ./service --port 8080
  pollscope record --for 30s --html page.html -- ./service
  pollscope record --fail-on 'slow_polls == 0' -- ./tests
  pollscope record --for 30s 4711     one that runs already

Where text goes:
  The program has stdin, stdout and stderr as they are. When
  it has ended, the report follows on stdout. With `--json -`
  or `--format json`, stdout has the JSON alone, and what the
  program prints there goes to stderr. Lines on slow polls
  are the program's own, with `--quiet` too.

One that runs already:
  A service that was started with `POLLSCOPE=1
  POLLSCOPE_LISTEN=1` is recorded from now on, until Ctrl-C,
  `--for`, or its end. It goes on, and the exit code is 0. Any
  other with Tokio in it is looked at from outside, and so is a
  program that is started and has no probe; `--outside` does so
  where one would tell.

How it ends:
  Ctrl-C and other signals reach the program; the third one
  kills it. The exit code is 99 if a gate fails, else that of
  the program: its own, 128 and the number of the signal that
  killed it, or 0 if `--for` ended it. It is 126 if it cannot
  be started, 127 if it is not there, and 1 if it recorded
  nothing.

Gates (--fail-on):
  'slow_polls == 0'              no poll held up the loop
  'schedule_latency.p99 < 10ms'  no task waited long to run
  The whole grammar: `pollscope help gates`";

pub(super) const TOP: &str = "\
Examples:
  pollscope top 4711
  pollscope top 4711 --once
  pollscope top 4711 --outside --slow 20ms
  pollscope top -- ./service --port 8080

Keys:
  s sorts the places by time, worst or polls, w shows those of
  the last 10 s or of all, p or the space bar pauses. The arrows
  mark a place, Enter opens its stack, Esc closes it. q ends.

What it shows:
  A service is asked through a socket that it listens on: start
  it with `POLLSCOPE=1 POLLSCOPE_LISTEN=1`. Any other with Tokio
  in it is looked at from outside: a time with `~` is at least
  as long, and `-` is not known. A program that is
  started here does so by itself; what it prints goes to a file,
  whose name is below the frame, and it ends with `top`. Where
  stdout is no terminal, a frame a second is printed.";

pub(super) const TASKS: &str = "\
Examples:
  pollscope tasks 4711
  pollscope tasks 4711 --every 1s
  pollscope tasks 4711 --symbols target/release/shop
  pollscope tasks core.4711 target/release/shop

What it shows:
  First those that wait for each other, then the others in
  groups of those that wait alike, most first: where, for what,
  and who has that. `--task` and `--all` show await chains as
  trees. The process goes on, and nothing is written to it.
  Of one that ended, its core file tells the same, and what its
  threads were doing. Its program must be of the same build.
  Where its debug information has no types, it is not known
  where tasks are suspended: `debug = \"full\"` gives them.";

pub(super) const MERGE: &str = "\
Examples:
  pollscope merge a.log b.log -o merged.log
  pollscope merge a.log b.log -o merged.log --follow --tag
  pollscope merge /dev/stdin a.log -o merged.log --append";

pub(super) const CONFIRM: &str = "\
Examples:
  pollscope confirm a.log b.log -o merged.log
  pollscope confirm a.log b.log -o merged.log --json -";

pub(super) const SCENARIOS: &str = "\
Examples:
  pollscope scenarios
  pollscope run slow-sink        runs one of them";

pub(super) const REPORT: &str = "\
Examples:
  pollscope report saved.json
  pollscope report saved.json --html page.html
  pollscope report recordings --from 03:10 --to 03:15
  pollscope report saved.json --fail-on 'slow_polls == 0'";

pub(super) const COMPARE: &str = "\
Examples:
  pollscope compare before.json after.json
  pollscope compare v1.pollscope v2.pollscope    two builds
  pollscope compare a.json b.json --mode naive,offloaded
  pollscope compare saved.json       its modes";

pub(super) const INIT: &str = "\
Examples:
  pollscope init                     shows the changes
  pollscope init --write
  pollscope init ../shop --path ../pollscope/crates/probe
  pollscope init ../shop --write --quiet

What it changes:
  Cargo.toml: the dependency `pollscope-probe` with its
    feature `record`, and line tables in release builds
  .cargo/config.toml: `--cfg tokio_unstable`
  the program: `#[tokio::main]`, to the probe's own
  The diff goes to stdout, as `git apply` reads it; notes on
  what is to be done by hand go to stderr.";

pub(super) const DOCTOR: &str = "\
Examples:
  pollscope doctor
  pollscope doctor --quiet --color never
  pollscope doctor 4711              what can be seen of it

Of a process:
  It says whether it can be looked at from outside, and if so
  how well, with what would help, the least effort first. Perf
  events are tried on its threads and given back; it is not
  stopped. The exit code is 0 if it can be looked at, or tells
  of itself, and 1 if not.";

pub(super) const EXPLAIN: &str = "\
Examples:
  pollscope explain PS001
  pollscope explain lock
  pollscope explain schedule latency
  pollscope explain                  lists all codes";

pub(super) const AGENTS: &str = "\
Examples:
  pollscope agents
  pollscope report last --format agent    at most 2 kB";

pub(super) const SCHEMA: &str = "\
Examples:
  pollscope schema
  pollscope schema > recording.schema.json";

pub(super) const COMPLETIONS: &str = "\
Examples:
  pollscope completions bash > ~/.local/share/bash-completion/completions/pollscope
  pollscope completions zsh > ~/.zfunc/_pollscope
  pollscope completions fish > ~/.config/fish/completions/pollscope.fish";

pub(super) const MAN: &str = "\
Examples:
  pollscope man | man -l -
  pollscope man run | man -l -";

pub(super) const HELP: &str = "\
Examples:
  pollscope help run
  pollscope help gates
  pollscope help settings";

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::Cli;

    /// What a shell makes of a line, as far as the examples go: quotes, pipes, and comments behind three blanks.
    fn words(line: &str) -> Vec<String> {
        let line = line.split("   ").next().unwrap().split(['|']).next().unwrap();
        let mut words = Vec::new();
        for (index, part) in line.split('\'').enumerate() {
            if index % 2 == 1 {
                words.push(part.to_owned());
            } else {
                words.extend(part.split_whitespace().take_while(|word| *word != ">").map(str::to_owned));
            }
        }
        words
    }

    #[test]
    fn every_command_has_two_to_four_and_they_are_read() {
        let command = Cli::command();
        for of in std::iter::once(&command).chain(command.get_subcommands()) {
            let help = of.get_after_long_help().unwrap_or_else(|| panic!("{}", of.get_name())).to_string();
            let examples = help.split("\n\n").next().unwrap();
            let lines: Vec<&str> = examples.lines().skip(1).map(str::trim_start).collect();
            assert!((2..=4).contains(&lines.len()), "{}: {lines:?}", of.get_name());
            for line in lines {
                assert!(Cli::try_parse_from(words(line)).is_ok(), "{line}");
                // A redirection ends in a path that is as long as it is.
                assert!(line.len() <= 58 || line.contains(" > "), "{line}: a narrow terminal wraps it");
            }
        }
    }
}
