//! What becomes known of a run, update by update, and the run that it makes.
//!
//! A feed is an iterator of [`Update`]s. The lab gives one; the one who watches a service or a process gives one too, and the one who shows a
//! run while it goes on reads one. [`run_of`] makes a run of all of it. A feed that breaks off gives what was known by then.

use std::mem::take;

use crate::message::Message;
use crate::recording::{Ended, Fine, Interval, Run, SlowPoll};

/// Something that became known.
#[derive(Debug, Clone)]
pub enum Update {
    /// All that is known of the run by now, but for its lists: those are what the other updates make. A later one replaces it.
    Known(Box<Run>),
    /// An interval is over.
    Interval(Box<Interval>),
    /// The time around a poll that took very long, in its order; each part comes once.
    Fine(Vec<Fine>),
    /// A slow poll ended. If it was a stall before, it has the stall's id.
    SlowPoll(Box<SlowPoll>),
    /// A poll is late and goes on. A later one of the same id replaces it.
    Stall(Box<SlowPoll>),
    /// Why something is not known, in a sentence.
    Note(String),
    /// The run ended, and why if it ended early. Nothing comes after it.
    End(Ended, Option<Message>),
}

/// Makes a run of a feed.
///
/// `start` is what is known before the first update. Without an [`Update::End`] the run is [`Ended::Torn`].
///
/// ```
/// use pollscope_record::feed::{Update, run_of};
/// use pollscope_record::recording::{Ended, Run, SlowPoll, Subject, Target};
///
/// let start = Run::unknown("api", Subject::Service(Target::default()), "2026-01-01T00:00:00Z");
/// let poll = |id, duration_ns| Box::new(SlowPoll { id, duration_ns, ..SlowPoll::default() });
/// let feed = [Update::Stall(poll(1, 100)), Update::Stall(poll(2, 150)), Update::SlowPoll(poll(1, 200))];
/// let run = run_of(start, feed);
/// assert_eq!((run.slow_polls[0].duration_ns, run.stalls_open[0].id), (200, 2));
/// assert_eq!(run.ended, Ended::Torn, "nobody said how it ended");
/// ```
pub fn run_of(start: Run, feed: impl IntoIterator<Item = Update>) -> Run {
    let mut run = Run { ended: Ended::Torn, ..start };
    for update in feed {
        let is_last = matches!(update, Update::End(..));
        add(&mut run, update);
        if is_last {
            break;
        }
    }
    run
}

/// Adds an update to the run.
pub(crate) fn add(run: &mut Run, update: Update) {
    match update {
        Update::Known(known) => *run = with_lists_of(*known, run),
        Update::Interval(interval) => run.intervals.push(*interval),
        Update::Fine(fine) => run.fine.extend(fine),
        Update::SlowPoll(poll) => {
            run.stalls_open.retain(|stall| stall.id != poll.id);
            run.slow_polls.push(*poll);
        }
        Update::Stall(stall) => match run.stalls_open.iter_mut().find(|open| open.id == stall.id) {
            Some(open) => *open = *stall,
            None => run.stalls_open.push(*stall),
        },
        Update::Note(note) => {
            if !run.coverage.missing.contains(&note) {
                run.coverage.missing.push(note);
            }
        }
        Update::End(ended, why) => (run.ended, run.ended_why) = (ended, why),
    }
}

/// What is known now, with what was listed so far.
fn with_lists_of(mut known: Run, so_far: &mut Run) -> Run {
    for note in take(&mut so_far.coverage.missing) {
        if !known.coverage.missing.contains(&note) {
            known.coverage.missing.push(note);
        }
    }
    Run {
        intervals: take(&mut so_far.intervals),
        fine: take(&mut so_far.fine),
        slow_polls: take(&mut so_far.slow_polls),
        stalls_open: take(&mut so_far.stalls_open),
        ended: so_far.ended,
        ended_why: so_far.ended_why.take(),
        ..known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_feed_makes_the_run_that_it_tells_of() {
        let whole = fixture::blocked("naive", &[200 * fixture::MS, 300 * fixture::MS]);
        let polls = whole.slow_polls.iter().cloned().map(|poll| Update::SlowPoll(Box::new(poll)));
        let known = Run { slow_polls: Vec::new(), intervals: Vec::new(), ..whole.clone() };
        let end = [Update::Known(Box::new(known.clone())), Update::End(Ended::Done, None), Update::Note("late".into())];
        let run = run_of(known, polls.chain(end));
        assert_eq!(serde_json::to_string(&run).unwrap(), serde_json::to_string(&whole).unwrap());
    }

    #[test]
    fn a_note_is_kept_once_and_a_stall_grows() {
        let stall = |duration_ns| Box::new(SlowPoll { id: 7, duration_ns, ..SlowPoll::default() });
        let known = fixture::run("naive");
        let note = || Update::Note("no names".to_owned());
        let feed = [note(), Update::Stall(stall(1)), Update::Stall(stall(2)), Update::Known(Box::new(known.clone()))];
        let run = run_of(known, feed.into_iter().chain([note()]));
        assert_eq!(run.coverage.missing, ["no names"]);
        assert_eq!(run.stalls_open.iter().map(|stall| stall.duration_ns).collect::<Vec<_>>(), [2]);
    }
}
