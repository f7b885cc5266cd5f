//! For how long a thread was where looks saw it.
//!
//! From one look to the next, time off the CPU is time at whichever of both saw it off the CPU, and time on the CPU or ready for one
//! at whichever saw it run: half at each, where both did. Where neither did, it was somewhere that nobody saw.

use std::sync::Arc;

use super::looker::Look;
use super::shared::SharedLook;
use super::time_split::ClockReading;
use crate::thread::{State, ThreadRef, read_state};

/// Places that are told apart. Code that is long in a poll is at few; what comes beyond is time that nobody saw.
const MOST: usize = 256;

/// What a glance shows of a thread: less than a look, and far cheaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// When, by the clock of the one who asked.
    pub at_ns: u64,
    /// The thread's clocks; `None` where they cannot be read.
    pub clocks: Option<ClockReading>,
    /// What it did; `None` where that cannot be read.
    pub state: Option<State>,
}

impl Glance {
    /// What a thread does now, at `at_ns` by the clock of the one who asks.
    pub fn read(thread: &ThreadRef, at_ns: u64) -> Glance {
        Glance { at_ns, clocks: ClockReading::take(thread, at_ns), state: read_state(thread).ok() }
    }

    /// Whether the thread was off the CPU.
    pub fn is_blocked(&self) -> bool {
        self.state.is_some_and(|state| state != State::Running)
    }

    /// Whether the thread is where it was at an earlier glance: off the CPU, in the same call, and without a CPU in between. `false` if
    /// that cannot be told.
    pub fn stands_since(&self, earlier: &Glance) -> bool {
        let cpu = |glance: &Glance| glance.clocks.map(|clocks| clocks.cpu_ns);
        self.is_blocked() && self.state == earlier.state && cpu(self).is_some() && cpu(self) == cpu(earlier)
    }
}

/// Looks that showed the same, and for how long it was so.
#[derive(Debug, Clone)]
pub struct Seen {
    /// One of them.
    pub look: Arc<SharedLook>,
    /// How many.
    pub looks: u32,
    /// Time off the CPU there, if it was off the CPU, and otherwise on one or ready for one; in nanoseconds.
    pub ns: u64,
}

/// The first look of a stretch of time, and the glance beside it.
#[derive(Debug, Clone, Copy)]
struct First {
    glance: Glance,
    /// How long it was so until a look showed something else; `None` where all looks show the same.
    run_ns: Option<u64>,
}

/// What lies before the first look, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Early {
    /// Time on a CPU or ready for one, at most.
    pub on_ns: u64,
    /// Time off the CPU, at most.
    pub off_ns: u64,
    /// How long it was after the first look as that shows.
    pub run_ns: u64,
}

/// The looks at one stretch of time on a thread, and for how long each stands.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    seen: Vec<Seen>,
    first: Option<First>,
    /// The last look: which of `seen` it is of, and the glance beside it.
    last: Option<(usize, Glance)>,
}

impl Shares {
    /// Whether the thread cannot have moved since the last look: it was off the CPU, is in the same call, and did not run since.
    pub fn stands_still(&self, now: &Glance) -> bool {
        self.last.is_some_and(|(_, last)| now.stands_since(&last))
    }

    /// What the last look showed; `None` if there was none.
    pub fn last(&self) -> Option<&Arc<SharedLook>> {
        self.last.map(|(place, _)| &self.seen[place].look)
    }

    /// When the last look was, or a glance after it that showed the same.
    pub fn last_ns(&self) -> Option<u64> {
        self.last.map(|(_, glance)| glance.at_ns)
    }

    /// The thread [stands still](Shares::stands_still): the last look holds up to now.
    pub fn stay(&mut self, now: Glance) {
        if let Some((place, last)) = self.last {
            self.seen[place].ns += now.at_ns.saturating_sub(last.at_ns);
            self.last = Some((place, now));
        }
    }

    /// A look that showed something, and a glance beside it: before it, if the thread was off the CPU, and otherwise after it.
    /// Returns it if it shows what was not seen before.
    pub fn add(&mut self, look: Look, now: Glance) -> Option<Arc<SharedLook>> {
        let known = self.seen.iter().position(|seen| is_same(&seen.look.look, &look));
        let place = known.unwrap_or(self.seen.len());
        if place == MOST {
            self.last = None;
            return None;
        }
        if known.is_none() {
            self.seen.push(Seen { look: Arc::new(SharedLook::new(look)), looks: 0, ns: 0 });
        }
        self.seen[place].looks += 1;
        if let Some((before, last)) = self.last {
            self.share_out(before, place, &last, &now);
        }
        let run_ns = (place > 0).then(|| self.seen[0].ns);
        let first = self.first.get_or_insert(First { glance: now, run_ns: None });
        first.run_ns = first.run_ns.or(run_ns);
        self.last = Some((place, now));
        known.is_none().then(|| Arc::clone(&self.seen[place].look))
    }

