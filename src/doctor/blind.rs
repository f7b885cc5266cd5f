//! What this build does not see on this machine, and the remedies.

use std::fs;
use std::io;

use pollscope_base::Cause;
use pollscope_base::reason;

use super::{CheckOutcome, Sighting, Stall, StallCheck, UNWATCHED};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlindSpot {
    /// What is not seen, and why.
    pub(crate) what: String,
    /// What showed it.
    pub(crate) proof: String,
    /// What helps; `None` if nothing does.
    pub(crate) remedy: Option<String>,
}

#[derive(Debug)]
pub(super) struct MachineAccess {
    /// Whether `/proc` says what a thread does; if not, why.
    pub(super) threads: Result<(), String>,
    /// Whether `/proc` says how long a thread ran; if not, why.
    pub(super) schedstat: Result<(), String>,
    /// Whether the binary has line tables.
    pub(super) has_lines: bool,
}

impl MachineAccess {
    pub(super) fn look() -> MachineAccess {
        let threads = if !pollscope_probe::CAPTURE {
            Err("this build is not for Linux on x86-64".to_owned())
        } else {
            fs::read("/proc/thread-self/syscall").map(drop).map_err(unreadable("/proc/thread-self/syscall"))
        };
        let schedstat = fs::read_to_string("/proc/thread-self/schedstat");
        let schedstat = match schedstat {
            Err(error) => Err(unreadable("/proc/thread-self/schedstat")(error)),
            Ok(text) if text.split_whitespace().all(|number| number == "0") => {
                Err("`/proc/thread-self/schedstat` is all 0".to_owned())
            }
            Ok(_) => Ok(()),
        };
        MachineAccess { threads, schedstat, has_lines: has_lines() }
    }

    /// Whether the probe can look at a thread, and so should find causes and lines.
    pub(super) fn shows_threads(&self) -> bool {
        self.threads.is_ok()
    }
}

fn unreadable(path: &'static str) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot read `{path}`: {}", reason(error))
}

/// Whether a backtrace names a line of this file. The standard library shows its frames only as text.
fn has_lines() -> bool {
    std::backtrace::Backtrace::force_capture().to_string().contains("blind.rs:")
}

/// What the probe did not see when tried, and what it cannot see here.
pub(super) fn blind_spots(
    rows: &[StallCheck],
    unwatched: &[(Stall, Result<bool, String>)],
    machine: &MachineAccess,
) -> Vec<BlindSpot> {
    let mut blind: Vec<BlindSpot> = unwatched.iter().filter_map(|(stall, was_seen)| unseen(*stall, was_seen)).collect();
    let seen: Vec<&Sighting> = rows.iter().filter_map(|row| row.trial()?.seen.as_ref()).collect();
    blind.extend(of_threads(&seen, machine));
    blind.extend(of_lines(&seen, machine));
    blind.extend(of_clocks(&seen, machine));
    blind.extend(of_stacks(&seen));
    blind.extend(of_holders(&seen));
    let mut not_tried: Vec<(&str, &str)> = Vec::new();
    for row in rows {
        if let CheckOutcome::NotTried(reason) = &row.outcome
            && !not_tried.contains(&(row.stall, reason))
        {
            not_tried.push((row.stall, reason));
        }
    }
    blind.extend(not_tried.into_iter().map(|(stall, reason)| BlindSpot {
        what: format!("whether a {stall} is seen: not tried"),
        proof: reason.to_owned(),
        remedy: None,
    }));
    blind
}

fn unseen(stall: Stall, was_seen: &Result<bool, String>) -> Option<BlindSpot> {
    let (_, what, remedy) = UNWATCHED.iter().find(|(of, ..)| *of == stall)?;
    let proof = match was_seen {
        Ok(true) => return None,
        Ok(false) => "a stall in one was not seen".to_owned(),
        Err(reason) => format!("not tried: {reason}"),
    };
    Some(BlindSpot { what: (*what).to_owned(), proof, remedy: Some((*remedy).to_owned()) })
}

