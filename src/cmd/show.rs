//! Commands that only show a text: `scenarios`, `explain`, `help` on a topic, `schema`, `completions` and `man`.

use super::CmdError;
use super::output::Terminal;
use crate::exit::Exit;
use crate::explain::topics::Topic;
use crate::explain::{EXPLANATIONS, Found, find, page};
use crate::recording::wire::JSON_SCHEMA;
use crate::report::list;
use crate::scenario::{builtin, wire};

pub(super) fn scenarios(terminal: &Terminal) -> Result<Exit, CmdError> {
    let scenarios = builtin::BUILTIN.iter().map(|(name, toml)| {
        let scenario = wire::parse(name, toml, &[])?;
        Ok((scenario.name, scenario.question))
    });
    let scenarios: Vec<_> = scenarios.collect::<Result<_, _>>().map_err(CmdError::Scenario)?;
    text(&list::scenarios(&scenarios, &terminal.style()), terminal)
}

/// Below the list of codes.
const WORDS: &str = "\nThe words of reports: `pollscope help glossary`.\n";

pub(super) fn explain(code: Option<&str>, terminal: &Terminal) -> Result<Exit, CmdError> {
    let shown = match code {
        None => page::list(EXPLANATIONS, &terminal.style()) + WORDS,
        Some(code) => match find(code).map_err(CmdError::Explanation)? {
            Found::Code(explanation) => page::page(explanation, &terminal.style()),
            Found::Word(term) => page::word(term, &terminal.style()),
        },
    };
    text(&shown, terminal)
}

pub(super) fn topic(topic: Topic, terminal: &Terminal) -> Result<Exit, CmdError> {
    text(&page::markdown(&topic.text(), &terminal.style()), terminal)
}

pub(super) fn schema(terminal: &Terminal) -> Result<Exit, CmdError> {
    text(JSON_SCHEMA, terminal)
}

pub(super) fn text(text: &str, terminal: &Terminal) -> Result<Exit, CmdError> {
    terminal.to_stdout(text)?;
    Ok(Exit::Pass)
}
