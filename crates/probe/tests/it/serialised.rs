//! Snapshots as JSON, with the feature `serde`.

use std::time::Duration;

use pollscope_probe::{Distribution, Evidence, Probe, Site};
use serde_json::{Value, from_value, to_value};

use crate::support::{block, current_thread, slow_polls, spawn};

#[test]
fn a_snapshot_is_written_and_its_parts_are_read_back() {
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_millis(20)));
    runtime.block_on(async { spawn(&probe, async { block(30) }).await.unwrap() });
    drop(runtime);
    slow_polls(&probe);
    let snapshot = probe.snapshot();
    let json = to_value(&snapshot).unwrap();
    let slow = &snapshot.slow_polls[0];
    let place = format!("{}:{}", slow.spawned_at.file(), slow.spawned_at.line());
    assert_eq!(json["slow_polls"][0]["spawned_at"], Value::from(place));
    assert_eq!(json["clock"], Value::from(snapshot.clock.as_str()));
    assert_eq!(json["coverage"]["source"], Value::from(snapshot.coverage.source.as_str()));
    let duration: Duration = from_value(json["slow_polls"][0]["duration"].clone()).unwrap();
    assert_eq!(duration, slow.duration);
    let evidence: Evidence = from_value(json["slow_polls"][0]["evidence"].clone()).unwrap();
    assert_eq!(evidence, slow.evidence);
    let polls: Distribution = from_value(json["polls"].clone()).unwrap();
    assert_eq!(polls, snapshot.polls);
    let sites: Vec<Site> = from_value(json["sites"].clone()).unwrap();
    assert_eq!(sites, snapshot.sites);
}
