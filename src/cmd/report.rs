//! `pollscope report`: saved recordings, a part of them, or an interval log, in any format that it has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::Loaded;
use super::output::Terminal;
use super::targets::check_reports;
use super::{CmdError, load, outcome};
use crate::args::ReportRequest;
use crate::cut::{self, Span};
use crate::exit::Exit;
use crate::gate;
use crate::interval_log::IntervalLog;
use crate::recording::{Recording, Run};
use crate::redact::{HIDDEN, redact};
use crate::report::{Format, log};
use crate::stderr::say;

pub(super) fn execute(request: &ReportRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    check_reports(outputs, request.files.iter().map(PathBuf::as_path))?;
    let mut sources = Vec::new();
    for path in &request.files {
        sources.extend(load::sources(path)?);
    }
    let [path] = &sources[..] else {
        return report(load::many(&sources, terminal)?, request, terminal);
    };
    match load::any(path, outputs.redact, terminal)? {
        Loaded::Recording(recording) => report(*recording, request, terminal),
        Loaded::Log(log) => report_log(log, path, request, terminal),
    }
}

/// The part that is asked for; says on stderr which that is.
fn part(recording: Recording, request: &ReportRequest, terminal: &Terminal) -> Result<Recording, CmdError> {
    let Some(window) = &request.window else { return Ok(recording) };
    let refused = |error| CmdError::Cut { path: request.files[0].clone(), more: request.files.len() - 1, error };
    let asked = window.span(&recording).map_err(refused)?;
    let part = cut::cut(recording, asked).map_err(refused)?;
    let began = part.runs.iter().filter_map(Run::started).min();
    let ends =
        part.runs.iter().filter_map(|run| Some(run.started()?.saturating_add(Duration::from_nanos(run.elapsed_ns))));
    if let Some((from, to)) = began.zip(ends.max()).filter(|_| !terminal.quiet) {
        say(format!("note: shows what was from {} (UTC)", cut::words(Span { from, to })));
    }
    Ok(part)
}

fn report(recording: Recording, request: &ReportRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    let mut recording = part(recording, request, terminal)?;
    outcome::check_groups(outputs.all_gates(), &recording)?;
    // A gate of the project may have been judged when the recording was made.
    let is_new = |gate: &&gate::Gate| recording.gates.iter().all(|known| known.expr != gate.to_string());
    let gates: Vec<_> = outputs.all_gates().filter(is_new).map(|gate| gate.judge(&recording.runs)).collect();
    recording.gates.extend(gates);
    let recording = if outputs.redact { redact(recording) } else { recording };
    terminal.report(&recording, outputs, saved_as(request).as_deref())?;
    Ok(outcome::of_recording(&recording, outputs.strict))
}

/// What the recording is called on a command line, if it can be read again, all of it is shown, and its path is not hidden.
fn saved_as(request: &ReportRequest) -> Option<String> {
    let is_plain = |path: &&str| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-~".contains(c)) && *path != "-";
    let [file] = &request.files[..] else { return None };
    let is_all = request.window.is_none() && !request.outputs.redact;
    file.to_str().filter(is_plain).filter(|_| is_all).map(str::to_owned)
}

fn report_log(
    mut log: IntervalLog,
    path: &Path,
    request: &ReportRequest,
    terminal: &Terminal,
) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    let mut formats = outputs.files.iter().map(|(format, _)| *format).chain(outputs.stdout);
    let unknown = formats.find(|format| !log::FORMATS.contains(format)).map(Format::as_str);
    let gated = (!outputs.gates.is_empty()).then_some("--fail-on");
    let cut = request.window.map(|_| "a part by time");
    if let Some(asked) = unknown.or(gated).or(cut) {
        return Err(CmdError::NotInLog { path: path.to_owned(), asked });
    }
    if outputs.redact {
        let tags = log.tags.iter_mut().filter_map(|tagged| tagged.tag.as_mut());
        tags.filter(|tag| tag.contains('/')).for_each(|tag| HIDDEN.clone_into(tag));
    }
    terminal.write_all(outputs, |format, path, style| {
        let texts = match path {
            Some(path) => log::files(&log, format, path, style)?,
            None => log::render(&log, format, style)?.into_iter().map(|text| ("-".into(), text)).collect(),
        };
        Ok(texts.into_iter().map(|(path, text)| (path, text.into_bytes())).collect())
    })?;
    Ok(Exit::Pass)
}
