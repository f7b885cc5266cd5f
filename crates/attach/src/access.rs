//! What can be seen of a process from outside: found out beforehand, and tried where only that tells.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use pollscope_base::CaptureNote;
use pollscope_stacks::maps::Maps;
use pollscope_stacks::perf::{Breakpoint, CpuSampler, Hindrance, PerfError, Wanted, paranoid_level};
use pollscope_stacks::process::Process;
use pollscope_stacks::symbolize::DebugInfo;

use crate::obstacle::Obstacle;
use crate::status::{self, Asker, Status, comm};
use crate::target::Target;
use crate::tokio;

/// Perf events are tried on so many threads.
const MOST_TRIED: usize = 8;
/// As often as threads are sampled by default.
const PERIOD: Duration = Duration::from_millis(10);

/// What can be seen of a process, and what is in the way.
///
/// ```
/// use pollscope_attach::{Access, Obstacle};
/// let access = Access::of(u32::MAX, &[]);
/// assert!(matches!(access.program, Err(Obstacle::NoProcess { .. } | Obstacle::Unsupported)));
/// assert_eq!((access.name, access.status), (None, None));
/// ```
#[derive(Debug, Clone)]
pub struct Access {
    /// The number that was asked for.
    pub pid: u32,
    /// The name of its program, or what the kernel calls it; `None` where nothing is told of it.
    pub name: Option<String>,
    /// What is told of it whoever asks; `None` where nothing is.
    pub status: Option<Status>,
    /// Who asks; `None` where that cannot be read.
    pub by: Option<Asker>,
    /// `kernel.yama.ptrace_scope`; `None` without Yama.
    pub yama: Option<u8>,
    /// Whether its own user may look at it as far as it is concerned; `None` where that is not known.
    pub is_dumpable: Option<bool>,
    /// `kernel.perf_event_paranoid`; `None` where there are no perf events.
    pub paranoid: Option<i32>,
    /// Whether its program has the probe, and can be told to record itself; `None` where its file cannot be read.
    pub has_probe: Option<bool>,
    /// What is known of its program, or why it cannot be looked at.
    pub program: Result<Program, Obstacle>,
}

/// A program that can be looked at.
#[derive(Debug, Clone)]
pub struct Program {
    /// The version of Tokio that its messages name; `None` where none does.
    pub tokio: Option<String>,
    /// What its code can be named from; `None` where that could not be found out.
    pub names: Option<DebugInfo>,
    /// What it lacks for names and lines; `None` where nothing is missing.
    pub lacks: Option<CaptureNote>,
    /// Its build-id in hexadecimal digits; `None` if it has none.
    pub build_id: Option<String>,
    /// What may be in the way of seeing all that there is, each a sentence.
    pub notes: Vec<String>,
    /// Which perf events can be had of it.
    pub events: Events,
}

/// Perf events that were tried on the threads of a process, and given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// On how many of them.
    pub threads: usize,
    /// Whether what runs can be sampled; why not, of the first thread of which it cannot.
    pub samples: Result<(), Hindrance>,
    /// Whether it can be seen when a poll ends; why not, of the first thread of which it cannot.
    pub breakpoints: Result<(), Hindrance>,
}

impl Access {
    /// Looks at a process. `symbols`: as for [`Target::open`].
    pub fn of(pid: u32, symbols: &[PathBuf]) -> Access {
        let status = Status::of(pid);
        let target = Target::open(pid, symbols);
        Access {
            pid,
            name: target.as_ref().map_or_else(|_| comm(pid), |target| Some(target.name().to_owned())),
            status,
            by: Asker::here(),
            yama: status::yama(),
            is_dumpable: status.and_then(|status| status::is_dumpable(pid, &status)),
            paranoid: paranoid_level(),
            has_probe: tokio::probe(pid),
            program: target.map(|mut target| program(&mut target)),
        }
    }
}

fn program(target: &mut Target) -> Program {
    let (names, lacks) = target.names().unzip();
    Program {
        tokio: target.tokio().map(str::to_owned),
        names,
        lacks: lacks.flatten(),
        build_id: target.build_id().map(str::to_owned),
        notes: target.notes(),
        events: events(&target.process()),
    }
}

/// Tries both kinds on its threads. Nothing of it is stopped, and a breakpoint that is not armed does nothing.
fn events(process: &Process) -> Events {
    let tasks = fs::read_dir(format!("/proc/{}/task", process.pid()));
    let tids = tasks.into_iter().flatten().flatten().filter_map(|task| task.file_name().to_str()?.parse().ok());
    let address = Maps::read(process).ok().and_then(|maps| maps.all().first().map(|mapping| mapping.start));
    let mut events = Events { threads: 0, samples: Ok(()), breakpoints: Ok(()) };
    for tid in tids.take(MOST_TRIED) {
        let thread = process.thread(tid);
        let samples = CpuSampler::open(&thread, PERIOD).map(drop);
        let no_code = PerfError { tid, wanted: Wanted::Breakpoint, why: Hindrance::NotCode };
        let breakpoint = address.map_or(Err(no_code), |address| Breakpoint::open(&thread, address).map(drop));
        let has_ended =
            [samples, breakpoint].iter().any(|tried| tried.is_err_and(|error| error.why == Hindrance::NoThread));
        if has_ended {
            continue;
        }
        events.threads += 1;
        let why = |tried: Result<(), PerfError>| tried.map_err(|error| error.why);
        events.samples = events.samples.and(why(samples));
        events.breakpoints = events.breakpoints.and(why(breakpoint));
    }
    events
}
