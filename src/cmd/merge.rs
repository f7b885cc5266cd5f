//! `pollscope merge`: the user's files, measured like a scenario.

use std::path::PathBuf;
use std::time::Duration;

use super::output::Terminal;
use super::session::Session;
use super::targets::{check_reports, refuse_profile};
use super::{CmdError, outcome};
use crate::args::MergeRequest;
use crate::exit::Exit;
use crate::pipeline::sink::Existing;
use crate::recording::Run;
use crate::scenario::{
    FilesSettings, Flavor, ResponseSettings, RuntimeSettings, Scenario, Settings, WitnessSettings, Workload,
};
use crate::stderr::{is_terminal, say};

/// How long after its write a line may be before it is synced, with `--sync`.
const SYNC_WITHIN: Duration = Duration::from_secs(1);

pub(super) fn execute(request: &MergeRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let used = request.inputs.iter().chain([&request.output]).map(PathBuf::as_path);
    let scenario = scenario(request);
    outcome::check_gates(request.common.outputs.all_gates(), &scenario.settings)?;
    refuse_profile(&request.common.outputs, "a merge")?;
    check_reports(&request.common.outputs, used)?;
    let session = Session::start(&request.common, terminal)?;
    if request.follow && !terminal.quiet && is_terminal() {
        say("following the inputs; Ctrl-C ends, confirms and reports");
    }
    let (exit, recording) = session.run(&scenario, true)?;
    // What is followed has no other end than a signal: that one came is no failure.
    let is_ended_as_meant = request.follow && !recording.runs.is_empty() && recording.runs.iter().all(is_whole);
    Ok(if is_ended_as_meant { exit } else { session.exit(exit) })
}

/// Whether all that there was to read was read.
fn is_whole(run: &Run) -> bool {
    run.early_end().is_none()
}

fn scenario(request: &MergeRequest) -> Scenario {
    let existing = match (request.force, request.append) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Append,
        _ => Existing::Refuse,
    };
    let files = FilesSettings {
        inputs: request.inputs.clone(),
        output: request.output.clone(),
        existing,
        poll_interval: request.interval,
        batch: request.batch,
        follow: request.follow,
        watch: request.watch,
        max_line: request.max_line,
        tag: request.tag,
        sync_within: request.sync.then_some(SYNC_WITHIN),
    };
    Scenario {
        name: "merge".to_owned(),
        question: "What does merging these files do to the loop?".to_owned(),
        why: "Your own files, merged by the same pipeline and measured by the same instrument as a scenario."
            .to_owned(),
        expect: Vec::new(),
        settings: Settings {
            runtime: RuntimeSettings { flavor: Flavor::CurrentThread, workers: 1 },
            workload: Workload::Files(files),
            modes: vec![request.mode],
            rounds: 1,
            warmup: 0,
            slow_poll: request.slow_poll.unwrap_or(MergeRequest::SLOW_POLL),
            witness: WitnessSettings {
                lag: Some(Duration::from_millis(10)),
                response: Some(ResponseSettings { every: Duration::from_millis(10), connections: 1 }),
            },
            seed: 0,
            sample_every: Duration::from_millis(250),
        },
        changed: Vec::new(),
    }
}
