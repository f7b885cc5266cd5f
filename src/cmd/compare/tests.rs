//! How often a comparison is right, from recordings as they are read to what is shown: made-up rounds with the noise of real ones.

use std::io::Cursor;
use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::compare::synthetic::Machine;
use crate::compare::{Comparison, Note, Overall};
use crate::fixture;
use crate::recording::{Run, Subject, Target, wire};
use crate::report::Style;
use crate::report::comparison::Format;

const BOTH: [&str; 2] = ["naive", "offloaded"];
const ROUNDS: u32 = 5;

fn made(runs: Vec<Run>) -> Recording {
    Recording { runs, findings: Vec::new(), gates: Vec::new(), ..fixture::recording_of(Vec::new()) }
}

/// What a file of these runs says.
fn saved(runs: Vec<Run>) -> Recording {
    let json = wire::to_json(&made(runs)).expect("JSON");
    let saved = crate::saved::read(Cursor::new(json)).expect("a recording");
    assert!(!saved.is_torn);
    saved.recording
}

fn compared(a: Recording, b: Option<Recording>, modes: &[&str]) -> Compared {
    let request = CompareRequest {
        a: PathBuf::from("a"),
        b: b.is_some().then(|| PathBuf::from("b")),
        modes: modes.iter().map(|mode| (*mode).to_owned()).collect(),
        format: Format::Json,
        gates: Vec::new(),
        strict: false,
        redact: false,
    };
    answer(&request, &a, b.as_ref()).unwrap_or_else(|error| panic!("{error}"))
}

/// The verdict on each comparison, as other tools read it.
fn verdicts(compared: &Compared) -> Vec<String> {
    let json = render(compared, Format::Json, &Style { width: 100, color: false, unicode: true }).expect("JSON");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let each = json["comparisons"].as_array().expect("a list").iter();
    each.map(|comparison| comparison["verdict"].as_str().expect("a word").to_owned()).collect()
}

/// How runs become a recording.
type Kept = fn(Vec<Run>) -> Recording;

/// Of 100 machines. Every tenth's recordings go through files, which takes far longer and changes nothing.
fn of_100<T>(make: impl Fn(Machine, Kept) -> T) -> Vec<T> {
    (0..100).map(|seed| make(Machine::new(seed), if seed % 10 == 0 { saved } else { made })).collect()
}

/// How many comparisons give this verdict and no other.
fn how_many<'c>(verdict: &str, all: impl Iterator<Item = &'c Compared>) -> usize {
    all.filter(|compared| verdicts(compared).iter().all(|each| each == verdict)).count()
}

/// How many have such a note.
fn noted(all: &[Compared], is: fn(&Note) -> bool) -> usize {
    let has = |compared: &&Compared| compared.comparisons.iter().any(|(_, of)| of.notes.iter().any(is));
    all.iter().filter(has).count()
}

#[test]
fn one_mode_does_not_differ_from_itself_and_two_do_in_the_right_direction() {
    let all = of_100(|mut machine, kept| {
        let [a, b] = [(); 2].map(|()| kept(machine.rounds(&BOTH, ROUNDS)));
        let (of_a, b) = (|modes: &[&str]| compared(a.clone(), None, modes), Some(b));
        [of_a(&[]), of_a(&["offloaded", "naive"]), compared(a.clone(), b.clone(), &BOTH), compared(a.clone(), b, &[])]
    });
    let [better, worse, of_two] = [(0, "better"), (1, "worse"), (2, "better")]
        .map(|(which, verdict)| how_many(verdict, all.iter().map(|four| &four[which])));
    assert_eq!((better, worse, of_two), (100, 100, 100), "naive and offloaded; offloaded and naive; of two recordings");
    let same = |mode: &str| {
        let is_same =
            |(of, comparison): &(String, Comparison)| of == mode && comparison.verdict() == Overall::NoDifference;
        all.iter().filter(|four| four[3].comparisons.iter().any(is_same)).count()
    };
    let both = how_many("no difference", all.iter().map(|four| &four[3]));
    println!(
        "no difference of naive in {}, of offloaded in {}, in both in {both} of 100",
        same("naive"),
        same("offloaded")
    );
    assert!(same("naive") >= 95 && same("offloaded") >= 95, "{} and {}", same("naive"), same("offloaded"));
}

