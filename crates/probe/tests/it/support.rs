//! Runtimes with a probe, and witnesses.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pollscope_probe::{Missing, Probe, ProbeBuilder, SlowPoll, TOKIO_UNSTABLE};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Longer than anything here lasts: a test that waits this long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// For how long tasks of this machine waited for a CPU so far, at least one of them at any time; `None` where the kernel does not
/// count it.
fn cpu_pressure() -> Option<Duration> {
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let total = pressure.lines().next()?.rsplit_once("total=")?.1;
    Some(Duration::from_micros(total.parse().ok()?))
}

/// Tries what scheduling can spoil until it succeeds: as a busy machine can take the CPU away for longer than a poll lasts, an
/// attempt counts against it only if there was a CPU for everybody nearly all the time. Three that count are a failure, and so is
/// a minute, unless the machine was too busy in all of it.
#[track_caller]
pub(crate) fn eventually(mut check: impl FnMut() -> Result<(), String>) {
    let (start, mut errors, mut counted, mut busy) = (Instant::now(), Vec::new(), 0, 0);
    while counted < 3 && start.elapsed() < LONG {
        let (began, before) = (Instant::now(), cpu_pressure());
        let Err(error) = check() else { return };
        let waited = before.zip(cpu_pressure()).map(|(before, after)| after.saturating_sub(before));
        let was_free = waited.map(|waited| waited < began.elapsed() / 10);
        counted += u32::from(was_free == Some(true));
        busy += usize::from(was_free == Some(false));
        errors.push(error);
    }
    if busy == errors.len() {
        return println!("SKIP: tasks waited for a CPU for more than a tenth of the time, for {:.0?}", start.elapsed());
    }
    let last = errors.split_off(errors.len().saturating_sub(3));
    panic!(
        "{} attempts failed, {counted} of them with a free CPU; the last ones: {last:#?}",
        errors.len() + last.len()
    );
}

pub(crate) fn current_thread(probe: ProbeBuilder) -> (Runtime, Probe) {
    install(Builder::new_current_thread(), probe)
}

pub(crate) fn multi_thread(workers: usize, probe: ProbeBuilder) -> (Runtime, Probe) {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers);
    install(builder, probe)
}

pub(crate) fn install(mut builder: Builder, probe: ProbeBuilder) -> (Runtime, Probe) {
    let probe = probe.install(&mut builder).unwrap();
    (builder.enable_time().build().unwrap(), probe)
}

/// At its late polls nobody looks.
#[cfg(any(feature = "span", feature = "tower"))]
pub(crate) fn without_capture(probe: ProbeBuilder) -> ProbeBuilder {
    #[cfg(feature = "capture")]
    let probe = probe.capture(false);
    probe
}

/// A probe for which nothing is slow.
pub(crate) fn patient() -> ProbeBuilder {
    Probe::builder().slow_poll_threshold(LONG)
}

/// What was written, kept.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// Without those below a slow poll's own, which say what was seen of it.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().filter(|line| !line.starts_with("     ")).map(str::to_owned).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Kept {
    /// Whether nobody else can write there any more.
    #[cfg_attr(any(not(feature = "capture"), pollscope_portable), allow(dead_code))]
    pub(crate) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Does so when it is dropped: a test that fails on one thread lets the other ones go.
pub(crate) struct OnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The slow polls, with what was seen of them: the first names of a program's functions can take longer than their lines wait.
pub(crate) fn slow_polls(probe: &Probe) -> Vec<SlowPoll> {
    let start = Instant::now();
    let is_to_come = |poll: &SlowPoll| {
        matches!(poll.evidence.missing, Some(Missing::NamesLate { .. } | Missing::WatchdogAwaited { .. }))
    };
    loop {
        assert!(probe.flush(LONG));
        let polls = probe.snapshot().slow_polls;
        if !polls.iter().any(is_to_come) || start.elapsed() > LONG {
            return polls;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Spawns a task that the probe sees: by the hooks alone where there are any, else watched.
#[track_caller]
pub(crate) fn spawn<F>(probe: &Probe, future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    if TOKIO_UNSTABLE { tokio::spawn(future) } else { tokio::spawn(probe.watch(future)) }
}

/// Counts the polls of futures.
#[derive(Debug, Clone, Default)]
pub(crate) struct Witness(Arc<AtomicU64>);

impl Witness {
    pub(crate) fn polls(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn count<F: Future>(&self, future: F) -> Counted<F> {
        Counted { future: Box::pin(future), witness: self.clone() }
    }
}

pub(crate) struct Counted<F> {
    future: Pin<Box<F>>,
    witness: Witness,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.witness.0.fetch_add(1, Relaxed);
        self.future.as_mut().poll(cx)
    }
}

/// Blocks the thread for at least `ms`; how long it was, by its own clock.
pub(crate) fn block(ms: u64) -> u64 {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(ms));
    elapsed_ns(start)
}

/// Keeps the CPU busy for at least `us`.
pub(crate) fn spin(us: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_micros(us) {
        std::hint::spin_loop();
    }
}

pub(crate) fn elapsed_ns(start: Instant) -> u64 {
    ns(start.elapsed())
}

pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
