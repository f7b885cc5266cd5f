//! `pollscope run`: scenarios, one after the other.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use pollscope_probe::MetricsServer;

use super::baseline::Baseline;
use super::output::{Terminal, refuse_unwritable, refuse_used};
use super::progress::{OnStderr, Said};
use super::{CmdError, signals};
use crate::args::{MergeRequest, Outputs, RunRequest};
use crate::environment::environment;
use crate::exit::Exit;
use crate::export::console;
use crate::export::prometheus::{Current, serve};
use crate::findings::findings;
use crate::limits;
use crate::recording::{Gate, GateVerdict, Recording, Run, ScenarioInfo, Verdict};
use crate::redact::redact;
use crate::run::run_all;
use crate::scenario::{Scenario, builtin, wire};
use crate::shutdown::{Phase, Shutdown};
use crate::stderr::say;

pub(super) fn execute(request: &RunRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    // All of them before the first run: a misspelt name must not cost the time of those before it.
    let scenarios = request.scenarios.iter().map(|name| {
        let (name, text) = builtin::find(name)?;
        wire::parse(&name, &text, &request.overrides)
    });
    let scenarios: Vec<Scenario> = scenarios.collect::<Result<_, _>>().map_err(CmdError::Scenario)?;
    let is_builtin = |name: &str| builtin::BUILTIN.iter().any(|(known, _)| *known == name);
    refuse_used(&request.outputs, request.scenarios.iter().filter(|name| !is_builtin(name)).map(Path::new))?;
    refuse_unwritable(&request.outputs)?;
    let baseline = Baseline::of(request, &scenarios, terminal)?;
    let altered = request.overrides.iter().any(|set| !matches!(set.key(), "modes" | "rounds" | "warmup" | "seed"));
    if altered && !terminal.quiet {
        say("note: the expectations are not judged: the settings are not those that they were written for");
    }
    let session = Session::start(&request.into(), terminal)?;
    let mut exit = Exit::Pass;
    for scenario in &scenarios {
        let (ended, recording) = session.run(scenario, !altered, &request.outputs)?;
        exit = worse(exit, ended);
        exit = worse(exit, baseline.take(&recording, &request.outputs, terminal)?);
        if session.shutdown.phase() != Phase::Run {
            break;
        }
    }
    Ok(session.exit(exit))
}

/// What all runs of one process share.
pub(super) struct Session<'a> {
    shutdown: Shutdown,
    caught: signals::Caught,
    terminal: &'a Terminal,
    console_on: bool,
    said: Said,
    current: Current,
    /// Serves until the session is over.
    metrics: Option<MetricsServer>,
}

/// What a session is to do besides its runs.
pub(super) struct Wanted {
    console: Option<SocketAddr>,
    prometheus: Option<SocketAddr>,
    redact: bool,
    grace: Duration,
}

impl From<&RunRequest> for Wanted {
    fn from(run: &RunRequest) -> Wanted {
        let RunRequest { console, prometheus, grace, ref outputs, .. } = *run;
        Wanted { console, prometheus, redact: outputs.redact, grace }
    }
}

impl From<&MergeRequest> for Wanted {
    fn from(merge: &MergeRequest) -> Wanted {
        let MergeRequest { console, prometheus, grace, ref outputs, .. } = *merge;
        Wanted { console, prometheus, redact: outputs.redact, grace }
    }
}

