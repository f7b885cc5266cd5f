//! Which runs there are.

use crate::options::Options;

/// Modes in which nothing is to be found: how they are called here, and what the program is told.
const CALM: [(&str, &str, u64); 4] =
    [("idle", "idle", 4), ("gaps", "gaps", 4), ("hot 1", "hot", 1), ("hot 8", "hot", 8)];

/// One run of the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) runtime: &'static str,
    /// What nothing is to be found in; `None` of stalls.
    pub(crate) calm: Option<&'static str>,
    pub(crate) arguments: Vec<String>,
}

/// The runs of one build of the program. In a small one each is shorter, and what is calm is computing.
pub(crate) fn runs(options: &Options) -> Vec<Planned> {
    let (stalls_s, calm_s) = if options.is_small { ([9, 11], 3) } else { ([60, 120], 60) };
    let mut runs = Vec::new();
    for (runtime, stalls_s) in ["multi", "current"].into_iter().zip(stalls_s) {
        if options.runtime.as_deref().is_some_and(|only| only != runtime) {
            continue;
        }
        let planned = |calm: Option<&'static str>, mode: &str, tasks: u64, seconds: u64| {
            let (seconds, seed) = (options.seconds.unwrap_or(seconds), options.seed);
            let text = format!("--runtime {runtime} --mode {mode} --tasks {tasks} --seconds {seconds} --seed {seed}");
            let only = options.only.iter().filter(|_| calm.is_none()).flat_map(|way| ["--way", way.as_str()]);
            Planned { runtime, calm, arguments: text.split(' ').chain(only).map(str::to_owned).collect() }
        };
        // As many as the runtime can have, and still be free at times.
        let tasks = if runtime == "multi" { 8 } else { 4 };
        runs.push(planned(None, "stalls", tasks, stalls_s));
        if options.only.is_none() {
            let calm = CALM.iter().filter(|(name, ..)| !options.is_small || ["gaps", "hot 8"].contains(name));
            runs.extend(calm.map(|(name, mode, tasks)| planned(Some(*name), mode, *tasks, calm_s)));
        }
    }
    runs
}
