//! Metrics of the facade `metrics`, as a recorder hears of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use pollscope_probe::{Probe, TOKIO_UNSTABLE};

use crate::support::{LONG, OnDrop, block, current_thread, spawn, wait_until};

/// Everything that was told: by the name and the labels, how many values, and the last one.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, (usize, f64)>>>);

impl Kept {
    fn at(&self, key: &Key) -> Arc<One> {
        let labels: String = key.labels().map(|label| format!(" {}={}", label.key(), label.value())).collect();
        Arc::new(One { name: format!("{}{labels}", key.name()), kept: self.clone() })
    }

    fn all(&self) -> BTreeMap<String, (usize, f64)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One metric of those.
struct One {
    name: String,
    kept: Kept,
}

impl One {
    fn keep(&self, values: usize, value: f64) {
        let mut all = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(self.name.clone()).or_default();
        *known = (known.0 + values, value);
    }
}

impl CounterFn for One {
    fn increment(&self, _value: u64) {
        panic!("counters are told as they are, not by how much they grew");
    }

    fn absolute(&self, value: u64) {
        self.keep(1, value as f64);
    }
}

impl GaugeFn for One {
    fn increment(&self, _value: f64) {
        panic!("gauges are set");
    }

    fn decrement(&self, _value: f64) {
        panic!("gauges are set");
    }

    fn set(&self, value: f64) {
        self.keep(1, value);
    }
}

impl HistogramFn for One {
    fn record(&self, value: f64) {
        self.keep(1, value);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.keep(count, value);
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.at(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.at(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.at(key))
    }
}

/// A process has one recorder: no other test here asks for metrics.
#[test]
fn a_recorder_hears_of_every_poll_once() {
    let kept = Kept::default();
    metrics::set_global_recorder(kept.clone()).unwrap();
    let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(20)).metrics(true);
    let (runtime, probe) = current_thread(probe);
    for _ in 0..2 {
        runtime.block_on(async { spawn(&probe, async { block(30) }).await.unwrap() });
        assert!(probe.flush(LONG));
    }
    drop(runtime);
    assert!(probe.flush(LONG));
    let (snapshot, told) = (probe.snapshot(), kept.all());
    let last = |name: &str| told.get(name).unwrap_or_else(|| panic!("no {name}: {told:#?}")).1;
    let (polls, longest) = told["pollscope_poll_duration_seconds"];
    assert_eq!(polls as u64, snapshot.polls.count(), "each poll once: {told:#?}");
    assert!(longest >= 0.03, "{longest}");
    assert_eq!(told.contains_key("pollscope_schedule_latency_seconds"), TOKIO_UNSTABLE);
    assert_eq!(last("pollscope_slow_polls_total"), snapshot.slow_polls_total as f64);
    assert_eq!(last("pollscope_poll_longest_seconds"), snapshot.polls.max().unwrap().as_secs_f64());
    assert_eq!(last("pollscope_slow_poll_threshold_seconds"), 0.02);
    let site = snapshot.sites[0].spawned_at.as_deref().unwrap();
    assert_eq!(last(&format!("pollscope_site_slow_polls_total site={site}")), 2.0);
    let ns = last(&format!("pollscope_site_poll_nanoseconds_total site={site}"));
    assert_eq!(ns, snapshot.sites[0].polls.sum_ns as f64);
    // Its names are those of the other pages of metrics.
    let page = snapshot.to_prometheus().replace("site_poll_seconds_total", "site_poll_nanoseconds_total");
    for name in told.keys().filter_map(|name| name.split(' ').next()) {
        assert!(page.contains(&format!("# TYPE {name} ")), "{name}: {page}");
    }
    drop(probe);
    a_stall_is_told_while_it_goes_on(&kept);
}

fn a_stall_is_told_while_it_goes_on(kept: &Kept) {
    let (runtime, probe) =
        current_thread(Probe::builder().slow_poll_threshold(Duration::from_millis(20)).metrics(true));
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let (runtime, probe) = (&runtime, &probe);
    std::thread::scope(|scope| {
        let _lets_go = OnDrop(|| _ = stop.send(()));
        scope.spawn(move || runtime.block_on(probe.watch(async move { _ = stopped.recv() })));
        wait_until("no stall", || probe.snapshot().stalls_open == 1);
        assert!(probe.flush(LONG));
        assert_eq!(kept.all()["pollscope_stalls_open"].1, 1.0);
    });
    assert!(probe.flush(LONG));
    assert_eq!((kept.all()["pollscope_stalls_open"].1, kept.all()["pollscope_slow_polls_total"].1), (0.0, 1.0));
}
