//! A snapshot in Prometheus' text exposition format, version 0.0.4.
//!
//! A text is made without a float: nanoseconds become decimals digit by digit, so that no sum is rounded and nothing can
//! be `NaN`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};
use std::time::Duration;

use pollscope_base::Distribution;
use pollscope_base::duration::to_ns;
use pollscope_base::escape::escape;

use crate::snapshot::{BlockingPool, Snapshot};

/// The upper bounds of the histograms' buckets, in nanoseconds: 1, 2 and 5 of every decade from 1 us to 10 s.
const BOUNDS_NS: [u64; 22] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Spawn sites that have a label of their own.
const MOST_SITES: usize = 50;
/// The label of the others. No spawn site is called that: each has a colon and a line.
const OTHER: &str = "other";

impl Snapshot {
    /// This snapshot in Prometheus' text exposition format, version 0.0.4, for a service that has a page of metrics already;
    /// [`crate::Probe::serve_prometheus`] is for one that has none.
    ///
    /// | metric | what it is |
    /// |---|---|
    /// | `pollscope_poll_duration_seconds` | histogram: how long polls lasted |
    /// | `pollscope_schedule_latency_seconds` | histogram: wake to poll start; absent where it cannot be seen |
    /// | `pollscope_busy_stretch_seconds` | histogram: a worker's unpark to its next park |
    /// | `pollscope_poll_longest_seconds` | gauge: the longest poll; absent before the first |
    /// | `pollscope_poll_under_way_seconds` | gauge: for how long the oldest poll that is under way has been; 0 when none is |
    /// | `pollscope_stalls_open` | gauge: polls under way that have lasted for at least the threshold |
    /// | `pollscope_slow_poll_threshold_seconds` | gauge: what counts as a slow poll |
    /// | `pollscope_slow_polls_total` | counter: slow polls, each when it ends |
    /// | `pollscope_slow_polls_dropped_total` | counter: those that are listed nowhere, for want of room |
    /// | `pollscope_site_polls_total`, `pollscope_site_slow_polls_total`, `pollscope_site_poll_seconds_total` | counters by spawn site, `site="src/x.rs:12"` |
    /// | `pollscope_lines_written_total`, `pollscope_lines_suppressed_total` | counters: lines of slow polls |
    /// | `pollscope_names_refused_total`, `pollscope_callback_panics_total`, `pollscope_stalls_untold_total` | counters |
    /// | `pollscope_blocking_threads`, `pollscope_blocking_threads_idle`, `pollscope_blocking_queue_depth` | gauges of the blocking pool; absent where it cannot be seen |
    /// | `pollscope_blocking_pool_saturations_total` | counter: how often it was full for at least the threshold; likewise |
    /// | `pollscope_info` | 1, with `version`, `clock` and `source` |
    ///
    /// Counters count since the probe's installation, which is what `rate()` needs: give a whole snapshot, not one of
    /// [`Snapshot::since`].
    ///
    /// The histograms' bounds are always the same, so that those of many processes can be added up: 1, 2 and 5 of every decade
    /// from 1 us to 10 s, and `+Inf`. Their counts are exact sums of the probe's own buckets; one of those that straddles a bound is
    /// counted at the first bound that its highest value does not pass. A value that is less than 0.1% below a bound may
    /// therefore be counted at the next, and none is counted too low.
    ///
    /// However much a service spawns, the text has a bound. At most 50 spawn sites have a label of their own: those with the most slow
    /// polls, and among equals the most time. The rest is `site="other"`. With more sites than that, ranks can change from one snapshot
    /// to the next, and what leaves `other` looks like a restart to Prometheus; a [`crate::MetricsServer`] lets a site keep its label.
    ///
    /// A label is a path as the compiler had it. [`redact_paths`](crate::ProbeBuilder::redact_paths) hides its folders in what the probe
    /// serves itself; here
    /// [`redacted_place`](pollscope_base::redact::redacted_place) can, in [`Snapshot::sites`], before the text is made.
    ///
    /// In a handler, leave the snapshot and its text to `spawn_blocking`, as the example `metrics` does: they add up the histograms of
    /// all threads.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use pollscope_probe::Probe;
    /// let mut runtime = tokio::runtime::Builder::new_current_thread();
    /// let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(5)).install(&mut runtime)?;
    /// runtime.build()?.block_on(probe.watch(async { std::thread::sleep(Duration::from_millis(6)) }));
    ///
    /// let text = probe.snapshot().to_prometheus();
    /// let has = |line: &str| text.lines().any(|l| l == line);
    /// assert!(has("# TYPE pollscope_poll_duration_seconds histogram"));
    /// assert!(has("pollscope_poll_duration_seconds_bucket{le=\"0.005\"} 0"));
    /// assert!(has("pollscope_poll_duration_seconds_bucket{le=\"+Inf\"} 1"));
    /// assert!(has("pollscope_slow_polls_total 1"));
    /// assert!(has("pollscope_slow_poll_threshold_seconds 0.005"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_prometheus(&self) -> String {
        Exposition::default().text(self)
    }
}

