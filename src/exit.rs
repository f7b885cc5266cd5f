//! The exit codes, all of them.

/// The exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded, and all gates hold.
    Pass = 0,
    /// Something failed; stderr says what.
    Error = 1,
    /// The command line is wrong; stderr says how.
    Usage = 2,
    /// The merged file does not hold what its inputs hold, or could not be read again.
    NotConfirmed = 3,
    /// With `--strict`: the run is too short to tell whether a gate holds.
    Inconclusive = 97,
    /// The run is worse than the baseline, beyond noise.
    Regression = 98,
    /// A scenario's expectation or a gate of `--fail-on` does not hold.
    GateFailed = 99,
    /// A report cannot be written. If that shows beforehand, nothing runs; otherwise the other reports are written.
    CannotWrite = 110,
    /// SIGHUP: the terminal was closed. The program ends as it does when interrupted.
    HungUp = 129,
    /// SIGINT: what was accepted is merged, confirmed and reported. An error keeps its own code, and so does a merge that is not
    /// confirmed, unless a second signal asked to report at once.
    Interrupted = 130,
    /// SIGTERM: as SIGINT.
    Terminated = 143,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}
