//! What spans are called: kept from a span's beginning to a little after its end, as a slow poll may be over before anybody asks.
//! Nothing here is called at a poll.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug, Write as _};
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pollscope_base::Span;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = 16;
/// Spans of a part that are open, at most; of further ones nothing is known.
const MOST_OPEN: usize = 4_096;
/// Spans of a part that are closed, at most.
const MOST_CLOSED: usize = 64;
/// Spans around a span that are asked for what it has not itself.
const MOST_AROUND: usize = 64;
/// Fields that are told of a span, at most, and the bytes of a value.
pub(crate) const MOST_FIELDS: usize = 8;
pub(crate) const LONGEST_VALUE: usize = 128;

const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(1);

/// Asks somebody else for a span's trace, and for what it is called there.
type Ask = Box<dyn Fn(u64) -> Option<(String, String)> + Send + Sync>;

/// The spans of one subscriber.
pub(crate) struct Keeper {
    /// Unique in the process, from 1.
    pub(super) number: u64,
    shards: [Mutex<Shard>; SHARDS],
    refused: AtomicU64,
    ask: OnceLock<Ask>,
}

#[derive(Default)]
struct Shard {
    spans: HashMap<u64, Known, BuildHasherDefault<Spread>>,
    /// Oldest first.
    closed: VecDeque<u64>,
}

/// What is known of a span.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) name: Cow<'static, str>,
    /// The one around it; 0 for none.
    pub(crate) parent: u64,
    pub(crate) fields: Visited,
}

/// Fields of a span that somebody asked for, and its trace, cut to size.
#[derive(Debug, Default)]
pub(crate) struct Visited(Vec<(&'static str, Box<str>)>);

impl Visited {
    /// Takes a field's value; a later one takes the place of an earlier one.
    pub(crate) fn take(&mut self, name: &'static str, value: fmt::Arguments<'_>) {
        let mut cut = Cut::default();
        // It refuses more than it keeps, so that no long value is written out.
        let _ = cut.write_fmt(value);
        self.put(name, cut.text.into_boxed_str());
    }

    fn put(&mut self, name: &'static str, value: Box<str>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// Whether a field says which trace the span belongs to.
    pub(crate) fn is_of_trace(name: &str) -> bool {
        matches!(name, TRACE_ID | SPAN_ID)
    }

    #[cfg_attr(not(feature = "span"), allow(dead_code))]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The start of what is written, with an ellipsis if there is more.
#[derive(Default)]
struct Cut {
    text: String,
    is_full: bool,
}

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if !self.is_full && more.len() <= LONGEST_VALUE - self.text.len() {
            self.text.push_str(more);
            return Ok(());
        }
        if !self.is_full {
            let most = LONGEST_VALUE - '…'.len_utf8();
            self.text.truncate(boundary(&self.text, most));
            self.text.push_str(&more[..boundary(more, most - self.text.len().min(most))]);
            self.text.push('…');
        }
        self.is_full = true;
        Err(fmt::Error)
    }
}

/// Where a text can be cut, at `most` bytes or a little before.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Keeper {
    pub(crate) fn new() -> Keeper {
        Keeper {
            number: NEXT_NUMBER.fetch_add(1, Relaxed),
            shards: Default::default(),
            refused: AtomicU64::new(0),
            ask: OnceLock::new(),
        }
    }

    /// Whom to ask for traces, from now on.
    #[cfg_attr(not(feature = "span"), allow(dead_code))]
    pub(crate) fn ask_for_traces(&self, ask: Ask) {
        let _ = self.ask.set(ask);
    }

    fn shard(&self, id: u64) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[(spread(id) >> 32) as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A span begins.
    pub(crate) fn open(&self, id: u64, known: Known) {
        let mut shard = self.shard(id);
        let open = shard.spans.len() - shard.closed.len();
        if open >= MOST_OPEN {
            drop(shard);
            self.refused.fetch_add(1, Relaxed);
            return;
        }
        if shard.spans.insert(id, known).is_some() {
            // A number that was given again.
            shard.closed.retain(|closed| *closed != id);
        }
    }

    /// An open span says more of itself.
    #[cfg_attr(not(feature = "span"), allow(dead_code))]
    pub(crate) fn add(&self, id: u64, more: Visited) {
        if let Some(known) = self.shard(id).spans.get_mut(&id) {
            more.0.into_iter().for_each(|(name, value)| known.fields.put(name, value));
        }
    }

    /// A span ends; what is known of it stays for a while.
    pub(crate) fn close(&self, id: u64) {
        let mut shard = self.shard(id);
        if !shard.spans.contains_key(&id) {
            return;
        }
        if shard.closed.len() == MOST_CLOSED
            && let Some(oldest) = shard.closed.pop_front()
        {
            shard.spans.remove(&oldest);
        }
        shard.closed.push_back(id);
    }

    /// How many spans found no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// A span, with what those around it say.
    pub(super) fn span(&self, id: u64) -> Option<Span> {
        let mut span = None;
        let mut around = id;
        for _ in 0..MOST_AROUND {
            let shard = self.shard(around);
            let Some(known) = shard.spans.get(&around) else { break };
            let span = span.get_or_insert_with(|| Span::new(&known.name));
            known.fields.tell(span);
            around = known.parent;
            if around == 0 {
                break;
            }
        }
        span
    }

    /// The same of a span that a thread is in, and so is open. Whoever is asked for its trace may panic for one that is not.
    pub(super) fn open_span(&self, id: u64) -> Option<Span> {
        let mut span = self.span(id)?;
        let is_asked = span.trace_id.is_none() && !self.shard(id).closed.contains(&id);
        // Code of the user's, which may do anything: no lock is held.
        let ask = self.ask.get().filter(|_| is_asked);
        if let Some((trace, id)) = ask.and_then(|ask| catch_unwind(AssertUnwindSafe(|| ask(id))).ok().flatten()) {
            (span.trace_id, span.span_id) = (Some(cut(&trace)), Some(cut(&id)));
        }
        Some(span)
    }
}

impl Visited {
    /// What the span does not say of itself. Which span of the trace it is, only who names the trace can say.
    fn tell(&self, span: &mut Span) {
        let value = |of: &str| self.0.iter().find(|(name, _)| *name == of).map(|(_, value)| String::from(&**value));
        if span.trace_id.is_none() {
            (span.trace_id, span.span_id) = (value(TRACE_ID), value(SPAN_ID));
        }
        for (name, value) in self.0.iter().filter(|(name, _)| !Visited::is_of_trace(name)) {
            if span.fields.len() < MOST_FIELDS && span.fields.iter().all(|(known, _)| known != name) {
                span.fields.push(((*name).to_owned(), String::from(&**value)));
            }
        }
    }
}

fn cut(text: &str) -> String {
    let mut cut = Cut::default();
    let _ = cut.write_str(text);
    cut.text
}

/// Numbers of spans are often near each other, or far apart by powers of two.
fn spread(id: u64) -> u64 {
    let mixed = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}

/// A hash of a number.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = spread(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = spread(id);
    }
}

#[cfg(test)]
#[path = "kept/tests.rs"]
mod tests;
