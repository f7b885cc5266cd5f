//! A busy stretch that is late: its thread is looked at as that of a late poll is. Where polls are seen it is one of many short ones, and
//! the thread that writes lines tells of it (`stretches.rs`); what was seen here belongs to that. Where they are not, as without
//! `--cfg tokio_unstable` those of tasks that are not watched, nobody else knows of it: here it is told.
//!
//! The thread of a current-thread runtime may have left the loop without a word: where its polls are not seen it is not looked at. And
//! that a worker does not park says nothing by itself: it may serve everyone in time, or have given its work away. So looks must have
//! found it at work for the loop for most of the time; and unless the stretch is late as those of short polls are, in one wait for half
//! of it, which is then one poll.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use pollscope_base::Evidence;
use pollscope_stacks::look::Namer;

use super::naming::Job;
use super::stall::{Ended, Stall};
use super::stops::Stops;
use super::{END_TICK_NS, LOOK_NS, Watching, thread_of};
use crate::clock::Moment;
use crate::journal::Measured;
use crate::late_stretches::{BusyStretch, late_ns};
use crate::shared::Shared;
use crate::worker::Slot;

/// One that goes on is looked at after this part of its age, so that a worker that never parks is not looked at for ever.
const AGE_PART: u64 = 64;

/// The stretch that a worker is in.
pub(super) struct Stretch {
    /// When it began, and the worker: which it is.
    which: (u64, u32),
    /// From when on nothing is known to be in a slow poll.
    from_ns: u64,
    /// What the thread's polls had taken then.
    polls_ns: u64,
    /// Whether most of it was in no poll that is seen.
    is_unseen: bool,
    /// Its number, if it was told of.
    number: Option<u64>,
    /// Once it is late.
    stall: Option<Stall>,
}

impl Stretch {
    /// `polled_before_ns`: what the thread's polls had taken at the look before.
    fn new(slot: &Slot, which: (u64, u32), polled_before_ns: u64, now_ns: u64) -> Stretch {
        let polls_ns = slot.polls.sum_ns();
        // What polls took since the look before may all be in it.
        let from_ns = if polled_before_ns == polls_ns { which.0 } else { now_ns };
        Stretch { which, from_ns, polls_ns, is_unseen: false, number: None, stall: None }
    }

    /// Whether most of it so far was in polls that are seen.
    fn is_full(&self, slot: &Slot, shared: &Shared, now_ns: u64) -> bool {
        let open_ns = slot
            .polling
            .now()
            .map_or(0, |polling| now_ns.saturating_sub(shared.clock.ns_at(polling.start).max(self.from_ns)));
        let polled_ns = slot.polls.sum_ns().saturating_sub(self.polls_ns).saturating_add(open_ns);
        polled_ns.saturating_mul(2) >= now_ns.saturating_sub(self.from_ns)
    }

    /// Whether its thread is looked at.
    pub(super) fn is_late(&self) -> bool {
        self.stall.is_some()
    }

    fn told(&self, number: u64, lasted_ns: u64, evidence: Evidence, shared: &Shared) -> BusyStretch {
        BusyStretch {
            number,
            is_over: false,
            is_first: self.number.is_none(),
            worker: self.which.1,
            // The clock starts at 1.
            start: Duration::from_nanos(self.from_ns.saturating_sub(1)),
            lasted: Duration::from_nanos(lasted_ns),
            polls: None,
            evidence,
            sources: Arc::clone(&shared.sources),
        }
    }
}

/// A stretch that is over, of which it is not known yet whether it is to be told.
pub(super) struct EndedStretch {
    slot: usize,
    stretch: Stretch,
    ended: Ended,
    lasted_ns: u64,
    /// For how long it was in one wait.
    stood_ns: u64,
    threshold_ns: u64,
}

impl EndedStretch {
    /// What is to be told of it, once its looks have names; of one whose polls are seen somebody else tells, to whom it is left.
    pub(super) fn told(&self, namer: Option<&mut Namer>, shared: &Shared) -> Option<BusyStretch> {
        let EndedStretch { stretch, lasted_ns, .. } = self;
        let evidence = shared.shown(self.ended.evidence(namer));
        if !stretch.is_unseen && stretch.number.is_none() {
            shared.late_stretches.learn(self.slot, stretch.which.0, evidence, true);
            return None;
        }
        shared.late_stretches.forget(self.slot, stretch.which.0);
        let is_late = *lasted_ns >= late_ns(self.threshold_ns) || self.stood_ns.saturating_mul(2) >= *lasted_ns;
        let is_felt = is_late && self.ended.on_loop_ns().saturating_mul(2) > *lasted_ns;
        let number = stretch.number.or_else(|| is_felt.then(|| shared.late_stretches.number()))?;
        Some(BusyStretch { is_over: true, ..stretch.told(number, *lasted_ns, evidence, shared) })
    }
}

