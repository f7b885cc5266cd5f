//! Why a command fails, in words, and the exit code that goes with it.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use pollscope_attach::Obstacle;
use pollscope_base::reason;
use rustix::io::Errno;

use crate::config::ConfigError;
use crate::cut::CutError;
use crate::escape::{escape, escape_path};
use crate::exit::Exit;
use crate::explain::NoExplanation;
use crate::export::console::ConsoleError;
use crate::export::prometheus::ServeError;
use crate::gate::GateError;
use crate::init::InitError;
use crate::interval_log::LogError;
use crate::pipeline::confirm::present::PresentError;
use crate::redact::by_wording;
use crate::report::{Format, log};
use crate::run::RunError;
use crate::saved::ReadError;
use crate::scenario::builtin::BUILTIN;
use crate::scenario::wire::ScenarioError;
use crate::service::NoFeed;
use crate::stderr::Lines;

/// Why a command fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each variant's message says when it happens")]
pub enum CmdError {
    #[error("{0}")]
    Scenario(#[source] ScenarioError),
    #[error("{0}")]
    Config(#[source] ConfigError),
    #[error("cannot find the working folder: {}; go to one that is there", reason(.0))]
    Folder(#[source] io::Error),
    #[error("{0}")]
    Gate(#[source] GateError),
    #[error("{0}")]
    Init(#[source] InitError),
    #[error("{0}")]
    Run(#[source] RunError),
    #[error("{0}")]
    Confirm(#[source] PresentError),
    #[error("{0}")]
    Explanation(#[source] NoExplanation),
    #[error("{0}")]
    Console(#[source] ConsoleError),
    #[error("{0}")]
    Metrics(#[source] ServeError),
    #[error(
        "cannot vouch for what is seen here: {missed} of {tried} injected stalls were missed or seen wrong; try again on an idle \
         machine, and report the table if they stay"
    )]
    StallsMissed { missed: usize, tried: usize },
    #[error(
        "cannot have {needed} files open at once: the limit is {allowed}; raise it (`ulimit -Hn`), or use fewer inputs"
    )]
    OpenFiles { needed: u64, allowed: u64 },
    #[error("cannot start {needed} threads: {}; raise the limit (`ulimit -u`, or the control group's on pids)", reason(.error))]
    Threads {
        needed: usize,
        #[source]
        error: io::Error,
    },
    #[error("cannot start `{}`: {}", escape_path(Path::new(.program)), no_program(.program, .error))]
    Start {
        program: OsString,
        #[source]
        error: io::Error,
    },
    #[error("cannot wait for the program: {}; it may still run", reason(.0))]
    Wait(#[source] io::Error),
    #[error(
        "cannot report on `{program}`: it {how} without a sound from a probe{besides}; build it with `pollscope-probe` and its feature \
         `record`, let `ProbeBuilder::from_env()` build its runtime, and see whether it gets that far; `pollscope record PID` looks at \
         any process with Tokio while it runs"
    )]
    NothingRecorded { program: String, how: String, besides: String },
    #[error("{0}")]
    NoFeed(#[source] NoFeed),
    #[error("{0}")]
    Obstacle(#[source] Obstacle),
    #[error(
        "cannot show task `{id}` of process `{pid}`: it has none of that id now; it may have ended: leave out `--task` to see which there \
         are"
    )]
    NoTask { id: u64, pid: u32 },
    #[error(
        "cannot read the tasks of a process that runs from `{program}`: a program is given behind a core file alone; to offer its names \
         and types, use `--symbols`"
    )]
    ProgramWithoutCore { program: PathBuf },
    #[error("cannot read the tasks of the core file `{core}` every so often: it does not change; leave out `--every`")]
    CoreEvery { core: PathBuf },
    #[error(
        "cannot write every reading of the tasks to `{path}`: a file has one; write `--json -`, which is a line a reading, and `> {path}`"
    )]
    EveryToFile { path: PathBuf },
    #[error(
        "cannot say `--slow` of process `{pid}`: its probe has a threshold already; leave it out, or look at it with `--outside`"
    )]
    SlowOfItsOwn { pid: u32 },
    #[error(
        "cannot report on process `{pid}`: it told nothing before it ended; start it again with `pollscope record -- COMMAND`"
    )]
    NothingTold { pid: u32 },
    #[error("cannot show it: {}; `--once` prints a frame as text", reason(.0))]
    Screen(#[source] io::Error),
    #[error("cannot record to `{}`: {}{}", escape_path(.path), reason(.error), way_out(.error))]
    CannotRecord {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error("cannot record to `{}`: there is a recording already; name another place, or remove it", escape_path(.path))]
    RecordingExists { path: PathBuf },
    #[error("cannot catch signals: {}; run it where no sandbox forbids that", reason(.0))]
    Signals(#[source] io::Error),
    #[error(
        "cannot write report `{}`: it would replace `{}`, which this command uses; name another file",
        escape_path(.report),
        escape_path(.file)
    )]
    ReportIsUsed { report: PathBuf, file: PathBuf },
    #[error("cannot write {}; name another file for one of them", both(.formats, .paths))]
    SameOutput { formats: [String; 2], paths: [PathBuf; 2] },
    #[error("cannot read recording `{}`: {error}{}", escape_path(.path), if_scenario(.path))]
    Read {
        path: PathBuf,
        #[source]
        error: ReadError,
    },
    #[error(
        "cannot find run `{}`: {}; `pollscope run`, `record` and `merge` keep theirs",
        escape(.name),
        kept_runs(*.kept)
    )]
    NotKept { name: String, kept: usize },
    #[error("cannot read interval log `{}`: {error}{}", escape_path(.path), if_scenario(.path))]
    ReadLog {
        path: PathBuf,
        #[source]
        error: LogError,
    },
    #[error(
        "cannot give `{asked}` for interval log `{}`: it holds only distributions; choose one of `{}`, or give a recording that \
         `--json` wrote",
        escape_path(.path),
        log::FORMATS.map(Format::as_str).join("`, `")
    )]
    NotInLog { path: PathBuf, asked: &'static str },
    #[error(
        "cannot write a `profile` of the loops' time: {of} has none; `pollscope record PID` makes one of a process with Tokio, and with \
         `--outside` of one that has the probe"
    )]
    NoProfile { of: &'static str },
    #[error(
        "cannot find baseline `{name}`: there is no `{}` in this folder; make it with `--save-baseline {name}`",
        escape_path(.path),
        name = escape(.name)
    )]
    NoBaseline { name: String, path: PathBuf },
    #[error("cannot compare `{}` with `{}`: {}", escape_path(.a), escape_path(.b), escape(.why))]
    Incomparable { a: PathBuf, b: PathBuf, why: String },
    #[error("cannot compare the modes of `{}`: {}", escape_path(.path), escape(.why))]
    Modes { path: PathBuf, why: String },
    #[error("cannot put the recordings together: {}", escape(.why))]
    Together { why: String },
    #[error("cannot report a part of `{}`{}: {error}", escape_path(.path), and_more(*.more))]
    Cut {
        path: PathBuf,
        /// How many other recordings it is put together with.
        more: usize,
        #[source]
        error: CutError,
    },
    #[error("cannot write {}: {}{}", target(.path), reason(.error), way_out(.error))]
    Write {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    /// Has no source: the sources' messages have the paths that this one hides.
    #[error("{}", by_wording(&.0.to_string()))]
    Redacted(Box<CmdError>),
}

