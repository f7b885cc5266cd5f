//! What this machine and build can and cannot see, proved: stalls of known kind and length, each in a small run of its
//! own, and what the probe said of them. Plain data; nothing here prints.

mod blind;
mod inject;
pub(crate) mod report;
mod stalls;

pub(crate) use blind::BlindSpot;
pub(crate) use stalls::{Stall, UNWATCHED};

use crate::scenario::Flavor;
use pollscope_base::Cause;

/// How often a stall that was missed is injected again: a busy machine can hide one.
pub(crate) const RETRIES: u32 = 2;

/// All that was tried, and what follows.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    /// One for each stall and flavour, in the order of trying.
    pub(crate) rows: Vec<Row>,
    /// What this build and machine do not see.
    pub(crate) blind: Vec<BlindSpot>,
}

/// One stall on one flavour.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its name in reports.
    pub(crate) stall: &'static str,
    /// Which scheduler ran it.
    pub(crate) flavor: Flavor,
    /// What came of it.
    pub(crate) outcome: Outcome,
}

/// What came of a stall.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It could not be made; why.
    NotTried(String),
    /// It was made.
    Tried(Box<Trial>),
}

/// A stall that was made, and what was seen of it.
#[derive(Debug, Clone)]
pub(crate) struct Trial {
    /// What the blocking code did and measured itself.
    pub(crate) injected: Injected,
    /// What the probe said; `None` when it saw no slow poll.
    pub(crate) seen: Option<Seen>,
    /// How often it was injected again because it was missed.
    pub(crate) retries: u32,
    /// Each thing that was missed, in words; empty when all is as expected.
    pub(crate) missed: Vec<String>,
}

/// What was injected, by a clock outside the probe.
#[derive(Debug, Clone)]
pub(crate) struct Injected {
    /// From just before the blocking call to just after it.
    pub(crate) ns: u64,
    /// The cause to be found.
    pub(crate) cause: Cause,
    /// `file:line` of the blocking call.
    pub(crate) line: String,
}

/// What the probe said of a stall.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// The slow poll's length.
    pub(crate) ns: u64,
    /// Its cause.
    pub(crate) cause: Option<Cause>,
    /// Its blocking line.
    pub(crate) line: Option<String>,
    /// How often the stack was looked at.
    pub(crate) captures: u32,
    /// From the moment that it was slow to the end of the first look that showed something, in nanoseconds.
    pub(crate) looked_after_ns: Option<u64>,
    /// Whether the stack was followed to its end; `None` when there is no stack.
    pub(crate) stack_complete: Option<bool>,
    /// Time on the CPU; `None` when the kernel did not tell.
    pub(crate) cpu_ns: Option<u64>,
}

impl Row {
    /// What was tried, if anything was.
    pub(crate) fn trial(&self) -> Option<&Trial> {
        match &self.outcome {
            Outcome::Tried(trial) => Some(trial),
            Outcome::NotTried(_) => None,
        }
    }

    /// Whether something was missed that this build and machine claim to see.
    pub(crate) fn is_missed(&self) -> bool {
        self.trial().is_some_and(|trial| !trial.missed.is_empty())
    }
}

impl Diagnosis {
    /// How many stalls were injected.
    pub(crate) fn tried(&self) -> usize {
        self.rows.iter().filter(|row| row.trial().is_some()).count()
    }

    /// How many of them were missed, or seen wrong.
    pub(crate) fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.is_missed()).count()
    }
}

/// Injects every stall on both flavours, and says before each which one. It takes some seconds.
pub(crate) fn diagnose(mut on_stall: impl FnMut(&'static str, Flavor)) -> Diagnosis {
    let machine = blind::Machine::look();
    let mut rows = Vec::new();
    for stall in Stall::ALL {
        for flavor in [Flavor::CurrentThread, Flavor::MultiThread].into_iter().filter(|&flavor| stall.runs_on(flavor)) {
            on_stall(stall.name(), flavor);
            rows.push(Row { stall: stall.name(), flavor, outcome: outcome(stall, flavor, &machine) });
        }
    }
    let unwatched = UNWATCHED.map(|(stall, _, _)| {
        on_stall(stall.name(), Flavor::CurrentThread);
        (stall, inject::inject(stall, Flavor::CurrentThread).map(|(_, seen)| seen.is_some()))
    });
    let blind = blind::blind_spots(&rows, &unwatched, &machine);
    Diagnosis { rows, blind }
}

fn outcome(stall: Stall, flavor: Flavor, machine: &blind::Machine) -> Outcome {
    let mut retries = 0;
    loop {
        let (injected, seen) = match inject::inject(stall, flavor) {
            Ok(tried) => tried,
            Err(reason) => return Outcome::NotTried(reason),
        };
        let missed = missed(&injected, seen.as_ref(), machine);
        if missed.is_empty() || retries == RETRIES {
            return Outcome::Tried(Box::new(Trial { injected, seen, retries, missed }));
        }
        retries += 1;
    }
}

/// What is not as expected, among that which can be seen here.
fn missed(injected: &Injected, seen: Option<&Seen>, machine: &blind::Machine) -> Vec<String> {
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

    fn injected() -> Injected {
        Injected { ns: 120_000_000, cause: Cause::Lock, line: "src/a.rs:7".to_owned() }
    }

    fn seen(cause: Option<Cause>, line: Option<&str>) -> Seen {
        Seen {
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
        let machine = blind::Machine { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let missed_of = |seen: Option<&Seen>, machine| missed(&injected(), seen, machine).join("; ");
        assert_eq!(missed_of(Some(&seen(Some(Cause::Lock), Some("src/a.rs:7"))), &machine), "");
        assert_eq!(missed_of(None, &machine), "no slow poll was seen");
        assert_eq!(
            missed_of(Some(&seen(Some(Cause::Cpu), None)), &machine),
            "cause cpu instead of lock; line unknown instead of src/a.rs:7"
        );
    }

    #[test]
    fn what_nobody_claims_to_see_is_not_missed() {
        let machine = blind::Machine { threads: Ok(()), schedstat: Ok(()), has_lines: false };
        assert!(missed(&injected(), Some(&seen(Some(Cause::Lock), None)), &machine).is_empty(), "no line tables");
        let machine = blind::Machine { threads: Err("cannot".to_owned()), ..machine };
        assert!(missed(&injected(), Some(&seen(None, None)), &machine).is_empty(), "no look at threads");
        assert!(!missed(&injected(), None, &machine).is_empty(), "a slow poll needs no look at threads");
    }
}
