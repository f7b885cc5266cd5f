//! What stands in an attribute: `flavor = "current_thread", threshold = "50ms"`.

use std::time::Duration;

use proc_macro::{Span, TokenStream, TokenTree};

use pollscope_base::duration;

use crate::expand::Wrong;

/// What was set.
#[derive(Default)]
pub(crate) struct Settings {
    /// Whether it is `multi_thread`.
    pub(crate) multi_thread: Option<bool>,
    pub(crate) workers: Option<(u64, Span)>,
    pub(crate) threshold: Option<Duration>,
}

const KNOWN: &str = "there are `flavor`, `worker_threads` and `threshold`";

/// Reads the settings; the first that is wrong.
pub(crate) fn read(settings: TokenStream) -> Result<Settings, Wrong> {
    let mut read = Settings::default();
    let mut seen: Vec<String> = Vec::new();
    let mut tokens = settings.into_iter();
    while let Some(token) = tokens.next() {
        let name = match &token {
            TokenTree::Ident(name) => name.to_string(),
            other => return Err(Wrong::at(other.span(), format!("cannot read `{other}` as a setting: {KNOWN}"))),
        };
        let span = token.span();
        match tokens.next() {
            Some(TokenTree::Punct(is)) if is.as_char() == '=' => {}
            other => {
                let span = other.map_or(span, |other| other.span());
                return Err(Wrong::at(span, format!("`{name}` has no value: write `{name} = …`")));
            }
        }
        let Some(value) = tokens.next() else {
            return Err(Wrong::at(span, format!("`{name}` has no value: write it behind the `=`")));
        };
        if seen.contains(&name) {
            return Err(Wrong::at(span, format!("`{name}` is set twice: leave one of both out")));
        }
        set(&mut read, &name, span, &value)?;
        seen.push(name);
        match tokens.next() {
            None => break,
            Some(TokenTree::Punct(comma)) if comma.as_char() == ',' => {}
            Some(other) => return Err(Wrong::at(other.span(), "a comma is missing before this".to_owned())),
        }
    }
    check(read)
}

fn set(settings: &mut Settings, name: &str, span: Span, value: &TokenTree) -> Result<(), Wrong> {
    let wrong = |why: String| Err(Wrong::at(value.span(), why));
    match name {
        "flavor" => match text(value).as_deref() {
            Some("multi_thread") => settings.multi_thread = Some(true),
            Some("current_thread") => settings.multi_thread = Some(false),
            _ => return wrong(format!("{value} is no flavor: there are \"multi_thread\" and \"current_thread\"")),
        },
        "worker_threads" => match value.to_string().replace('_', "").parse::<u64>() {
            Ok(0) => return wrong("a runtime needs a worker: give at least 1".to_owned()),
            Ok(workers) => settings.workers = Some((workers, span)),
            Err(_) => return wrong(format!("{value} is no number of workers: write one such as 4")),
        },
        "threshold" => match text(value).as_deref().and_then(duration::parse) {
            Some(Duration::ZERO) => return wrong("every poll would be slow: give at least \"1ns\"".to_owned()),
            Some(threshold) => settings.threshold = Some(threshold),
            None => return wrong(format!("{value} is no duration: write one such as \"50ms\"")),
        },
        "start_paused" => {
            let why = "a paused clock is refused: what polls take is measured by the real one; take `#[tokio::test]` for this test";
            return Err(Wrong::at(span, why.to_owned()));
        }
        _ => return Err(Wrong::at(span, format!("there is no setting `{name}`: {KNOWN}"))),
    }
    Ok(())
}

/// What does not go together.
fn check(settings: Settings) -> Result<Settings, Wrong> {
    match settings.workers {
        Some((_, span)) if settings.multi_thread == Some(false) => {
            let why =
                "`worker_threads` is for a multi-thread runtime: leave it out, or set `flavor = \"multi_thread\"`";
            Err(Wrong::at(span, why.to_owned()))
        }
        _ => Ok(settings),
    }
}

/// The text of a literal between quotes, as far as it needs no escapes.
fn text(value: &TokenTree) -> Option<String> {
    let TokenTree::Literal(literal) = value else { return None };
    let shown = literal.to_string();
    Some(shown.strip_prefix('"')?.strip_suffix('"')?.to_owned())
}
