//! The exit codes, all of them.

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything asked for was done, and expectations hold.
    Pass = 0,
    /// Something failed; stderr says what.
    Error = 1,
    /// The command line was wrong; stderr says how.
    Usage = 2,
    /// The merge was not confirmed.
    NotConfirmed = 3,
    /// The run was too short to tell whether a gate holds, and `--strict` was asked for.
    Inconclusive = 97,
    /// Something is worse than in the baseline, beyond noise.
    Regression = 98,
    /// An expectation of a scenario, or a gate of `--fail-on`, does not hold.
    GateFailed = 99,
    /// A report cannot be written: nothing was run, where that showed beforehand; else the others were written.
    CannotWrite = 110,
    /// Its terminal was closed (SIGHUP); as when it is interrupted.
    HungUp = 129,
    /// Interrupted by SIGINT; what was accepted is merged, confirmed and reported. An error or a merge that was not
    /// confirmed keeps its own code, unless reporting at once was asked for.
    Interrupted = 130,
    /// Terminated by SIGTERM, likewise.
    Terminated = 143,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}
