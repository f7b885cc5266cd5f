//! Looks put together by place, and each place's share.

use std::cmp::Reverse;
use std::time::Duration;

use pollscope_base::{Cause, Frame, Place};

use super::observation::NamedSeen;
use super::shares::Early;

/// So many places are told,
const MOST: usize = 8;
/// and the stacks of so many: each may take as much as all the rest.
const STACKS: usize = 3;

/// All looks at one place.
#[derive(Debug)]
pub(super) struct Placed<'a> {
    seen: &'a NamedSeen,
    pub(super) off_cpu: Option<Cause>,
    pub(super) special_cause: Option<Cause>,
    looks: u32,
    /// How long it was seen there.
    pub(super) ns: u64,
    /// How long it was there before the first look, presumably.
    early_ns: u64,
}

/// By place, in the order in which each was first seen; `seen` with a stack stands for one without.
///
/// The first look was in the midst of what it shows: as long as that went on afterwards, it presumably had gone on before.
pub(super) fn put_together<'a>(seen: &'a [NamedSeen], early: &Early) -> Vec<Placed<'a>> {
    let mut all: Vec<Placed> = Vec::new();
    for one in seen {
        match all.iter_mut().find(|placed| placed.seen.named.is_same_place(&one.named)) {
            Some(placed) => {
                placed.looks += one.looks;
                placed.ns += one.ns;
                placed.special_cause = placed.special_cause.or(one.named.special_cause);
            }
            None => all.push(Placed {
                seen: one,
                off_cpu: one.named.look.off_cpu,
                special_cause: one.named.special_cause,
                looks: one.looks,
                ns: one.ns,
                early_ns: 0,
            }),
        }
    }
    if let [first, ..] = all.as_mut_slice() {
        // Code that runs is at one place in many looks that are not alike.
        let alike = seen[1..].iter().take_while(|one| first.seen.named.is_same_place(&one.named));
        let run_ns = early.run_ns + alike.map(|one| one.ns).sum::<u64>();
        first.early_ns = run_ns.min(if first.off_cpu.is_some() { early.off_ns } else { early.on_ns });
    }
    all
}

/// The places, those first that the cause is about, then most time first. `[on_ns, off_ns]` is how long it was on the CPU, or ready
/// for one, and off it in all, where that is known: what was not seen of either is shared out.
pub(super) fn places(
    placed: &[Placed<'_>],
    cause: Option<Cause>,
    totals: [Option<u64>; 2],
    duration_ns: u64,
) -> Vec<Place> {
    let was = |placed: &Placed| placed.ns + placed.early_ns;
    let seen = |off: bool| placed.iter().filter(move |placed| placed.off_cpu.is_some() == off).map(was);
    let sums = [seen(false).sum::<u64>(), seen(true).sum::<u64>()];
    let all = sums[0] + sums[1];
    let share = |placed: &Placed| {
        let of = usize::from(placed.off_cpu.is_some());
        match totals[of] {
            // Nothing was seen to last, but it was seen.
            Some(total) if sums[of] == 0 => total / seen(of == 1).count() as u64,
            Some(total) => scaled(was(placed), total, sums[of]),
            None if all > duration_ns => scaled(was(placed), duration_ns, all),
            None => was(placed),
        }
    };
    let mut shares: Vec<(u64, &Placed)> = placed.iter().map(|placed| (share(placed), placed)).collect();
    // What showed nothing is no place, where something was seen.
    let says = |placed: &Placed| {
        let named = &placed.seen.named;
        named.look.stack.is_some() || named.look.call.is_some() || !named.stack.is_empty()
    };
    if placed.iter().any(says) {
        shares.retain(|(_, placed)| says(placed));
    }
    // In the order of time where equal.
    shares.sort_by_key(|(ns, placed)| (!is_about(cause, placed), Reverse(*ns)));
    shares.truncate(MOST);
    let place = |(index, (ns, placed)): (usize, (u64, &Placed))| Place {
        looks: placed.looks,
        share: Duration::from_nanos(ns),
        ..placed.seen.named.place(index < STACKS)
    };
    shares.into_iter().enumerate().map(place).collect()
}

fn scaled(part: u64, total: u64, of: u64) -> u64 {
    (u128::from(part) * u128::from(total) / u128::from(of)) as u64
}

fn is_about(cause: Option<Cause>, placed: &Placed<'_>) -> bool {
    match cause {
        Some(cause @ (Cause::BlockingCall | Cause::Lock | Cause::PageFault)) => placed.off_cpu == Some(cause),
        Some(Cause::Cpu | Cause::Kernel | Cause::Preempted | Cause::Throttled) => placed.off_cpu.is_none(),
        Some(cause @ (Cause::BlockInPlace | Cause::Panic)) => placed.special_cause == Some(cause),
        Some(Cause::Suspended) | None => true,
    }
}

/// The deepest frame of the user's code that all looks show, as far as can be told: from one whose line went on, other calls follow.
pub(super) fn shared_frame(seen: &[NamedSeen]) -> Option<Frame> {
    let mut callers = seen.iter().map(|seen| seen.named.callers.as_slice());
    let first = callers.next()?;
    let mut deepest = None;
    for (depth, frame) in first.iter().enumerate() {
        let others = || callers.clone().map(|callers| callers.get(depth));
        let is_same =
            |other: Option<&Frame>| other.is_some_and(|o| o.function == frame.function && o.file == frame.file);
        if frame.function.is_none() || !others().all(is_same) {
            break;
        }
        let is_still = others().all(|other| other.is_some_and(|other| other.line == frame.line));
        deepest = Some(Frame { line: frame.line.filter(|_| is_still), ..frame.clone() });
        if !is_still {
            break;
        }
    }
    deepest
}
