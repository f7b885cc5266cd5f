//! What snapshots have, as metrics of the facade `metrics`: see [`ProbeBuilder::metrics`](crate::ProbeBuilder::metrics).

use std::time::{Duration, Instant};

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram as facade_histogram,
};
use pollscope_base::Distribution;

use crate::prometheus::{
    Exposition, INFO_HELP, POOL, STALLS_OPEN, counters, counting_gauges, gauges, histograms, info,
};
use crate::snapshot::Snapshot;

/// What is told of every spawn site. The facade's counters are whole numbers, and so in nanoseconds.
const SITES: [(&str, &str); 3] = [
    ("site_polls_total", "Polls by spawn site."),
    ("site_slow_polls_total", "Slow polls by spawn site."),
    ("site_poll_nanoseconds_total", "Time in polls by spawn site."),
];

/// How often a recorder is told.
const EVERY: Duration = Duration::from_secs(1);

/// What a recorder was told of one probe.
#[derive(Debug)]
pub(crate) struct Facade {
    told_at: Option<Instant>,
    /// What was in the histograms by then.
    before: Option<Snapshot>,
    exposition: Exposition,
}

impl Facade {
    /// A recorder that was told nothing yet.
    pub(crate) fn new() -> Facade {
        Facade { told_at: None, before: None, exposition: Exposition::default() }
    }

    /// Whether it is time to tell the recorder.
    pub(crate) fn is_due(&self) -> bool {
        self.told_at.is_none_or(|at| at.elapsed() >= EVERY)
    }

    /// Tells the process's recorder what is new.
    pub(crate) fn tell(&mut self, snapshot: Snapshot) {
        if self.before.is_none() {
            describe(&snapshot);
        }
        let before = self.before.as_ref();
        let told = before.into_iter().flat_map(histograms).map(|(name, _, distribution)| (name, distribution));
        let told: Vec<(&str, &Distribution)> = told.collect();
        for (name, _, distribution) in histograms(&snapshot) {
            match told.iter().find(|(known, _)| *known == name) {
                Some((_, before)) => record(name, &distribution.since(before)),
                None => record(name, distribution),
            }
        }
        gauges(&snapshot).for_each(|(name, _, time)| gauge!(full(name)).set(time.as_secs_f64()));
        counting_gauges(&snapshot).for_each(|(name, _, count)| gauge!(full(name)).set(count as f64));
        counters(&snapshot).for_each(|(name, _, count)| counter!(full(name)).absolute(count));
        for (site, row) in self.exposition.rows(&snapshot) {
            for ((name, _), count) in SITES.iter().zip([row.polls, row.slow, row.ns]) {
                counter!(full(name), "site" => site.clone()).absolute(count);
            }
        }
        let [(_, version), (_, clock), (_, source)] = info(&snapshot);
        gauge!(full("info"), "version" => version, "clock" => clock, "source" => source).set(1.0);
        self.before = Some(snapshot);
        self.told_at = Some(Instant::now());
    }
}

/// A metric's name with its prefix.
fn full(name: &str) -> String {
    format!("pollscope_{name}")
}

fn describe(snapshot: &Snapshot) {
    histograms(snapshot).for_each(|(name, help, _)| describe_histogram!(full(name), Unit::Seconds, help));
    gauges(snapshot).for_each(|(name, help, _)| describe_gauge!(full(name), Unit::Seconds, help));
    let (name, help, _) = STALLS_OPEN;
    describe_gauge!(full(name), Unit::Count, help);
    POOL.into_iter().for_each(|(name, help, _)| describe_gauge!(full(name), Unit::Count, help));
    counters(snapshot).for_each(|(name, help, _)| describe_counter!(full(name), Unit::Count, help));
    for (name, help) in SITES {
        let unit = if name.contains("nanoseconds") { Unit::Nanoseconds } else { Unit::Count };
        describe_counter!(full(name), unit, help);
    }
    describe_gauge!(full("info"), Unit::Count, INFO_HELP);
}

/// Each value as the highest of its bucket, as in quantiles.
fn record(name: &str, new: &Distribution) {
    let histogram = facade_histogram!(full(name));
    for bucket in &new.buckets {
        let count = usize::try_from(bucket.count).unwrap_or(usize::MAX);
        histogram.record_many(Duration::from_nanos(bucket.high_ns), count);
    }
}
