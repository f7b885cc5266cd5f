//! What a run is of.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::wire::bounded;

/// What was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The lab's workload, in one mode and round: every poll is known.
    Scenario(ScenarioRun),
    /// A service that has the probe: every poll is known.
    Service(Target),
    /// A process that was looked at from outside: what was seen is known.
    Process(Target),
}

/// The lab's workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioRun {
    /// How it writes: `naive`, `offloaded`, …
    pub mode: String,
    /// From 1.
    pub round: u32,
    /// The runtime that was measured.
    pub runtime: RuntimeInfo,
}

/// Somebody's own program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The service's or the program's name.
    pub name: String,
    /// The process's number; `None` in a recording that hides it.
    pub pid: Option<u64>,
    /// The program's file.
    pub exe: Option<String>,
    /// The identity that the linker gave the program, in hexadecimal digits.
    pub build_id: Option<String>,
    /// The version of Tokio that it uses.
    pub tokio: Option<String>,
    /// Whether it was built with `--cfg tokio_unstable`.
    pub tokio_unstable: Option<bool>,
    /// What its build lacks for names and lines, in a sentence.
    pub profile_note: Option<String>,
    /// Its runtimes; empty where none is known.
    pub runtimes: Vec<RuntimeInfo>,
}

/// Whether runs can be called so, by whoever records a service: a gate can bear the name without quotes, or almost. It has 1 to 64 letters,
/// digits, blanks within it or any of `-_.+:/`.
///
/// ```
/// use pollscope_record::recording::is_label;
/// assert!(is_label("api v1.2") && is_label("größe/2") && !is_label("") && !is_label(" a") && !is_label("a*b"));
/// ```
pub fn is_label(text: &str) -> bool {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '+' | ':' | '/');
    (1..=64).contains(&text.chars().count()) && text.chars().all(is_plain) && text.trim() == text
}

/// Behind a service's label: what the run of its other threads is called.
const OTHER_THREADS: &str = " (other threads)";

/// What the run of a process's other threads is called, which a probe tells beside its own.
///
/// ```
/// use pollscope_record::recording::{is_of_other_threads, other_threads};
/// assert_eq!(other_threads("api"), "api (other threads)");
/// assert!(is_of_other_threads(&other_threads("api")) && !is_of_other_threads("api"));
/// ```
pub fn other_threads(label: &str) -> String {
    format!("{label}{OTHER_THREADS}")
}

/// Whether a run that is called so is of a process's other threads: see [`other_threads`].
pub fn is_of_other_threads(group: &str) -> bool {
    group.ends_with(OTHER_THREADS)
}

/// A runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// `current_thread` or `multi_thread`.
    pub flavor: String,
    /// Worker threads.
    pub workers: u64,
}

impl Subject {
    /// The round of a scenario's mode, from 1.
    pub fn round(&self) -> Option<u32> {
        match self {
            Subject::Scenario(run) => Some(run.round),
            Subject::Service(_) | Subject::Process(_) => None,
        }
    }

    /// The service's or the program's name.
    pub fn name(&self) -> Option<&str> {
        self.target().map(|target| target.name.as_str())
    }

    /// The service or process.
    pub fn target(&self) -> Option<&Target> {
        match self {
            Subject::Scenario(_) => None,
            Subject::Service(target) | Subject::Process(target) => Some(target),
        }
    }

    /// Its runtimes, as far as they are known.
    pub fn runtimes(&self) -> &[RuntimeInfo] {
        match self {
            Subject::Scenario(run) => std::slice::from_ref(&run.runtime),
            Subject::Service(target) | Subject::Process(target) => &target.runtimes,
        }
    }

    /// The worker threads of all its runtimes; `None` where no runtime is known.
    pub fn workers(&self) -> Option<u64> {
        self.runtimes().iter().map(|runtime| runtime.workers).reduce(|a, b| a.saturating_add(b))
    }

    /// Whether it is of a mode that makes its blocking calls on the loop, as `naive` does.
    pub(crate) fn writes_on_the_loop(&self) -> bool {
        matches!(self, Subject::Scenario(run) if run.mode == "naive")
    }

    fn kind(&self) -> &'static str {
        match self {
            Subject::Scenario(_) => "scenario",
            Subject::Service(_) => "service",
            Subject::Process(_) => "process",
        }
    }
}

