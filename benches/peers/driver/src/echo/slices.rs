//! A round cut into slices: whose turn it is, which cycles are left out, and what the rest comes to. No I/O.

use std::time::Duration;

use crate::catalog::{Load, Metric};
use crate::results::Sample;
use crate::stats::quantile;

/// A request that was sent later than this after it was due was sent late.
const LATE_NS: f64 = 100_000.0;
/// So large a part of a slice's requests may be late.
const LATE_PART: f64 = 0.001;
/// For longer than this the client must not forget to look for answers, at half load: each that is there waits meanwhile.
const PAUSE_NS: f64 = 200_000.0;
/// At saturation there are others to be answered meanwhile, but at some time all wait for the client.
const PAUSE_FULL_NS: f64 = 1_000_000.0;
/// For so large a part of a slice others may have the worker's CPU. The instrument's own threads are on another.
const WAITED_PART: f64 = 0.02;

/// How a round is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Each service has one slice in each. Those that are left out are made up for, up to as many again.
    pub(crate) cycles: usize,
    pub(crate) slice: Duration,
}

/// What one service did in one slice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Slice {
    pub(crate) requests: u64,
    /// From the first request to the last answer.
    pub(crate) wall: Duration,
    /// Of the worker's thread.
    pub(crate) cpu: Duration,
    /// For which the worker's thread could have run and others had its CPU.
    pub(crate) waited: Duration,
    /// At half load.
    pub(crate) response_ns: Vec<f64>,
    /// How late requests were sent, at half load.
    pub(crate) late_ns: Vec<f64>,
    /// The longest time for which a thread of the client did not look for answers.
    pub(crate) pause_ns: f64,
}

impl Slice {
    /// Whether the machine held up the client or the worker, so that the slice says nothing of the service.
    pub(crate) fn is_spoiled(&self, load: Load) -> bool {
        let late = self.late_ns.iter().filter(|ns| **ns > LATE_NS).count();
        let pause_ns = if load == Load::EchoHalf { PAUSE_NS } else { PAUSE_FULL_NS };
        late as f64 > self.late_ns.len() as f64 * LATE_PART
            || self.pause_ns > pause_ns
            || self.waited.as_secs_f64() > self.wall.as_secs_f64() * WAITED_PART
    }
}

/// The first slice that was not spoiled, if one of so many was not; and how many were tried.
pub(crate) fn first_unspoiled<E>(
    most: usize,
    load: Load,
    mut slice: impl FnMut() -> Result<Slice, E>,
) -> Result<(Option<Slice>, usize), E> {
    for tries in 1..=most {
        let slice = slice()?;
        if !slice.is_spoiled(load) {
            return Ok((Some(slice), tries));
        }
    }
    Ok((None, most))
}

