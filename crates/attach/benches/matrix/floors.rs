//! What must be so on any machine, however busy: counts and identities, no times.

use std::collections::BTreeMap;

use crate::score::Score;

/// Of a hundred.
const FOUND: u64 = 90;
/// Of a hundred of those that were found: the line, the chain, the type of the future.
const RIGHT: u64 = 95;

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
    let mut none = |what: &str, count: u64| {
        if count > 0 {
            below.push(format!("{what}: {count}, and not 0"));
        }
    };
    none("seen where nothing was", tally.of_nothing[1]);
    none("stalls a millisecond apart that were seen as one", all.merged_apart);
    none("calls of the program interrupted", tally.interrupted);
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
