//! The one `now()`: nanoseconds since the probe was installed.
//!
//! Where the kernel itself keeps time by the processor's time stamp counter, it is read directly: that takes a third of the
//! time. The crate `quanta` reads it. Once a second it is held against the operating system's clock: small differences are
//! made up for; with a large one the counter is not to be trusted, and the operating system's clock is used from then on.

use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

/// How far the counter may be off since it was last held against the other clock: this much, and a thousandth of the time.
const MOST_OFF_NS: u64 = 1_000_000;
/// How long the counter is compared with the operating system's clock at first: that is right to some parts in a million.
const BASELINE: Duration = Duration::from_millis(10);
/// How long reading both clocks may take to be one moment.
const ONE_MOMENT_NS: u64 = 2_000;

/// Which clock durations are measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockSource {
    /// The processor's time stamp counter, held against the operating system's clock.
    Tsc,
    /// The operating system's monotonic clock.
    Os,
}

impl ClockSource {
    /// What a probe that is installed now measures with. The first time, it may take some milliseconds to find out.
    ///
    /// ```
    /// use pollscope_probe::ClockSource;
    /// assert!(["tsc", "CLOCK_MONOTONIC"].contains(&ClockSource::here().as_str()));
    /// ```
    pub fn here() -> ClockSource {
        if Ticks::start().is_some() { ClockSource::Tsc } else { ClockSource::Os }
    }

    /// `tsc` or `CLOCK_MONOTONIC`.
    pub fn as_str(self) -> &'static str {
        match self {
            ClockSource::Tsc => "tsc",
            ClockSource::Os => "CLOCK_MONOTONIC",
        }
    }
}

/// A monotonic clock. It starts at 1, so that 0 can mean "not polling".
#[derive(Debug)]
pub(crate) struct Clock {
    /// What is added to its time: 1, and what it was found to be behind.
    offset_ns: AtomicI64,
    /// What is added to the operating system's, once that is used: 1, and what the counter was ahead.
    os_offset_ns: AtomicI64,
    /// Whether the operating system's clock is used: there is no counter, or it was found wrong.
    is_os: AtomicBool,
    ticks: Option<Ticks>,
    origin: Instant,
    #[cfg(test)]
    manual: Option<std::sync::atomic::AtomicU64>,
}

/// The counter, its reading at the origin, and how many nanoseconds are 2^32 of its ticks.
#[derive(Debug)]
struct Ticks {
    origin: u64,
    scale: u64,
    clock: quanta::Clock,
}

/// The same for all of a process: it takes as long to find out as [`BASELINE`].
static SCALE: OnceLock<u64> = OnceLock::new();

/// How many nanoseconds of the operating system's clock 2^32 ticks are. On a busy machine the crate's own calibration was off by
/// one part in 2,000: 50 us of a poll of 90 ms.
fn scale(clock: &quanta::Clock) -> u64 {
    let (first_ticks, first) = moment(clock);
    while first.elapsed() < BASELINE {
        std::hint::spin_loop();
    }
    let (ticks, last) = moment(clock);
    let ns = last.duration_since(first).as_nanos() << 32;
    let scale = ns.checked_div(ticks.saturating_sub(first_ticks).into()).and_then(|scale| u64::try_from(scale).ok());
    scale.unwrap_or_else(|| clock.delta_as_nanos(0, 1 << 32))
}

/// Both clocks at one time, as nearly as they can be read.
fn moment(clock: &quanta::Clock) -> (u64, Instant) {
    let readings = (0..64).map(|_| {
        let (before, now, after) = (clock.raw(), Instant::now(), clock.raw());
        (after.saturating_sub(before), before, now)
    });
    let (apart, before, now) = readings.min_by_key(|(apart, ..)| *apart).expect("there are 64");
    (before + apart / 2, now)
}

impl Ticks {
    /// `None` where there is no counter that can be trusted.
    fn start() -> Option<Ticks> {
        // The kernel watches it as nobody else can: across processors, frequencies and virtual machines.
        let kept_by =
            std::fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource").ok()?;
        if kept_by.trim() != "tsc" {
            return None;
        }
        let clock = quanta::Clock::new();
        // What is not scaled is no counter, but the clock that stands in for it.
        if clock.delta_as_nanos(0, 1 << 32) == 1 << 32 {
            return None;
        }
        let scale = *SCALE.get_or_init(|| scale(&clock));
        Some(Ticks { origin: clock.raw(), scale, clock })
    }

    /// One multiplication, which takes some parts in 10^10 away. 0 where a processor's counter is behind the
    /// one that was read at the origin.
    #[inline]
    fn elapsed_ns(&self) -> u64 {
        let ticks = self.clock.raw().saturating_sub(self.origin);
        ((u128::from(ticks) * u128::from(self.scale)) >> 32) as u64
    }
}

