//! Several recordings as one: those of a fleet, or of one service day by day.
//!
//! Its runs are theirs, in the order in which they began; reports put those of a label together, whatever machine they are of. Findings
//! are made again, of all runs; gates that were judged were judged of one recording alone, and are left out.

use std::collections::HashSet;
use std::time::Duration;

use crate::findings::findings;
use crate::recording::read::{MOST_GROUPS, check};
use crate::recording::{Environment, Recording, Run, Subject};
use crate::units::plural;

/// Makes one of several. A run that is in more than one of them, as when a file and its folder are given, is taken once.
///
/// # Errors
/// Why they cannot be one, in words that go on from "cannot put them together: ".
///
/// ```
/// use pollscope_record::together::together;
/// # use pollscope_record::recording::wire;
/// # let json = include_bytes!("../tests/fixtures/schema-2/process.json");
/// # let recording = || wire::from_json(&json[..]).unwrap();
/// let both = together(vec![recording(), recording()]).unwrap();
/// assert_eq!(both.runs.len(), 1, "it is the same run");
/// assert!(together(Vec::new()).is_err());
/// ```
pub fn together(mut recordings: Vec<Recording>) -> Result<Recording, String> {
    if recordings.len() <= 1 {
        return recordings.pop().ok_or_else(|| "there is none".to_owned());
    }
    let scenarios = || recordings.iter().map(|recording| recording.scenario.as_ref());
    let scenario = scenarios().next().flatten().cloned();
    let is_other = |of: Option<&crate::recording::ScenarioInfo>| {
        of.map(|of| (&of.name, &of.settings)) != scenario.as_ref().map(|of| (&of.name, &of.settings))
    };
    if scenarios().any(is_other) {
        return Err(
            "they are of different scenarios, or of a scenario and a service; `pollscope compare` takes two".to_owned()
        );
    }
    let mut environment = environment(recordings.iter().map(|recording| &recording.environment));
    let mut known = HashSet::new();
    let mut runs: Vec<Run> = Vec::new();
    let mut twice = 0;
    for recording in recordings {
        for run in recording.runs {
            if known.insert(identity(&run)) { runs.push(run) } else { twice += 1 }
        }
    }
    // Those that do not say when come last, in the order in which they were given.
    runs.sort_by_key(|run| run.started().unwrap_or(Duration::MAX));
    if let Some(first) = runs.first_mut().filter(|_| twice > 0) {
        let was = if twice == 1 { "was" } else { "were" };
        first.coverage.missing.push(format!("{} {was} given more than once, and taken once", plural(twice, "run")));
    }
    let groups: HashSet<&str> = runs.iter().map(|run| run.group.as_str()).collect();
    if groups.len() > MOST_GROUPS {
        return Err(format!(
            "they have {} labels, and a report takes {MOST_GROUPS}; name the recordings of fewer services",
            groups.len()
        ));
    }
    environment.command.clear();
    let together = Recording { environment, scenario, findings: findings(&runs), runs, gates: Vec::new() };
    check(&together).map_err(str::to_owned)?;
    Ok(together)
}

impl Recording {
    /// Which runs ended early, and why: those of which both is said with the same words once, with how many they are.
    pub(crate) fn early_ends(&self) -> Vec<(String, &str)> {
        let mut ends: Vec<(String, &str, u64)> = Vec::new();
        for (label, why) in self.runs.iter().filter_map(|run| Some((run.label(), run.early_end()?))) {
            match ends.iter_mut().find(|(of, known, _)| *of == label && *known == why) {
                Some((.., count)) => *count += 1,
                None => ends.push((label, why, 1)),
            }
        }
        let who = |label: String, count| if count == 1 { label } else { format!("{label}, {}", plural(count, "run")) };
        ends.into_iter().map(|(label, why, count)| (who(label, count), why)).collect()
    }
}

/// What tells a run from all others: what it is of, and when it began.
fn identity(run: &Run) -> (String, String, String) {
    let subject = match &run.subject {
        Subject::Scenario(of) => format!("{} {}", of.mode, of.round),
        Subject::Service(of) | Subject::Process(of) => format!("{} {:?} {:?}", of.name, of.pid, of.build_id),
    };
    // Two machines can begin a run of the same name and number in the same millisecond; not with the same polls.
    let seen = format!("{} {} {:?} {}", run.started_at, run.elapsed_ns, run.loop_busy_ns, run.slow_polls_total);
    (run.group.clone(), subject, seen)
}

