//! What all looks at one stretch of time come to.

use std::time::Duration;

use pollscope_base::{Cause, Evidence, Held, Place, Quota};

use super::delay_cause::delay_cause;
use super::named::{NamedLook, show_first};
use super::placed::{Placed, places, put_together, shared_frame};
use super::shares::Early;
use super::syscall_samples::SyscallSamples;
use super::time_split::{Between, TimeSplit};

/// Looks that showed the same, with names.
#[derive(Debug, Clone, Default)]
pub struct NamedSeen {
    /// One of them.
    pub named: NamedLook,
    /// How many.
    pub looks: u32,
    /// For how long it was so, in nanoseconds: see [`Shares`](super::Shares).
    pub ns: u64,
}

/// All that was seen of one stretch of time on a thread, such as a slow poll.
#[derive(Debug)]
pub struct Observation<'a> {
    /// In the order of time.
    pub seen: &'a [NamedSeen],
    /// Before the first of them.
    pub early: Early,
    /// Between them.
    pub samples: &'a SyscallSamples,
    /// What the clocks say; `None` where they could not be read.
    pub split: Option<TimeSplit>,
    /// What the CPU quota of the process did meanwhile; `None` without one.
    pub quota: Option<Quota>,
    /// For how long any quota throttled meanwhile, also one that nobody knew of; `None` where that is not counted.
    pub throttled: Option<Between>,
    /// How long the whole process did not run meanwhile.
    pub suspended: Between,
    /// How long it lasted, in nanoseconds.
    pub duration_ns: u64,
}

impl Observation<'_> {
    /// What follows: the places, most time first, and the cause.
    pub fn evidence(&self) -> Evidence {
        let placed = put_together(self.seen, &self.early);
        let cause = self.cause(&placed);
        let known = |of: fn(&TimeSplit) -> Between| self.split.and_then(|split| of(&split).known(self.duration_ns));
        let [cpu_ns, run_delay_ns] = [known(|split| split.cpu), known(|split| split.run_delay)];
        let on_ns = cpu_ns.zip(run_delay_ns).map(|(cpu, delay)| cpu + delay);
        let off_ns = on_ns.map(|on| self.duration_ns.saturating_sub(on).saturating_sub(self.suspended.least_ns));
        let mut evidence = Evidence::default();
        evidence.cause = cause;
        evidence.cpu_time = cpu_ns.map(Duration::from_nanos);
        evidence.run_delay = run_delay_ns.map(Duration::from_nanos);
        evidence.quota = self.quota.map(Box::new);
        evidence.captures = self.seen.iter().map(|seen| seen.looks).sum();
        evidence.places = places(&placed, cause, [on_ns, off_ns], self.duration_ns);
        evidence.shared_frame = (evidence.places.len() > 1).then(|| shared_frame(self.seen)).flatten().map(Box::new);
        let first = evidence.places.first().cloned();
        let stands = first.as_ref().and_then(|first| standing(self.seen, first));
        evidence.stack_complete = stands.and_then(|named| named.is_complete);
        show_first(&mut evidence, first.as_ref());
        // Many short calls are seldom seen in a look.
        if matches!(cause, Some(Cause::BlockingCall | Cause::Lock)) && evidence.call.is_none() {
            evidence.call = self.samples.mostly().and_then(|(_, call)| call.cloned());
        }
        let waits = stands.filter(|_| cause == Some(Cause::Lock));
        evidence.lock = waits.and_then(|named| named.lock(held(self.seen, named)));
        evidence
    }

    /// What took more than half of it for sure. A share that the clocks leave open is nobody's.
    fn cause(&self, placed: &[Placed]) -> Option<Cause> {
        let is_most = |ns: u64| ns > self.duration_ns / 2;
        let off_cpu = self.split.map(|split| split.off_cpu);
        // A thread that ran, or waited for a CPU, was not stopped.
        if is_most(self.suspended.least_ns) && off_cpu.is_none_or(|off| is_most(off.most_ns)) {
            return Some(Cause::Suspended);
        }
        if let Some(special) = self.special(placed) {
            return Some(special);
        }
        if let Some(split) = self.split {
            if is_most(split.cpu.least_ns) {
                return Some(if is_most(split.kernel.least_ns) { Cause::Kernel } else { Cause::Cpu });
            }
            if is_most(split.run_delay.least_ns) {
                return delay_cause(split.run_delay.least_ns, self.quota.as_ref(), self.throttled);
            }
        }
        let seen_off_ns = || placed.iter().filter(|placed| placed.off_cpu.is_some()).map(|placed| placed.ns).sum();
        let off_ns = off_cpu.map_or_else(seen_off_ns, |off| off.least_ns);
        // Off the CPU, say the clocks; in what, says what was seen.
        let (kind, seen, all) = self.kind(placed)?;
        let its_ns = u128::from(off_ns.saturating_sub(self.suspended.most_ns)) * u128::from(seen) / u128::from(all);
        is_most(its_ns as u64).then_some(kind)
    }

    /// What decides it whatever the clocks say, if that was most of what was seen.
    fn special(&self, placed: &[Placed]) -> Option<Cause> {
        let weight = |placed: &Placed| placed.ns.max(1);
        let all: u64 = placed.iter().map(weight).sum();
        [Cause::BlockInPlace, Cause::Panic].into_iter().find(|cause| {
            let its: u64 = placed.iter().filter(|placed| placed.special_cause == Some(*cause)).map(weight).sum();
            its > all / 2
        })
    }

    /// What being off the CPU mostly was: its part of all such time that was seen, which is more than none.
    fn kind(&self, placed: &[Placed]) -> Option<(Cause, u64, u64)> {
        let all: u64 = placed.iter().filter(|placed| placed.off_cpu.is_some()).map(|placed| placed.ns).sum();
        let of = |cause: Cause| {
            let its = placed.iter().filter(|placed| placed.off_cpu == Some(cause));
            (cause, its.map(|placed| placed.ns).sum::<u64>(), all)
        };
        let kinds = [Cause::BlockingCall, Cause::Lock, Cause::PageFault].map(of);
        let most = kinds.into_iter().rev().max_by_key(|(_, ns, _)| *ns).filter(|(_, ns, _)| *ns > 0);
        let first = || placed.iter().find_map(|placed| placed.off_cpu);
        most.or_else(|| Some((first().or_else(|| Some(self.samples.mostly()?.0))?, 1, 1)))
    }
}

