//! `pollscope report`: a saved recording, or an interval log, in any format that it has.

use super::load::Loaded;
use super::output::Terminal;
use super::targets::check_reports;
use super::{CmdError, load, outcome};
use crate::args::ReportRequest;
use crate::exit::Exit;
use crate::gate;
use crate::interval_log::IntervalLog;
use crate::recording::Recording;
use crate::redact::{HIDDEN, redact};
use crate::report::{Format, log};

pub(super) fn execute(request: &ReportRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    check_reports(outputs, [request.file.as_path()])?;
    match load::any(&request.file, outputs.redact, terminal)? {
        Loaded::Recording(recording) => report(*recording, request, terminal),
        Loaded::Log(log) => report_log(log, request, terminal),
    }
}

fn report(mut recording: Recording, request: &ReportRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    outcome::check_groups(outputs.all_gates(), &recording)?;
    // A gate of the project may have been judged when the recording was made.
    let is_new = |gate: &&gate::Gate| recording.gates.iter().all(|known| known.expr != gate.to_string());
    let gates: Vec<_> = outputs.all_gates().filter(is_new).map(|gate| gate.judge(&recording.runs)).collect();
    recording.gates.extend(gates);
    let recording = if outputs.redact { redact(recording) } else { recording };
    terminal.report(&recording, outputs, saved_as(request).as_deref())?;
    Ok(outcome::of_recording(&recording, outputs.strict))
}

/// What the recording is called on a command line, if it can be read again and its path is not hidden.
fn saved_as(request: &ReportRequest) -> Option<String> {
    let is_plain = |path: &&str| path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-~".contains(c)) && *path != "-";
    request.file.to_str().filter(is_plain).filter(|_| !request.outputs.redact).map(str::to_owned)
}

fn report_log(mut log: IntervalLog, request: &ReportRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    let mut formats = outputs.files.iter().map(|(format, _)| *format).chain(outputs.stdout);
    let unknown = formats.find(|format| !log::FORMATS.contains(format)).map(Format::as_str);
    if let Some(asked) = unknown.or((!outputs.gates.is_empty()).then_some("--fail-on")) {
        return Err(CmdError::NotInLog { path: request.file.clone(), asked });
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
