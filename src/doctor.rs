//! Tests what this build sees on this machine: injects stalls of known kind and length, each in a small run, and compares what the
//! probe reports. Returns plain data; prints nothing.

mod blind;
mod child;
pub(crate) mod examined;
mod inject;
pub(crate) mod report;
mod spent;
mod stalls;

pub(crate) use blind::BlindSpot;
pub(crate) use child::in_child;
pub(crate) use stalls::{Stall, UNWATCHED};

use serde::{Deserialize, Serialize};

use crate::scenario::Flavor;
use crate::signal_mask;
use pollscope_base::Cause;

/// How often to inject a stall again that was missed, or seen too late: a busy machine can hide one.
pub(crate) const RETRIES: u32 = 2;

#[derive(Debug)]
pub(crate) struct Checkup {
    /// One per stall and flavour, in the order of injection.
    pub(crate) checks: Vec<StallCheck>,
    pub(crate) blind: Vec<BlindSpot>,
}

#[derive(Debug, Clone)]
pub(crate) struct StallCheck {
    /// The stall's name.
    pub(crate) stall: &'static str,
    pub(crate) flavor: Flavor,
    pub(crate) outcome: CheckOutcome,
}

#[derive(Debug, Clone)]
pub(crate) enum CheckOutcome {
    /// Why the stall could not be made.
    NotTried(String),
    Tried(Box<Trial>),
}

#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// As the blocking code measured it.
    pub(crate) injected: Injection,
    /// As the probe reported it; `None` if it saw no slow poll.
    pub(crate) seen: Option<Sighting>,
    /// How often it was injected again because it was missed, or seen too late.
    pub(crate) retries: u32,
    /// What was missed or seen wrong, in words.
    pub(crate) missed: Vec<String>,
    /// Why not everything was seen, if it came too late on this machine: this is no miss.
    pub(crate) too_slow: Option<String>,
}

/// What was injected, timed by a clock outside the probe.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Injection {
    /// From just before the blocking call to just after it.
    pub(crate) ns: u64,
    /// What the probe may say of its cause, first the likeliest; `None` is that it does not know.
    pub(crate) causes: Vec<Option<Cause>>,
    /// `file:line` of the blocking call.
    pub(crate) line: String,
    /// Whether the probe should find the line, where it can find lines.
    pub(crate) is_line_due: bool,
    /// The name of the thread that had the lock, if the stall was the wait for one.
    pub(crate) holder: Option<String>,
}

/// What the probe reported.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sighting {
    pub(crate) ns: u64,
    pub(crate) cause: Option<Cause>,
    pub(crate) line: Option<String>,
    /// The name of the thread that had the lock, if it named one.
    pub(crate) holder: Option<String>,
    /// How often the probe looked at the stack.
    pub(crate) captures: u32,
    /// From when the poll became slow to the end of the first look that showed something, in nanoseconds.
    pub(crate) looked_after_ns: Option<u64>,
    /// Whether the stack reaches the thread's first frame; `None` without a stack.
    pub(crate) stack_complete: Option<bool>,
    /// Time on the CPU; `None` if the kernel does not say.
    pub(crate) cpu_ns: Option<u64>,
    /// What came too late to be reported, in words.
    pub(crate) late: Option<String>,
}

impl StallCheck {
    pub(crate) fn trial(&self) -> Option<&Trial> {
        match &self.outcome {
            CheckOutcome::Tried(trial) => Some(trial),
            CheckOutcome::NotTried(_) => None,
        }
    }

    /// Whether the probe missed something that it should see here.
    pub(crate) fn is_missed(&self) -> bool {
        self.trial().is_some_and(|trial| !trial.missed.is_empty())
    }

    /// Whether nothing was missed, but something came too late to be seen on this machine.
    pub(crate) fn is_too_slow(&self) -> bool {
        self.trial().is_some_and(|trial| trial.missed.is_empty() && trial.too_slow.is_some())
    }
}

impl Checkup {
    /// The number of injected stalls.
    pub(crate) fn tried(&self) -> usize {
        self.checks.iter().filter(|row| row.trial().is_some()).count()
    }

    /// The number of stalls that were missed or seen wrong.
    pub(crate) fn missed(&self) -> usize {
        self.checks.iter().filter(|row| row.is_missed()).count()
    }

