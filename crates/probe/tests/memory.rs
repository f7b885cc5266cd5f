//! What the probe keeps in memory: as much as is published, and no more of it with time. Counted in bytes by an allocator, over
//! all threads, which a resident size cannot show.

#[path = "memory/heap.rs"]
mod heap;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use heap::live_bytes;
use pollscope_probe::{Probe, ProbeBuilder, TOKIO_UNSTABLE};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, yield_now};

/// Longer than anything here lasts: a test that waits this long has failed.
const LONG: Duration = Duration::from_secs(60);
/// Slow polls that a thread's ring has room for, those that wait for a callback, and those that are listed unless told otherwise.
const RING: u64 = 256;
const QUEUE: u64 = 4_096;
const LISTED: u64 = 1_024;
/// What the process keeps once it has done something for the first time.
const LEFT: i64 = 500_000;
/// Spawn sites that a thread tells apart.
const SITES: u64 = 256;

/// Bytes allocated and not freed. The probe's own threads allocate for a moment when they look: the least of many readings.
fn live() -> i64 {
    let reading = |_| {
        thread::sleep(Duration::from_micros(200));
        live_bytes()
    };
    (0..25).map(reading).min().unwrap()
}

/// Waits until no more is allocated than that; what is in the end. The threads of a dropped probe end when they can.
fn live_once_at_most(bytes: i64) -> i64 {
    let start = Instant::now();
    loop {
        let live = live();
        if live <= bytes || start.elapsed() > LONG {
            return live;
        }
    }
}

/// What is allocated once the threads of dropped probes are gone, as far as can be told: it stays the same for a while.
fn settled() -> i64 {
    let mut last = live();
    let mut same = 0;
    while same < 20 {
        let now = live();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}

/// Nothing is slow.
fn patient() -> ProbeBuilder {
    unwatched().slow_poll_threshold(LONG)
}

/// Everything is slow.
fn strict() -> ProbeBuilder {
    unwatched().slow_poll_threshold(Duration::from_nanos(1))
}

/// Without looks at threads: what they cost is not the same twice.
fn unwatched() -> ProbeBuilder {
    let probe = Probe::builder();
    #[cfg(feature = "capture")]
    let probe = probe.capture(false);
    probe
}

fn install(mut builder: Builder, probe: ProbeBuilder) -> (Runtime, Probe) {
    let probe = probe.install(&mut builder).unwrap();
    // Its thread runs, and has what it takes to.
    assert!(probe.flush(LONG));
    (builder.build().unwrap(), probe)
}

fn current_thread(probe: ProbeBuilder) -> (Runtime, Probe) {
    install(Builder::new_current_thread(), probe)
}

/// With one worker, which has every site after the warm-up.
fn multi_thread(probe: ProbeBuilder) -> (Runtime, Probe) {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1);
    install(builder, probe)
}

#[track_caller]
fn spawn<F>(probe: &Probe, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if TOKIO_UNSTABLE { tokio::spawn(future) } else { tokio::spawn(probe.watch(future)) }
}

async fn polls(probe: &Probe, count: u64) {
    let task = async move {
        for _ in 1..count {
            yield_now().await;
        }
    };
    spawn(probe, task).await.unwrap();
}

async fn tasks(probe: &Probe, count: u64) {
    for _ in 0..count {
        spawn(probe, async {}).await.unwrap();
    }
}

/// What is published in the README of the crate, in bytes, and held here. A thread's first figure is without its sites.
const PROBE: i64 = 314_000;
const THREAD: i64 = 96_000;
/// Once for a probe, and what comes on top of it on each thread.
const SITE: i64 = 32_100;
const SITE_OF_THREAD: i64 = 4_700;
const SLOW_POLL: i64 = 760;
#[cfg(feature = "capture")]
const STACK: i64 = 64 << 10;
const NAMES: i64 = 2_600_000;
const WAITING: i64 = 2_900_000;

