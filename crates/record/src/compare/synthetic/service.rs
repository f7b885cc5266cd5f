//! Made-up recordings of a service, second by second: a load that comes and goes, with bursts; a machine that is slower at times; and
//! starts of one build that differ.

use std::sync::LazyLock;

use super::Machine;
use crate::recording::{Completeness, Dist, Ended, Interval, Run, Subject, Target};

/// A build of a service under some load.
#[derive(Debug, Clone, Copy)]
pub struct Build {
    /// Polls a second, in the middle.
    pub polls_per_s: f64,
    /// The middle poll, in nanoseconds.
    pub poll_ns: f64,
    /// Slow polls of 120 ms a second, in the middle: they come with the load.
    pub blocks_per_s: f64,
}

impl Build {
    /// One that blocks nothing.
    pub const SOUND: Build = Build { polls_per_s: 300.0, poll_ns: 40e3, blocks_per_s: 0.0 };
    /// One of which a request now and then blocks its worker.
    pub const BLOCKS: Build = Build { blocks_per_s: 1.0, ..Build::SOUND };
}

/// How much of a second's load, and of its slowness, the next one has as well.
const INHERITED: f64 = 0.7;
/// What comes new with each second: the load then varies by 17 %, the slowness by 14 %.
const FRESH_LOAD: f64 = 0.12;
const FRESH_SLOWNESS: f64 = 0.10;
/// Bursts: how often one begins in a second, how likely it goes on, and how many times the load it is.
const BEGINS: f64 = 0.05;
const GOES_ON: f64 = 0.6;
const BURST: f64 = 2.5;
/// How much starts of one build differ in everything.
const STARTS: f64 = 0.04;
/// How often something else stops the loop in a second, and how many polls that makes slow.
const HICCUPS: f64 = 0.01;
const HICCUP_POLLS: u64 = 3;

/// A thousand log-normal durations, as parts of the middle one: drawn from, which is far cheaper than to make each.
static SHAPE: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut machine = Machine::new(0);
    (0..1_000).map(|_| (0.9 * machine.normal()).exp()).collect()
});

/// Waits of tasks that are told of a second.
const WAITS: usize = 50;

const SECOND_NS: u64 = 1_000_000_000;

impl Machine {
    /// A recording of a build, of so many seconds, of which the first three are cold and the first and the last without load.
    pub fn service(&mut self, build: Build, seconds: u64) -> Run {
        let target = Target { name: "shop".to_owned(), ..Target::default() };
        let start = STARTS * self.normal();
        let mut run = Run {
            elapsed_ns: seconds * SECOND_NS,
            ended: Ended::Done,
            slow_polls_are: Completeness::All,
            slow_poll_threshold_ns: 100_000_000,
            ..Run::unknown("shop", Subject::Service(target), "2026-11-30T01:00:00Z")
        };
        let (mut load, mut slowness, mut is_burst) = (0.0, 0.0, false);
        let mut waits = Dist::empty(3);
        for second in 0..seconds {
            load = INHERITED * load + FRESH_LOAD * self.normal();
            slowness = INHERITED * slowness + FRESH_SLOWNESS * self.normal();
            is_burst = self.random.f64() < if is_burst { GOES_ON } else { BEGINS };
            let is_idle = second == 0 || second + 1 == seconds;
            let cold = if second < 3 { 0.7 } else { 0.0 };
            let burst = if is_burst { BURST } else { 1.0 };
            let idle = if is_idle { 0.01 } else { 1.0 };
            let rate = f64::exp(load) * burst * idle;
            // Tasks hold each other up.
            let level = build.poll_ns.ln() + start + slowness + cold + 0.3 * burst.ln();
            let interval = self.second(second, build, rate, level);
            (0..WAITS).for_each(|_| waits.record(self.one(level.exp())));
            run.slow_polls_total += interval.slow.unwrap_or(0);
            run.intervals.push(interval);
        }
        run.schedule_latency = Some(waits);
        run.loop_busy_ns = run.intervals.iter().map(|interval| interval.busy_ns).sum();
        run
    }

    /// A second in which the load is `rate` of what it is in the middle, and polls are at `level`, as a logarithm.
    fn second(&mut self, second: u64, build: Build, rate: f64, level: f64) -> Interval {
        let count = self.about(build.polls_per_s * rate);
        let scale = level.exp();
        let mut values: Vec<u64> = (0..count).map(|_| self.one(scale)).collect();
        let mut slow = self.about(build.blocks_per_s * rate);
        if self.random.f64() < HICCUPS {
            slow += HICCUP_POLLS;
        }
        values.extend((0..slow).map(|_| (120e6_f64.ln() + 0.02 * self.normal()).exp() as u64));
        values.sort_unstable();
        let mut polls = Dist::empty(3);
        values.into_iter().for_each(|ns| polls.record(ns.max(1)));
        Interval {
            start_ns: second * SECOND_NS,
            busy_ns: Some(polls.sum_ns),
            polls: Some(polls),
            lag: None,
            longest_stretch_ns: None,
            queued: None,
            pool: None,
            slow: Some(slow),
        }
    }

    /// A duration of which the middle one is that, in nanoseconds.
    fn one(&mut self, middle_ns: f64) -> u64 {
        (middle_ns * SHAPE[self.random.usize(..SHAPE.len())]) as u64
    }

    /// How often what happens independently, and so often in the middle, happens (Poisson; Knuth's way for few, the normal for many).
    fn about(&mut self, middle: f64) -> u64 {
        if middle > 50.0 {
            return (middle + middle.sqrt() * self.normal()).max(0.0).round() as u64;
        }
        let (end, mut product, mut count) = (f64::exp(-middle), self.random.f64(), 0);
        while product > end {
            product *= self.random.f64();
            count += 1;
        }
        count
    }
}
