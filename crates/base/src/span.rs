//! Whose work a slow poll was: the span of `tracing` that it was in, or what else names a request.

use std::fmt;

use crate::escape::{Escaped, cut_name};

/// A span: of `tracing`, or of a request that somebody named. Its texts are as the program has them, cut where they are long.
///
/// Its `Display` is its name, its fields and its trace, made safe to show.
///
/// ```
/// use pollscope_base::Span;
/// let mut span = Span::new("GET /items");
/// span.fields.push(("shop".to_owned(), "a\nb".to_owned()));
/// span.trace_id = Some("4bf92f".to_owned());
/// assert_eq!(span.to_string(), r"`GET /items` (shop a\nb, trace 4bf92f)");
/// assert_eq!(Span::new("request").to_string(), "`request`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Span {
    /// As the code has it, such as `request`, or `GET /items/{id}`; of at most 256 bytes.
    pub name: String,
    /// Fields that were asked for, at most 8, each value of at most 128 bytes; of the spans around it as well, where it has none of
    /// that name itself.
    pub fields: Vec<(String, String)>,
    /// The trace that it belongs to; `None` where nobody said.
    pub trace_id: Option<String>,
    /// What it is called in that trace; `None` where nobody said.
    pub span_id: Option<String>,
}

impl Span {
    /// One of that name, of which no more is known.
    pub fn new(name: &str) -> Span {
        Span { name: cut_name(name).into_owned(), fields: Vec::new(), trace_id: None, span_id: None }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", Escaped(&self.name))?;
        let fields = self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let parts = fields.chain(self.trace_id.as_deref().map(|trace| ("trace", trace)));
        for (index, (name, value)) in parts.clone().enumerate() {
            write!(f, "{}{} {}", if index == 0 { " (" } else { ", " }, Escaped(name), Escaped(value))?;
        }
        if parts.count() > 0 { f.write_str(")") } else { Ok(()) }
    }
}