/// What stands for a place.
fn standing<'a>(seen: &'a [NamedSeen], place: &Place) -> Option<&'a NamedLook> {
    seen.iter().map(|seen| &seen.named).find(|named| named.stack.as_slice() == &*place.stack)
}

/// Who has what it waited for at a place, most of the time there: one look at the wait was enough to find out.
fn held<'a>(seen: &'a [NamedSeen], place: &NamedLook) -> Option<&'a Held> {
    let there = || seen.iter().filter(|seen| seen.named.is_same_place(place));
    let address = |seen: &NamedSeen| seen.named.look.futex.map(|futex| futex.address);
    let of = |futex: u64| there().filter(move |seen| address(seen) == Some(futex));
    // The first of equals.
    let most = there().filter_map(address).collect::<Vec<u64>>().into_iter().rev();
    let most = most.max_by_key(|futex| of(*futex).map(|seen| seen.ns).sum::<u64>())?;
    of(most).find_map(|seen| seen.named.held.as_ref())
}

#[cfg(test)]
mod tests {
    use pollscope_base::{Call, Frame, HolderUnknown};

    use super::super::looker::Look;
    use super::*;
    use crate::wait::FutexWait;

    fn blocked(cause: Cause, ns: u64) -> NamedSeen {
        let named = NamedLook { look: Look { off_cpu: Some(cause), ..Look::default() }, ..NamedLook::default() };
        NamedSeen { named, looks: 1, ns }
    }

    /// Each of these times as the clocks tell it: CPU, run delay. The rest of 200 ns is off the CPU.
    fn clocks(cpu: Between, run_delay: Between) -> Option<TimeSplit> {
        let rest = |a: u64, b: u64| 200 - a - b;
        let off_cpu =
            Between { least_ns: rest(cpu.most_ns, run_delay.most_ns), most_ns: rest(cpu.least_ns, run_delay.least_ns) };
        Some(TimeSplit { cpu, kernel: Between::default(), run_delay, off_cpu })
    }

    fn exactly(cpu: u64, run_delay: u64) -> Option<TimeSplit> {
        clocks(Between::exactly(cpu), Between::exactly(run_delay))
    }

    /// What 200 ns come to.
    fn evidence(split: Option<TimeSplit>, seen: &[NamedSeen], suspended: Between) -> Evidence {
        let samples = SyscallSamples::default();
        let early = Early::default();
        Observation { seen, early, samples: &samples, split, quota: None, throttled: None, suspended, duration_ns: 200 }
            .evidence()
    }

    fn cause(split: Option<TimeSplit>, seen: &[NamedSeen]) -> Option<Cause> {
        evidence(split, seen, Between::default()).cause
    }