    /// How many were not seen in full, as this machine was too slow.
    pub(crate) fn too_slow(&self) -> usize {
        self.checks.iter().filter(|row| row.is_too_slow()).count()
    }
}

/// Injects every stall on both flavours, which takes some seconds; calls `on_stall` before each.
pub(crate) fn diagnose(mut on_stall: impl FnMut(&'static str, Flavor)) -> Checkup {
    let machine = blind::MachineAccess::look();
    let mut checks = Vec::new();
    for stall in Stall::ALL {
        for flavor in [Flavor::CurrentThread, Flavor::MultiThread].into_iter().filter(|&flavor| stall.runs_on(flavor)) {
            on_stall(stall.name(), flavor);
            checks.push(StallCheck { stall: stall.name(), flavor, outcome: outcome(stall, flavor, &machine) });
        }
    }
    let unwatched = UNWATCHED.map(|(stall, _, _)| {
        on_stall(stall.name(), Flavor::CurrentThread);
        (stall, tried(stall, Flavor::CurrentThread).map(|(_, seen)| seen.is_some()))
    });
    let blind = blind::blind_spots(&checks, &unwatched, &machine);
    Checkup { checks, blind }
}

/// Injects a stall once. Who ends the doctor meanwhile waits until that is over: a control group would be left behind. The threads of
/// one stall may still be there at the next, and take no such signal for it.
fn tried(stall: Stall, flavor: Flavor) -> Result<(Injection, Option<Sighting>), String> {
    let inject = if stall.is_of_a_process() { child::inject } else { inject::inject };
    signal_mask::without_ends(|| inject(stall, flavor))
}

fn outcome(stall: Stall, flavor: Flavor, machine: &blind::MachineAccess) -> CheckOutcome {
    let mut retries = 0;
    loop {
        let (injected, seen) = match tried(stall, flavor) {
            Ok(tried) => tried,
            Err(reason) => return CheckOutcome::NotTried(reason),
        };
        let (missed, too_slow) = judged(&injected, seen.as_ref(), machine);
        if missed.is_empty() && too_slow.is_none() || retries == RETRIES {
            return CheckOutcome::Tried(Box::new(Trial { injected, seen, retries, missed, too_slow }));
        }
        retries += 1;
    }
}

/// What differs from what was injected, as far as it can be seen here; and what came too late, if something is unknown for that
/// reason alone. What is known and wrong is missed, however slow the machine is.
fn judged(
    injected: &Injection,
    seen: Option<&Sighting>,
    machine: &blind::MachineAccess,
) -> (Vec<String>, Option<String>) {
    let Some(seen) = seen else { return (vec!["no slow poll was seen".to_owned()], None) };
    if !machine.shows_threads() {
        return (Vec::new(), None);
    }
    let mut differs = Vec::new();
    if !injected.causes.contains(&seen.cause) {
        differs.push(("cause", seen.cause.map(Cause::as_str), words(&injected.causes)));
    }
    let is_unknown_due = machine.has_lines && injected.is_line_due;
    if seen.line.as_ref().map_or(is_unknown_due, |line| *line != injected.line) {
        differs.push(("line", seen.line.as_deref(), injected.line.clone()));
    }
    // Who has a lock may remain unknown.
    if let (Some(is), Some(seen)) = (&injected.holder, &seen.holder)
        && is != seen
    {
        differs.push(("holder", Some(seen), is.clone()));
    }
    let is_late = |known: &Option<&str>| known.is_none() && seen.late.is_some();
    let too_slow = seen.late.clone().filter(|_| differs.iter().any(|(_, known, _)| is_late(known)));
    let missed = differs.iter().filter(|(_, known, _)| !is_late(known));
    let missed = missed.map(|(what, known, is)| format!("{what} {} instead of {is}", known.unwrap_or("unknown")));
    (missed.collect(), too_slow)
}

/// `cpu or preempted or unknown`.
fn words(causes: &[Option<Cause>]) -> String {
    let words: Vec<&str> = causes.iter().map(|cause| cause.map_or("unknown", Cause::as_str)).collect();
    words.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected() -> Injection {
        Injection {
            ns: 120_000_000,
            causes: vec![Some(Cause::Lock)],
            line: "src/a.rs:7".to_owned(),
            is_line_due: true,
            holder: None,
        }
    }

    fn seen(cause: Option<Cause>, line: Option<&str>) -> Sighting {
        Sighting {
            ns: 120_010_000,
            cause,
            line: line.map(str::to_owned),
            holder: None,
            captures: 3,
            looked_after_ns: Some(90_000),
            stack_complete: Some(true),
            cpu_ns: Some(1),
            late: None,
        }
    }

    #[test]
    fn what_is_missed_is_said_in_words() {
        let machine = blind::MachineAccess { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let missed_of = |seen: Option<&Sighting>, machine| judged(&injected(), seen, machine).0.join("; ");
        assert_eq!(missed_of(Some(&seen(Some(Cause::Lock), Some("src/a.rs:7"))), &machine), "");
        assert_eq!(missed_of(None, &machine), "no slow poll was seen");
        assert_eq!(
            missed_of(Some(&seen(Some(Cause::Cpu), None)), &machine),
            "cause cpu instead of lock; line unknown instead of src/a.rs:7"
        );
    }

    #[test]
    fn what_is_not_sure_is_not_missed_and_a_wrong_cause_is() {
        let machine = blind::MachineAccess { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let injected = Injection { causes: vec![Some(Cause::Cpu), Some(Cause::Kernel), None], ..injected() };
        let missed_of = |cause| judged(&injected, Some(&seen(cause, Some("src/a.rs:7"))), &machine).0.join("; ");
        assert_eq!(missed_of(Some(Cause::Kernel)), "");
        assert_eq!(missed_of(None), "");
        assert_eq!(missed_of(Some(Cause::Lock)), "cause lock instead of cpu or kernel or unknown");
    }

    #[test]
    fn a_holder_is_right_or_unknown() {
        let machine = blind::MachineAccess { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let injected = Injection { holder: Some("has-it".to_owned()), ..injected() };
        let missed_of = |holder: Option<&str>| {
            let seen = Sighting { holder: holder.map(str::to_owned), ..seen(Some(Cause::Lock), Some("src/a.rs:7")) };
            judged(&injected, Some(&seen), &machine).0.join("; ")
        };
        assert_eq!((missed_of(None), missed_of(Some("has-it"))), (String::new(), String::new()));
        assert_eq!(missed_of(Some("another")), "holder another instead of has-it");
    }

    #[test]
    fn what_came_too_late_is_not_missed_and_what_is_wrong_is() {
        let machine = blind::MachineAccess { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let why = "no line: names were still being read 10.0 s after the poll's end";
        let judge = |cause, line| {
            let late = Sighting { late: Some(why.to_owned()), ..seen(cause, line) };
            let (missed, too_slow) = judged(&injected(), Some(&late), &machine);
            (missed.join("; "), too_slow.is_some())
        };
        assert_eq!(judge(None, None), (String::new(), true));
        assert_eq!(judge(Some(Cause::Lock), None), (String::new(), true));
        assert_eq!(judge(Some(Cause::Cpu), None), ("cause cpu instead of lock".to_owned(), true));
        assert_eq!(judge(None, Some("src/a.rs:8")), ("line src/a.rs:8 instead of src/a.rs:7".to_owned(), true));
        assert_eq!(judge(Some(Cause::Lock), Some("src/a.rs:7")), (String::new(), false), "it came all the same");
        let unexplained = judged(&injected(), Some(&seen(None, None)), &machine);
        assert_eq!((unexplained.0.len(), unexplained.1), (2, None), "what nobody explains is missed");
    }

    #[test]
    fn what_nobody_claims_to_see_is_not_missed() {
        let machine = blind::MachineAccess { threads: Ok(()), schedstat: Ok(()), has_lines: false };
        assert!(judged(&injected(), Some(&seen(Some(Cause::Lock), None)), &machine).0.is_empty(), "no line tables");
        let machine = blind::MachineAccess { threads: Err("cannot".to_owned()), ..machine };
        assert!(judged(&injected(), Some(&seen(None, None)), &machine).0.is_empty(), "no look at threads");
        assert!(!judged(&injected(), None, &machine).0.is_empty(), "a slow poll needs no look at threads");
    }
}