impl CmdError {
    /// Turns what went wrong with writing to `path` into an error that names it; `-` is stdout.
    pub(super) fn unwritable<E: Into<io::Error>>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> CmdError {
        let path = path.into();
        move |error| CmdError::Write { path, error: error.into() }
    }

    /// The message: one line, but for those that show a place in what was written.
    pub fn lines(&self) -> Lines {
        let begun = |all: Vec<String>| {
            all.into_iter()
                .enumerate()
                .map(|(at, line)| if at == 0 { format!("error: {line}") } else { line })
                .collect()
        };
        match self {
            CmdError::Scenario(error) => begun(error.lines()),
            CmdError::Config(error) => begun(error.lines()),
            CmdError::Gate(error) => begun(error.lines().to_vec()),
            error => begun(vec![error.to_string()]),
        }
    }

    /// The exit code that goes with it.
    pub fn exit(&self) -> Exit {
        match self {
            CmdError::Scenario(_)
            | CmdError::Config(_)
            | CmdError::Gate(_)
            | CmdError::Explanation(_)
            | CmdError::NotInLog { .. }
            | CmdError::NoProfile { .. }
            | CmdError::SameOutput { .. } => Exit::Usage,
            CmdError::Init(InitError::Write { .. })
            | CmdError::Write { .. }
            | CmdError::CannotRecord { .. }
            | CmdError::RecordingExists { .. } => Exit::CannotWrite,
            CmdError::Start { error, .. } if error.kind() == ErrorKind::NotFound => Exit::NotFound,
            CmdError::Start { .. } => Exit::CannotStart,
            CmdError::Redacted(error) => error.exit(),
            CmdError::Console(error) => error.exit(),
            CmdError::Init(_)
            | CmdError::Run(_)
            | CmdError::Confirm(_)
            | CmdError::Metrics(_)
            | CmdError::StallsMissed { .. }
            | CmdError::OpenFiles { .. }
            | CmdError::Threads { .. }
            | CmdError::Signals(_)
            | CmdError::Wait(_)
            | CmdError::NothingRecorded { .. }
            | CmdError::NothingTold { .. }
            | CmdError::NoFeed(_)
            | CmdError::Obstacle(_)
            | CmdError::NoTask { .. }
            | CmdError::ProgramWithoutCore { .. }
            | CmdError::CoreEvery { .. }
            | CmdError::EveryToFile { .. }
            | CmdError::SlowOfItsOwn { .. }
            | CmdError::Screen(_)
            | CmdError::Folder(_)
            | CmdError::Read { .. }
            | CmdError::NoBaseline { .. }
            | CmdError::NotKept { .. }
            | CmdError::Incomparable { .. }
            | CmdError::Modes { .. }
            | CmdError::Together { .. }
            | CmdError::Cut { .. }
            | CmdError::ReadLog { .. }
            | CmdError::ReportIsUsed { .. } => Exit::Error,
        }
    }