    #[test]
    fn what_took_more_than_half_is_the_cause_and_nothing_else() {
        let lock = [blocked(Cause::Lock, 150)];
        assert_eq!(cause(exactly(10, 1), &lock), Some(Cause::Lock));
        assert_eq!(cause(exactly(150, 10), &lock), Some(Cause::Cpu));
        assert_eq!(cause(exactly(60, 101), &[]), Some(Cause::Preempted));
        assert_eq!(cause(exactly(100, 0), &[]), None, "a half is not more");
        assert_eq!(cause(exactly(80, 60), &lock), None, "none of three has it");
        assert_eq!(cause(exactly(1, 1), &[]), None, "off the CPU, but nobody saw in what");
        assert_eq!(cause(None, &lock), Some(Cause::Lock), "seen to be so");
        assert_eq!(cause(None, &[blocked(Cause::Lock, 99)]), None, "and for how long");
        let two = [blocked(Cause::Lock, 80), blocked(Cause::BlockingCall, 80)];
        assert_eq!(cause(exactly(1, 1), &two), None, "neither a lock nor a call took more than half");
        let two = [blocked(Cause::Lock, 30), blocked(Cause::BlockingCall, 130)];
        assert_eq!(cause(exactly(1, 1), &two), Some(Cause::BlockingCall));
    }

    #[test]
    fn what_the_clocks_leave_open_is_no_cause() {
        let between = |least_ns, most_ns| Between { least_ns, most_ns };
        let open = clocks(between(60, 160), Between::default());
        assert_eq!(cause(open, &[]), None, "30 to 80 percent");
        assert_eq!(cause(open, &[blocked(Cause::Lock, 100)]), None, "and as little is it the lock's");
        let told = evidence(open, &[], Between::default());
        assert_eq!((told.cpu_time, told.run_delay), (None, Some(Duration::ZERO)));
        assert_eq!(cause(clocks(between(101, 200), Between::default()), &[]), Some(Cause::Cpu));
        // A poll of 431.9 ms with 10.8 ms on the CPU, off it for the rest in nothing that was seen.
        assert_eq!(cause(exactly(5, 0), &[NamedSeen { looks: 1, ns: 190, ..NamedSeen::default() }]), None);
    }

    #[test]
    fn who_ran_was_not_stopped_and_who_was_may_not_have_been_blocked() {
        let lock = [blocked(Cause::Lock, 150)];
        assert_eq!(evidence(exactly(1, 1), &lock, Between::exactly(150)).cause, Some(Cause::Suspended));
        assert_eq!(evidence(exactly(150, 1), &[], Between::exactly(150)).cause, Some(Cause::Cpu));
        let maybe = Between { least_ns: 0, most_ns: 150 };
        assert_eq!(evidence(exactly(1, 1), &lock, maybe).cause, None, "stopped or not: nobody knows");
        assert_eq!(evidence(exactly(1, 1), &lock, Between::exactly(40)).cause, Some(Cause::Lock));
    }

    #[test]
    fn the_kernel_is_named_where_it_took_more_than_half() {
        let split = |kernel| {
            let kernel = Between { least_ns: kernel, most_ns: 180 };
            exactly(180, 0).map(|split| TimeSplit { kernel, ..split })
        };
        assert_eq!(cause(split(120), &[]), Some(Cause::Kernel));
        assert_eq!(cause(split(90), &[]), Some(Cause::Cpu));
    }

    #[test]
    fn a_panic_is_one_whatever_the_clocks_say() {
        let named = NamedLook { special_cause: Some(Cause::Panic), ..NamedLook::default() };
        let panics = [NamedSeen { named, looks: 2, ns: 90 }, blocked(Cause::Lock, 30)];
        assert_eq!(cause(exactly(199, 1), &panics), Some(Cause::Panic));
    }

    fn at(line: &str, call: Option<&str>, ns: u64) -> NamedSeen {
        let call = call.map(|name| Call {
            name: name.to_owned(),
            fd: None,
            path: None,
            peer: None,
            bytes: None,
            text: format!("{name}()"),
        });
        let off_cpu = call.is_some().then_some(Cause::BlockingCall);
        let frame = |function: &str, line| Frame { function: Some(function.to_owned()), file: Some("a".into()), line };
        let number = line.rsplit(':').next().and_then(|number| number.parse().ok());
        let named = NamedLook {
            look: Look { off_cpu, call, ..Look::default() },
            blocking_line: Some(line.to_owned()),
            callers: vec![frame("handler", Some(9)), frame("import", number)],
            stack: vec![frame(line, number)],
            is_complete: Some(true),
            ..NamedLook::default()
        };
        NamedSeen { named, looks: 1, ns }
    }

