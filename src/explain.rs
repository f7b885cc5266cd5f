//! Explains each finding and each cause: what it means, how to fix it, and an example that compiles.
//!
//! The texts are the files in `src/explain`; their examples are this library's tests.

#![allow(clippy::needless_doctest_main, reason = "the examples are shown as whole programs")]

pub mod page;

use std::fmt;

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

/// Nothing has this code.
#[derive(Debug)]
pub struct NoExplanation {
    typed: String,
    nearest: Option<&'static str>,
}

impl fmt::Display for NoExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot explain `{}`: unknown code; ", escape(&self.typed))?;
        match self.nearest {
            Some(nearest) => write!(f, "did you mean `{nearest}`?"),
            None => f.write_str("`pollscope explain` lists them all"),
        }
    }
}

impl std::error::Error for NoExplanation {}

/// Finds an explanation by its code, in upper or lower case.
///
/// # Errors
/// When there is none; the error names the nearest code, if one is near.
pub fn find(typed: &str) -> Result<&'static Explanation, NoExplanation> {
    let found = EXPLANATIONS.iter().find(|explanation| explanation.code.eq_ignore_ascii_case(typed));
    found.ok_or_else(|| NoExplanation { typed: typed.to_owned(), nearest: nearest_code(typed) })
}

fn nearest_code(typed: &str) -> Option<&'static str> {
    let known: Vec<String> = EXPLANATIONS.iter().map(|explanation| explanation.code.to_lowercase()).collect();
    let near = nearest(typed, known.iter().map(String::as_str))?;
    EXPLANATIONS.iter().map(|explanation| explanation.code).find(|code| code.eq_ignore_ascii_case(near))
}
