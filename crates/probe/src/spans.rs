//! Which spans a thread is in: written by it alone, without a lock, and read by the watchdog. What they are called is kept apart,
//! in `kept.rs`.
//!
//! A span is entered and left many times, and mostly within a poll. Two things are known for next to nothing: which spans the thread
//! is in now, for whoever looks at it while a poll is late; and, for a poll at which nobody looked, whether it entered one outermost
//! span alone. Those that were entered before the poll began count as nobody's: a guard that is held around `block_on`, or that was
//! forgotten, says nothing of a task.

use std::cell::OnceCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, PoisonError};

use pollscope_base::Span;

mod kept;
mod seen;

#[cfg_attr(not(feature = "span"), allow(unused_imports))]
pub(crate) use kept::{Keeper, Known, MOST_FIELDS, Visited};
pub(crate) use seen::Seen;

/// Spans within one another that are told apart; of one that is deeper, the outermost is known.
const DEPTH: usize = 32;

thread_local! {
    static HERE: OnceCell<Here> = const { OnceCell::new() };
}

/// A thread's spans.
pub(crate) type Here = Arc<Thread>;

/// The spans that a thread is in, outermost first.
#[derive(Debug, Default)]
pub(crate) struct Thread {
    /// Whose they are: see [`Keeper::number`]; 0: nobody's so far. The spans of one subscriber alone are followed at a time.
    keeper: AtomicU64,
    depth: AtomicU64,
    /// How many there were when the poll began.
    base: AtomicU64,
    /// How often one was entered as the outermost of its poll,
    entered: AtomicU64,
    /// which it was at last,
    last: AtomicU64,
    /// and the first of those times at which it was that one, without another since.
    since: AtomicU64,
    ids: [AtomicU64; DEPTH],
    kept_by: Mutex<Option<Arc<Keeper>>>,
}

/// Where a thread stands when a poll begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    entered: u64,
    base: u64,
}

/// What a thread was in when it was looked at: the innermost span, and the outermost of the poll. 0 for none, or where it is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Inside {
    pub(crate) innermost: u64,
    pub(crate) outermost: u64,
}

/// This thread's.
pub(crate) fn here() -> Here {
    HERE.try_with(|here| Arc::clone(here.get_or_init(Here::default))).unwrap_or_default()
}

/// The thread enters a span.
#[inline]
pub(crate) fn enter(keeper: &Arc<Keeper>, id: u64) {
    let _ = HERE.try_with(|here| here.get_or_init(Here::default).enter(keeper, id));
}

/// The thread leaves a span.
#[inline]
pub(crate) fn exit(keeper: &Keeper, id: u64) {
    let _ = HERE.try_with(|here| here.get().map(|here| here.exit(keeper, id)));
}

impl Thread {
    #[inline]
    fn enter(&self, keeper: &Arc<Keeper>, id: u64) {
        let depth = self.depth.load(Relaxed);
        if self.keeper.load(Relaxed) != keeper.number && !self.is_taken_over(keeper, depth) {
            return;
        }
        if depth == self.base.load(Relaxed) {
            self.enter_outermost(id);
        }
        if let Some(place) = self.ids.get(depth as usize) {
            place.store(id, Relaxed);
        }
        self.depth.store(depth + 1, Release);
    }

    #[inline]
    fn enter_outermost(&self, id: u64) {
        let entered = self.entered.load(Relaxed) + 1;
        if self.last.load(Relaxed) != id {
            self.last.store(id, Relaxed);
            self.since.store(entered, Relaxed);
        }
        self.entered.store(entered, Relaxed);
    }

