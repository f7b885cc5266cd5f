//! Whether two recordings answer the same question, and what else was different.

use std::collections::BTreeSet;

use crate::recording::{Environment, Recording, ScenarioInfo};

/// A setting of which two recordings have different values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its dotted key; `scenario` for the name.
    pub key: String,
    /// In the first; `None` where it has none.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// Settings that say how often or how finely is measured, and not what.
const ALIKE: [&str; 6] = ["rounds", "warmup", "modes", "seed", "sample_every", "files.output"];

/// The settings that make two recordings answers to different questions, by key; empty where they can be compared.
///
/// What is no scenario's asks nothing in particular: of two services nothing differs, and a service is no scenario.
pub fn differences(a: Option<&ScenarioInfo>, b: Option<&ScenarioInfo>) -> Vec<Difference> {
    let mut found = Vec::new();
    let (Some(a), Some(b)) = (a, b) else {
        let [a, b] = [a, b].map(|of| of.map(|scenario| scenario.name.clone()));
        if a != b {
            found.push(Difference { key: "scenario".to_owned(), a, b });
        }
        return found;
    };
    let mut differ = |key: &str, a: Option<&String>, b: Option<&String>| {
        if a != b {
            found.push(Difference { key: key.to_owned(), a: a.cloned(), b: b.cloned() });
        }
    };
    differ("scenario", Some(&a.name), Some(&b.name));
    let keys: BTreeSet<&String> = a.settings.keys().chain(b.settings.keys()).collect();
    for key in keys.into_iter().filter(|key| !ALIKE.contains(&key.as_str())) {
        differ(key, a.settings.get(key), b.settings.get(key));
    }
    found
}

/// What else was different, each as `kernel 6.8.0 and 6.18.1`: it may be what a difference comes from.
///
/// Paths and hosts are not in it: a recording has none that tells machines of the same kind apart.
pub fn environments(a: &Recording, b: &Recording) -> Vec<String> {
    let unknown = || "unknown".to_owned();
    let on = |is_on: Option<bool>| match is_on {
        Some(true) => "with".to_owned(),
        Some(false) => "without".to_owned(),
        None => unknown(),
    };
    type Of<'o> = &'o dyn Fn(&Environment) -> String;
    let facts: [(&str, Of); 7] = [
        ("system", &|of| of.os.clone()),
        ("kernel", &|of| of.kernel.clone().unwrap_or_else(unknown)),
        ("CPUs", &|of| of.cpus.map_or_else(unknown, |cpus| cpus.to_string())),
        ("pollscope", &|of| of.pollscope.clone()),
        ("tokio_unstable", &|of| on(of.tokio_unstable)),
        ("console compiled in", &|of| on(of.console_compiled)),
        ("console on", &|of| on(of.console_on)),
    ];
    let of_both = |(name, of): (&str, Of)| differing(name, of(&a.environment), of(&b.environment));
    let tokio = |of: &Recording| of.runs.first().and_then(|run| run.subject.target()?.tokio.clone());
    let tokio = |of: &Recording| tokio(of).or_else(|| of.environment.tokio.clone()).unwrap_or_else(unknown);
    let seed = |of: &Recording| of.scenario.as_ref().map_or_else(unknown, |scenario| scenario.seed.to_string());
    let tokios = differing("tokio", tokio(a), tokio(b));
    let seeds = differing("seed", seed(a), seed(b));
    facts.into_iter().filter_map(of_both).chain(tokios).chain(seeds).collect()
}

fn differing(name: &str, a: String, b: String) -> Option<String> {
    (a != b).then(|| format!("{name} {a} and {b}"))
}
