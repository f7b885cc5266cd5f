//! `pollscope report`: a saved recording, or an interval log, in any format that it has.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use super::CmdError;
use super::output::{Terminal, refuse_unwritable, refuse_used};
use super::run::exit_of;
use crate::args::{Outputs, ReportRequest};
use crate::escape::escape_path;
use crate::exit::Exit;
use crate::interval_log::{self, IntervalLog, is_log};
use crate::recording::Recording;
use crate::recording::read::{ReadError, read};
use crate::redact::{HIDDEN, redact};
use crate::report::{Format, log};
use crate::stderr::say;

pub(super) fn execute(request: &ReportRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    refuse_used(outputs, [request.file.as_path()])?;
    refuse_unwritable(outputs)?;
    match load_any(&request.file, outputs.redact, terminal)? {
        Loaded::Recording(recording) => report(*recording, outputs, terminal),
        Loaded::Log(log) => report_log(log, request, terminal),
    }
}

fn report(mut recording: Recording, outputs: &Outputs, terminal: &Terminal) -> Result<Exit, CmdError> {
    let gates = outputs.gates.iter().map(|gate| gate.judge(&recording.runs));
    recording.gates.extend(gates);
    let recording = if outputs.redact { redact(recording) } else { recording };
    terminal.report(&recording, outputs)?;
    Ok(exit_of(&recording, outputs.strict))
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
    terminal.write_all(outputs, |format, path, style| match path {
        Some(path) => log::files(&log, format, path, style),
        None => Ok(log::render(&log, format, style)?.into_iter().map(|text| ("-".into(), text)).collect()),
    })?;
    Ok(Exit::Pass)
}

/// What a file may hold.
enum Loaded {
    Recording(Box<Recording>),
    Log(IntervalLog),
}

/// Reads a recording; `redact` hides its path in what is said of it.
pub(super) fn load(path: &Path, redact: bool, terminal: &Terminal) -> Result<Recording, CmdError> {
    match load_any(path, redact, terminal)? {
        Loaded::Recording(recording) => Ok(*recording),
        Loaded::Log(_) => Err(CmdError::Read {
            path: path.to_owned(),
            error: ReadError::Format("it is an interval log, which says nothing but distributions".to_owned()),
        }),
    }
}

/// Reads a recording or an interval log, whichever its beginning says it is, and says on stderr if it is torn.
fn load_any(path: &Path, redact: bool, terminal: &Terminal) -> Result<Loaded, CmdError> {
    let (loaded, torn) = if path == Path::new("-") {
        let mut text = Vec::new();
        let done = io::stdin().read_to_end(&mut text);
        done.map_err(|error| unreadable(path, error))?;
        load_from(Cursor::new(text), path)?
    } else {
        load_from(File::open(path).map_err(|error| unreadable(path, error))?, path)?
    };
    if let Some(torn) = torn.filter(|_| !terminal.quiet) {
        let shown = if redact { HIDDEN.into() } else { escape_path(path) };
        say(&format!("note: `{shown}` ends early: {torn}"));
    }
    Ok(loaded)
}

/// What a file holds, and what of it is shown if it ends early.
fn load_from(file: impl Read + Seek, path: &Path) -> Result<(Loaded, Option<&'static str>), CmdError> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    if is_log(file.fill_buf().map_err(|error| unreadable(path, error))?) {
        let log = interval_log::read(file).map_err(|error| CmdError::ReadLog { path: path.to_owned(), error })?;
        let torn = log.is_torn.then_some("its intervals that are whole are shown");
        return Ok((Loaded::Log(log), torn));
    }
    file.rewind().map_err(|error| unreadable(path, error))?;
    let saved = read(file).map_err(|error| CmdError::Read { path: path.to_owned(), error })?;
    let torn = saved.is_torn.then_some("its runs that are whole are shown, without its gates");
    Ok((Loaded::Recording(Box::new(saved.recording)), torn))
}

fn unreadable(path: &Path, error: io::Error) -> CmdError {
    CmdError::Read { path: path.to_owned(), error: ReadError::Io(error) }
}