impl Watching {
    /// Looks at the stretch that a slot is in; when to look at it again, if before long.
    pub(super) fn look_at_stretch(&mut self, slot: &Slot, threshold_ns: u64, stops: &mut Stops) -> u64 {
        let now_ns = self.shared.clock.now_ns();
        let which = slot.stretch.now();
        let thread = self.threads.entry(slot.number).or_default();
        let polled_before_ns = std::mem::replace(&mut thread.polled_ns, slot.polls.sum_ns());
        // A slow poll is told by itself, and what comes after it is counted anew.
        let is_in_slow_poll = thread.stall.as_ref().is_some_and(|stall| stall.is_begun);
        let over = thread.stretch.take_if(|stretch| Some(stretch.which) != which || is_in_slow_poll);
        if let Some(over) = over {
            self.end_stretch(slot.number, over, threshold_ns, now_ns, stops);
        }
        let Some(which) = which.filter(|_| !is_in_slow_poll) else { return u64::MAX };
        let looked_at = thread_of(slot, self.process);
        let thread = self.threads.entry(slot.number).or_default();
        let stretch = thread.stretch.get_or_insert_with(|| Stretch::new(slot, which, polled_before_ns, now_ns));
        stretch.is_unseen = !stretch.is_full(slot, &self.shared, now_ns);
        // What the thread does outside of the loop is its own affair: it may install a filter for system calls there, which must not find
        // a look half done.
        if stretch.is_unseen && !slot.is_runtimes_own.load(Relaxed) {
            return u64::MAX;
        }
        let unit_ns = if stretch.is_unseen { threshold_ns } else { late_ns(threshold_ns) };
        let age_ns = now_ns.saturating_sub(stretch.from_ns);
        // One that becomes late in a poll that is looked at itself is looked at when that is over.
        if age_ns < unit_ns / 2 || thread.stall.is_some() {
            return (stretch.from_ns + unit_ns / 2).max(now_ns + END_TICK_NS);
        }
        let past = thread.past;
        let stall = stretch.stall.get_or_insert_with(|| {
            let quota_from = self.throttling.before(now_ns);
            Stall::new(Moment(which.0), stretch.from_ns, 0, looked_at, past, now_ns).under(quota_from)
        });
        // A thread that gave its worker away is not disturbed in what it does: one look tells.
        let is_on_loop = stall.is_on_loop();
        stall.is_on_trial = stretch.is_unseen && is_on_loop.is_none();
        if stretch.is_unseen && is_on_loop == Some(false) {
            return u64::MAX;
        }
        self.looker.prepare();
        let asked_ns = self.shared.clock.now_ns();
        let goes_on = || slot.stretch.now() == Some(which);
        if stall.look(&mut self.looker, unit_ns, || self.shared.clock.now_ns(), goes_on) {
            stops.sleep(self.shared.clock.now_ns().saturating_sub(asked_ns).min(LOOK_NS));
        }
        self.looker.take_limits().into_iter().for_each(|limit| self.shared.capture_limits.add(limit));
        if stall.is_on_trial {
            stall.take_unnamed().into_iter().for_each(|look| self.naming.add(Job::Look(look, None)));
        }
        if age_ns >= unit_ns && goes_on() {
            self.tell_stretch(slot.number, threshold_ns, now_ns, stops);
        }
        now_ns + END_TICK_NS.max(age_ns / AGE_PART)
    }

    /// Has what was seen of a stretch named, and tells what is known of it: to whom tells of short polls, or, where those are not seen,
    /// that it goes on.
    fn tell_stretch(&mut self, slot: usize, threshold_ns: u64, now_ns: u64, stops: &Stops) {
        let Some(stretch) = self.threads.get_mut(&slot).and_then(|thread| thread.stretch.as_mut()) else { return };
        let Some(stall) = &mut stretch.stall else { return };
        stall.is_begun = true;
        stall.take_unnamed().into_iter().for_each(|look| self.naming.add(Job::Look(look, None)));
        let age_ns = now_ns.saturating_sub(stretch.from_ns);
        if !stall.told.evidence(age_ns, stall.is_named()) {
            return;
        }
        let evidence = self.shared.shown(stall.so_far(now_ns, stops, &mut self.throttling));
        let is_felt = age_ns >= late_ns(threshold_ns) && stall.on_loop_ns().saturating_mul(2) > age_ns;
        if !stretch.is_unseen {
            self.shared.late_stretches.learn(slot, stretch.which.0, evidence, false);
        } else if is_felt && stretch.number.is_none() {
            let number = self.shared.late_stretches.number();
            self.shared.late_stretches.tell(stretch.told(number, age_ns, evidence, &self.shared));
            stretch.number = Some(number);
            self.control.wake();
        }
    }

    /// A stretch is over, or a slow poll began in it. Where its polls are not seen, it may have to be told.
    fn end_stretch(&mut self, slot: usize, mut stretch: Stretch, threshold_ns: u64, now_ns: u64, stops: &Stops) {
        let Some(mut stall) = stretch.stall.take() else { return };
        stall.take_late(&mut self.looker, now_ns, threshold_ns);
        self.looker.forget(stall.thread());
        let end_ns = stall.last_ns().unwrap_or(now_ns);
        let lasted_ns = end_ns.saturating_sub(stretch.from_ns);
        let unit_ns = if stretch.is_unseen { threshold_ns } else { late_ns(threshold_ns) };
        if stretch.number.is_none() && !stall.is_begun && lasted_ns < unit_ns {
            return;
        }
        stall.take_unnamed().into_iter().for_each(|look| self.naming.add(Job::Look(look, None)));
        let (stood_ns, measured) = (stall.stood_ns(), Measured { end_ns, duration_ns: lasted_ns });
        let ended = stall.end_under(&mut self.throttling, Some(measured), stops);
        self.shared.late_stretches.await_one();
        let ended = EndedStretch { slot, stretch, ended, lasted_ns, stood_ns, threshold_ns };
        self.naming.add(Job::Stretch(Box::new(ended)));
    }
}