/// A machine that gets hotter must not make two of one mode; where nothing can be done about it, it is said.
#[test]
fn a_machine_that_slows_down_is_named_and_fools_no_interleaved_rounds() {
    let interleaved = of_100(|machine, kept| {
        let mut runs = machine.heating_up(0.05).rounds(&["naive", "naive"], 10);
        runs.iter_mut().skip(1).step_by(2).for_each(|run| "again".clone_into(&mut run.group));
        compared(kept(runs), None, &[])
    });
    let same = how_many("no difference", interleaved.iter());
    let named = noted(&interleaved, |note| matches!(note, Note::Trend(..)));
    println!("interleaved: no difference in {same}, the drift named in {named} of 100");
    assert!(same >= 95 && named >= 95, "no difference in {same}, named in {named} of 100");

    let apart = of_100(|machine, kept| {
        let mut machine = machine.heating_up(0.05);
        let [a, b] = [(); 2].map(|()| kept(machine.rounds(&["naive"], ROUNDS)));
        compared(a, Some(b), &[])
    });
    let worse = how_many("worse", apart.iter());
    let warned = noted(&apart, |note| matches!(note, Note::Apart));
    println!("apart: worse in {worse}, warned of in {warned} of 100");
    assert!(worse > 0 && warned >= worse, "worse in {worse}, warned of in {warned} of 100");
}

/// A first round with cold caches is named, and after a warm-up round there is nothing to name.
#[test]
fn a_cold_first_round_is_named() {
    let is_cold = |note: &Note| matches!(note, Note::FirstRound(..));
    let cold = of_100(|machine, kept| compared(kept(machine.cold_at_first(3.0).rounds(&BOTH, ROUNDS)), None, &[]));
    let warmed_up = of_100(|machine, kept| {
        let mut machine = machine.cold_at_first(3.0);
        machine.rounds(&BOTH, 1);
        compared(kept(machine.rounds(&BOTH, ROUNDS)), None, &[])
    });
    let (named, falsely) = (noted(&cold, is_cold), noted(&warmed_up, is_cold));
    println!("a cold first round is named in {named} of 100, one that is not in {falsely}");
    assert!(named >= 95 && falsely <= 10, "named in {named} of 100, falsely in {falsely}");
}

/// A service with one label.
fn service(label: &str) -> Recording {
    let target = Target { name: "api".to_owned(), ..Target::default() };
    let run = Run { group: label.to_owned(), subject: Subject::Service(target), ..fixture::run(label) };
    Recording { scenario: None, ..made(vec![run]) }
}

#[test]
fn two_versions_of_a_service_are_compared_and_a_service_with_no_scenario() {
    let both = compared(service("v1"), Some(service("v2")), &[]);
    assert_eq!((both.scenario.as_str(), both.comparisons.len()), ("api", 1));
    assert_eq!((&both.comparisons[0].1.a, &both.comparisons[0].1.b), (&"A v1".to_owned(), &"B v2".to_owned()));
    let request = CompareRequest {
        a: PathBuf::from("a"),
        b: Some(PathBuf::from("b")),
        modes: Vec::new(),
        format: Format::Json,
        gates: Vec::new(),
        strict: false,
        redact: false,
    };
    let scenario = made(vec![fixture::run("v1")]);
    let error = answer(&request, &service("v1"), Some(&scenario)).unwrap_err().to_string();
    assert!(error.contains("one is of the scenario `merge`, the other of no scenario"), "{error}");
}