fn counted(seen: &[&Sighting], is: impl Fn(&Sighting) -> bool, what: &str) -> String {
    format!("{what} in {} of {} stalls that were seen", seen.iter().filter(|seen| is(seen)).count(), seen.len())
}

fn of_threads(seen: &[&Sighting], machine: &MachineAccess) -> Option<BlindSpot> {
    let why = machine.threads.as_ref().err()?;
    let remedy = if pollscope_probe::CAPTURE {
        "make the program's file readable for its user (mode 755, no setuid, no capabilities: otherwise the kernel hides the process \
         even from itself), on a kernel with CONFIG_HAVE_ARCH_TRACEHOOK, in a container where /proc can be read"
    } else {
        "measure on Linux on x86-64; durations, spawn sites and who waited are exact everywhere"
    };
    Some(BlindSpot {
        what: format!("the blocking line, the system call and the cause: {why}"),
        proof: counted(seen, |seen| seen.captures > 0, "a thread was looked at"),
        remedy: Some(remedy.to_owned()),
    })
}

fn of_lines(seen: &[&Sighting], machine: &MachineAccess) -> Option<BlindSpot> {
    (machine.shows_threads() && !machine.has_lines).then(|| BlindSpot {
        what: "the blocking line: this binary has no line tables".to_owned(),
        proof: counted(seen, |seen| seen.line.is_some(), "a line was named"),
        remedy: Some("build with `debug = \"line-tables-only\"` and without `strip` in the profile".to_owned()),
    })
}

fn of_clocks(seen: &[&Sighting], machine: &MachineAccess) -> Option<BlindSpot> {
    let why = machine.schedstat.as_ref().err()?;
    Some(BlindSpot {
        what: format!("time on the CPU, so causes are less certain, and `preempted` is never found: {why}"),
        proof: counted(seen, |seen| seen.cpu_ns.is_some_and(|ns| ns > 0), "time on the CPU was known"),
        remedy: Some("use a kernel with CONFIG_SCHED_INFO".to_owned()),
    })
}

fn of_stacks(seen: &[&Sighting]) -> Option<BlindSpot> {
    let is_cut = |seen: &Sighting| seen.stack_complete == Some(false);
    seen.iter().any(|seen| is_cut(seen)).then(|| BlindSpot {
        what: "the outermost frames of some stacks".to_owned(),
        proof: counted(seen, is_cut, "a stack did not reach its thread's first frame"),
        remedy: None,
    })
}

/// Of the stalls that were told to be locks: whose it is may be unknown, but is to be seen by somebody.
fn of_holders(seen: &[&Sighting]) -> Option<BlindSpot> {
    let locks: Vec<&Sighting> = seen.iter().copied().filter(|seen| seen.cause == Some(Cause::Lock)).collect();
    (!locks.is_empty() && locks.iter().all(|seen| seen.holder.is_none())).then(|| BlindSpot {
        what: "who has the lock that a poll waits for".to_owned(),
        proof: counted(&locks, |seen| seen.holder.is_none(), "no thread was named"),
        remedy: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_lock_is_not_seen_where_nobody_was_ever_named() {
        let seen = |cause, holder: Option<&str>| Sighting {
            ns: 1,
            cause: Some(cause),
            line: None,
            holder: holder.map(str::to_owned),
            captures: 1,
            looked_after_ns: None,
            stack_complete: None,
            cpu_ns: None,
            late: None,
        };
        let proof = |all: &[Sighting]| Some(of_holders(&all.iter().collect::<Vec<_>>())?.proof);
        let (unknown, named, sleep) = (seen(Cause::Lock, None), seen(Cause::Lock, Some("a")), seen(Cause::Cpu, None));
        assert_eq!(proof(&[named, unknown.clone(), sleep.clone()]), None);
        assert_eq!(proof(std::slice::from_ref(&sleep)), None, "no lock was seen");
        let expected = "no thread was named in 1 of 1 stalls that were seen";
        assert_eq!(proof(&[unknown, sleep]).as_deref(), Some(expected));
    }
}