/// The services' order in each cycle: shuffled, and in the next cycle the other way round, so that over two cycles all have the
/// same place on average. The same for the same `seed`.
pub(crate) fn orders(cycles: usize, services: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut state = seed;
    let mut orders: Vec<Vec<usize>> = Vec::with_capacity(cycles);
    for cycle in 0..cycles {
        let mut order: Vec<usize> = (0..services).collect();
        match orders.last() {
            Some(last) if cycle % 2 == 1 => order = last.iter().rev().copied().collect(),
            _ => (1..services).rev().for_each(|index| order.swap(index, random(&mut state) as usize % (index + 1))),
        }
        orders.push(order);
    }
    orders
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Whether a round goes on: until it has as many cycles as it should, or has left out as many.
pub(crate) fn goes_on(cut: Cut, kept: usize, left_out: usize) -> bool {
    kept < cut.cycles && left_out < cut.cycles
}

/// One service's slices of a round, taken together: sums of work and time, all response times as one. `None` of none.
pub(crate) fn pool(load: Load, slices: &[Slice]) -> Option<Sample> {
    let requests: u64 = slices.iter().map(|slice| slice.requests).sum();
    let cpu: Duration = slices.iter().map(|slice| slice.cpu).sum();
    let wall: Duration = slices.iter().map(|slice| slice.wall).sum();
    if requests == 0 {
        return None;
    }
    let mut sample = Sample::from([(Metric::RequestCpu, cpu.as_nanos() as f64 / requests as f64)]);
    if load == Load::EchoHalf {
        let pooled = |of: fn(&Slice) -> &Vec<f64>| slices.iter().flat_map(of).copied().collect();
        let (response_ns, late_ns): (Vec<f64>, Vec<f64>) =
            (pooled(|slice| &slice.response_ns), pooled(|slice| &slice.late_ns));
        sample.insert(Metric::P99, quantile(&response_ns, 0.99)? / 1e3);
        sample.insert(Metric::P999, quantile(&response_ns, 0.999)? / 1e3);
        sample.insert(Metric::Lateness, quantile(&late_ns, 0.999)? / 1e3);
    } else {
        sample.insert(Metric::Throughput, requests as f64 / wall.as_secs_f64());
        sample.insert(Metric::Utilization, cpu.as_secs_f64() / wall.as_secs_f64());
    }
    Some(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(requests: u64, late_ns: f64) -> Slice {
        let (wall, cpu) = (Duration::from_millis(20), Duration::from_millis(19));
        let times = |ns| vec![ns; requests as usize];
        Slice { requests, wall, cpu, response_ns: times(3_000.0), late_ns: times(late_ns), ..Slice::default() }
    }

    #[test]
    fn everybody_has_a_turn_in_each_cycle_and_no_place_of_his_own() {
        let orders = orders(32, 13, 7);
        for pair in orders.chunks(2) {
            let mut sorted = pair[0].clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..13).collect::<Vec<_>>());
            let places = pair[0].iter().zip(pair[1].iter().rev());
            assert!(places.into_iter().all(|(one, other)| one == other));
        }
        assert_eq!(orders, super::orders(32, 13, 7));
        assert_ne!(orders, super::orders(32, 13, 8));
        let firsts: std::collections::BTreeSet<_> = orders.iter().map(|order| order[0]).collect();
        assert!(firsts.len() > 6, "{firsts:?}");
        assert_eq!(super::orders(3, 1, 0), [[0], [0], [0]]);
    }

    #[test]
    fn a_slice_is_spoiled_by_the_machine_alone() {
        let fine = slice(2_000, 1_000.0);
        let late = |requests: usize| {
            let mut late = fine.clone();
            late.late_ns[..requests].fill(5e6);
            late
        };
        let paused = |pause_ns| Slice { pause_ns, ..fine.clone() };
        let waited = |us| Slice { waited: Duration::from_micros(us), ..fine.clone() };
        let is_spoiled = |slice: &Slice| [Load::EchoFull, Load::EchoHalf].map(|load| slice.is_spoiled(load));
        for slice in [&fine, &late(2), &paused(1.9e5), &waited(390)] {
            assert_eq!(is_spoiled(slice), [false; 2], "{slice:?}");
        }
        assert_eq!(is_spoiled(&paused(2.1e5)), [false, true]);
        for slice in [&late(3), &paused(2e6), &waited(410)] {
            assert_eq!(is_spoiled(slice), [true; 2]);
        }
        // However slow the service is.
        assert!(!Slice { response_ns: vec![1e9; 2_000], ..fine }.is_spoiled(Load::EchoHalf));
    }

    #[test]
    fn a_spoiled_slice_is_tried_again() {
        let pauses = |pauses: &'static [f64]| {
            let mut pauses = pauses.iter().map(|pause_ns| Slice { pause_ns: *pause_ns, ..slice(10, 0.0) });
            let tried = first_unspoiled(3, Load::EchoHalf, || pauses.next().ok_or("no more"));
            tried.map(|(slice, tries)| (slice.map(|slice| slice.pause_ns), tries))
        };
        assert_eq!(pauses(&[1.0]), Ok((Some(1.0), 1)));
        assert_eq!(pauses(&[1e9, 1e9, 2.0]), Ok((Some(2.0), 3)));
        assert_eq!(pauses(&[1e9, 1e9, 1e9, 2.0]), Ok((None, 3)));
        assert_eq!(pauses(&[1e9]), Err("no more"));
    }

    #[test]
    fn what_is_left_out_is_made_up_for_up_to_as_much_again() {
        let cut = Cut { cycles: 3, slice: Duration::ZERO };
        assert!(goes_on(cut, 0, 0) && goes_on(cut, 2, 2));
        assert!(!goes_on(cut, 3, 0) && !goes_on(cut, 2, 3));
    }

    #[test]
    fn slices_are_summed_or_pooled() {
        let (one, mut two) = (slice(1_000, 0.0), slice(3_000, 2_000.0));
        two.response_ns[..40].fill(9_000.0);
        let full = pool(Load::EchoFull, &[one.clone(), two.clone()]).unwrap();
        assert_eq!((full[&Metric::Throughput], full[&Metric::RequestCpu]), (100_000.0, 9_500.0));
        assert_eq!(full[&Metric::Utilization], 0.95);
        let half = pool(Load::EchoHalf, &[one, two]).unwrap();
        // 40 of 4,000: the 99th percentile is just below them.
        assert!(half[&Metric::P99] < 4.0 && half[&Metric::P999] == 9.0, "{half:?}");
        assert_eq!(half[&Metric::Lateness], 2.0);
        assert_eq!(pool(Load::EchoFull, &[]), None);
    }
}