impl Clock {
    pub(crate) fn monotonic() -> Clock {
        Clock::with(Ticks::start())
    }

    fn with(ticks: Option<Ticks>) -> Clock {
        Clock {
            offset_ns: AtomicI64::new(1),
            os_offset_ns: AtomicI64::new(1),
            is_os: AtomicBool::new(ticks.is_none()),
            ticks,
            origin: Instant::now(),
            #[cfg(test)]
            manual: None,
        }
    }

    /// A clock that stands still until [`Clock::advance`].
    #[cfg(test)]
    pub(crate) fn manual() -> Clock {
        Clock { manual: Some(1.into()), ..Clock::with(None) }
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, ns: u64) {
        let manual = self.manual.as_ref().expect("only a manual clock is advanced");
        manual.fetch_add(ns, Relaxed);
    }

    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        #[cfg(test)]
        if let Some(manual) = &self.manual {
            return manual.load(Relaxed);
        }
        let (elapsed_ns, offset_ns) = match &self.ticks {
            Some(ticks) if !self.is_os.load(Acquire) => (ticks.elapsed_ns(), &self.offset_ns),
            _ => (self.os_ns(), &self.os_offset_ns),
        };
        // 2^63 ns are 292 years.
        (elapsed_ns as i64).wrapping_add(offset_ns.load(Relaxed)).max(1) as u64
    }

    fn os_ns(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }

    /// Which clock it is now.
    pub(crate) fn source(&self) -> ClockSource {
        if self.is_os.load(Relaxed) { ClockSource::Os } else { ClockSource::Tsc }
    }

    /// Holds the counter against the operating system's clock, which it was held against at `last_ns` of that clock. When that was
    /// done now; `None` when there is nothing to do any more. One thread at a time.
    pub(crate) fn check(&self, last_ns: u64) -> Option<u64> {
        let ticks = self.ticks.as_ref().filter(|_| !self.is_os.load(Relaxed))?;
        let (before, os_ns, after) = (ticks.elapsed_ns(), self.os_ns() + 1, ticks.elapsed_ns());
        if after - before > ONE_MOMENT_NS {
            // Something came between them: the next time will do.
            return Some(last_ns);
        }
        let offset_ns = self.offset_ns.load(Relaxed);
        let now_ns = (before + (after - before) / 2).saturating_add_signed(offset_ns);
        let off_ns = os_ns as i64 - now_ns as i64;
        if off_ns.unsigned_abs() > MOST_OFF_NS + os_ns.saturating_sub(last_ns) / 1_000 {
            // Time goes on from where it was, and never back.
            self.os_offset_ns.store((now_ns as i64 - os_ns as i64).max(1), Relaxed);
            self.is_os.store(true, Release);
            return None;
        }
        self.offset_ns.store(offset_ns + off_ns, Relaxed);
        Some(os_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A counter that is ahead by so much at once, where there is one.
    fn ahead(ns: u64) -> Option<Clock> {
        let ticks = Ticks::start()?;
        let per_second = (1u64 << 40) as f64 / ticks.clock.delta_as_nanos(0, 1 << 40) as f64;
        let origin = ticks.origin - (ns as f64 * per_second) as u64;
        Some(Clock::with(Some(Ticks { origin, ..ticks })))
    }

    #[test]
    fn it_agrees_with_the_clock_of_the_system() {
        let clock = Clock::monotonic();
        let mut last = 0;
        for _ in 0..1_000 {
            let before = clock.os_ns();
            let now = clock.now_ns();
            let after = clock.os_ns();
            // Calibrated, and not yet corrected.
            assert!((before.saturating_sub(100_000)..=after + 100_000).contains(&now), "{before} {now} {after}");
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn a_small_difference_is_made_up_for() {
        let Some(clock) = ahead(50_000) else { return };
        let mut checked = clock.check(0).unwrap();
        while checked == 0 {
            checked = clock.check(0).unwrap();
        }
        assert_eq!(clock.source(), ClockSource::Tsc);
        assert!(clock.offset_ns.load(Relaxed) < -25_000, "{clock:?}");
    }

    #[test]
    fn a_counter_that_is_far_off_is_given_up_and_time_goes_on() {
        let Some(clock) = ahead(3_000_000_000) else { return };
        let before = clock.now_ns();
        while clock.check(0).is_some() {}
        assert_eq!(clock.source(), ClockSource::Os);
        let after = clock.now_ns();
        assert!(after >= before && before > 2_900_000_000, "{before} {after}");
        assert_eq!(clock.check(0), None);
    }
}
