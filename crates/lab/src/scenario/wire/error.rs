//! Why a scenario cannot be used.

use std::fmt;

use pollscope_record::gate::GateError;
use pollscope_record::snippet::{Snippet, printable};

/// Why a scenario cannot be used. Its message says where, why and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScenarioError {
    /// The text is not TOML.
    Syntax {
        /// Where it is.
        place: ValuePlace,
        /// What TOML expects there.
        reason: String,
        /// What the file is instead, and what to do with it.
        help: String,
    },
    /// The format has no such key.
    UnknownKey {
        /// Where it is.
        place: ValuePlace,
        /// The dotted key.
        key: String,
        /// The nearest key, if one is near.
        nearest: Option<&'static str>,
        /// The keys of its section, or all if there is no such section.
        known: Vec<&'static str>,
    },
    /// A value has the wrong type, is outside its bounds, or contradicts another.
    Value {
        /// Where it is.
        place: ValuePlace,
        /// The dotted key.
        key: String,
        /// What is wrong with its value.
        reason: String,
        /// What to do.
        help: Option<String>,
    },
    /// An expectation cannot be read.
    Gate {
        /// Where it is.
        place: ValuePlace,
        /// Why not.
        error: GateError,
    },
    /// A `--set` is not `key=value`.
    BadOverride {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no built-in scenario of that name.
    NotFound {
        /// What was typed.
        name: String,
        /// The nearest name, if one is near.
        nearest: Option<&'static str>,
        /// What else it is, and what to do with it.
        help: String,
    },
    /// A scenario's file cannot be read.
    Read {
        /// The file.
        path: String,
        /// The reason.
        cause: String,
    },
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePlace {
    /// A place in a scenario's text.
    Text(Box<TextPlace>),
    /// A scenario's whole text: something is missing in it.
    Scenario(String),
    /// A `--set`, as it was typed.
    Set(String),
}

/// A place in a scenario's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPlace {
    /// The scenario's name or its file's path.
    pub(super) name: String,
    pub(super) snippet: Snippet,
}

impl ValuePlace {
    /// The beginning of a message, up to the colon.
    fn verb(&self) -> String {
        let (what, name) = match self {
            ValuePlace::Text(place) => ("read scenario `", &place.name),
            ValuePlace::Scenario(name) => ("read scenario `", name),
            ValuePlace::Set(text) => ("apply `--set ", text),
        };
        format!("cannot {what}{}`", printable(name))
    }

    /// The line and the caret to show below the message, if there are any.
    fn below(&self) -> Vec<String> {
        match self {
            ValuePlace::Text(place) => place.snippet.with_place(&place.name).to_vec(),
            ValuePlace::Scenario(_) | ValuePlace::Set(_) => Vec::new(),
        }
    }
}

impl ScenarioError {
    /// Its message, line by line. Whatever is in what it quotes, there are no more lines than these.
    pub fn lines(&self) -> Vec<String> {
        let help = |text: String| format!("help: {text}");
        match self {
            ScenarioError::Syntax { place, reason, help: todo } => {
                let said = format!("{}: not TOML: {}", place.verb(), printable(reason));
                [vec![said], place.below(), vec![help(printable(todo))]].concat()
            }
            ScenarioError::UnknownKey { place, key, nearest, known } => {
                let said = format!("{}: unknown key `{}`", place.verb(), printable(key));
                let near = nearest.map(|nearest| format!("did you mean `{nearest}`?"));
                let near = near.unwrap_or_else(|| format!("the keys are `{}`", known.join("`, `")));
                let more = "`pollscope help settings` tells what each is".to_owned();
                [vec![said], place.below(), vec![help(near), help(more)]].concat()
            }
            ScenarioError::Value { place, key, reason, help: todo } => {
                let said = format!("{}: `{}` {}", place.verb(), printable(key), printable(reason));
                [vec![said], place.below(), todo.iter().cloned().map(help).collect()].concat()
            }
            ScenarioError::Gate { place, error } => {
                let [reason, gate, carets] = error.lines();
                [vec![format!("{}: {reason}", place.verb()), gate, carets], place.below()].concat()
            }
            ScenarioError::BadOverride { text, reason } => vec![format!(
                "cannot read `--set {}`: {reason}; write `--set key=value`, such as `--set merge.inputs=7`",
                printable(text)
            )],
            ScenarioError::NotFound { name, nearest, help: todo } => {
                let near = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
                vec![
                    format!("cannot find scenario `{}`: there is no such built-in scenario{near}", printable(name)),
                    help(printable(todo)),
                ]
            }
            ScenarioError::Read { path, cause } => {
                vec![format!("cannot read scenario file `{}`: {}", printable(path), printable(cause))]
            }
        }
    }
}

/// Its [`ScenarioError::lines`].
impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for ScenarioError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ScenarioError::Gate { error, .. } => Some(error),
            ScenarioError::Syntax { .. }
            | ScenarioError::UnknownKey { .. }
            | ScenarioError::Value { .. }
            | ScenarioError::BadOverride { .. }
            | ScenarioError::NotFound { .. }
            | ScenarioError::Read { .. } => None,
        }
    }
}
