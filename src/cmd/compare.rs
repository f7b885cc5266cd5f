//! `pollscope compare`: two saved recordings, or the modes of one.

#[cfg(test)]
mod tests;

use super::output::Terminal;
use super::pairing::{Named, compare_pairs, modes_of_one, pairs};
use super::{CmdError, load, outcome};
use crate::args::CompareRequest;
use crate::exit::Exit;
use crate::recording::Recording;
use crate::report::comparison::{Compared, render};

pub(super) fn execute(request: &CompareRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let read = |path| load::recording(path, request.redact, terminal);
    let (a, b) = (read(&request.a)?, request.b.as_deref().map(read).transpose()?);
    let compared = answer(request, &a, b.as_ref())?;
    let text = render(&compared, request.format, &terminal.style());
    terminal.to_stdout(&text.map_err(CmdError::unwritable("-"))?)?;
    Ok(outcome::of_gates(&compared.gates, request.strict))
}

/// What is shown. Pure: the gates judge the second recording, if there is one.
fn answer(request: &CompareRequest, a: &Recording, b: Option<&Recording>) -> Result<Compared, CmdError> {
    let mut compared = match (&request.b, b) {
        (Some(path), Some(b)) => {
            let a = Named { name: "A", path: &request.a, recording: a };
            let b = Named { name: "B", path, recording: b };
            compare_pairs(&a, &b, &pairs(&a, &b, &request.modes)?, request.redact)?
        }
        _ => modes_of_one(a, &request.modes, &request.a)?,
    };
    outcome::check_groups(request.gates.iter(), b.unwrap_or(a))?;
    compared.gates = request.gates.iter().map(|gate| gate.judge(&b.unwrap_or(a).runs)).collect();
    Ok(compared)
}
