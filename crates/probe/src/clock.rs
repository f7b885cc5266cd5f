//! The one clock: moments, which are cheap to read, and what they are in nanoseconds since the probe was installed.
//!
//! Where the kernel itself keeps time by the processor's time stamp counter, it is read directly: that takes a third of the
//! time. Once a second it is held against the operating system's clock: small differences are
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

/// A moment as it was read. What it is in nanoseconds is worked out only where that is asked for, and can change by as much as the
/// clock is corrected: an open poll is known by its moment, and of one thread's moments the later one is the greater.
///
/// Its two uppermost bits say what it is: 0 and 1, ticks of the counter, [`LEAD`] at the origin; 2, nanoseconds of the operating
/// system's clock; 3, ticks of a counter that was behind by more than that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Moment(pub(crate) u64);

/// How far the kind of a moment is from its lowest bit.
const KIND: u32 = 62;
const OS: u64 = 2;
const BEHIND: u64 = 3;
/// The counter of another processor may be behind by so much, and a moment is still not 0.
const LEAD: u64 = 1 << 32;

impl Moment {
    /// No moment: a counter that is behind by exactly [`LEAD`] would read it.
    pub(crate) const NONE: Moment = Moment(0);

    fn kind(self) -> u64 {
        self.0 >> KIND
    }
}

/// Which clock durations are measured with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum ClockSource {
    /// The processor's time stamp counter, held against the operating system's clock.
    #[cfg_attr(feature = "serde", serde(rename = "tsc"))]
    Tsc,
    /// The operating system's monotonic clock.
    #[cfg_attr(feature = "serde", serde(rename = "CLOCK_MONOTONIC"))]
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

/// A monotonic clock. Its nanoseconds start at 1, so that 0 can mean that there was nothing. What reads a moment is first.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Clock {
    /// Whether the operating system's clock is used: there is no counter, or it was found wrong.
    is_os: AtomicBool,
    ticks: Option<Ticks>,
    /// What is added to its time: 1, and what it was found to be behind.
    offset_ns: AtomicI64,
    /// What is added to the operating system's, once that is used: 1, and what the counter was ahead.
    os_offset_ns: AtomicI64,
    origin: Instant,
    #[cfg(test)]
    manual: Option<std::sync::atomic::AtomicU64>,
}

/// The counter's reading [`LEAD`] ticks before the origin, and how many nanoseconds are 2^32 of its ticks.
#[derive(Debug)]
#[repr(C)]
struct Ticks {
    base: u64,
    scale: u64,
}

/// The time stamp counter: one instruction, here and not behind a call, whose own line and page of code a poll that comes back
/// from the kernel would find cold.
#[inline]
fn counter() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: all these processors have it. It is read only where the kernel keeps time by it: a thread that is forbidden to cannot
    // ask the vDSO for the time there either.
    unsafe {
        std::arch::x86_64::_rdtsc()
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("`Ticks::start` finds none here")
}

/// The same for all of a process: it takes as long to find out as [`BASELINE`].
static SCALE: OnceLock<Option<u64>> = OnceLock::new();

/// How many nanoseconds of the operating system's clock 2^32 ticks are; `None` when the counter stood still, or went back.
fn scale() -> Option<u64> {
    let (first_ticks, first) = moment();
    while first.elapsed() < BASELINE {
        std::hint::spin_loop();
    }
    let (ticks, last) = moment();
    let ns = last.duration_since(first).as_nanos() << 32;
    ns.checked_div(ticks.saturating_sub(first_ticks).into()).and_then(|scale| u64::try_from(scale).ok())
}