impl<'a> Session<'a> {
    pub(super) fn start(wanted: &Wanted, terminal: &'a Terminal) -> Result<Session<'a>, CmdError> {
        let &Wanted { console, prometheus, redact, grace } = wanted;
        let current = Current::default();
        let serve = |address| serve(address, current.clone(), redact).map_err(CmdError::Metrics);
        let metrics = prometheus.map(serve).transpose()?;
        if let Some(address) = console {
            console::start(address).map_err(CmdError::Console)?;
        }
        let shutdown = Shutdown::default();
        let caught = signals::catch(&shutdown, grace).map_err(CmdError::Signals)?;
        if let Some(metrics) = metrics.as_ref().filter(|_| !terminal.quiet) {
            say(&format!("metrics on http://{}/metrics", metrics.local_addr()));
        }
        let said = Said::default();
        Ok(Session { shutdown, caught, terminal, console_on: console.is_some(), said, current, metrics })
    }

    /// The exit code after runs that came to `exit`: that of a signal, which must not hide a failure that it did not cause.
    pub(super) fn exit(&self, exit: Exit) -> Exit {
        match (exit, self.shutdown.phase()) {
            // Abandoned, a merge is not confirmed: that is no news.
            (Exit::Error, _) | (Exit::NotConfirmed, Phase::Run | Phase::Drain | Phase::Finish) => exit,
            _ => self.caught.exit().unwrap_or(exit),
        }
    }

    /// Runs a scenario and reports it: whether it went well, and what was reported.
    pub(super) fn run(
        &self,
        scenario: &Scenario,
        judge: bool,
        outputs: &Outputs,
    ) -> Result<(Exit, Recording), CmdError> {
        let settings = &scenario.settings;
        let clients = if self.metrics.is_some() { MetricsServer::MOST_CLIENTS as u64 } else { 0 };
        limits::allow_open_files(limits::open_files(settings), limits::more_open_files(settings) + clients)
            .map_err(|(needed, allowed)| CmdError::OpenFiles { needed, allowed })?;
        let needed = limits::threads(settings);
        limits::try_threads(needed).map_err(|error| CmdError::Threads { needed, error })?;
        let mut observer = OnStderr::new(&scenario.name, settings.rounds, self.terminal.quiet)
            .redacting(outputs.redact)
            .saying(&self.said)
            .showing(&self.current);
        let runs = run_all(settings, &self.shutdown, &mut observer);
        observer.finish();
        let runs = runs.map_err(CmdError::Run)?;
        let expected = if judge { scenario.expect.as_slice() } else { &[] };
        let gates = expected.iter().chain(&outputs.gates).map(|gate| gate.judge(&runs)).collect();
        let recording = Recording {
            environment: environment(self.console_on, self.terminal.typed.clone()),
            scenario: scenario_info(scenario),
            findings: findings(&runs),
            runs,
            gates,
        };
        let recording = if outputs.redact { redact(recording) } else { recording };
        self.caught.reporting(true);
        let reported = self.terminal.report(&recording, outputs);
        self.caught.reporting(false);
        // After the report: a stderr that nobody reads does not keep it back.
        let errors = recording.runs.iter().flat_map(|run| &run.errors).map(|error| format!("error: {error}"));
        let errors: Vec<String> = errors.collect();
        if !errors.is_empty() {
            say(&errors.join("\n"));
        }
        reported?;
        Ok((exit_of(&recording, outputs.strict), recording))
    }
}

/// What a recording says of its scenario.
pub(super) fn scenario_info(scenario: &Scenario) -> ScenarioInfo {
    ScenarioInfo {
        name: scenario.name.clone(),
        why: scenario.why.clone(),
        seed: scenario.settings.seed,
        settings: wire::settings_map(&scenario.settings),
        changed: scenario.changed.clone(),
    }
}

/// How a command ends that has this to report.
pub(super) fn exit_of(recording: &Recording, strict: bool) -> Exit {
    let any = |check: fn(&Run) -> bool| recording.runs.iter().any(check);
    if any(|run| !run.errors.is_empty()) {
        Exit::Error
    } else if any(|run| run.merge.as_ref().is_some_and(|merge| merge.verdict != Verdict::Ok)) {
        Exit::NotConfirmed
    } else {
        gates_exit(&recording.gates, strict)
    }
}

/// How a command ends in which nothing but gates can go wrong.
pub(super) fn gates_exit(gates: &[Gate], strict: bool) -> Exit {
    let is_any = |verdict| gates.iter().any(|gate| gate.verdict == verdict);
    if is_any(GateVerdict::Fail) {
        Exit::GateFailed
    } else if strict && is_any(GateVerdict::Inconclusive) {
        Exit::Inconclusive
    } else {
        Exit::Pass
    }
}

/// The exit code of several scenarios: the gravest kind of failure.
fn worse(a: Exit, b: Exit) -> Exit {
    let grave = |exit| match exit {
        Exit::Error => 4,
        Exit::NotConfirmed => 3,
        Exit::Inconclusive => 1,
        Exit::Pass => 0,
        _ => 2,
    };
    if grave(b) > grave(a) { b } else { a }
}