/// A metric's name without its prefix, what it is, and its value.
pub(crate) type Metric<T> = (&'static str, &'static str, T);

pub(crate) fn histograms(snapshot: &Snapshot) -> impl Iterator<Item = Metric<&Distribution>> {
    let latency = "How long ready tasks waited for the loop, wake to poll.";
    let busy = "How long workers ran without waiting for events, unpark to park.";
    [
        ("poll_duration_seconds", "How long polls lasted, by their own time.", Some(&snapshot.polls)),
        ("schedule_latency_seconds", latency, snapshot.schedule_latency.as_ref()),
        ("busy_stretch_seconds", busy, Some(&snapshot.busy_stretches)),
    ]
    .into_iter()
    .filter_map(|(name, help, distribution)| Some((name, help, distribution?)))
}

pub(crate) fn gauges(snapshot: &Snapshot) -> impl Iterator<Item = Metric<Duration>> {
    let oldest = snapshot.polling.iter().map(|polling| polling.elapsed).max();
    let under_way = "For how long the oldest poll that is under way has been; 0 when none is.";
    [
        ("poll_longest_seconds", "The longest poll.", snapshot.polls.max()),
        ("poll_under_way_seconds", under_way, Some(oldest.unwrap_or_default())),
        ("slow_poll_threshold_seconds", "From how long on a poll is slow.", Some(snapshot.slow_poll_threshold)),
    ]
    .into_iter()
    .filter_map(|(name, help, time)| Some((name, help, time?)))
}

/// How many stalls go on.
pub(crate) const STALLS_OPEN: Metric<fn(&Snapshot) -> u64> =
    ("stalls_open", "Polls under way that have lasted for at least the threshold.", |snapshot| snapshot.stalls_open);

type OfPool = fn(&BlockingPool) -> u64;

/// What is told of the blocking pool, where it is known.
pub(crate) const POOL: [Metric<OfPool>; 3] = [
    ("blocking_threads", "Threads of the blocking pool, busy or idle.", |pool| pool.threads),
    ("blocking_threads_idle", "Threads of the blocking pool that wait for a closure.", |pool| pool.idle),
    ("blocking_queue_depth", "Closures that wait for a thread of the blocking pool.", |pool| pool.queued),
];

/// The gauges that are no times.
pub(crate) fn counting_gauges(snapshot: &Snapshot) -> impl Iterator<Item = Metric<u64>> {
    let (name, help, stalls_open) = STALLS_OPEN;
    let pool = snapshot.blocking_pool;
    let of_pool = POOL.into_iter().filter_map(move |(name, help, value)| Some((name, help, value(&pool?))));
    [(name, help, stalls_open(snapshot))].into_iter().chain(of_pool)
}

pub(crate) fn counters(snapshot: &Snapshot) -> impl Iterator<Item = Metric<u64>> {
    let saturations = "How often the blocking pool was full for at least the threshold.";
    let saturations = snapshot.pool_saturations.map(|count| ("blocking_pool_saturations_total", saturations, count));
    [
        ("slow_polls_total", "Polls that lasted at least the threshold.", snapshot.slow_polls_total),
        ("slow_polls_dropped_total", "Slow polls listed nowhere, for want of room.", snapshot.slow_polls_dropped),
        ("lines_written_total", "Lines written of slow polls.", snapshot.lines.printed),
        ("lines_suppressed_total", "Lines of slow polls held back or lost.", snapshot.lines.suppressed),
        ("names_refused_total", "Named tasks counted as unnamed, for want of room.", snapshot.names_refused),
        ("callback_panics_total", "Panics of callbacks, caught.", snapshot.callback_panics),
        ("stalls_untold_total", "Stalls that callbacks were not told of, for want of room.", snapshot.stalls_untold),
    ]
    .into_iter()
    .chain(saturations)
}

pub(crate) const INFO_HELP: &str = "What measures, and how: always 1.";

pub(crate) fn info(snapshot: &Snapshot) -> [(&'static str, &'static str); 3] {
    [
        ("version", env!("CARGO_PKG_VERSION")),
        ("clock", snapshot.clock.as_str()),
        ("source", snapshot.coverage.source.as_str()),
    ]
}

