//! What must be so on any machine, however busy: counts and identities, no times.

use std::collections::BTreeMap;

use crate::score::Score;

/// Of a hundred. An idle machine has more: what waits for a CPU between two looks is seen late, and one that looks late sees less.
const FOUND: u64 = 70;
/// Of a hundred of those that were found: the line, the chain, the type of the future.
const RIGHT: u64 = 90;
/// Of a hundred that were found.
const MERGED: u64 = 1;
/// Where nothing was to be found: on a busy machine a thread that waits for a CPU before its poll may look as if it were in it.
const OF_NOTHING: u64 = 4;

/// All runs together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// By build and runtime.
    pub(crate) by_run: BTreeMap<String, Score>,
    /// Seen ones that are of nothing, beside stalls, and where nothing was to be found.
    pub(crate) of_nothing: [u64; 2],
    /// Calls of the program that were interrupted.
    pub(crate) interrupted: u64,
}

impl Tally {
    pub(crate) fn all(&self) -> Score {
        let mut all = Score::default();
        self.by_run.values().for_each(|score| all.add(score));
        all
    }
}

/// What is below its floor.
///
/// # Errors
/// All of it, in a sentence each.
pub(crate) fn check(tally: &Tally) -> Result<(), String> {
    let all = tally.all();
    let mut below = Vec::new();
    let mut at_least = |what: &str, percent: u64, count: u64, of: u64| {
        if of == 0 || count * 100 < of * percent {
            below.push(format!("{what}: {count} of {of}, and not {percent} % of them"));
        }
    };
    at_least("stalls found", FOUND, all.found, all.stalls);
    at_least("lines right", RIGHT, all.line, all.found);
    at_least("chains right", RIGHT, all.chain, all.found);
    at_least("types of futures right", RIGHT, all.root, all.found);
    let mut at_most = |what: &str, most: u64, count: u64| {
        if count > most {
            below.push(format!("{what}: {count}, and not at most {most}"));
        }
    };
    at_most("seen where nothing was", OF_NOTHING, tally.of_nothing[1]);
    at_most("stalls a millisecond apart that were seen as one", all.found * MERGED / 100, all.merged_apart);
    at_most("calls of the program interrupted", 0, tally.interrupted);
    if below.is_empty() { Ok(()) } else { Err(below.join("; ")) }
}

/// Why running threads cannot be looked at here; `None` where they can.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(crate) fn hindrance() -> Option<String> {
    use pollscope_stacks::perf::Breakpoint;
    use pollscope_stacks::thread::ThreadRef;
    let here = hindrance as *const () as u64;
    Breakpoint::open(&ThreadRef::current(), here).err().map(|error| error.to_string())
}

/// Nobody is looked at elsewhere.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub(crate) fn hindrance() -> Option<String> {
    Some("only on Linux, x86-64".to_owned())
}