    /// Whether the spans of another subscriber may be followed from now on.
    #[cold]
    fn is_taken_over(&self, keeper: &Arc<Keeper>, depth: u64) -> bool {
        if depth > 0 {
            return false;
        }
        *self.kept_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(keeper));
        self.keeper.store(keeper.number, Relaxed);
        // Of another subscriber's, a number can be the same.
        self.last.store(0, Relaxed);
        true
    }

    #[inline]
    fn exit(&self, keeper: &Keeper, id: u64) {
        let depth = self.depth.load(Relaxed);
        if self.keeper.load(Relaxed) != keeper.number {
            return;
        }
        let innermost = depth.checked_sub(1).and_then(|index| self.ids.get(index as usize));
        if innermost.is_some_and(|place| place.load(Relaxed) == id) {
            self.depth.store(depth - 1, Release);
        } else {
            self.exit_out_of_order(depth, id);
        }
    }

    /// As with guards that are dropped in another order.
    #[cold]
    fn exit_out_of_order(&self, depth: u64, id: u64) {
        let Some(open) = self.ids.get(..depth as usize) else {
            // One of those that found no place: the last to come is the first to go.
            return self.depth.store(depth - 1, Release);
        };
        let Some(at) = open.iter().rposition(|place| place.load(Relaxed) == id) else { return };
        open[at..].windows(2).for_each(|pair| pair[0].store(pair[1].load(Relaxed), Relaxed));
        self.depth.store(depth - 1, Release);
    }

    /// A poll begins.
    #[inline]
    pub(crate) fn begin(&self) -> Mark {
        let mark = Mark { entered: self.entered.load(Relaxed), base: self.depth.load(Relaxed) };
        if self.base.load(Relaxed) != mark.base {
            self.base.store(mark.base, Relaxed);
        }
        mark
    }

    /// A poll goes on that began so, after one within it.
    pub(crate) fn go_on(&self, mark: Mark) {
        self.base.store(mark.base, Relaxed);
    }

    /// The outermost span that the poll entered which began so, if it was one alone; 0 for none or several.
    pub(crate) fn only(&self, mark: Mark) -> u64 {
        let is_only = self.entered.load(Relaxed) > mark.entered && self.since.load(Relaxed) <= mark.entered + 1;
        if is_only { self.last.load(Relaxed) } else { 0 }
    }

    /// What the thread is in now, for others.
    fn now(&self) -> Inside {
        let (depth, base) = (self.depth.load(Acquire), self.base.load(Relaxed));
        if depth <= base {
            return Inside::default();
        }
        let at = |index: u64| self.ids.get(index as usize).map_or(0, |place| place.load(Relaxed));
        Inside { innermost: at(depth - 1), outermost: at(base) }
    }

    /// Who knows its spans.
    fn keeper(&self) -> Option<Arc<Keeper>> {
        self.kept_by.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn refused(&self) -> bool {
        self.keeper().is_some_and(|keeper| keeper.refused() > 0)
    }
}

/// The spans of the thread that a slot belongs to, for others.
#[derive(Debug, Default)]
pub(crate) struct Shown(Mutex<Option<Here>>);

impl Shown {
    /// The slot is this thread's now.
    pub(crate) fn show(&self, here: &Here) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(here));
    }

    fn here(&self) -> Option<Here> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the thread is in now; `None` where nobody keeps spans on it.
    pub(crate) fn now(&self) -> Option<Inside> {
        let here = self.here()?;
        (here.keeper.load(Relaxed) != 0).then(|| here.now())
    }

    /// What is known of a span of that thread's; `None` for 0, and where it was closed long ago.
    pub(crate) fn span(&self, id: u64) -> Option<Arc<Span>> {
        if id == 0 { None } else { self.here()?.keeper()?.span(id).map(Arc::new) }
    }

    /// The same of one that the thread is in, with the trace that somebody else knows.
    fn open_span(&self, id: u64) -> Option<Arc<Span>> {
        self.here()?.keeper()?.open_span(id).map(Arc::new)
    }

    /// Whether some spans are not known for want of room.
    pub(crate) fn refused(&self) -> bool {
        self.here().is_some_and(|here| here.refused())
    }
}

#[cfg(test)]
mod tests;
