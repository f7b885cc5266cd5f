//! Which modes are compared with which, and which recordings cannot be compared. Pure.

use std::path::Path;

use super::CmdError;
use crate::by_group::by_group;
use crate::compare::{Difference, Rounds, Side, compare, differences, environments};
use crate::escape::escape_path;
use crate::recording::{Recording, ScenarioInfo};
use crate::redact::HIDDEN;
use crate::report::comparison::Compared;

/// A recording, and what a comparison calls it.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) path: &'a Path,
    pub(super) recording: &'a Recording,
}

impl Named<'_> {
    fn modes(&self) -> Vec<&str> {
        mode_names(self.recording)
    }

    /// As a comparison introduces it.
    fn heading(&self, redact: bool) -> String {
        if redact { format!("{}: {HIDDEN}", self.name) } else { format!("{}: {}", self.name, self.path.display()) }
    }
}

/// A mode of the first recording, and the mode of the second that it is compared with.
pub(super) type Pair = [String; 2];

fn mode_names(recording: &Recording) -> Vec<&str> {
    by_group(&recording.runs).into_iter().map(|mode| mode.name).collect()
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn refused(paths: [&Path; 2], why: String) -> CmdError {
    CmdError::Incomparable { a: paths[0].to_owned(), b: paths[1].to_owned(), why }
}

/// A recording's modes: each but the first compared with the first.
pub(super) fn modes_of_one(recording: &Recording, chosen: &[String], path: &Path) -> Result<Compared, CmdError> {
    let known = mode_names(recording);
    let refused = |why: String| CmdError::Modes { path: path.to_owned(), why };
    let names: Vec<&str> = if chosen.is_empty() { known.clone() } else { chosen.iter().map(String::as_str).collect() };
    if let Some(missing) = names.iter().find(|name| !known.contains(name)) {
        return Err(refused(format!("it has no mode `{missing}`, but {}", quoted(&known))));
    }
    let [first, others @ ..] = &names[..] else { return Err(refused("it has no runs".to_owned())) };
    if others.is_empty() {
        return Err(refused(format!("it has only the mode `{first}`; name another recording too")));
    }
    let side = |mode: &str| Side::of(recording, mode, mode);
    let each = others
        .iter()
        .map(|other| (String::new(), compare(&side(first), &side(other), Rounds::Interleaved, others.len())));
    Ok(Compared {
        scenario: recording.name().to_owned(),
        sides: Vec::new(),
        comparisons: each.collect(),
        environments: Vec::new(),
        gates: Vec::new(),
    })
}

/// The modes of two recordings that are compared: those of the same name, unless the user chose two.
pub(super) fn pairs(a: &Named, b: &Named, chosen: &[String]) -> Result<Vec<Pair>, CmdError> {
    let (of_a, of_b) = (a.modes(), b.modes());
    let paths = [a.path, b.path];
    let has = |of: &[&str], mode: &str, path: &Path| {
        let why = || format!("`{}` has no mode `{mode}`, but {}", escape_path(path), quoted(of));
        if of.contains(&mode) { Ok(()) } else { Err(refused(paths, why())) }
    };
    if let [first, .., last] | [first @ last] = chosen {
        has(&of_a, first, a.path)?;
        has(&of_b, last, b.path)?;
        return Ok(vec![[first.clone(), last.clone()]]);
    }
    if let Some(pair) = of_one_program(a, b) {
        return Ok(vec![pair]);
    }
    if of_a.iter().any(|mode| !of_b.contains(mode)) || of_b.iter().any(|mode| !of_a.contains(mode)) {
        let why = format!(
            "the first has the modes {}, the second {}; name one of each: `--mode A,B`",
            quoted(&of_a),
            quoted(&of_b)
        );
        return Err(refused(paths, why));
    }
    Ok(of_a.iter().map(|mode| [*mode, *mode].map(str::to_owned)).collect())
}

/// The groups of a service or a process and of another, if each has one: it is a label, and two versions of one bear two.
fn of_one_program(a: &Named, b: &Named) -> Option<Pair> {
    let is_program = |of: &Named| of.recording.scenario.is_none();
    match (&a.modes()[..], &b.modes()[..]) {
        ([only_a], [only_b]) if is_program(a) && is_program(b) => Some([only_a, only_b].map(|name| (*name).to_owned())),
        _ => None,
    }
}

/// The modes that both recordings have.
pub(super) fn pairs_in_common(a: &Named, b: &Named) -> Result<Vec<Pair>, CmdError> {
    if let Some(pair) = of_one_program(a, b) {
        return Ok(vec![pair]);
    }
    let of_a = a.modes();
    let of_both = b.modes().into_iter().filter(|mode| of_a.contains(mode));
    let pairs: Vec<Pair> = of_both.map(|mode| [mode, mode].map(str::to_owned)).collect();
    if pairs.is_empty() {
        let why = "they have no mode in common; pass `--mode` with a mode of the baseline".to_owned();
        return Err(refused([a.path, b.path], why));
    }
    Ok(pairs)
}

/// Compares two recordings in these pairs of modes; `redact` hides their paths.
///
/// # Errors
/// When they answer different questions.
pub(super) fn compare_pairs(a: &Named, b: &Named, pairs: &[Pair], redact: bool) -> Result<Compared, CmdError> {
    same_question(a.recording.scenario.as_ref(), b.recording.scenario.as_ref(), [a.path, b.path])?;
    let each = pairs.iter().map(|[mode_a, mode_b]| {
        let is_one = mode_a == mode_b;
        let name = |of: &Named, mode: &str| if is_one { of.name.to_owned() } else { format!("{} {mode}", of.name) };
        let (of_a, of_b) = (name(a, mode_a), name(b, mode_b));
        let (side_a, side_b) = (Side::of(a.recording, mode_a, of_a), Side::of(b.recording, mode_b, of_b));
        let heading = if is_one { mode_a.clone() } else { String::new() };
        (heading, compare(&side_a, &side_b, Rounds::Apart, pairs.len()))
    });
    Ok(Compared {
        scenario: b.recording.name().to_owned(),
        sides: [a, b].map(|of| of.heading(redact)).to_vec(),
        comparisons: each.collect(),
        environments: environments(a.recording, b.recording),
        gates: Vec::new(),
    })
}

/// Settings of which the values are said, where several differ.
const NAMED: usize = 4;

/// Refuses recordings that answer different questions, and says in what they differ.
pub(super) fn same_question(
    a: Option<&ScenarioInfo>,
    b: Option<&ScenarioInfo>,
    paths: [&Path; 2],
) -> Result<(), CmdError> {
    let differences = differences(a, b);
    if differences.is_empty() {
        return Ok(());
    }
    if let (Some(scenario), None) | (None, Some(scenario)) = (a, b) {
        let why =
            format!("one is of the scenario `{}`, the other of no scenario; compare two of a kind", scenario.name);
        return Err(refused(paths, why));
    }
    // What else differs then is no surprise.
    if let (Some(a), Some(b)) = (a, b)
        && a.name != b.name
    {
        let why =
            format!("one is of the scenario `{}`, the other of `{}`; compare two of one scenario", a.name, b.name);
        return Err(refused(paths, why));
    }
    let shown = |value: &Option<String>| value.as_ref().map_or("unset".to_owned(), |value| format!("`{value}`"));
    let each = |of: &Difference| format!("`{}` is {} and {}", of.key, shown(&of.a), shown(&of.b));
    let (named, more) = differences.split_at(differences.len().min(NAMED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    let named: Vec<String> = named.iter().map(each).collect();
    let why = format!("their settings differ: {}{more}; run both with the same", named.join(", "));
    Err(refused(paths, why))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn scenario(name: &str, settings: &[&str]) -> ScenarioInfo {
        let settings: BTreeMap<_, _> = settings.iter().map(|key| ((*key).to_owned(), name.to_owned())).collect();
        ScenarioInfo { name: name.to_owned(), why: String::new(), seed: 1, settings, changed: Vec::new() }
    }

    #[test]
    fn of_what_differs_so_much_is_said_as_one_can_read() {
        let said = |a: ScenarioInfo, b: ScenarioInfo| {
            same_question(Some(&a), Some(&b), ["a", "b"].map(Path::new)).expect_err("they differ").to_string()
        };
        let keys = ["k1", "k2", "k3", "k4", "k5", "k6"];
        let other = said(scenario("one", &keys), scenario("two", &keys));
        assert!(other.contains("of the scenario `one`, the other of `two`; ") && !other.contains("k1"), "{other}");
        let many = said(scenario("one", &keys), ScenarioInfo { name: "one".to_owned(), ..scenario("two", &keys) });
        assert!(many.contains("`k1` is `one` and `two`, ") && many.contains("`k4` is `one` and `two` and 2 more; "));
    }
}