    /// The stretch is over: the last look holds up to its end, as far as the clocks, read then or a little later, allow.
    pub fn end(&mut self, end: &Glance) {
        if let Some((place, last)) = self.last.take() {
            self.share_out(place, place, &last, end);
        }
    }

    /// What lies between the stretch's begin and the first look. `before`: the thread's clocks before the stretch began.
    pub fn early(&self, begin_ns: u64, before: Option<&ClockReading>) -> Early {
        let Some(First { glance, run_ns }) = self.first else { return Early::default() };
        let ns = glance.at_ns.saturating_sub(begin_ns);
        let run_ns = run_ns.unwrap_or(self.seen[0].ns);
        let (Some(before), Some(clocks)) = (before, glance.clocks) else {
            return Early { on_ns: ns, off_ns: ns, run_ns };
        };
        let on_ns = on_ns(before, &clocks).min(ns);
        Early { on_ns, off_ns: ns - on_ns, run_ns }
    }

    /// What was seen, in the order in which it was first.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    fn share_out(&mut self, before: usize, after: usize, from: &Glance, to: &Glance) {
        let length_ns = to.at_ns.saturating_sub(from.at_ns);
        let is_off = |place: usize| self.seen[place].look.look.off_cpu.is_some();
        let both = [is_off(before), is_off(after)];
        let ran_ns = match (from.clocks, to.clocks) {
            (Some(from), Some(to)) => Some(on_ns(&from, &to)),
            _ => match both {
                [true, true] => Some(0),
                [false, false] => Some(length_ns),
                _ => None,
            },
        };
        let ran_ns = ran_ns.unwrap_or(length_ns / 2).min(length_ns);
        for (off, ns) in [(false, ran_ns), (true, length_ns - ran_ns)] {
            match both.map(|is_off| is_off == off) {
                [true, true] => {
                    self.seen[before].ns += ns - ns / 2;
                    self.seen[after].ns += ns / 2;
                }
                [true, false] => self.seen[before].ns += ns,
                [false, true] => self.seen[after].ns += ns,
                [false, false] => {}
            }
        }
    }
}

/// Time on a CPU or ready for one.
fn on_ns(from: &ClockReading, to: &ClockReading) -> u64 {
    to.cpu_ns.saturating_sub(from.cpu_ns) + to.run_delay_ns.saturating_sub(from.run_delay_ns)
}

/// Whether two looks show the same: the same call, or none, of the same futex, in the same frames.
fn is_same(a: &Look, b: &Look) -> bool {
    let is_same_stack = match (&a.stack, &b.stack) {
        (Some(a), Some(b)) => a.frames == b.frames,
        (a, b) => a.is_none() && b.is_none(),
    };
    // At one line it may wait for one lock after the other.
    let futex = |look: &Look| look.futex.map(|futex| futex.address);
    a.off_cpu == b.off_cpu && a.call == b.call && futex(a) == futex(b) && is_same_stack
}

#[cfg(test)]
mod tests {
    use pollscope_base::{Call, Cause};

    use super::*;
    use crate::wait::FutexWait;

    fn glance(at_ns: u64, cpu_ns: u64, number: Option<u64>) -> Glance {
        let state = number.map_or(State::Running, |number| State::InSyscall { number, args: [0; 6], sp: 1, pc: 2 });
        Glance { at_ns, clocks: Some(ClockReading { at_ns, cpu_ns, run_delay_ns: 0, slices: 0 }), state: Some(state) }
    }

    fn blocked(name: &str) -> Look {
        let call =
            Call { name: name.to_owned(), fd: None, path: None, peer: None, bytes: None, text: format!("{name}()") };
        Look { off_cpu: Some(Cause::BlockingCall), call: Some(call), ..Look::default() }
    }

    fn times(shares: &Shares) -> Vec<(u32, u64)> {
        shares.seen().iter().map(|seen| (seen.looks, seen.ns)).collect()
    }