/// One test, as what another one allocated meanwhile, or the harness between two, would be counted.
#[test]
fn the_probe_keeps_what_is_published_and_no_more_with_time() {
    let parts: [(&str, fn()); 10] = [
        ("a probe a thread and a site take what is published", a_probe_a_thread_and_a_site_take_what_is_published),
        ("polls and tasks take nothing", polls_and_tasks_take_nothing),
        (
            "slow polls without end are listed up to a number and counted",
            slow_polls_without_end_are_listed_up_to_a_number_and_counted,
        ),
        ("what finds no room in the ring is counted", what_finds_no_room_in_the_ring_is_counted),
        (
            "what finds no room before a callback that blocks is counted",
            what_finds_no_room_before_a_callback_that_blocks_is_counted,
        ),
        (
            "a slow poll with its stack takes no more than is published",
            a_slow_poll_with_its_stack_takes_no_more_than_is_published,
        ),
        ("names beyond the table are refused and counted", names_beyond_the_table_are_refused_and_counted),
        ("threads that come and go take nothing", threads_that_come_and_go_take_nothing),
        ("one runtime after another takes nothing", one_runtime_after_another_takes_nothing),
        ("the figures are the published ones", the_figures_are_the_published_ones),
    ];
    let before = settled();
    for (what, part) in parts {
        eprintln!("{what}");
        part();
        // The threads of its probes end when they can, and what they had is given back then.
        assert!(live_once_at_most(before + LEFT) <= before + LEFT, "{what}: {} bytes were left", live() - before);
    }
}

fn the_figures_are_the_published_ones() {
    let readme = include_str!("../README.md");
    let (kb, mb) =
        (|bytes: i64| format!("{:.1} kB", bytes as f64 / 1e3), |bytes: i64| format!("{:.1} MB", bytes as f64 / 1e6));
    for (what, size) in [
        ("the probe", kb(PROBE)),
        ("a thread that polls", kb(THREAD)),
        ("a spawn site", kb(SITE)),
        ("a spawn site, on each thread that polls its tasks", kb(SITE_OF_THREAD)),
        ("a slow poll that is listed", kb(SLOW_POLL)),
        ("all names", mb(NAMES)),
        ("slow polls that wait for a callback", mb(WAITING)),
    ] {
        let row = format!("| {what} | {size} |");
        assert!(readme.contains(&row), "not in the README: {row}");
    }
}

type Boxed = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A future of the caller's place.
#[track_caller]
fn at(probe: &Probe) -> Boxed {
    Box::pin(probe.watch(std::future::ready(())))
}

/// Futures of 320 places: more than a thread tells apart. A macro's would all be of one.
#[rustfmt::skip]
fn of_many_places(p: &Probe) -> [Boxed; 320] { [
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
    at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p), at(p),
] }

/// Whether what was measured is within what is published, and that not far from it. It prints nothing: what tests print is kept in
/// memory.
fn assert_published(what: &str, measured: i64, published: i64) {
    assert!(measured <= published && measured > published / 2, "{what}: {measured} bytes, published {published}");
}

fn a_probe_a_thread_and_a_site_take_what_is_published() {
    let runtime = || current_thread(patient());
    // What the process and this thread make once, such as the clock's scale.
    {
        let (runtime, probe) = runtime();
        runtime.block_on(at(&probe));
    }
    let before = live();
    let (bare, _) = (Builder::new_current_thread().build().unwrap(), ());
    let of_runtime = live() - before;
    drop(bare);
    let (runtime, probe) = runtime();
    let installed = live();
    assert_published("the probe", installed - before - of_runtime, PROBE);
    let mut futures = of_many_places(&probe);
    let mut next_futures = futures.iter_mut();
    let made = live();
    let mut next = || runtime.block_on(next_futures.next().unwrap());
    next();
    let first = live() - made;
    next();
    let site = live() - made - first;
    // The same two on another thread, which are known by then.
    let elsewhere = || {
        let mut futures = of_many_places(&probe);
        let [first, second, ..] = &mut futures;
        runtime.block_on(first);
        let before = live();
        runtime.block_on(second);
        live() - before
    };
    let site_of_thread = thread::scope(|scope| scope.spawn(elsewhere).join().unwrap());
    assert_published("a site on each thread", site_of_thread, SITE_OF_THREAD);
    assert_published("a site", site - site_of_thread, SITE);
    assert_published("a thread", first - site, THREAD);
    let made = live() - first - site;
    (2..320).for_each(|_| next());
    let sites = (live() - made - first) / site + 1;
    // Close to full, some find no place within reach.
    assert!((SITES as i64 * 3 / 4..=SITES as i64 + 1).contains(&sites), "{sites}");
    assert_eq!((live() - made - first) % site, 0, "and nothing else");
    let all = live();
    of_many_places(&probe).into_iter().for_each(|future| runtime.block_on(future));
    assert_eq!(live() - all, 0, "sites that are known");
    let snapshot = probe.snapshot();
    let by_site: Vec<u64> = snapshot.sites.iter().map(|site| site.polls.count()).collect();
    assert_eq!((snapshot.polls.count(), by_site.iter().sum::<u64>()), (642, 642));
    drop((snapshot, by_site, futures, runtime));
    drop(probe);
    assert_eq!(live_once_at_most(before), before, "all of it was given back");
}

