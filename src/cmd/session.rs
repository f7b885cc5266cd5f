//! What every command that runs something sets up: signals, progress, limits, metrics and tokio-console.

use pollscope_probe::MetricsServer;

use super::output::Terminal;
use super::progress::{OnStderr, Said};
use super::{CmdError, outcome, signals};
use crate::args::Common;
use crate::environment::environment;
use crate::exit::Exit;
use crate::export::console;
use crate::export::prometheus::{Current, serve};
use crate::findings::findings;
use crate::limits;
use crate::recording::Recording;
use crate::redact::redact;
use crate::run::run_all;
use crate::scenario::{Scenario, Settings};
use crate::shutdown::{Phase, Shutdown};
use crate::stderr::{Lines, say};

/// What all runs of one process share.
pub(super) struct Session<'a> {
    common: &'a Common,
    terminal: &'a Terminal,
    shutdown: Shutdown,
    caught: signals::Caught,
    said: Said,
    current: Current,
    /// Serves until the session is over.
    metrics: Option<MetricsServer>,
}

impl<'a> Session<'a> {
    pub(super) fn start(common: &'a Common, terminal: &'a Terminal) -> Result<Session<'a>, CmdError> {
        let shutdown = Shutdown::default();
        let caught = signals::catch(&shutdown, common.grace).map_err(CmdError::Signals)?;
        let current = Current::default();
        let serve = |address| serve(address, current.clone(), common.outputs.redact).map_err(CmdError::Metrics);
        let metrics = common.prometheus.map(serve).transpose()?;
        if let Some(address) = common.console {
            console::start(address).map_err(CmdError::Console)?;
        }
        if let Some(metrics) = &metrics {
            common.prometheus_hosts.iter().for_each(|host| metrics.allow_host(host));
            if !terminal.quiet {
                say(format!("metrics on http://{}/metrics", metrics.local_addr()));
                metrics.exposure().into_iter().for_each(|who| say(format!("warning: {who}")));
            }
        }
        Ok(Session { common, terminal, shutdown, caught, said: Said::default(), current, metrics })
    }

    /// Whether a signal asked to end.
    pub(super) fn is_ending(&self) -> bool {
        self.shutdown.phase() != Phase::Run
    }

    /// The exit code after runs that came to `exit`.
    pub(super) fn exit(&self, exit: Exit) -> Exit {
        outcome::after_signal(exit, self.shutdown.phase(), self.caught.exit())
    }

    /// Runs a scenario and reports it: how that ended, and what was reported.
    pub(super) fn run(&self, scenario: &Scenario, judge: bool) -> Result<(Exit, Recording), CmdError> {
        let outputs = &self.common.outputs;
        let recording = self.record(scenario, judge)?;
        self.caught.reporting(true);
        let reported = self.terminal.report_new(&recording, outputs);
        self.caught.reporting(false);
        // After the report, which must not wait for a stderr that nobody reads.
        let errors = recording.runs.iter().flat_map(|run| &run.errors).map(|error| format!("error: {error}"));
        let errors: Lines = errors.collect();
        if !errors.is_empty() {
            say(errors);
        }
        reported?;
        Ok((outcome::of_recording(&recording, outputs.strict), recording))
    }

    fn record(&self, scenario: &Scenario, judge: bool) -> Result<Recording, CmdError> {
        let (outputs, settings) = (&self.common.outputs, &scenario.settings);
        self.check_limits(settings)?;
        let mut observer = OnStderr::new(scenario, self.terminal.quiet)
            .redacting(outputs.redact)
            .saying(&self.said)
            .showing(&self.current);
        let runs = run_all(settings, &self.shutdown, &mut observer);
        observer.finish();
        let runs = runs.map_err(CmdError::Run)?;
        let expected = if judge { scenario.expect.as_slice() } else { &[] };
        let gates = expected.iter().chain(outputs.all_gates()).map(|gate| gate.judge(&runs)).collect();
        let recording = Recording {
            environment: environment(self.common.console.is_some(), self.terminal.typed.clone()),
            scenario: Some(outcome::scenario_info(scenario)),
            findings: findings(&runs),
            runs,
            gates,
        };
        Ok(if outputs.redact { redact(recording) } else { recording })
    }

    fn check_limits(&self, settings: &Settings) -> Result<(), CmdError> {
        let clients = if self.metrics.is_some() { MetricsServer::MOST_CLIENTS as u64 } else { 0 };
        limits::allow_open_files(limits::open_files(settings), limits::more_open_files(settings) + clients)
            .map_err(|(needed, allowed)| CmdError::OpenFiles { needed, allowed })?;
        let needed = limits::threads(settings);
        limits::try_threads(needed).map_err(|error| CmdError::Threads { needed, error })
    }
}
