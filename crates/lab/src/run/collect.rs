//! Looks at the probe, the lag witness and Tokio's own metrics at intervals, from outside the loop.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pollscope_probe::internal::queued_on_workers;
use pollscope_probe::{Distribution, Probe, Snapshot, interval_of};
use tokio::runtime::{Handle, RuntimeMetrics};
use tokio_metrics::RuntimeMonitor;

use super::Progress;
use crate::witness::lag::Lag;
use pollscope_record::recording::{Dist, Interval, Queued};

type Metrics = Box<dyn Iterator<Item = tokio_metrics::RuntimeMetrics>>;

/// Collects a run's intervals.
pub(super) struct Collector {
    every: Duration,
    origin: Instant,
    next: Duration,
    probe: Probe,
    last: Snapshot,
    lag: Option<(Lag, Distribution)>,
    metrics: Option<Metrics>,
    queues: Option<RuntimeMetrics>,
    /// When the interval that is being taken began.
    queued: Option<Queued>,
    totals: Totals,
    intervals: Vec<Interval>,
}

/// What was collected.
pub(super) struct Collected {
    /// Everything up to the last interval's end: what the intervals add up to.
    pub(super) snapshot: Snapshot,
    pub(super) intervals: Vec<Interval>,
    pub(super) lag: Option<Dist>,
    pub(super) lag_raw: Option<Dist>,
    pub(super) runtime_metrics: Option<BTreeMap<String, f64>>,
}

/// Sums and extremes of tokio-metrics' intervals.
#[derive(Debug, Default)]
struct Totals {
    workers: u64,
    parks: u64,
    busy: Duration,
    elapsed: Duration,
    most_live_tasks: u64,
    deepest_global_queue: u64,
}

impl Collector {
    pub(super) fn new(every: Duration, origin: Instant, probe: Probe, lag: Option<Lag>) -> Collector {
        let last = probe.snapshot();
        let lag = lag.map(|lag| {
            let read = lag.corrected.read();
            (lag, read)
        });
        Collector {
            every,
            origin,
            next: every,
            probe,
            last,
            lag,
            metrics: None,
            queues: None,
            queued: None,
            totals: Totals::default(),
            intervals: Vec::new(),
        }
    }

    /// Begins to ask the runtime for its metrics.
    pub(super) fn watch(&mut self, runtime: &Handle) {
        self.metrics = Some(Box::new(RuntimeMonitor::new(runtime).intervals()));
        self.queues = Some(runtime.metrics());
    }

    /// Takes an interval when one is over.
    pub(super) fn tick(&mut self) -> Progress {
        let elapsed = self.origin.elapsed();
        if elapsed >= self.next {
            self.take();
            // A late tick makes a longer interval, not several empty ones.
            self.next = elapsed + self.every;
        }
        Progress { elapsed, slow_polls: self.last.slow_polls_total }
    }

    fn take(&mut self) {
        let snapshot = self.probe.snapshot();
        let lag = self.lag.as_mut().map(|(lag, last)| {
            let read = lag.corrected.read();
            let since = Dist::from(&read.since(last));
            *last = read;
            since
        });
        let queued = self
            .queues
            .as_ref()
            .map(|queues| Queued { global: queues.global_queue_depth() as u64, local: queued_on_workers(queues) });
        let queued = std::mem::replace(&mut self.queued, queued);
        self.intervals.push(Interval { lag, queued, pool: None, ..interval_of(&self.last, &snapshot) });
        self.last = snapshot;
        if let Some(metrics) = self.metrics.as_mut().and_then(Iterator::next) {
            self.totals.add(&metrics);
        }
    }

    /// The last interval, and everything before it.
    pub(super) fn end(mut self) -> Collected {
        self.take();
        let read = |reader: fn(&Lag) -> Distribution| self.lag.as_ref().map(|(lag, _)| Dist::from(&reader(lag)));
        Collected {
            lag: read(|lag| lag.corrected.read()),
            lag_raw: read(|lag| lag.raw.read()),
            runtime_metrics: self.metrics.is_some().then(|| self.totals.by_name()),
            intervals: self.intervals,
            snapshot: self.last,
        }
    }
}

impl Totals {
    fn add(&mut self, metrics: &tokio_metrics::RuntimeMetrics) {
        self.workers = metrics.workers_count as u64;
        self.parks += metrics.total_park_count;
        self.busy += metrics.total_busy_duration;
        self.elapsed += metrics.elapsed;
        self.most_live_tasks = self.most_live_tasks.max(metrics.live_tasks_count as u64);
        self.deepest_global_queue = self.deepest_global_queue.max(metrics.global_queue_depth as u64);
    }

    fn by_name(&self) -> BTreeMap<String, f64> {
        let values = [
            ("workers_count", self.workers as f64),
            ("total_park_count", self.parks as f64),
            ("total_busy_duration_ns", self.busy.as_nanos() as f64),
            ("elapsed_ns", self.elapsed.as_nanos() as f64),
            ("live_tasks_count_max", self.most_live_tasks as f64),
            ("global_queue_depth_max", self.deepest_global_queue as f64),
        ];
        values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