    /// `sleep(77 ms); spin(12 ms); sleep(60 ms)` was told as blocked for 137 ms where it computed.
    #[test]
    fn call_line_stack_and_time_are_of_one_place() {
        let seen = [at("a:1", Some("sleep"), 80), at("a:2", None, 15), at("a:3", Some("sleep"), 70)];
        let told = evidence(exactly(20, 0), &seen, Between::default());
        assert_eq!(
            (told.blocking_line.as_deref(), told.call.as_ref().map(|call| call.text.as_str())),
            (Some("a:1"), Some("sleep()"))
        );
        assert_eq!(told.stack[0].line, Some(1));
        let places: Vec<_> =
            told.places.iter().map(|place| (place.line.as_deref().unwrap(), place.share.as_nanos())).collect();
        // 180 ns off the CPU, 20 on it.
        assert_eq!(places, [("a:1", 96), ("a:3", 84), ("a:2", 20)]);
        assert_eq!(told.places[0].caller.as_deref(), Some("a:9"));
        let shared = told.shared_frame.unwrap();
        assert_eq!((shared.function.as_deref(), shared.line), (Some("import"), None), "its lines differ");
        let said = evidence(exactly(20, 0), &seen, Between::default()).sentence(Duration::from_nanos(200)).unwrap();
        assert!(said.starts_with("blocked in sleep() for 0.000 s at a:1, called from a:9 (1 of 3 looks"), "{said}");
        assert!(
            said.contains("; also sleep() for 0.000 s at a:3") && said.ends_with("; all looks are in import (a)"),
            "{said}"
        );
    }

    /// Two sleeps of 50 and 45 ns, of which the first 10 were over at the first look.
    #[test]
    fn the_first_look_is_in_the_midst_of_what_it_shows() {
        let shares = |early: Early, seen: &[NamedSeen], on_ns| {
            let (samples, split, suspended) = (SyscallSamples::default(), exactly(on_ns, 0), Between::default());
            let all = Observation {
                seen,
                early,
                samples: &samples,
                split,
                quota: None,
                throttled: None,
                suspended,
                duration_ns: 200,
            };
            let shares = |place: Place| (place.line.unwrap(), place.share.as_nanos());
            all.evidence().places.into_iter().map(shares).collect::<Vec<_>>()
        };
        let place = |line: &str, ns| (line.to_owned(), ns);
        let sleeps = [at("a:1", Some("sleep"), 80), at("a:2", Some("sleep"), 90)];
        let early = Early { on_ns: 0, off_ns: 30, run_ns: 80 };
        assert_eq!(shares(early, &sleeps, 0), [place("a:1", 110), place("a:2", 90)]);
        // What went on for 10 ns afterwards may have begun 10 before: the rest is shared out.
        assert_eq!(shares(Early { run_ns: 10, ..early }, &sleeps, 0), [place("a:1", 100), place("a:2", 100)]);
        // Of code that runs, two looks in one line are not alike.
        let spins = [at("a:1", None, 40), at("a:1", None, 50), at("a:2", None, 80)];
        let early = Early { on_ns: 30, off_ns: 0, run_ns: 40 };
        assert_eq!(shares(early, &spins, 200), [place("a:1", 120), place("a:2", 80)]);
    }

    /// At one line it waited for two locks, and who has each was asked at the first of the looks at it.
    #[test]
    fn who_has_a_lock_is_told_of_the_one_that_it_waited_for_most() {
        let unknown = |threads| Some(Held::Unknown(HolderUnknown::Several { threads }));
        let wait = |address, ns, held| {
            let futex = Some(FutexWait { address, operation: 0, value: 2 });
            let mut seen = at("a:1", Some("futex"), ns);
            (seen.named.look.off_cpu, seen.named.look.futex) = (Some(Cause::Lock), futex);
            seen.named.held = held;
            seen
        };
        let seen = [wait(8, 50, unknown(2)), wait(16, 60, unknown(3)), wait(16, 70, None)];
        let told =
            |seen: &[NamedSeen], cpu| evidence(exactly(cpu, 0), seen, Between::default()).lock.map(|lock| lock.held);
        assert_eq!(told(&seen, 10), unknown(3));
        assert_eq!(told(&seen, 150), None, "the lock is not the cause");
        assert_eq!(told(&[wait(8, 50, unknown(2)), wait(16, 130, None)], 10), None, "nobody knows of that one");
        let elsewhere = [at("a:2", Some("futex"), 150), wait(8, 20, unknown(2))];
        assert_eq!(told(&elsewhere, 10), None, "another place took most");
    }

    #[test]
    fn the_first_place_is_one_that_the_cause_is_about() {
        let seen = [at("a:1", None, 60), at("a:2", None, 55), at("a:3", Some("sleep"), 80)];
        let told = evidence(exactly(120, 0), &seen, Between::default());
        assert_eq!((told.cause, told.blocking_line.as_deref(), told.call), (Some(Cause::Cpu), Some("a:1"), None));
        let lines: Vec<_> = told.places.iter().map(|place| place.line.as_deref().unwrap()).collect();
        assert_eq!(lines, ["a:1", "a:2", "a:3"]);
    }
}
