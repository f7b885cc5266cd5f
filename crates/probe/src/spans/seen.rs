//! Which span a late poll was in, by looks at its thread while it was late.

use std::sync::Arc;

use pollscope_base::Span;

use super::{Inside, Shown};

/// Spans of one poll that are told apart.
const MOST: usize = 8;

/// What looks at a poll's spans showed so far.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    looks: u32,
    /// When it was looked at last, and what was seen.
    last: Option<(u64, Inside)>,
    /// Since the first look.
    total_ns: u64,
    spans: Vec<Of>,
}

/// One span, for how long it was the innermost one, and the outermost.
#[derive(Debug)]
struct Of {
    id: u64,
    span: Option<Arc<Span>>,
    innermost_ns: u64,
    outermost_ns: u64,
}

impl Seen {
    /// Whether `at_ns` is a look at all: the thread has spans, and was in the poll before and after it was asked.
    pub(crate) fn look(&mut self, at_ns: u64, inside: Inside, shown: &Shown) {
        let (last_ns, before) = self.last.replace((at_ns, inside)).unwrap_or((at_ns, inside));
        // Also of the first look, and of two at one moment.
        let ns = at_ns.saturating_sub(last_ns).max(1);
        self.looks = self.looks.saturating_add(1);
        self.total_ns = self.total_ns.saturating_add(ns);
        let is_same = |is: u64, was: u64| if is == was { ns } else { 0 };
        let innermost_ns = is_same(inside.innermost, before.innermost);
        let outermost_ns = is_same(inside.outermost, before.outermost);
        self.credit(inside.innermost, shown, |of| of.innermost_ns += innermost_ns);
        self.credit(inside.outermost, shown, |of| of.outermost_ns += outermost_ns);
    }

    fn credit(&mut self, id: u64, shown: &Shown, add: impl FnOnce(&mut Of)) {
        if id == 0 {
            return;
        }
        let at = match self.spans.iter().position(|of| of.id == id) {
            Some(at) => at,
            None if self.spans.len() == MOST => return,
            None => {
                // At once, while it is open.
                self.spans.push(Of { id, span: shown.open_span(id), innermost_ns: 0, outermost_ns: 0 });
                self.spans.len() - 1
            }
        };
        add(&mut self.spans[at]);
    }

    /// How many looks there were.
    pub(crate) fn looks(&self) -> u32 {
        self.looks
    }

    /// The span that was the innermost one for more than half of the time, or else the outermost.
    pub(crate) fn span(&self) -> Option<Arc<Span>> {
        let is_most = |ns: u64| ns > self.total_ns / 2;
        let innermost = self.spans.iter().find(|of| is_most(of.innermost_ns));
        innermost.or_else(|| self.spans.iter().find(|of| is_most(of.outermost_ns)))?.span.clone()
    }

    /// Whether a span was seen of which nothing is known.
    pub(crate) fn has_unknown(&self) -> bool {
        self.spans.iter().any(|of| of.span.is_none())
    }
}