/// A million polls and a hundred thousand tasks, all together.
fn polls_and_tasks_take_nothing() {
    let count = 25_000;
    for make in [current_thread, multi_thread] {
        for builder in [patient(), patient().schedule_latency(false)] {
            let (runtime, probe) = make(builder);
            let work = |count| {
                runtime.block_on(async {
                    polls(&probe, 10 * count).await;
                    tasks(&probe, count).await;
                });
            };
            work(1_000);
            let before = live();
            work(count);
            assert_eq!(live_once_at_most(before) - before, 0);
            drop(runtime);
            assert_eq!(probe.snapshot().polls.count(), 11 * (count + 1_000));
        }
    }
}

fn slow_polls_without_end_are_listed_up_to_a_number_and_counted() {
    let (runtime, probe) = current_thread(strict());
    runtime.block_on(polls(&probe, 1));
    assert!(probe.flush(LONG));
    let before = live();
    let mut polled = 1;
    let mut more = |count: u64| {
        runtime.block_on(polls(&probe, count));
        assert!(probe.flush(LONG));
        polled += count;
        let snapshot = probe.snapshot();
        // When the clock is corrected in the middle of a poll, that poll may last 0 ns.
        let total = polled - snapshot.polls.clamped;
        assert_eq!((snapshot.polls.count(), snapshot.slow_polls_total), (polled, total));
        assert_eq!(snapshot.slow_polls_dropped + snapshot.slow_polls.len() as u64, total);
        assert_eq!((snapshot.lines.printed, snapshot.lines.suppressed), (0, total), "nobody writes");
        snapshot.slow_polls.len() as u64
    };
    // No more at once than the ring has room for, so that all are listed.
    while more(RING / 2) < LISTED {}
    assert_published("a slow poll", (live() - before) / LISTED as i64, SLOW_POLL);
    (0..6).for_each(|_| _ = more(20_000));
    let most = before + LISTED as i64 * SLOW_POLL + WAITING;
    assert!(live() <= most, "{} bytes too many", live() - most);
    (0..6).for_each(|_| _ = more(20_000));
    assert!(live() <= most, "{} bytes too many", live() - most);
    assert_eq!(more(1), LISTED);
}

/// What is held up goes on once this is dropped. A channel would allocate as somebody begins to wait for it, whenever that is.
struct Release(Arc<AtomicBool>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// A callback that waits to be released, and how often it was called. It is in its first call once this returns.
fn held_up(builder: ProbeBuilder) -> (Runtime, Probe, Release, Arc<AtomicU64>) {
    let (released, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (release, counts) = (Release(Arc::clone(&released)), Arc::clone(&calls));
    let (runtime, probe) = current_thread(builder.on_slow_poll(move |_| {
        counts.fetch_add(1, Relaxed);
        while !released.load(Relaxed) {
            thread::sleep(Duration::from_millis(1));
        }
    }));
    runtime.block_on(polls(&probe, 1));
    let start = Instant::now();
    while calls.load(Relaxed) == 0 {
        assert!(start.elapsed() < LONG, "nobody was told");
        thread::sleep(Duration::from_millis(1));
    }
    (runtime, probe, release, calls)
}

/// Nobody empties the ring meanwhile: exactly what it has room for is listed, and the others are counted.
fn what_finds_no_room_in_the_ring_is_counted() {
    let (runtime, probe, release, calls) = held_up(strict().keep_slow_polls(100_000));
    let before = live();
    runtime.block_on(polls(&probe, 10_000));
    assert_eq!(live() - before, 0);
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.slow_polls_total, snapshot.slow_polls.len() as u64), (10_001, 1 + RING));
    assert_eq!(snapshot.slow_polls_dropped, 10_000 - RING);
    assert!(snapshot.slow_polls.iter().map(|poll| poll.id).eq(1..=1 + RING));
    drop(release);
    assert!(probe.flush(LONG));
    let lines = probe.snapshot().lines;
    assert_eq!((calls.load(Relaxed), lines.printed, lines.suppressed), (1 + RING, 0, 10_001));
}