/// Both clocks at one time, as nearly as they can be read.
fn moment() -> (u64, Instant) {
    let readings = (0..64).map(|_| {
        let (before, now, after) = (counter(), Instant::now(), counter());
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
        if !cfg!(target_arch = "x86_64") || kept_by.trim() != "tsc" {
            return None;
        }
        let scale = (*SCALE.get_or_init(scale))?;
        Some(Ticks { base: counter().wrapping_sub(LEAD), scale })
    }

    #[inline]
    fn now(&self) -> Moment {
        Moment(counter().wrapping_sub(self.base))
    }

    /// One multiplication, which takes some parts in 10^10 away.
    #[inline]
    fn in_ns(&self, ticks: u64) -> u64 {
        ((u128::from(ticks) * u128::from(self.scale)) >> 32) as u64
    }

    /// Nanoseconds since the origin; 0 where a processor's counter is behind the one that was read there.
    fn ns_at(&self, moment: Moment) -> u64 {
        if moment.kind() == BEHIND { 0 } else { self.in_ns(moment.0.saturating_sub(LEAD)) }
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
    pub(crate) fn now(&self) -> Moment {
        match &self.ticks {
            Some(ticks) if !self.is_os.load(Acquire) => ticks.now(),
            _ => self.os_now(),
        }
    }

    #[cold]
    fn os_now(&self) -> Moment {
        #[cfg(test)]
        if let Some(manual) = &self.manual {
            return Moment(OS << KIND | (manual.load(Relaxed) - 1));
        }
        // 2^62 ns are 146 years.
        Moment(OS << KIND | self.os_ns())
    }

    /// A moment in nanoseconds, by what is known of the clocks now.
    pub(crate) fn ns_at(&self, moment: Moment) -> u64 {
        let (elapsed_ns, offset_ns) = match &self.ticks {
            Some(ticks) if moment.kind() != OS => (ticks.ns_at(moment), &self.offset_ns),
            _ => (moment.0 & !(BEHIND << KIND), &self.os_offset_ns),
        };
        (elapsed_ns as i64).wrapping_add(offset_ns.load(Relaxed)).max(1) as u64
    }

    pub(crate) fn now_ns(&self) -> u64 {
        self.ns_at(self.now())
    }

    /// From one moment to a later one, in nanoseconds; 0 if that is not later.
    #[inline]
    pub(crate) fn elapsed_ns(&self, start: Moment, end: Moment) -> u64 {
        let ticks = end.0.wrapping_sub(start.0);
        match &self.ticks {
            // Neither is the operating system's, and the second is later.
            Some(counter) if (ticks | end.0) >> KIND == 0 => counter.in_ns(ticks),
            _ => self.elapsed_otherwise_ns(start, end),
        }
    }

    #[cold]
    fn elapsed_otherwise_ns(&self, start: Moment, end: Moment) -> u64 {
        self.ns_at(end).saturating_sub(self.ns_at(start))
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
        let now_ns = || ticks.ns_at(ticks.now());
        let (before, os_ns, after) = (now_ns(), self.os_ns() + 1, now_ns());
        if after.saturating_sub(before) > ONE_MOMENT_NS {
            // Something came between them: the next time will do.
            return Some(last_ns);
        }
        let offset_ns = self.offset_ns.load(Relaxed);
        let now_ns = (before + after.saturating_sub(before) / 2).saturating_add_signed(offset_ns);
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
        let per_ns = (1u64 << 32) as f64 / ticks.scale as f64;
        let base = ticks.base.wrapping_sub((ns as f64 * per_ns) as u64);
        Some(Clock::with(Some(Ticks { base, ..ticks })))
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
    fn a_counter_that_goes_back_takes_no_time_and_breaks_nothing() {
        let Some(clock) = ahead(0) else { return };
        let now = clock.now();
        let before_the_origin = Moment(LEAD - 1);
        let far_behind = Moment(0u64.wrapping_sub(9));
        for earlier in [before_the_origin, far_behind] {
            assert_eq!((clock.ns_at(earlier), clock.elapsed_ns(now, earlier)), (1, 0));
            assert!(clock.elapsed_ns(earlier, now) >= clock.ns_at(now) - 1);
        }
        assert_eq!(clock.elapsed_ns(Moment(now.0 + 1), now), 0);
    }

    /// Nor is a poll that was open meanwhile any longer, or shorter, than it was.
    #[test]
    fn a_counter_that_is_far_off_is_given_up_and_time_goes_on() {
        let Some(clock) = ahead(3_000_000_000) else { return };
        let (start, before) = (clock.now(), clock.now_ns());
        while clock.check(0).is_some() {}
        assert_eq!(clock.source(), ClockSource::Os);
        let (after, end) = (clock.now_ns(), clock.now());
        let elapsed_ns = clock.elapsed_ns(start, end);
        assert_eq!(elapsed_ns, clock.ns_at(end) - clock.ns_at(start));
        assert!((after - before..1_000_000_000).contains(&elapsed_ns), "{elapsed_ns} {before} {after}");
        assert_eq!(clock.elapsed_ns(end, start), 0);
        assert!(after >= before && before > 2_900_000_000, "{before} {after}");
        assert_eq!(clock.check(0), None);
    }
}
