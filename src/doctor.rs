//! What this machine and build can and cannot see, proved: stalls of known kind and length, each in a small run of its
//! own, and what the probe said of them. Plain data; nothing here prints.

mod blind;
mod inject;
mod stalls;

pub use blind::BlindSpot;
pub use stalls::{Stall, UNWATCHED};

use crate::scenario::Flavor;

/// How often a stall that was missed, or not seen in time, is injected again: a busy machine can hide one.
pub const RETRIES: u32 = 2;

/// All that was tried, and what follows.
#[derive(Debug)]
pub struct Diagnosis {
    /// One for each stall and flavour, in the order of trying.
    pub rows: Vec<Row>,
    /// What this build and machine do not see.
    pub blind: Vec<BlindSpot>,
}

/// One stall on one flavour.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name in reports.
    pub stall: &'static str,
    /// Which scheduler ran it.
    pub flavor: Flavor,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a stall.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// It could not be made; why.
    NotTried(String),
    /// It was made.
    Tried(Box<Trial>),
}

/// A stall that was made, and what was seen of it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What the blocking code did and measured itself.
    pub injected: Injected,
    /// What the probe said; `None` when it saw no slow poll.
    pub seen: Option<Seen>,
    /// How often it was injected again because it was missed, or not seen in time.
    pub retries: u32,
    /// Each thing that was missed, in words; empty when what was seen is as expected.
    pub missed: Vec<String>,
    /// Why not all was seen, when that came too late on this machine: no fault of what is known, and no miss.
    pub too_slow: Option<String>,
}

/// What was injected, by a clock outside the probe.
#[derive(Debug, Clone)]
pub struct Injected {
    /// From just before the blocking call to just after it.
    pub ns: u64,
    /// The cause to be found.
    pub cause: &'static str,
    /// `file:line` of the blocking call.
    pub line: String,
}

/// What the probe said of a stall.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The slow poll's length.
    pub ns: u64,
    /// Its cause.
    pub cause: Option<&'static str>,
    /// Its blocking line.
    pub line: Option<String>,
    /// How often the stack was looked at.
    pub captures: u32,
    /// From the moment that it was slow to the end of the first look that showed something, in nanoseconds.
    pub looked_after_ns: Option<u64>,
    /// Whether any function on the stack has a name.
    pub has_names: bool,
    /// Whether the stack was followed to its end; `None` when there is no stack.
    pub stack_complete: Option<bool>,
    /// Time on the CPU; `None` when the kernel did not tell.
    pub cpu_ns: Option<u64>,
    /// What came too late to be told of it, in words; `None` when nothing did.
    pub late: Option<String>,
}

impl Row {
    /// What was tried, if anything was.
    pub fn trial(&self) -> Option<&Trial> {
        match &self.outcome {
            Outcome::Tried(trial) => Some(trial),
            Outcome::NotTried(_) => None,
        }
    }

    /// Whether something was missed that this build and machine claim to see.
    pub fn is_missed(&self) -> bool {
        self.trial().is_some_and(|trial| !trial.missed.is_empty())
    }

    /// Whether nothing was missed, but something came too late to be seen on this machine.
    pub fn is_too_slow(&self) -> bool {
        self.trial().is_some_and(|trial| trial.missed.is_empty() && trial.too_slow.is_some())
    }
}

impl Diagnosis {
    /// How many stalls were injected.
    pub fn tried(&self) -> usize {
        self.rows.iter().filter(|row| row.trial().is_some()).count()
    }

    /// How many of them were missed, or seen wrong.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.is_missed()).count()
    }

    /// How many were not seen in full, as this machine was too slow.
    pub fn too_slow(&self) -> usize {
        self.rows.iter().filter(|row| row.is_too_slow()).count()
    }
}

/// Injects every stall on both flavours, and says before each which one. It takes some seconds.
pub fn diagnose(mut on_stall: impl FnMut(&'static str, Flavor)) -> Diagnosis {
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
        let (missed, too_slow) = judged(&injected, seen.as_ref(), machine);
        if missed.is_empty() && too_slow.is_none() || retries == RETRIES {
            return Outcome::Tried(Box::new(Trial { injected, seen, retries, missed, too_slow }));
        }
        retries += 1;
    }
}