/// What all of them say; of texts, each that one of them says.
fn environment<'a>(all: impl Iterator<Item = &'a Environment> + Clone) -> Environment {
    fn same<'a, T: PartialEq + Clone + 'a>(mut all: impl Iterator<Item = &'a Option<T>>) -> Option<T> {
        let first = all.next()?.clone()?;
        all.all(|other| other.as_ref() == Some(&first)).then_some(first)
    }
    fn each<'a>(all: impl Iterator<Item = &'a String>) -> String {
        let mut each: Vec<&str> = all.map(String::as_str).collect();
        each.sort_unstable();
        each.dedup();
        each.join(", ")
    }
    Environment {
        pollscope: each(all.clone().map(|of| &of.pollscope)),
        tokio: same(all.clone().map(|of| &of.tokio)),
        os: each(all.clone().map(|of| &of.os)),
        kernel: same(all.clone().map(|of| &of.kernel)),
        cpus: same(all.clone().map(|of| &of.cpus)),
        clock: each(all.clone().map(|of| &of.clock)),
        tokio_unstable: same(all.clone().map(|of| &of.tokio_unstable)),
        console_compiled: same(all.clone().map(|of| &of.console_compiled)),
        console_on: same(all.map(|of| &of.console_on)),
        command: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, MS};
    use crate::recording::{Target, wire};

    fn of_service(label: &str, pid: u64, started_at: &str) -> Recording {
        let target = Target { name: "api".into(), pid: Some(pid), ..Target::default() };
        let mut run = fixture::blocked("naive", &[200 * MS]);
        (run.group, run.subject, run.merge) = (label.to_owned(), Subject::Service(target), None);
        run.started_at = started_at.to_owned();
        Recording { scenario: None, gates: Vec::new(), ..fixture::recording_of(vec![run]) }
    }

    #[test]
    fn runs_are_in_their_order_and_findings_are_of_all() {
        let mut other = of_service("v1", 2, "2026-05-04T09:00:00Z");
        other.environment.cpus = Some(64);
        other.environment.pollscope = "0.2.0".into();
        let both = together(vec![of_service("v1", 1, "2026-05-04T10:00:00Z"), other]).expect("one");
        let pids: Vec<_> = both.runs.iter().filter_map(|run| run.subject.target()?.pid).collect();
        assert_eq!(pids, [2, 1]);
        assert_eq!((both.environment.cpus, both.environment.kernel.as_deref()), (None, Some("6.8.0")));
        assert_eq!(both.environment.pollscope, "0.1.0, 0.2.0");
        assert_eq!(both.findings.iter().filter(|finding| finding.code == "PS001").count(), 1, "{:?}", both.findings);
        assert!(both.findings.iter().any(|finding| finding.sentence.contains('2')), "{:?}", both.findings);
        let json = wire::to_json(&both).expect("JSON");
        assert_eq!(wire::to_json(&wire::from_json(json.as_bytes()).expect("read")).expect("JSON"), json);
    }

    #[test]
    fn a_run_that_is_given_twice_is_taken_once_and_that_is_said() {
        let one = of_service("v1", 1, "2026-05-04T10:00:00Z");
        let both = together(vec![one.clone(), one.clone(), of_service("v1", 2, "2026-05-04T10:00:00Z")]).expect("one");
        assert_eq!(both.runs.len(), 2);
        assert!(both.runs[0].coverage.missing.contains(&"1 run was given more than once, and taken once".to_owned()));
    }

    #[test]
    fn runs_that_ended_alike_are_told_together() {
        let ended = |pid| {
            let mut of = of_service("v1", pid, "2026-05-04T10:00:00Z");
            fixture::interrupt(&mut of.runs[0], if pid < 3 { "SIGINT" } else { "SIGTERM" });
            of
        };
        let all =
            together(vec![ended(1), ended(2), ended(3), of_service("v1", 4, "2026-05-04T10:00:00Z")]).expect("one");
        let ends = all.early_ends();
        assert_eq!(ends, [("v1, 2 runs".to_owned(), "SIGINT"), ("v1".to_owned(), "SIGTERM")]);
        let text =
            crate::report::terminal::render(&all, &crate::report::Style { width: 100, color: false, unicode: true });
        assert!(text.contains("  v1, 2 runs, ended early: SIGINT\n  v1, ended early: SIGTERM\n"), "{text}");
    }

    #[test]
    fn what_cannot_be_one_is_refused_in_words() {
        let scenario = fixture::recording_of(vec![fixture::run("naive")]);
        let why = together(vec![scenario, of_service("v1", 1, "2026-05-04T10:00:00Z")]).expect_err("of two kinds");
        assert!(why.contains("different scenarios"), "{why}");
        let many = (0..65).map(|at| of_service(&format!("host-{at}"), at, "2026-05-04T10:00:00Z")).collect();
        let why = together(many).expect_err("too many labels");
        assert!(why.starts_with("they have 65 labels, and a report takes 64; name"), "{why}");
    }
}
