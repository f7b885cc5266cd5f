//! `pollscope compare`: two saved recordings, or the modes of one.

#[cfg(test)]
mod tests;

use std::path::Path;

use super::CmdError;
use super::output::Terminal;
use super::report::load;
use super::run::gates_exit;
use crate::args::CompareRequest;
use crate::compare::{Comparison, Rounds, Side, compare, differences, environments};
use crate::escape::escape_path;
use crate::exit::Exit;
use crate::pooled::pool;
use crate::recording::{Recording, ScenarioInfo};
use crate::redact::HIDDEN;
use crate::report::comparison::{Compared, render};

pub(super) fn execute(request: &CompareRequest, terminal: &Terminal) -> Result<Exit, CmdError> {
    let read = |path| load(path, request.redact, terminal);
    let (a, b) = (read(&request.a)?, request.b.as_deref().map(read).transpose()?);
    let compared = answer(request, &a, b.as_ref())?;
    let text = render(&compared, request.format, &terminal.style());
    let dash = Path::new("-");
    let text = text.map_err(|error| CmdError::Write { path: dash.to_owned(), error: error.into() })?;
    terminal.write(dash, &text)?;
    Ok(gates_exit(&compared.gates, request.strict))
}

/// What is shown. Pure: what is judged is the recording that is new.
fn answer(request: &CompareRequest, a: &Recording, b: Option<&Recording>) -> Result<Compared, CmdError> {
    let mut compared = match (&request.b, b) {
        (Some(path), Some(b)) => {
            let names = [request.a.as_path(), path];
            let pairs = pairs(a, b, &request.modes, names)?;
            recordings(a, b, &pairs, ["A", "B"], names)?
        }
        _ => modes_of_one(a, &request.modes, &request.a)?,
    };
    compared.gates = request.gates.iter().map(|gate| gate.judge(&b.unwrap_or(a).runs)).collect();
    if request.redact {
        compared.sides = hidden(&compared.sides);
    }
    Ok(compared)
}

/// What the sides are, without paths.
pub(super) fn hidden(sides: &[String]) -> Vec<String> {
    sides.iter().filter_map(|side| Some(format!("{}: {HIDDEN}", side.split_once(": ")?.0))).collect()
}

/// Why two sides cannot be compared.
fn refused(names: [&Path; 2], why: String) -> CmdError {
    CmdError::Incomparable { a: names[0].to_owned(), b: names[1].to_owned(), why }
}

fn mode_names(recording: &Recording) -> Vec<&str> {
    pool(&recording.runs).into_iter().map(|mode| mode.name).collect()
}

/// A recording's modes, each but the first compared with the first.
fn modes_of_one(recording: &Recording, chosen: &[String], path: &Path) -> Result<Compared, CmdError> {
    let known = mode_names(recording);
    let why = |what: String| CmdError::Modes { path: path.to_owned(), why: what };
    let names: Vec<&str> = if chosen.is_empty() { known.clone() } else { chosen.iter().map(String::as_str).collect() };
    if let Some(missing) = names.iter().find(|name| !known.contains(name)) {
        return Err(why(format!("it has no mode `{missing}`, but {}", quoted(&known))));
    }
    let [first, others @ ..] = &names[..] else { return Err(why("it has no runs".to_owned())) };
    if others.is_empty() {
        return Err(why(format!("it has only the mode `{first}`; name another recording too")));
    }
    let side = |mode: &str| Side::of(recording, mode, mode);
    let each = others
        .iter()
        .map(|other| (String::new(), compare(&side(first), &side(other), Rounds::Interleaved, others.len())));
    Ok(Compared {
        scenario: recording.scenario.name.clone(),
        sides: Vec::new(),
        comparisons: each.collect(),
        environments: Vec::new(),
        gates: Vec::new(),
    })
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Which mode of the one is compared with which of the other: those of the same name, unless two were chosen.
fn pairs(a: &Recording, b: &Recording, chosen: &[String], names: [&Path; 2]) -> Result<Vec<[String; 2]>, CmdError> {
    let (of_a, of_b) = (mode_names(a), mode_names(b));
    let has = |of: &[&str], mode: &str, path: &Path| {
        let why = || format!("`{}` has no mode `{mode}`, but {}", escape_path(path), quoted(of));
        if of.contains(&mode) { Ok(()) } else { Err(refused(names, why())) }
    };
    if let [first, .., last] | [first @ last] = chosen {
        has(&of_a, first, names[0])?;
        has(&of_b, last, names[1])?;
        return Ok(vec![[first.clone(), last.clone()]]);
    }
    if of_a.iter().any(|mode| !of_b.contains(mode)) || of_b.iter().any(|mode| !of_a.contains(mode)) {
        let why = format!(
            "the one has the modes {}, the other {}; name one of each: `--mode A,B`",
            quoted(&of_a),
            quoted(&of_b)
        );
        return Err(refused(names, why));
    }
    Ok(of_a.iter().map(|mode| [*mode, *mode].map(str::to_owned)).collect())
}

/// Two recordings, compared in these pairs of modes.
///
/// # Errors
/// When they are answers to different questions.
pub(super) fn recordings(
    a: &Recording,
    b: &Recording,
    pairs: &[[String; 2]],
    called: [&str; 2],
    paths: [&Path; 2],
) -> Result<Compared, CmdError> {
    same_question(&a.scenario, &b.scenario, paths)?;
    let each = pairs.iter().map(|[mode_a, mode_b]| {
        let is_one = mode_a == mode_b;
        let name = |name: &str, mode: &str| if is_one { name.to_owned() } else { format!("{name} {mode}") };
        let (a, b) = (Side::of(a, mode_a, name(called[0], mode_a)), Side::of(b, mode_b, name(called[1], mode_b)));
        let heading = if is_one { mode_a.clone() } else { String::new() };
        (heading, compare(&a, &b, Rounds::Apart, pairs.len()))
    });
    let sides = called.iter().zip(paths).map(|(name, path)| format!("{name}: {}", path.display()));
    Ok(Compared {
        scenario: b.scenario.name.clone(),
        sides: sides.collect(),
        comparisons: each.collect::<Vec<(String, Comparison)>>(),
        environments: environments(a, b),
        gates: Vec::new(),
    })
}

/// Refuses recordings that answer different questions, and says in what they differ.
pub(super) fn same_question(a: &ScenarioInfo, b: &ScenarioInfo, paths: [&Path; 2]) -> Result<(), CmdError> {
    let differences = differences(a, b);
    if differences.is_empty() {
        return Ok(());
    }
    let shown = |value: &Option<String>| value.as_ref().map_or("unset".to_owned(), |value| format!("`{value}`"));
    let each: Vec<String> =
        differences.iter().map(|of| format!("`{}` is {} and {}", of.key, shown(&of.a), shown(&of.b))).collect();
    let why = format!("their settings differ: {}; run both with the same", each.join(", "));
    Err(refused(paths, why))
}