/// What is not as expected, among that which can be seen here; and what came too late, if something is not known for that reason
/// alone. What is known and wrong is missed, however slow the machine is.
fn judged(injected: &Injected, seen: Option<&Seen>, machine: &blind::Machine) -> (Vec<String>, Option<String>) {
    let Some(seen) = seen else { return (vec!["no slow poll was seen".to_owned()], None) };
    if !machine.shows_threads() {
        return (Vec::new(), None);
    }
    let cause = (seen.cause != Some(injected.cause)).then_some(("cause", seen.cause, injected.cause));
    let is_line_due = machine.has_lines && seen.line.as_ref() != Some(&injected.line);
    let line = is_line_due.then_some(("line", seen.line.as_deref(), injected.line.as_str()));
    let differs: Vec<_> = [cause, line].into_iter().flatten().collect();
    let is_late = |known: &Option<&str>| known.is_none() && seen.late.is_some();
    let too_slow = seen.late.clone().filter(|_| differs.iter().any(|(_, known, _)| is_late(known)));
    let missed = differs.iter().filter(|(_, known, _)| !is_late(known));
    let missed = missed.map(|(what, known, is)| format!("{what} {} instead of {is}", known.unwrap_or("unknown")));
    (missed.collect(), too_slow)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injected() -> Injected {
        Injected { ns: 120_000_000, cause: "lock", line: "src/a.rs:7".to_owned() }
    }

    fn seen(cause: Option<&'static str>, line: Option<&str>) -> Seen {
        Seen {
            ns: 120_010_000,
            cause,
            line: line.map(str::to_owned),
            captures: 3,
            looked_after_ns: Some(90_000),
            has_names: true,
            stack_complete: Some(true),
            cpu_ns: Some(1),
            late: None,
        }
    }

    #[test]
    fn what_is_missed_is_said_in_words() {
        let machine = blind::Machine { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let missed_of = |seen: Option<&Seen>, machine| judged(&injected(), seen, machine).0.join("; ");
        assert_eq!(missed_of(Some(&seen(Some("lock"), Some("src/a.rs:7"))), &machine), "");
        assert_eq!(missed_of(None, &machine), "no slow poll was seen");
        assert_eq!(
            missed_of(Some(&seen(Some("cpu"), None)), &machine),
            "cause cpu instead of lock; line unknown instead of src/a.rs:7"
        );
    }

    #[test]
    fn what_came_too_late_is_not_missed_and_what_is_wrong_is() {
        let machine = blind::Machine { threads: Ok(()), schedstat: Ok(()), has_lines: true };
        let why = "no line: names were still being read 10.0 s after the poll's end";
        let judge = |cause, line| {
            let late = Seen { late: Some(why.to_owned()), ..seen(cause, line) };
            let (missed, too_slow) = judged(&injected(), Some(&late), &machine);
            (missed.join("; "), too_slow.is_some())
        };
        assert_eq!(judge(None, None), (String::new(), true));
        assert_eq!(judge(Some("lock"), None), (String::new(), true));
        assert_eq!(judge(Some("cpu"), None), ("cause cpu instead of lock".to_owned(), true));
        assert_eq!(judge(None, Some("src/a.rs:8")), ("line src/a.rs:8 instead of src/a.rs:7".to_owned(), true));
        assert_eq!(judge(Some("lock"), Some("src/a.rs:7")), (String::new(), false), "it came all the same");
        let unexplained = judged(&injected(), Some(&seen(None, None)), &machine);
        assert_eq!((unexplained.0.len(), unexplained.1), (2, None), "what nobody explains is missed");
    }

    #[test]
    fn what_nobody_claims_to_see_is_not_missed() {
        let machine = blind::Machine { threads: Ok(()), schedstat: Ok(()), has_lines: false };
        assert!(judged(&injected(), Some(&seen(Some("lock"), None)), &machine).0.is_empty(), "no line tables");
        let machine = blind::Machine { threads: Err("cannot".to_owned()), ..machine };
        assert!(judged(&injected(), Some(&seen(None, None)), &machine).0.is_empty(), "no look at threads");
        assert!(!judged(&injected(), None, &machine).0.is_empty(), "a slow poll needs no look at threads");
    }
}