/// The ring is emptied, by the one who takes snapshots, but nobody is told.
fn what_finds_no_room_before_a_callback_that_blocks_is_counted() {
    let (runtime, probe, release, calls) = held_up(strict().log_to(std::io::sink()));
    let before = live();
    let (rounds, total) = (100, 100 * RING);
    for round in 1..=rounds {
        runtime.block_on(polls(&probe, RING));
        assert_eq!(probe.snapshot().slow_polls_total, 1 + round * RING);
    }
    let kept = live() - before;
    assert_published("slow polls that wait", kept - LISTED as i64 * SLOW_POLL, WAITING);
    drop(release);
    assert!(probe.flush(LONG));
    let snapshot = probe.snapshot();
    assert_eq!((snapshot.slow_polls_total, snapshot.slow_polls_dropped), (1 + total, 1 + total - LISTED));
    assert_eq!(calls.load(Relaxed), 1 + QUEUE);
    assert_eq!(snapshot.lines.printed + snapshot.lines.suppressed, 1 + total);
    // And those that were longer than all before: of as many in random order, some ten.
    assert!((5..=5 + 40).contains(&snapshot.lines.printed));
}

/// Its strings come on top of what a slow poll takes anyway: the call, the line, the function, and every frame.
#[cfg(feature = "capture")]
fn a_slow_poll_with_its_stack_takes_no_more_than_is_published() {
    const TIMES: u64 = 20;
    let (runtime, probe) = current_thread(Probe::builder().slow_poll_threshold(Duration::from_millis(1)));
    let block = |times: u64| {
        for _ in 0..times {
            runtime.block_on(async { spawn(&probe, async { thread::sleep(Duration::from_millis(5)) }).await.unwrap() });
        }
        assert!(probe.flush(LONG));
    };
    block(TIMES);
    let before = settled();
    block(TIMES);
    let kept = (settled() - before) / TIMES as i64;
    let slow_polls = probe.snapshot().slow_polls;
    let frames = slow_polls.iter().map(|poll| poll.evidence.stack.len()).max();
    eprintln!("a slow poll with a stack of {frames:?} frames: {kept} bytes");
    // The list may have grown to twice its length.
    assert!(kept <= 2 * SLOW_POLL + STACK, "{kept} bytes");
}

#[cfg(not(feature = "capture"))]
fn a_slow_poll_with_its_stack_takes_no_more_than_is_published() {}

fn names_beyond_the_table_are_refused_and_counted() {
    let (runtime, probe) = current_thread(patient());
    let name = |n: u64| runtime.block_on(probe.watch(async {}).named(&format!("{n:060}")));
    name(0);
    let before = live();
    (1..16_384).for_each(name);
    assert_published("names", live() - before, NAMES);
    assert_eq!(probe.snapshot().names_refused, 0);
    let full = live();
    (0..100_000).for_each(name);
    assert_eq!(live() - full, 0);
    assert_eq!((probe.snapshot().names_refused, probe.snapshot().polls.count()), (100_000 - 16_384, 116_384));
}

/// A thread that ends leaves its place to the next: there are as many as there were threads at one time.
fn threads_that_come_and_go_take_nothing() {
    const AT_ONCE: usize = 4;
    let probe_of = current_thread(patient());
    let probe = &probe_of.1;
    let round = || {
        let all_poll = std::sync::Barrier::new(AT_ONCE);
        thread::scope(|scope| {
            let poll = || {
                let runtime = Builder::new_current_thread().build().unwrap();
                all_poll.wait();
                runtime.block_on(at(probe));
                all_poll.wait();
            };
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(poll)).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    };
    round();
    // A thread's locals are dropped after a scope knows that it ended.
    let before = settled();
    (0..100).for_each(|_| {
        round();
        live_once_at_most(before);
    });
    assert_eq!(live_once_at_most(before), before);
    assert_eq!(probe.snapshot().polls.count(), 101 * AT_ONCE as u64);
}

fn one_runtime_after_another_takes_nothing() {
    let run = |make: fn(ProbeBuilder) -> (Runtime, Probe), is_slow: bool, is_dropped_first: bool| {
        let (runtime, probe) = make(if is_slow { strict() } else { patient() });
        runtime.block_on(polls(&probe, 100));
        match is_dropped_first {
            true => drop(runtime),
            false => drop(probe),
        }
    };
    let all = |times: u64| {
        for n in 0..times {
            for make in [current_thread, multi_thread] {
                run(make, n.is_multiple_of(2), n.is_multiple_of(3));
                let elsewhere = thread::spawn(move || run(make, n.is_multiple_of(3), n.is_multiple_of(2)));
                elsewhere.join().unwrap();
            }
        }
    };
    all(2);
    let before = settled();
    all(15);
    assert_eq!(live_once_at_most(before), before);
}