/// All keys that a subject can have. A tagged enum would hold what it does not know in memory before it knows the tag.
#[derive(Deserialize)]
struct Read {
    kind: String,
    mode: Option<String>,
    round: Option<u32>,
    flavor: Option<String>,
    workers: Option<u64>,
    name: Option<String>,
    pid: Option<u64>,
    exe: Option<String>,
    build_id: Option<String>,
    tokio: Option<String>,
    tokio_unstable: Option<bool>,
    profile_note: Option<String>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, 1_000>")]
    runtimes: Vec<RuntimeInfo>,
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Subject, D::Error> {
        let read = Read::deserialize(from)?;
        let missing = <D::Error as de::Error>::missing_field;
        if read.kind == "scenario" {
            let runtime = RuntimeInfo {
                flavor: read.flavor.ok_or_else(|| missing("flavor"))?,
                workers: read.workers.ok_or_else(|| missing("workers"))?,
            };
            let mode = read.mode.ok_or_else(|| missing("mode"))?;
            let round = read.round.ok_or_else(|| missing("round"))?;
            return Ok(Subject::Scenario(ScenarioRun { mode, round, runtime }));
        }
        let target = Target {
            name: read.name.ok_or_else(|| missing("name"))?,
            pid: read.pid,
            exe: read.exe,
            build_id: read.build_id,
            tokio: read.tokio,
            tokio_unstable: read.tokio_unstable,
            profile_note: read.profile_note,
            runtimes: read.runtimes,
        };
        match read.kind.as_str() {
            "service" => Ok(Subject::Service(target)),
            "process" => Ok(Subject::Process(target)),
            other => Err(de::Error::unknown_variant(
                &other.chars().take(60).collect::<String>(),
                &["scenario", "service", "process"],
            )),
        }
    }
}

#[derive(Serialize)]
struct WrittenScenario<'a> {
    kind: &'static str,
    mode: &'a str,
    round: u32,
    flavor: &'a str,
    workers: u64,
}

#[derive(Serialize)]
struct WrittenTarget<'a> {
    kind: &'static str,
    name: &'a str,
    pid: Option<u64>,
    exe: Option<&'a str>,
    build_id: Option<&'a str>,
    tokio: Option<&'a str>,
    tokio_unstable: Option<bool>,
    profile_note: Option<&'a str>,
    runtimes: &'a [RuntimeInfo],
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.kind();
        match self {
            Subject::Scenario(ScenarioRun { mode, round, runtime }) => {
                let (flavor, workers) = (&runtime.flavor, runtime.workers);
                WrittenScenario { kind, mode, round: *round, flavor, workers }.serialize(serializer)
            }
            Subject::Service(target) | Subject::Process(target) => WrittenTarget {
                kind,
                name: &target.name,
                pid: target.pid,
                exe: target.exe.as_deref(),
                build_id: target.build_id.as_deref(),
                tokio: target.tokio.as_deref(),
                tokio_unstable: target.tokio_unstable,
                profile_note: target.profile_note.as_deref(),
                runtimes: &target.runtimes,
            }
            .serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(workers: u64) -> RuntimeInfo {
        RuntimeInfo { flavor: "multi_thread".to_owned(), workers }
    }

    #[test]
    fn every_subject_is_read_as_it_was_written() {
        let scenario = ScenarioRun { mode: "naive".to_owned(), round: 3, runtime: runtime(4) };
        let target = Target {
            name: "api".to_owned(),
            pid: Some(7),
            tokio_unstable: Some(false),
            runtimes: vec![runtime(4), runtime(2)],
            ..Target::default()
        };
        for subject in [Subject::Scenario(scenario), Subject::Service(target.clone()), Subject::Process(target)] {
            let json = serde_json::to_string(&subject).unwrap();
            assert_eq!(serde_json::from_str::<Subject>(&json).unwrap(), subject, "{json}");
        }
    }

    #[test]
    fn workers_of_unknown_runtimes_are_not_known() {
        let mut target = Target { runtimes: vec![runtime(4), runtime(2)], ..Target::default() };
        assert_eq!(Subject::Service(target.clone()).workers(), Some(6));
        target.runtimes.clear();
        assert_eq!(Subject::Process(target).workers(), None);
    }

    #[test]
    fn a_subject_says_what_it_lacks() {
        for (json, expected) in [
            (r#"{"kind":"scenario","mode":"naive","round":1,"flavor":"x"}"#, "missing field `workers`"),
            (r#"{"kind":"service"}"#, "missing field `name`"),
            (r#"{"kind":"planet","name":"x"}"#, "unknown variant `planet`"),
        ] {
            let error = serde_json::from_str::<Subject>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
