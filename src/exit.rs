//! The exit codes, all of them.

/// The exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The command succeeded, and all gates hold.
    Pass,
    /// Something failed; stderr says what.
    Error,
    /// The command line is wrong; stderr says how.
    Usage,
    /// The merged file does not hold what its inputs hold, or could not be read again.
    NotConfirmed,
    /// With `--strict`: the run is too short to tell whether a gate holds.
    Inconclusive,
    /// The run is worse than the baseline, beyond noise.
    Regression,
    /// A scenario's expectation or a gate of `--fail-on` does not hold.
    GateFailed,
    /// A report cannot be written. If that shows beforehand, nothing runs; otherwise the other reports are written.
    CannotWrite,
    /// The program to record is there, but cannot be started; as of shells.
    CannotStart,
    /// The program to record is not there; as of shells.
    NotFound,
    /// SIGHUP: the terminal was closed. The program ends as it does when interrupted.
    HungUp,
    /// SIGINT: what was accepted is merged, confirmed and reported. An error keeps its own code, and so does a merge that is not
    /// confirmed, unless a second signal asked to report at once.
    Interrupted,
    /// SIGTERM: as SIGINT.
    Terminated,
    /// The recorded program ended with this code; with 128 and its number if a signal ended it, as of shells.
    Program(u8),
}

impl Exit {
    /// The number that a shell sees.
    ///
    /// ```
    /// use pollscope::exit::Exit;
    /// assert_eq!((Exit::GateFailed.code(), Exit::Program(3).code()), (99, 3));
    /// ```
    pub fn code(self) -> u8 {
        match self {
            Exit::Pass => 0,
            Exit::Error => 1,
            Exit::Usage => 2,
            Exit::NotConfirmed => 3,
            Exit::Inconclusive => 97,
            Exit::Regression => 98,
            Exit::GateFailed => 99,
            Exit::CannotWrite => 110,
            Exit::CannotStart => 126,
            Exit::NotFound => 127,
            Exit::HungUp => 129,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
            Exit::Program(code) => code,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit.code())
    }
}
