//! Which of what was seen is which of what was.

use crate::seen::Seen;
use crate::truth::Stall;

/// What a difference in identity weighs against one in time: so little that it decides only between stalls of several threads that
/// time does not tell apart.
const OTHER_NS: u64 = 10_000_000;
/// What is shorter is no stall that a seen one must be of.
const STALL_NS: u64 = 20_000_000;
/// A seen one that covers so much of another true one has that one in it.
const COVERED_NS: u64 = 10_000_000;

/// How all that was seen relates to all that was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Matched {
    /// Of each true one, which seen one is it.
    pub(crate) seen_of: Vec<Option<usize>>,
    /// Seen ones that are no true one, but overlap one: one too many.
    pub(crate) extra: Vec<usize>,
    /// Seen ones that overlap no true one of 20 ms.
    pub(crate) false_ones: Vec<usize>,
    /// A seen one that has two true ones of one thread in it: it, which it is, which other one it covers, and how far apart they are.
    pub(crate) merged: Vec<Merged>,
}

/// See [`Matched::merged`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Merged {
    pub(crate) seen: usize,
    pub(crate) is: usize,
    pub(crate) covers: usize,
    pub(crate) gap_ns: u64,
}

/// Each seen one is at most one true one, and the other way round: those that agree best in time first, and before those whose end was
/// not seen. One whose line and future are those of a true one that has half of it is no other one's: it is that one, or one too many.
/// Both by the same clock.
pub(crate) fn matched(stalls: &[Stall], seen: &[Seen]) -> Matched {
    let mut pairs: Vec<(bool, u64, usize, usize)> = Vec::new();
    for (index, one) in seen.iter().enumerate() {
        let near = || stalls.iter().enumerate().filter(|(_, stall)| overlap_ns(stall, one) > 0);
        let has_half = |stall: &Stall| 2 * overlap_ns(stall, one) >= one.end_ns.saturating_sub(one.start_ns);
        let is_it = |stall: &Stall| one.has_line_of(stall) && one.has_root_of(stall) && has_half(stall);
        let is_known = near().any(|(_, stall)| is_it(stall));
        pairs.extend(
            near()
                .filter(|(_, stall)| !is_known || is_it(stall))
                .map(|(at, stall)| (one.is_open, difference(stall, one), at, index)),
        );
    }
    pairs.sort_unstable();
    let mut matched = Matched { seen_of: vec![None; stalls.len()], ..Matched::default() };
    let mut is = vec![None; seen.len()];
    for (_, _, at, index) in pairs {
        if matched.seen_of[at].is_none() && is[index].is_none() {
            matched.seen_of[at] = Some(index);
            is[index] = Some(at);
        }
    }
    for (index, one) in seen.iter().enumerate() {
        let is_stall = |stall: &Stall| stall.duration_ns() >= STALL_NS && overlap_ns(stall, one) > 0;
        if !stalls.iter().any(is_stall) {
            matched.false_ones.push(index);
        } else if is[index].is_none() {
            matched.extra.push(index);
        }
        matched.merged.extend(is[index].and_then(|is| merged(stalls, index, is, one)));
    }
    matched
}

fn merged(stalls: &[Stall], seen: usize, is: usize, one: &Seen) -> Option<Merged> {
    let its = &stalls[is];
    let on_its_thread = stalls.iter().enumerate().filter(|(other, stall)| *other != is && stall.tid == its.tid);
    let covered = on_its_thread.filter(|(_, stall)| overlap_ns(stall, one) >= COVERED_NS);
    let gap = |stall: &Stall| stall.begin_ns.saturating_sub(its.end_ns).max(its.begin_ns.saturating_sub(stall.end_ns));
    let gaps = covered.map(|(covers, stall)| Merged { seen, is, covers, gap_ns: gap(stall) });
    gaps.max_by_key(|merged| merged.gap_ns)
}

fn overlap_ns(stall: &Stall, seen: &Seen) -> u64 {
    stall.end_ns.min(seen.end_ns).saturating_sub(stall.begin_ns.max(seen.start_ns))
}

fn difference(stall: &Stall, seen: &Seen) -> u64 {
    let others = [!seen.has_line_of(stall), !seen.has_root_of(stall)].iter().filter(|is_other| **is_other).count();
    let time_ns = stall.begin_ns.abs_diff(seen.start_ns) + stall.end_ns.abs_diff(seen.end_ns);
    time_ns + others as u64 * OTHER_NS
}
