//! Instructions of a poll, in user space: by `perf stat` where the machine counts them, else by valgrind's callgrind.
//!
//! Two runs of different length, so that all but the polls cancels out. What a program does once may take longer in one run than
//! in the other: the probe's clock is calibrated for 10 ms, with as many instructions as the machine is fast in that
//! moment. So callgrind counts only what the thread that polls does in the measured storm, which gives the same figure in every run;
//! as other threads go by the clock, and valgrind is slow, they would have too large a part of it anyway. Perf cannot leave out the
//! rest, and counts long runs, the least of several. Callgrind sees no vDSO: a clock read is a system call there, whose
//! instructions in the kernel are not counted, where it is about 70 in truth.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::catalog::{Instrument, Load};
use crate::program::{Programs, Trouble, number};

/// The function of the programs in which the measured storm runs.
const MEASURED: &str = "--toggle-collect=overhead_load::storm::measured";

#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter {
    Perf,
    Callgrind,
}

impl Counter {
    fn prefix(self) -> &'static [&'static str] {
        match self {
            Counter::Perf => &["perf", "stat", "-x,", "-e", "instructions:u", "--"],
            Counter::Callgrind => &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", MEASURED],
        }
    }

    /// The runs' lengths, and how often each is run.
    fn runs(self) -> ([u64; 2], usize) {
        match self {
            Counter::Perf => ([1_000_000, 5_000_000], 3),
            Counter::Callgrind => ([20_000, 60_000], 1),
        }
    }

    /// How many polls it counted, of a program that printed this.
    fn polls(self, printed: &str) -> Result<f64, String> {
        match self {
            Counter::Perf => number(printed, "done", "polls"),
            Counter::Callgrind => number(printed, "storm", "units"),
        }
    }

    /// Its count, in what it says.
    fn read(self, said: &str) -> Option<f64> {
        let line = |mark: &str| said.lines().find(|line| line.contains(mark));
        match self {
            Counter::Perf => line("instructions:u")?.split(',').next()?.parse().ok(),
            Counter::Callgrind => line("Collected :")?.rsplit(' ').next()?.parse().ok(),
        }
    }

    /// The first that works here.
    pub(crate) fn find() -> Option<Counter> {
        [Counter::Perf, Counter::Callgrind].into_iter().find(|counter| counter.count(&["true".into()]).is_some())
    }

    fn count(self, command: &[OsString]) -> Option<(f64, String)> {
        let [program, arguments @ ..] = self.prefix() else { return None };
        let output = Command::new(program).args(arguments).args(command).stdin(Stdio::null()).output().ok()?;
        let count = self.read(&String::from_utf8_lossy(&output.stderr))?;
        output.status.success().then(|| (count, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    pub(crate) fn per_poll(self, programs: &Programs, instrument: &Instrument) -> Result<f64, Trouble> {
        let command = programs.command(instrument)?;
        let (lengths, times) = self.runs();
        let run = |units: u64| -> Result<(f64, f64), String> {
            let arguments = [Load::Yield1.name().into(), units.to_string().into()];
            let command: Vec<OsString> = command.iter().cloned().chain(arguments).collect();
            let (count, printed) = self.count(&command).ok_or("it does not run under the counter".to_owned())?;
            Ok((count, self.polls(&printed)?))
        };
        let least = |units: u64| -> Result<(f64, f64), String> {
            let runs = (0..times).map(|_| run(units)).collect::<Result<Vec<_>, _>>()?;
            let least = runs.into_iter().min_by(|(one, _), (other, _)| one.total_cmp(other));
            least.filter(|(count, _)| *count > 0.0).ok_or("nothing was counted: has it no symbols?".to_owned())
        };
        let [few, many] = [least(lengths[0])?, least(lengths[1])?];
        Ok((many.0 - few.0) / (many.1 - few.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Under callgrind, a storm to warm up does not count; under perf, it does.
    #[test]
    fn polls_are_those_that_were_counted() {
        let printed = "storm ns=12.5 cpu_ns=7 units=3000\ndone tasks=1 polls=6000 seen=Polls(6000)\n";
        assert_eq!(Counter::Perf.polls(printed), Ok(6_000.0));
        assert_eq!(Counter::Callgrind.polls(printed), Ok(3_000.0));
    }

    #[test]
    fn counts_are_read() {
        assert_eq!(Counter::Perf.read("130894,,instructions:u,1000,100.00,,"), Some(130_894.0));
        assert_eq!(Counter::Perf.read("<not supported>,,instructions:u,0,100.00,,"), None);
        assert_eq!(Counter::Callgrind.read("==1== Events    : Ir\n==1== Collected : 154321\n"), Some(154_321.0));
    }
}
