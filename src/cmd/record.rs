//! `pollscope record`: a program from its start to its end, or a process that runs, for a while; by what its probe tells, or by what is
//! seen of it from outside.

use std::path::Path;

use super::baseline::Baseline;
use super::beside::Beside;
use super::output::Terminal;
use super::over::Over;
use super::place::Place;
use super::program::Program;
use super::targets::check_reports;
use super::{CmdError, attached, copied, outcome};
use crate::args::{RecordRequest, Recorded};
use crate::exit::Exit;
use crate::findings::findings;
use crate::gate::GateError;
use crate::recording::{Ended as RunEnded, Recording, Run, is_of_other_threads, other_threads};
use crate::redact::redact;
use crate::service::Service;
use crate::stderr::say;

pub(super) fn execute(request: &RecordRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    check_gates(request)?;
    check_reports(outputs, program(request))?;
    let baseline = Baseline::of(&request.baseline, outputs, &[None], terminal)?;
    let place = Place::new(request.output.as_deref(), outputs)?;
    let (recording, over) = recorded(request, &place, terminal)?;
    // A signal may end this program while it reports.
    drop(place);
    let mut recording = settled(recording, request, &over, terminal);
    let foreign = judge(&mut recording, request, terminal);
    let recording = if outputs.redact { redact(recording) } else { recording };
    terminal.report_new(&recording, outputs)?;
    let exit = outcome::of_recording(&recording, outputs.strict);
    let exit = outcome::worse(exit, baseline.take(&recording, outputs, terminal)?);
    match foreign {
        Some(error) => Err(CmdError::Gate(error)),
        None if exit == Exit::Pass => Ok(over.exit),
        None => Ok(exit),
    }
}

/// A program's file, which no report may replace. One that is found by `PATH` is not here.
fn program(request: &RecordRequest) -> Option<&Path> {
    let Recorded::Program(words) = &request.of else { return None };
    words.first().map(Path::new).filter(|program| program.components().count() > 1)
}

/// What was recorded to that place, and how it ended.
fn recorded(request: &RecordRequest, place: &Place, terminal: &Terminal) -> Result<(Recording, Over), CmdError> {
    match &request.of {
        Recorded::Program(words) => {
            let mut program = Program::start(words, request, place.path(), terminal)?;
            let beside = Beside::start(program.pid(), program.name(), request, place.path(), terminal)?;
            let ended = program.wait()?;
            let looked = beside.finish()?;
            let recording = place.recording(terminal)?.ok_or_else(|| CmdError::NothingRecorded {
                program: program.name().to_owned(),
                how: ended.words(),
                besides: looked.why_not(),
            })?;
            let note = ended.cut_short().map(|why| format!("the program was {why}: what was written by then is shown"));
            Ok((recording, Over { pid: Some(ended.pid()), told: ended.told(), note, exit: ended.exit() }))
        }
        Recorded::Process(pid) => {
            let over = process(*pid, request, place, terminal)?;
            let recording = place.recording(terminal)?.ok_or(CmdError::NothingTold { pid: *pid })?;
            Ok((recording, over))
        }
    }
}

/// What a process tells of itself, or what is seen of it.
fn process(pid: u32, request: &RecordRequest, place: &Place, terminal: &Terminal) -> Result<Over, CmdError> {
    let service = Service::find(pid).map_err(CmdError::NoFeed)?;
    if request.outside.always || service.sockets().map_err(CmdError::NoFeed)?.is_empty() {
        return attached::record(pid, request, place.path(), terminal);
    }
    if request.slow.is_some() {
        return Err(CmdError::SlowOfItsOwn { pid });
    }
    copied::record(&service, request.lasts, place.path(), terminal)
}

/// What no recording of a service has, and what it is called if that was said, shows beforehand. A project's gates are for its other
/// recordings too.
fn check_gates(request: &RecordRequest) -> Result<(), CmdError> {
    let why_unknown = |metric: &str| match metric {
        "lag" | "lag_raw" => {
            Some("no timer of pollscope's is on the program's loop; `schedule_latency` is what tasks waited")
        }
        "response_time" => Some("no client of pollscope's asks the program"),
        "throughput" | "write_latency" => Some("nothing is merged"),
        name if name.starts_with("merge.") => Some("nothing is merged"),
        _ => None,
    };
    let gates = &request.outputs.gates;
    gates.iter().try_for_each(|gate| gate.check_known(why_unknown)).map_err(CmdError::Gate)?;
    let Some(label) = &request.label else { return Ok(()) };
    gates.iter().try_for_each(|gate| gate.check_groups(&[label])).map_err(CmdError::Gate)
}

/// A recording with what is known of it here, and not in the program: how that ended, and what to call it.
fn settled(mut recording: Recording, request: &RecordRequest, over: &Over, terminal: &Terminal) -> Recording {
    recording.environment.command.clone_from(&terminal.typed);
    for run in &mut recording.runs {
        if run.ended == RunEnded::Torn && is_of(run, over) {
            (run.ended, run.ended_why) = over.told.clone();
        }
        if let Some(label) = &request.label {
            run.group = if is_of_other_threads(&run.group) { other_threads(label) } else { label.clone() };
        }
    }
    recording.findings = findings(&recording.runs);
    if let Some(note) = over.note.as_ref().filter(|_| !terminal.quiet) {
        say(format!("note: {note}"));
    }
    recording
}

/// Whether a run is of the process that ended so; one without a number hides it.
fn is_of(run: &Run, over: &Over) -> bool {
    let Some(target) = run.subject.target() else { return false };
    target.pid.is_none_or(|pid| over.pid.is_none_or(|over| over == pid))
}

/// Judges the gates that speak of what was recorded; the error of the first typed one that does not.
fn judge(recording: &mut Recording, request: &RecordRequest, terminal: &Terminal) -> Option<GateError> {
    let groups: Vec<String> = recording.runs.iter().map(|run| run.group.clone()).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut foreign = None;
    for gate in request.outputs.all_gates() {
        match gate.check_groups(&groups) {
            Ok(()) => recording.gates.push(gate.judge(&recording.runs)),
            Err(error) if request.outputs.gates.contains(gate) => foreign = foreign.or(Some(error)),
            Err(_) if terminal.quiet => {}
            Err(_) => {
                say(format!("note: the project's gate `{gate}` is not judged: nothing recorded here has that name"))
            }
        }
    }
    foreign
}
