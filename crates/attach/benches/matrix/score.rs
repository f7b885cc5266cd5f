//! How right it was, in numbers.

use std::collections::BTreeMap;

use crate::matching::Matched;
use crate::seen::Seen;
use crate::truth::Stall;

/// So many looks make sure that a stall is found.
pub(crate) const LOOKS: u64 = 3;
/// So far apart are two stalls that must be two.
pub(crate) const APART_NS: u64 = 1_000_000;

/// Of stalls of one kind, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Score {
    /// Stalls of three periods and more; what follows is of those.
    pub(crate) stalls: u64,
    pub(crate) found: u64,
    /// Of those that were found: the line is one of its lines; likewise.
    pub(crate) line: u64,
    pub(crate) function: u64,
    pub(crate) chain: u64,
    pub(crate) root: u64,
    /// Of how many found ones Tokio told the program an id.
    pub(crate) with_id: u64,
    pub(crate) id: u64,
    /// Ends that are said to be exact, and by how much those are wrong, in nanoseconds.
    pub(crate) exact: Vec<u64>,
    /// Likewise ends that are said to be within a time, and are, or are not.
    pub(crate) within: u64,
    pub(crate) beyond: u64,
    /// By how much starts are wrong, in nanoseconds.
    pub(crate) starts: Vec<u64>,
    /// Seen ones that have another true one in them; of those, how many of one that was at least a millisecond apart.
    pub(crate) merged: u64,
    pub(crate) merged_apart: u64,
    /// Seen ones that are no true one, but overlap one; they count where the one is that they overlap.
    pub(crate) extra: u64,
    /// How often the threads gave up their CPU in all stalls that were found, and how often it was taken.
    pub(crate) switches: [u64; 2],
}

impl Score {
    /// Of both.
    pub(crate) fn add(&mut self, other: &Score) {
        let Score { stalls, found, line, function, chain, root, with_id, id, .. } = other;
        self.stalls += stalls;
        self.found += found;
        self.line += line;
        self.function += function;
        self.chain += chain;
        self.root += root;
        self.with_id += with_id;
        self.id += id;
        self.exact.extend(&other.exact);
        self.within += other.within;
        self.beyond += other.beyond;
        self.starts.extend(&other.starts);
        self.merged += other.merged;
        self.merged_apart += other.merged_apart;
        self.extra += other.extra;
        (0..2).for_each(|kind| self.switches[kind] += other.switches[kind]);
    }

    fn add_found(&mut self, stall: &Stall, seen: &Seen) {
        self.found += 1;
        self.line += u64::from(seen.has_line_of(stall));
        self.function += u64::from(seen.has_function_of(stall));
        self.chain += u64::from(seen.has_chain_of(stall));
        self.root += u64::from(seen.has_root_of(stall));
        self.with_id += u64::from(stall.task_id.is_some());
        self.id += u64::from(seen.has_task_id_of(stall));
        self.starts.push(stall.begin_ns.abs_diff(seen.start_ns));
        (0..2).for_each(|kind| self.switches[kind] += stall.switches[kind]);
        match seen.end_is {
            _ if seen.is_open => {}
            None => self.exact.push(stall.end_ns.abs_diff(seen.end_ns)),
            // The clocks agree that well, and a thread is told as it was a little before.
            Some(ns)
                if (seen.end_ns.saturating_sub(APART_NS)..=seen.end_ns + ns + APART_NS).contains(&stall.end_ns) =>
            {
                self.within += 1;
            }
            Some(_) => self.beyond += 1,
        }
    }
}

/// By kind of stall; `kind` says which.
pub(crate) fn scores(
    stalls: &[Stall],
    seen: &[Seen],
    matched: &Matched,
    period_ns: u64,
    kind: impl Fn(&Stall) -> String,
) -> BTreeMap<String, Score> {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    let is_long = |stall: &Stall| stall.duration_ns() >= LOOKS * period_ns;
    for (stall, seen_of) in stalls.iter().zip(&matched.seen_of).filter(|(stall, _)| is_long(stall)) {
        let score = scores.entry(kind(stall)).or_default();
        score.stalls += 1;
        if let Some(index) = seen_of {
            score.add_found(stall, &seen[*index]);
        }
    }
    for merged in &matched.merged {
        let score = scores.entry(kind(&stalls[merged.is])).or_default();
        score.merged += 1;
        score.merged_apart += u64::from(merged.gap_ns >= APART_NS);
    }
    for index in &matched.extra {
        let overlap = |stall: &&Stall| {
            stall.end_ns.min(seen[*index].end_ns).saturating_sub(stall.begin_ns.max(seen[*index].start_ns))
        };
        if let Some(stall) = stalls.iter().max_by_key(overlap) {
            scores.entry(kind(stall)).or_default().extra += 1;
        }
    }
    scores
}

/// The value that the fraction `q` of all does not exceed; `None` where there is none.
pub(crate) fn quantile(values: &[u64], q: f64) -> Option<u64> {
    let mut values = values.to_vec();
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    Some(values[(last as f64 * q).round() as usize])
}