/// Texts of one probe after another in time.
///
/// A site that once had a label keeps it: if ranks alone decided, what `other` counts would shrink whenever a site left it, and
/// Prometheus would take that for a restart.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    named: BTreeSet<String>,
}

impl Exposition {
    pub(crate) fn text(&mut self, snapshot: &Snapshot) -> String {
        let mut text = Text::default();
        histograms(snapshot).for_each(|(name, help, distribution)| text.histogram(name, help, distribution));
        gauges(snapshot).for_each(|(name, help, time)| text.gauge(name, help, seconds(to_ns(time))));
        counting_gauges(snapshot).for_each(|(name, help, count)| text.gauge(name, help, count));
        for (name, help, count) in counters(snapshot) {
            text.family(name, "counter", help);
            text.sample(name, &[], count);
        }
        text.sites(&self.rows(snapshot));
        text.family("info", "gauge", INFO_HELP);
        text.sample("info", &info(snapshot), 1);
        text.0
    }

    /// A row for each label, `other` last.
    pub(crate) fn rows(&mut self, snapshot: &Snapshot) -> Vec<(String, Row)> {
        let mut other = None;
        let mut rows: BTreeMap<String, Row> = BTreeMap::new();
        for site in &snapshot.sites {
            let row = match &site.spawned_at {
                Some(place) => rows.entry(escape(place).into_owned()).or_default(),
                None => other.get_or_insert_default(),
            };
            row.add(&Row { polls: site.polls.count(), slow: site.slow, ns: site.polls.sum_ns });
        }
        // What is no longer there was another probe's.
        self.named.retain(|name| rows.contains_key(name));
        let mut unnamed: Vec<(&String, &Row)> = rows.iter().filter(|(name, _)| !self.named.contains(*name)).collect();
        unnamed.sort_by_key(|(_, row)| std::cmp::Reverse((row.slow, row.ns)));
        let room = MOST_SITES - self.named.len();
        let new: Vec<String> = unnamed.into_iter().take(room).map(|(name, _)| name.clone()).collect();
        self.named.extend(new);
        let (mut shown, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(name, _)| self.named.contains(name));
        for (_, row) in rest {
            other.get_or_insert_default().add(&row);
        }
        shown.extend(other.map(|row| (OTHER.to_owned(), row)));
        shown
    }
}

/// What is told of a spawn site.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) polls: u64,
    pub(crate) slow: u64,
    pub(crate) ns: u64,
}

impl Row {
    fn add(&mut self, more: &Row) {
        self.polls += more.polls;
        self.slow += more.slow;
        self.ns = self.ns.saturating_add(more.ns);
    }
}

/// The text so far. Names are given without their prefix.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP pollscope_{name} {help}\n# TYPE pollscope_{name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.put(format_args!("pollscope_{name}"));
        for (index, (label, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            self.put(format_args!("{before}{label}=\"{}\"", label_value(value)));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{after} {value}\n"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, distribution: &Distribution) {
        self.family(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut buckets = distribution.buckets.iter().peekable();
        let mut count = 0;
        for bound in BOUNDS_NS {
            while let Some(next) = buckets.next_if(|bucket| bucket.high_ns <= bound) {
                count += next.count;
            }
            self.sample(&bucket, &[("le", &seconds(bound))], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], distribution.count());
        self.sample(&format!("{name}_sum"), &[], seconds(distribution.sum_ns));
        self.sample(&format!("{name}_count"), &[], distribution.count());
    }

    fn sites(&mut self, rows: &[(String, Row)]) {
        type Value = fn(&Row) -> String;
        let families: [(&str, &str, Value); 3] = [
            ("site_polls_total", "Polls by spawn site.", |row| row.polls.to_string()),
            ("site_slow_polls_total", "Slow polls by spawn site.", |row| row.slow.to_string()),
            ("site_poll_seconds_total", "Time in polls by spawn site.", |row| seconds(row.ns)),
        ];
        for (name, help, value) in families {
            self.family(name, "counter", help);
            for (site, row) in rows {
                self.sample(name, &[("site", site)], value(row));
            }
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes any text");
    }
}

/// As the format wants it: a backslash before a backslash and before a quote, and a newline spelled out.
fn label_value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Nanoseconds as seconds, to the last digit.
fn seconds(ns: u64) -> String {
    let (whole, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    if rest == 0 {
        return whole.to_string();
    }
    format!("{whole}.{rest:09}").trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests;
