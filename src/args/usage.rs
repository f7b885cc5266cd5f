//! Usage errors as they are shown: clap repeats what was typed as it is.

use std::io;

use anstream::{AutoStream, ColorChoice};
use clap::error::{ContextKind, ContextValue};

use crate::escape::escape;
use crate::stderr::Lines;

/// The message, coloured where stderr shows colours, with what was typed made safe to show.
pub(super) fn lines(error: clap::Error) -> Lines {
    let shown = made_safe(error).render();
    let text = match AutoStream::choice(&io::stderr()) {
        ColorChoice::Never => shown.to_string(),
        _ => shown.ansi().to_string(),
    };
    text.trim_end().lines().map(Lines::coloured).collect()
}

/// Before the message is made, while it is known what was typed: a line break in that is none of the message.
fn made_safe(mut error: clap::Error) -> clap::Error {
    let safe = |text: &String| escape(text).into_owned();
    let shown: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| {
            let value = match value {
                ContextValue::String(text) => ContextValue::String(safe(text)),
                ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(safe).collect()),
                // Advice, which repeats arguments; its colours go.
                ContextValue::StyledStrs(texts) => {
                    ContextValue::StyledStrs(texts.iter().map(|text| safe(&text.to_string()).into()).collect())
                }
                _ => return None,
            };
            Some((kind, value))
        })
        .collect();
    for (kind, value) in shown {
        error.insert(kind, value);
    }
    error
}
