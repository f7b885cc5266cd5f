//! Tests what this build sees on this machine: injects stalls of known kind and length, each in a small run, and compares what the
//! probe reports. Returns plain data; prints nothing.

mod blind;
mod inject;
pub(crate) mod report;
mod stalls;

pub(crate) use blind::BlindSpot;
pub(crate) use stalls::{Stall, UNWATCHED};

use crate::scenario::Flavor;
use pollscope_base::Cause;

/// How often to inject a missed stall again: a busy machine can hide one.
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
    /// How often it was injected again because it was missed.
    pub(crate) retries: u32,
    /// What was missed or seen wrong, in words.
    pub(crate) missed: Vec<String>,
}

/// What was injected, timed by a clock outside the probe.
#[derive(Debug, Clone)]
pub(crate) struct Injection {
    /// From just before the blocking call to just after it.
    pub(crate) ns: u64,
    /// The cause that the probe should find.
    pub(crate) cause: Cause,
    /// `file:line` of the blocking call.
    pub(crate) line: String,
}

/// What the probe reported.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) ns: u64,
    pub(crate) cause: Option<Cause>,
    pub(crate) line: Option<String>,
    /// How often the probe looked at the stack.
    pub(crate) captures: u32,
    /// From when the poll became slow to the end of the first look that showed something, in nanoseconds.
    pub(crate) looked_after_ns: Option<u64>,
    /// Whether the stack reaches the thread's first frame; `None` without a stack.
    pub(crate) stack_complete: Option<bool>,
    /// Time on the CPU; `None` if the kernel does not say.
    pub(crate) cpu_ns: Option<u64>,
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
        (stall, inject::inject(stall, Flavor::CurrentThread).map(|(_, seen)| seen.is_some()))
    });
    let blind = blind::blind_spots(&checks, &unwatched, &machine);
    Checkup { checks, blind }
}

fn outcome(stall: Stall, flavor: Flavor, machine: &blind::MachineAccess) -> CheckOutcome {
    let mut retries = 0;
    loop {
        let (injected, seen) = match inject::inject(stall, flavor) {
            Ok(tried) => tried,
            Err(reason) => return CheckOutcome::NotTried(reason),
        };
        let missed = missed(&injected, seen.as_ref(), machine);
        if missed.is_empty() || retries == RETRIES {
            return CheckOutcome::Tried(Box::new(Trial { injected, seen, retries, missed }));
        }
        retries += 1;
    }
}

/// What differs from what was injected, as far as it can be seen here.
fn missed(injected: &Injection, seen: Option<&Sighting>, machine: &blind::MachineAccess) -> Vec<String> {
    let Some(seen) = seen else { return vec!["no slow poll was seen".to_owned()] };
    let mut missed = Vec::new();
    if !machine.shows_threads() {
        return missed;
    }
    if seen.cause != Some(injected.cause) {
        missed.push(format!(
            "cause {} instead of {}",
            seen.cause.map_or("unknown", Cause::as_str),
            injected.cause.as_str()
        ));
    }
    if machine.has_lines && seen.line.as_ref() != Some(&injected.line) {
        missed.push(format!("line {} instead of {}", seen.line.as_deref().unwrap_or("unknown"), injected.line));
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected() -> Injection {
        Injection { ns: 120_000_000, cause: Cause::Lock, line: "src/a.rs:7".to_owned() }
    }

    fn seen(cause: Option<Cause>, line: Option<&str>) -> Sighting {
        Sighting {
            ns: 120_010_000,
            cause,
            line: line.map(str::to_owned),
            captures: 3,
            looked_after_ns: Some(90_000),
            stack_complete: Some(true),
            cpu_ns: Some(1),
        }
    }

    #[test]
    fn what_is_missed_is_said_in_words() {
        let machine = blind::MachineAccess { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let missed_of = |seen: Option<&Sighting>, machine| missed(&injected(), seen, machine).join("; ");
        assert_eq!(missed_of(Some(&seen(Some(Cause::Lock), Some("src/a.rs:7"))), &machine), "");
        assert_eq!(missed_of(None, &machine), "no slow poll was seen");
        assert_eq!(
            missed_of(Some(&seen(Some(Cause::Cpu), None)), &machine),
            "cause cpu instead of lock; line unknown instead of src/a.rs:7"
        );
    }

    #[test]
    fn what_nobody_claims_to_see_is_not_missed() {
        let machine = blind::MachineAccess { threads: Ok(()), schedstat: Ok(()), has_lines: false };
        assert!(missed(&injected(), Some(&seen(Some(Cause::Lock), None)), &machine).is_empty(), "no line tables");
        let machine = blind::MachineAccess { threads: Err("cannot".to_owned()), ..machine };
        assert!(missed(&injected(), Some(&seen(None, None)), &machine).is_empty(), "no look at threads");
        assert!(!missed(&injected(), None, &machine).is_empty(), "a slow poll needs no look at threads");
    }
}
