//! Made-up rounds with the noise of real ones: log-normal latencies, a level of its own for each run and metric, and a drift of
//! the machine that one run inherits from the one before.

mod service;

use std::sync::LazyLock;

use crate::fixture;
use crate::recording::{Dist, Run, SlowPoll};

pub use service::Build;

/// A machine on which runs are made one after the other.
pub struct Machine {
    random: fastrand::Rng,
    /// How slow it is at the moment, as a logarithm.
    slowness: f64,
    /// The part of that which comes and goes.
    drift: f64,
    /// What each run adds to that for good.
    heating: f64,
    heat: f64,
    /// What the first round has more of, until it was made.
    cold: f64,
}

/// What all rounds have in common; the sites are nothing that is compared.
static BASE: LazyLock<Run> = LazyLock::new(|| Run { sites: Some(Vec::new()), ..fixture::run("naive") });

/// How much of its slowness a run passes on.
const INHERITED: f64 = 0.6;
/// What comes new with each run; the slowness then varies by 6 %.
const FRESH: f64 = 0.05;
/// How much runs differ in a tail, beyond the machine's slowness.
const TAILS: f64 = 0.10;

impl Machine {
    /// A machine whose noise comes from that seed.
    pub fn new(seed: u64) -> Machine {
        Machine {
            random: fastrand::Rng::with_seed(seed),
            slowness: 0.0,
            drift: 0.0,
            heating: 0.0,
            heat: 0.0,
            cold: 0.0,
        }
    }

    /// Gets slower by this with each run, as a logarithm.
    pub fn heating_up(self, heating: f64) -> Machine {
        Machine { heating, ..self }
    }

    /// Is so many times slower in the first round.
    pub fn cold_at_first(self, times: f64) -> Machine {
        Machine { cold: times.ln(), ..self }
    }

    /// A value of the standard normal distribution (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.random.f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.random.f64()).cos()
    }

    fn latencies(&mut self, digits: u8, count: usize, middle_ns: f64, sigma: f64) -> Dist {
        let level = middle_ns.ln() + self.slowness + TAILS * self.normal();
        let mut values: Vec<u64> = (0..count).map(|_| (level + sigma * self.normal()).exp() as u64).collect();
        values.sort_unstable();
        let mut dist = Dist::empty(digits);
        values.into_iter().for_each(|ns| dist.record(ns.max(1)));
        dist
    }

    /// One run of a mode; `naive` blocks the loop for about 200 ms at a time.
    pub fn run(&mut self, base: &Run, round: u32) -> Run {
        self.drift = INHERITED * self.drift + FRESH * self.normal();
        self.heat += self.heating;
        self.slowness = self.drift + self.heat + self.cold;
        let mut run = base.clone();
        fixture::subject(&mut run).round = round;
        let mut stalls = Vec::new();
        if run.group == "naive" {
            for _ in 0..5 + self.random.u64(..3) {
                stalls.push(((2e8f64).ln() + 0.1 * self.normal()).exp() as u64);
            }
        }
        let wait =
            |dist: &mut Dist| stalls.iter().for_each(|&ns| (1..=10).for_each(|part| dist.record(ns * part / 10)));
        let mut polls = self.latencies(3, 1_000, 6e3, 0.8);
        stalls.iter().for_each(|&ns| polls.record(ns));
        for (dist, middle_ns) in [(&mut run.response_time, 2e5), (&mut run.lag, 1e6), (&mut run.schedule_latency, 8e3)]
        {
            let mut made = self.latencies(3, 300, middle_ns, 0.4);
            wait(&mut made);
            *dist = Some(made);
        }
        run.write_latency = Some(self.latencies(3, 300, 4e6, 0.9));
        run.slow_polls_total = stalls.len() as u64;
        let listed = |(id, &duration_ns)| SlowPoll { id, duration_ns, ..SlowPoll::default() };
        run.slow_polls = (1..).zip(&stalls).map(listed).collect();
        run.loop_busy_ns = Some(polls.sum_ns);
        run.polls = Some(polls);
        run.elapsed_ns = (3e9 * (0.2 * self.slowness + 0.005 * self.normal()).exp()) as u64;
        run.cpu_user_ns = Some((2e8 * (0.5 * self.slowness + 0.03 * self.normal()).exp()) as u64);
        run.context_switches_voluntary = Some((9e3 * (0.05 * self.normal()).exp()) as u64);
        run.throughput_bytes_per_s = Some((2e6 * (-0.2 * self.slowness + 0.01 * self.normal()).exp()) as u64);
        run
    }

    /// Rounds of these modes, by turns.
    pub fn rounds(&mut self, modes: &[&str], rounds: u32) -> Vec<Run> {
        let bases: Vec<Run> = modes.iter().map(|mode| Run { group: (*mode).to_owned(), ..BASE.clone() }).collect();
        let mut runs = Vec::new();
        for round in 1..=rounds {
            runs.extend(bases.iter().map(|base| self.run(base, round)));
            self.cold = 0.0;
        }
        runs
    }
}