    /// The error without paths. A usage error keeps them: it repeats what was typed, and is useless without.
    pub(super) fn redacted(self) -> CmdError {
        if self.exit() == Exit::Usage { self } else { CmdError::Redacted(Box::new(self)) }
    }
}

fn kept_runs(kept: usize) -> String {
    match kept {
        0 => "none is kept".to_owned(),
        1 => "only `last` is kept".to_owned(),
        kept => format!("`last` to `last~{}` are kept", kept - 1),
    }
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

fn target(path: &Path) -> String {
    if path == Path::new("-") { "to stdout".to_owned() } else { format!("report `{}`", escape_path(path)) }
}

/// What two outputs are, and where both go.
fn both([first, second]: &[String; 2], [one, other]: &[PathBuf; 2]) -> String {
    match [one, other].map(|path| path == Path::new("-")) {
        [true, true] => format!("`{first}` and `{second}` to stdout both: they would be mixed"),
        [true, false] => format!("`{second}` to `{}`: it is stdout, where `{first}` goes", escape_path(other)),
        [false, true] => format!("`{first}` to `{}`: it is stdout, where `{second}` goes", escape_path(one)),
        _ if one == other => format!("`{first}` and `{second}` to `{}` both: one would be lost", escape_path(one)),
        _ => format!(
            "`{first}` to `{}` and `{second}` to `{}`: they are one file, and one would be lost",
            escape_path(one),
            escape_path(other)
        ),
    }
}

/// What to do with a scenario where a recording is read.
fn if_scenario(path: &Path) -> String {
    let name = escape_path(path);
    if BUILTIN.iter().any(|(builtin, _)| Path::new(builtin) == path) {
        format!("; `{name}` is a scenario: make a recording of it with `pollscope run {name} --json FILE`")
    } else if path.extension().is_some_and(|extension| extension == "toml") {
        format!("; if it is a scenario, run it with `pollscope run {name}`")
    } else {
        String::new()
    }
}

/// Why a program cannot be started, and what to do.
fn no_program(program: &OsStr, error: &io::Error) -> String {
    let path = Path::new(program);
    let is_path = program.as_encoded_bytes().contains(&b'/');
    let (why, what) = match error.kind() {
        _ if is_path && path.is_dir() => ("it is a folder".to_owned(), "name a program in it"),
        ErrorKind::NotFound if is_path && path.exists() => {
            ("its interpreter is not there".to_owned(), "its first line names it, or `file` tells it")
        }
        ErrorKind::NotFound if !is_path && path.is_file() => {
            ("it is in no folder of `PATH`".to_owned(), "write `./` before the name of one that is in this folder")
        }
        ErrorKind::NotFound => (reason(error), "name one that is there, or in a folder of `PATH`"),
        ErrorKind::PermissionDenied => (reason(error), "make it executable with `chmod +x`"),
        _ => (reason(error), "name a program that runs on this machine"),
    };
    format!("{why}; {what}")
}

/// What the user can do about a report that cannot be written.
fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "; make its folder first",
        ErrorKind::PermissionDenied => "; write elsewhere, or make its folder writable for this user",
        ErrorKind::StorageFull => "; free some space, or write elsewhere",
        ErrorKind::IsADirectory => "; name a file in it",
        _ if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            "; nobody reads from it: start its reader first"
        }
        ErrorKind::NotADirectory => "; name a file in a folder",
        _ => "; write elsewhere",
    }
}
