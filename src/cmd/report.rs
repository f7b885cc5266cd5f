//! `pollscope report`: a saved recording, in any format.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use super::CmdError;
use super::output::{Terminal, refuse_unwritable, refuse_used};
use super::run::exit_of;
use crate::args::ReportRequest;
use crate::exit::Exit;
use crate::recording::read::{ReadError, Saved, read};
use crate::redact::redact;
use crate::stderr::say;

pub(super) fn execute(request: &ReportRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let outputs = &request.outputs;
    refuse_used(outputs, [request.file.as_path()])?;
    refuse_unwritable(outputs)?;
    let mut recording = load(&request.file, terminal)?;
    let gates = outputs.gates.iter().map(|gate| gate.judge(&recording.runs));
    recording.gates.extend(gates);
    let recording = if outputs.redact { redact(recording) } else { recording };
    terminal.report(&recording, outputs)?;
    Ok(exit_of(&recording, outputs.strict))
}

/// Reads a recording, and says on stderr if it is torn.
pub(super) fn load(path: &Path, terminal: &Terminal) -> Result<crate::recording::Recording, CmdError> {
    let saved = open(path).map_err(|error| CmdError::Read { path: path.to_owned(), error })?;
    if saved.is_torn && !terminal.quiet {
        let file = crate::escape::escape_path(path);
        say(&format!("note: `{file}` ends early: its runs that are whole are shown, without its gates"));
    }
    Ok(saved.recording)
}

fn open(path: &Path) -> Result<Saved, ReadError> {
    if path == Path::new("-") {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text)?;
        return read(Cursor::new(text));
    }
    read(File::open(path)?)
}
