//! Instructions of a poll, in user space: by `perf stat` where the machine counts them, else by valgrind's callgrind.
//!
//! Two runs of different length, so that all but the polls cancels out. Callgrind sees no vDSO: a clock read is a system
//! call there, whose instructions in the kernel are not counted.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use crate::catalog::{Instrument, Load};
use crate::program::{Programs, Trouble, number};

const UNITS: [u64; 2] = [20_000, 60_000];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter {
    Perf,
    Callgrind,
}

impl Counter {
    fn prefix(self) -> &'static [&'static str] {
        match self {
            Counter::Perf => &["perf", "stat", "-x,", "-e", "instructions:u", "--"],
            Counter::Callgrind => &["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"],
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
        let run = |units: u64| -> Result<(f64, f64), String> {
            let arguments = [Load::Yield1.name().into(), units.to_string().into()];
            let command: Vec<OsString> = command.iter().cloned().chain(arguments).collect();
            let (count, output) = self.count(&command).ok_or("it does not run under the counter".to_owned())?;
            Ok((count, number(&output, "done", "polls")?))
        };
        let [few, many] = [run(UNITS[0])?, run(UNITS[1])?];
        Ok((many.0 - few.0) / (many.1 - few.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        assert_eq!(Counter::Perf.read("130894,,instructions:u,1000,100.00,,"), Some(130_894.0));
        assert_eq!(Counter::Perf.read("<not supported>,,instructions:u,0,100.00,,"), None);
        assert_eq!(Counter::Callgrind.read("==1== Events    : Ir\n==1== Collected : 154321\n"), Some(154_321.0));
    }
}