    #[test]
    fn who_did_not_run_is_where_it_was() {
        let mut shares = Shares::default();
        assert!(!shares.stands_still(&glance(100, 7, Some(1))));
        assert!(shares.add(blocked("read"), glance(100, 7, Some(1))).is_some());
        assert!(shares.stands_still(&glance(120, 7, Some(1))));
        assert!(!shares.stands_still(&glance(120, 8, Some(1))), "it ran: it may be in another such call");
        assert!(!shares.stands_still(&glance(120, 7, Some(2))));
        assert!(!shares.stands_still(&Glance { clocks: None, ..glance(120, 7, Some(1)) }), "who knows");
        shares.stay(glance(120, 7, Some(1)));
        assert!(shares.last().is_some_and(|last| Arc::ptr_eq(last, &shares.seen()[0].look)));
        shares.end(&glance(150, 7, None));
        assert_eq!((times(&shares), shares.last().is_none()), (vec![(1, 50)], true));
    }

    #[test]
    fn time_between_two_places_is_of_the_kind_that_each_is() {
        let mut shares = Shares::default();
        shares.add(blocked("read"), glance(0, 0, Some(0)));
        // 100 ns, of which 30 on the CPU: it was seen to run at the end.
        shares.add(Look::default(), glance(100, 30, None));
        // And 40 off the CPU: both saw it run.
        shares.add(Look::default(), glance(200, 90, None));
        assert!(shares.add(blocked("write"), glance(260, 90, Some(1))).is_some());
        assert!(shares.add(blocked("read"), glance(300, 92, Some(0))).is_none(), "it was there before");
        // `read` 70 + 19, running 30 + 60, `write` 60 + 19.
        assert_eq!(times(&shares), [(2, 70 + 19), (2, 30 + 60), (1, 60 + 19)]);
    }

    #[test]
    fn what_lies_before_the_first_look_is_bounded_by_clocks() {
        let mut shares = Shares::default();
        assert_eq!(shares.early(0, None), Early::default());
        shares.add(blocked("read"), glance(100, 30, Some(0)));
        shares.stay(glance(140, 30, Some(0)));
        assert_eq!(shares.early(20, None), Early { on_ns: 80, off_ns: 80, run_ns: 40 });
        let before = ClockReading { at_ns: 10, cpu_ns: 5, run_delay_ns: 0, slices: 0 };
        assert_eq!(shares.early(20, Some(&before)), Early { on_ns: 25, off_ns: 55, run_ns: 40 });
        shares.add(blocked("write"), glance(160, 30, Some(1)));
        shares.add(blocked("read"), glance(300, 30, Some(0)));
        shares.stay(glance(900, 30, Some(0)));
        assert_eq!(shares.early(20, None).run_ns, 50, "what came later is not the first run");
    }

    #[test]
    fn the_same_line_may_wait_for_another_lock() {
        let mut shares = Shares::default();
        let wait = |address| {
            let futex = FutexWait { address, operation: 0, value: 2 };
            Look { off_cpu: Some(Cause::Lock), futex: Some(futex), ..Look::default() }
        };
        assert!(shares.add(wait(8), glance(0, 0, Some(202))).is_some());
        assert!(shares.add(wait(16), glance(100, 0, Some(202))).is_some());
        assert!(shares.add(wait(8), glance(200, 0, Some(202))).is_none());
        shares.end(&glance(300, 0, None));
        assert_eq!(times(&shares), [(2, 50 + 50 + 100), (1, 50 + 50)]);
    }

    #[test]
    fn without_clocks_who_was_off_the_cpu_twice_stayed_so() {
        let mut shares = Shares::default();
        let unread = |at_ns| Glance { clocks: None, ..glance(at_ns, 0, None) };
        shares.add(blocked("read"), unread(0));
        shares.add(blocked("read"), unread(100));
        shares.add(Look::default(), unread(200));
        shares.add(Look::default(), unread(300));
        assert_eq!(times(&shares), [(2, 150), (2, 150)]);
    }

    #[test]
    fn what_finds_no_room_is_time_that_nobody_saw() {
        let mut shares = Shares::default();
        for place in 0..=MOST as u64 {
            shares.add(blocked(&format!("call {place}")), glance(place * 10, 0, Some(place)));
        }
        assert_eq!(shares.seen().len(), MOST);
        shares.end(&glance(1_000_000, 0, None));
        assert!(shares.seen().iter().all(|seen| seen.ns <= 10));
    }
}
