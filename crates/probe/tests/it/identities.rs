//! What is told in several ways agrees: log, histogram, list and sites; and the parts with the whole.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use pollscope_probe::{Probe, ProbeBuilder, Snapshot};
use tokio::runtime::Runtime;
use tokio::task::yield_now;

use crate::support::{LONG, Numbers, current_thread, multi_thread, spawn, spin};

const THRESHOLD: Duration = Duration::from_micros(40);

fn impatient() -> ProbeBuilder {
    Probe::builder().slow_poll_threshold(THRESHOLD).keep_slow_polls(500).log_to(io::sink())
}

/// Tasks of several sites, two of them on one line, whose polls are short or slow as the numbers fall.
async fn random_work(probe: &Probe, seed: u64) {
    async fn work(seed: u64) {
        let mut numbers = Numbers(seed);
        for _ in 0..100 {
            spin(numbers.below(10).saturating_sub(6) * 20);
            yield_now().await;
        }
    }
    let mut tasks = Vec::new();
    for n in 0..10 {
        let seed = seed * 1_000 + n * 10;
        #[rustfmt::skip]
        tasks.extend([spawn(probe, work(seed)), spawn(probe, work(seed + 1))]);
        tasks.push(probe.spawn("named", work(seed + 2)));
        tasks.push(probe.spawn(&format!("task {n}"), work(seed + 3)));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

fn assert_agrees(snapshot: &Snapshot) {
    let sites = |of: fn(&pollscope_probe::Site) -> u64| snapshot.sites.iter().map(of).sum::<u64>();
    assert_eq!(snapshot.polls.count(), sites(|site| site.polls.count()));
    assert_eq!(snapshot.polls.sum_ns, sites(|site| site.polls.sum_ns));
    let total = snapshot.slow_polls_total;
    assert_eq!(total, sites(|site| site.slow));
    assert_eq!(total, snapshot.slow_polls.len() as u64 + snapshot.slow_polls_dropped);
    assert_eq!(total, snapshot.lines.printed + snapshot.lines.suppressed);
    let threshold = snapshot.slow_poll_threshold;
    let is_surely = |low_ns| Duration::from_nanos(low_ns) >= threshold;
    let surely: u64 = snapshot.polls.buckets.iter().filter(|b| is_surely(b.low_ns)).map(|b| b.count).sum();
    assert!(surely <= total && total <= snapshot.polls.count_from(threshold), "{surely} {total}");
    assert!(snapshot.slow_polls.iter().all(|poll| poll.duration >= threshold));
    assert!(snapshot.slow_polls.iter().zip(1..).all(|(poll, id)| poll.id == id));
}

fn check_random_work(start: impl Fn() -> (Runtime, Probe)) {
    for seed in 0..3 {
        let (runtime, probe) = start();
        runtime.block_on(probe.watch(random_work(&probe, seed)));
        drop(runtime);
        assert!(probe.flush(LONG));
        let snapshot = probe.snapshot();
        assert!(snapshot.polls.count() >= 4_000 && snapshot.slow_polls_total > 500, "{}", snapshot.slow_polls_total);
        assert!(snapshot.slow_polls.len() <= 500);
        // Five, and those that were longer than all before: of a thousand in random order, some seven.
        assert!(snapshot.lines.printed <= (5 + 25) * snapshot.sites.len() as u64, "{:?}", snapshot.lines);
        assert_agrees(&snapshot);
    }
}

#[test]
fn all_counts_agree_on_one_thread() {
    check_random_work(|| current_thread(impatient()));
}

#[test]
fn all_counts_agree_on_four_workers() {
    check_random_work(|| multi_thread(4, impatient()));
}

/// One line is one row: a reader knows sites by file and line alone.
#[test]
fn sites_are_told_apart_by_their_lines() {
    let (runtime, probe) = current_thread(impatient());
    runtime.block_on(random_work(&probe, 1));
    drop(runtime);
    let snapshot = probe.snapshot();
    let rows: BTreeMap<_, _> = snapshot.sites.iter().map(|site| (&site.spawned_at, site)).collect();
    assert_eq!((snapshot.sites.len(), rows.len()), (3, 3));
    let names = |name: Option<&str>| snapshot.sites.iter().filter(|site| site.task_name.as_deref() == name).count();
    assert_eq!((names(Some("named")), names(None)), (1, 2), "of tasks with different names, none is the site's");
}

/// What came since, over and over, adds up to the whole.
#[test]
fn intervals_add_up_to_the_whole() {
    let (runtime, probe) = multi_thread(3, impatient());
    let done = AtomicBool::new(false);
    let first = probe.snapshot();
    let mut parts = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for seed in 7..12 {
                runtime.block_on(probe.watch(random_work(&probe, seed)));
            }
            drop(runtime);
            done.store(true, Relaxed);
        });
        let (mut last, mut numbers) = (first.clone(), Numbers(3));
        loop {
            let finished = done.load(Relaxed);
            if finished {
                assert!(probe.flush(LONG));
            }
            let now = probe.snapshot();
            parts.push(now.since(&last));
            last = now;
            if finished {
                break;
            }
            std::thread::sleep(Duration::from_micros(numbers.below(3_000)));
        }
    });
    let whole = probe.snapshot();
    assert!(parts.len() > 2, "{}", parts.len());
    assert_agrees(&whole);
    let sum = |of: fn(&Snapshot) -> u64| assert_eq!(parts.iter().map(of).sum::<u64>(), of(&whole));
    sum(|part| part.polls.count());
    sum(|part| part.polls.sum_ns);
    sum(|part| part.polls.clamped);
    sum(|part| part.slow_polls_total);
    sum(|part| part.slow_polls_dropped);
    sum(|part| part.busy_stretches.count());
    sum(|part| part.busy_stretches.sum_ns);
    sum(|part| part.schedule_latency.as_ref().map_or(0, |latency| latency.count()));
    sum(|part| part.lines.printed);
    sum(|part| part.lines.suppressed);
    // What is found out about a slow poll can come after the part that it is in.
    let ids = |polls: &[pollscope_probe::SlowPoll]| -> Vec<_> {
        polls.iter().map(|poll| (poll.id, poll.task_id, poll.start, poll.duration)).collect()
    };
    let listed: Vec<_> = parts.iter().flat_map(|part| ids(&part.slow_polls)).collect();
    assert_eq!(listed, ids(&whole.slow_polls));
    for site in &whole.sites {
        let same = |part: &Snapshot| part.sites.iter().filter(|s| s.spawned_at == site.spawned_at).cloned().collect();
        let rows: Vec<pollscope_probe::Site> = parts.iter().flat_map(|part| -> Vec<_> { same(part) }).collect();
        assert_eq!(rows.iter().map(|row| row.polls.count()).sum::<u64>(), site.polls.count());
        assert_eq!(rows.iter().map(|row| row.slow).sum::<u64>(), site.slow);
    }
    for part in &parts {
        assert_eq!(part.polls.count() == 0, part.polls.max_ns.is_none());
    }
}

/// Where it was spawned is the caller's line, whichever way the task came to be seen.
#[test]
fn a_task_is_known_by_the_line_that_spawned_it() {
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_nanos(1)));
    let mut lines = Vec::new();
    runtime.block_on(async {
        lines.push(line!() + 1);
        probe.spawn("spawned", async {}).await.unwrap();
        lines.push(line!() + 1);
        spawn(&probe, async {}).await.unwrap();
        lines.push(line!() + 1);
        probe.watch(async {}).await;
    });
    let snapshot = probe.snapshot();
    assert_eq!(snapshot.slow_polls.iter().map(|poll| poll.spawned_at.line()).collect::<Vec<_>>(), lines);
    assert!(snapshot.slow_polls.iter().all(|poll| poll.spawned_at.file() == file!()));
    assert_eq!(snapshot.slow_polls.iter().map(|poll| poll.worker).collect::<Vec<_>>(), [Some(0); 3]);
}
