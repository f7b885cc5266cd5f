//! Explains each finding and each cause: what it means, how to fix it, and an example that compiles.
//!
//! The texts are the files in `src/explain`; their examples are this library's tests.

#![allow(clippy::needless_doctest_main, reason = "the examples are shown as whole programs")]

pub mod glossary;
pub mod page;
pub mod topics;

use std::fmt;

use self::glossary::{GLOSSARY, Term};
use crate::escape::escape;
use crate::snippet::nearest;

/// The explanation of a code.
#[derive(Debug)]
pub struct Explanation {
    /// A finding's code, such as `PS001`, or a cause, such as `lock`.
    pub code: &'static str,
    /// Prose and an example, in Markdown: a heading, paragraphs and one fenced block.
    pub text: &'static str,
}

impl Explanation {
    /// The heading without the code.
    pub fn title(&self) -> &'static str {
        let heading = self.text.lines().next().unwrap_or_default().trim_start_matches("# ");
        heading.split_once(": ").map_or(heading, |(_, title)| title)
    }
}

/// How a program that drives this one uses it: Markdown.
pub const AGENTS: &str = include_str!("explain/agents.md");

macro_rules! explanations {
    ($($module:ident = $code:literal),* $(,)?) => {
        /// All explanations: findings by code, then causes.
        pub const EXPLANATIONS: &[Explanation] = &[$(Explanation {
            code: $code,
            text: include_str!(concat!("explain/", $code, ".md")),
        }),*];

        $(#[doc = include_str!(concat!("explain/", $code, ".md"))] mod $module {})*
    };
}

explanations! {
    ps001 = "PS001",
    ps002 = "PS002",
    ps003 = "PS003",
    ps004 = "PS004",
    ps005 = "PS005",
    ps006 = "PS006",
    ps007 = "PS007",
    ps008 = "PS008",
    blocking_call = "blocking-call",
    lock = "lock",
    cpu = "cpu",
    kernel = "kernel",
    page_fault = "page-fault",
    preempted = "preempted",
    throttled = "throttled",
    suspended = "suspended",
    block_in_place = "block-in-place",
    panic = "panic",
}

/// What a code or a word is explained by.
#[derive(Debug)]
pub enum Found {
    /// A finding or a cause.
    Code(&'static Explanation),
    /// A word of reports.
    Word(&'static Term),
}

/// Nothing has this code.
#[derive(Debug)]
pub struct NoExplanation {
    typed: String,
    nearest: Option<&'static str>,
}

impl fmt::Display for NoExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot explain `{}`: no code and no word of reports; ", escape(&self.typed))?;
        match self.nearest {
            Some(nearest) => write!(f, "did you mean `{nearest}`?"),
            None => f.write_str("`pollscope explain` lists all codes, `pollscope help glossary` the words"),
        }
    }
}

impl std::error::Error for NoExplanation {}

/// Finds an explanation by its code, or a word of reports, in upper or lower case.
///
/// # Errors
/// When there is none; the error names the nearest code or word, if one is near.
pub fn find(typed: &str) -> Result<Found, NoExplanation> {
    let code = EXPLANATIONS.iter().find(|explanation| explanation.code.eq_ignore_ascii_case(typed)).map(Found::Code);
    let word = || GLOSSARY.iter().find(|term| term.is_called(typed)).map(Found::Word);
    let unknown =
        || NoExplanation { typed: typed.to_owned(), nearest: nearest_code(typed).or_else(|| nearest_word(typed)) };
    code.or_else(word).ok_or_else(unknown)
}

/// Everything that [`find`] finds, by its shortest name in one word.
pub fn names() -> Vec<&'static str> {
    let codes = EXPLANATIONS.iter().map(|explanation| explanation.code);
    let words = GLOSSARY.iter().flat_map(Term::names).filter(|name| !name.contains(' '));
    codes.chain(words).collect()
}

fn nearest_word(typed: &str) -> Option<&'static str> {
    nearest(typed, GLOSSARY.iter().flat_map(Term::names))
}

fn nearest_code(typed: &str) -> Option<&'static str> {
    let known: Vec<String> = EXPLANATIONS.iter().map(|explanation| explanation.code.to_lowercase()).collect();
    let near = nearest(typed, known.iter().map(String::as_str))?;
    EXPLANATIONS.iter().map(|explanation| explanation.code).find(|code| code.eq_ignore_ascii_case(near))
}
