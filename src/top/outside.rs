//! A process that tells nothing of itself: what is seen of it from outside as it becomes known, and once a second what is so then.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_attach::Attached;
use pollscope_base::duration::to_ns;
use pollscope_base::reason;
use pollscope_record::feed::Update;
use pollscope_record::growing::{Fed, Head};
use pollscope_record::live::Live;

use super::Event;
use crate::recording::SlowPoll;

/// How often it is told what is so.
const EVERY: Duration = Duration::from_secs(1);
/// A poll of which nothing was heard for so long, in nanoseconds, goes on no more: its end was not told.
const STALE_NS: u64 = 5_000_000_000;

/// A process that is looked at.
#[derive(Debug)]
pub(crate) struct Outside {
    head: Head,
    attached: Attached,
    begun: Instant,
    /// How long it had run when that began, in nanoseconds; `None` where nobody knows.
    up_ns: Option<u64>,
}

impl Outside {
    /// One that somebody begins to look at now.
    pub(crate) fn new(head: Head, attached: Attached, up_ns: Option<u64>) -> Outside {
        Outside { head, attached, begun: Instant::now(), up_ns }
    }

    /// Tells what is seen, until that ends or nobody wants to know any more.
    pub(super) fn read(self, tell: &Sender<Event>) {
        let Outside { head, mut attached, begun, up_ns } = self;
        let fed = |fed| tell.send(Event::Fed(Box::new(fed))).is_ok();
        let (give, updates) = mpsc::channel();
        // What is seen is waited for by a thread of its own: this one has a clock.
        let wait = move || _ = attached.try_for_each(|update| give.send(update));
        if let Err(error) = thread::Builder::new().name("attached".to_owned()).spawn(wait) {
            _ = tell.send(Event::Trouble(format!("cannot start a thread: {}", reason(error))));
            return;
        }
        let (mut open, mut next) = (Open::default(), begun + EVERY);
        let mut goes_on = fed(Fed::Head(Box::new(head)));
        while goes_on {
            goes_on = match updates.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(update) => {
                    open.take(&update);
                    let is_last = matches!(update, Update::End(..));
                    fed(Fed::Update(update, None)) && !is_last
                }
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => false,
            };
            if Instant::now() >= next {
                next = Instant::now() + EVERY;
                let at_ns = to_ns(begun.elapsed());
                let up_ns = up_ns.map_or(0, |up_ns| up_ns.saturating_add(at_ns));
                goes_on &= fed(Fed::Live(Box::new(open.live(at_ns, up_ns))));
            }
        }
    }
}

/// Polls that go on.
#[derive(Debug, Default)]
struct Open(Vec<SlowPoll>);

impl Open {
    fn take(&mut self, update: &Update) {
        let (Update::Stall(poll) | Update::SlowPoll(poll)) = update else { return };
        self.0.retain(|open| open.id != poll.id);
        if matches!(update, Update::Stall(_)) {
            self.0.push((**poll).clone());
        }
    }

    /// What is so at a time. What workers there are, and what waits, is not seen.
    fn live(&mut self, at_ns: u64, up_ns: u64) -> Live {
        self.0.retain(|open| open.start_ns.saturating_add(open.duration_ns).saturating_add(STALE_NS) >= at_ns);
        Live { at_ns, up_ns, stalls: self.0.clone(), ..Live::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_there_until_its_end_is_told_or_nothing_more_is_heard_of_it() {
        let poll = |id, duration_ns| Box::new(SlowPoll { id, start_ns: 1_000, duration_ns, ..SlowPoll::default() });
        let mut open = Open::default();
        let ids = |live: Live| live.stalls.iter().map(|poll| (poll.id, poll.duration_ns)).collect::<Vec<_>>();
        open.take(&Update::Stall(poll(1, 100)));
        open.take(&Update::Stall(poll(2, 100)));
        open.take(&Update::Stall(poll(1, 300)));
        open.take(&Update::Note("a".to_owned()));
        assert_eq!(ids(open.live(1_400, 0)), [(2, 100), (1, 300)]);
        open.take(&Update::SlowPoll(poll(2, 120)));
        assert_eq!(ids(open.live(1_300 + STALE_NS, 0)), [(1, 300)]);
        assert!(ids(open.live(1_301 + STALE_NS, 0)).is_empty());
    }
}
