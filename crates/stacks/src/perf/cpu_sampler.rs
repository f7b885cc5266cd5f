//! Samples of one thread, each time that it was on a CPU for so long, or made so many page faults.

use std::time::Duration;

use super::attributes::Attributes;
use super::os::{Once, Source};
use super::record::Record;
use super::{PerfError, Wanted};
use crate::sample::Copied;
use crate::signal::MOST;
use crate::thread::ThreadRef;

/// Room for three samples that have not been taken yet.
const RING: usize = 64 << 10;
/// Touching fresh memory, a thread is in the kernel nearly all of its time: then it is sampled after so many page faults, which take
/// some milliseconds.
const PAGE_FAULTS: u64 = 2_048;
/// The kernel takes no shorter one.
const SHORTEST: Duration = Duration::from_micros(10);

/// Samples one thread, of this process or of another, each time that it was on a CPU for a period and is in its own code then. It is
/// not paused, is sent no signal, and does not notice but for the microseconds of the copy.
///
/// So it is after some thousands of page faults. Other time that it spends in the kernel has no samples: [`Schedule::on_cpu_ns`](crate::thread::Schedule::on_cpu_ns) goes on then.
///
/// ```
/// # #[cfg(supported)] {
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use std::time::Duration;
/// use pollscope_stacks::{capture::Capturer, perf::CpuSampler, thread::ThreadRef};
/// static STOP: AtomicBool = AtomicBool::new(false);
/// let (tell, hear) = std::sync::mpsc::channel();
/// let busy = std::thread::spawn(move || {
///     tell.send(ThreadRef::current()).unwrap();
///     while !STOP.load(Ordering::Relaxed) {}
/// });
/// // Where perf events are not for everyone, the error says so.
/// if let Ok(mut sampler) = CpuSampler::open(&hear.recv().unwrap(), Duration::from_millis(1)) {
///     let (mut capturer, mut complete) = (Capturer::new(), 0);
///     while complete < 3 {
///         sampler.drain(|sample| complete += u32::from(capturer.unwind_sample(&sample).unwrap().is_complete()));
///     }
/// }
/// # STOP.store(true, Ordering::Relaxed);
/// # busy.join().unwrap();
/// # }
/// ```
#[derive(Debug)]
pub struct CpuSampler {
    thread: ThreadRef,
    period_ns: u64,
    is_paused: bool,
    source: Source,
    /// Ends with this. `None` where the kernel does not count them.
    _page_faults: Option<Once>,
}

/// What a thread was doing at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// When it was, in nanoseconds of `CLOCK_MONOTONIC`, by which `Instant` counts.
    pub time_ns: u64,
    /// Its registers and the innermost part of its stack.
    pub copied: Copied<'a>,
}

impl<'a> From<&Sample<'a>> for Copied<'a> {
    fn from(sample: &Sample<'a>) -> Copied<'a> {
        sample.copied
    }
}

/// What was taken from a sampler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Samples that were given.
    pub samples: u64,
    /// Those that had no room before this, because nobody took the earlier ones. The kernel tells of them with the next sample.
    pub lost: u64,
    /// Those that were not as they should be: without registers, as those of a program of 32 bits, or cut off.
    pub unreadable: u64,
    /// How often the kernel made a pause, because samples came too often.
    pub throttled: u64,
}

impl CpuSampler {
    /// Begins to sample, with this period of the thread's time on a CPU, of 10 µs and more.
    ///
    /// # Errors
    /// See [`Hindrance`](super::Hindrance).
    pub fn open(thread: &ThreadRef, period: Duration) -> Result<CpuSampler, PerfError> {
        let period_ns = in_ns(period);
        let attributes = Attributes::cpu_clock(period_ns, MOST as u32);
        let source = Source::open(&attributes, thread, Wanted::Samples, RING);
        let source = source.map_err(PerfError::of(thread, Wanted::Samples))?;
        let page_faults = Attributes::page_faults(PAGE_FAULTS, MOST as u32);
        let page_faults = source.add(&page_faults, thread, Wanted::Samples).ok();
        Ok(CpuSampler { thread: *thread, period_ns, is_paused: false, source, _page_faults: page_faults })
    }

    /// From now on it samples with this period, whatever it did before. Costs nothing where it does already.
    ///
    /// # Errors
    /// See [`Hindrance`](super::Hindrance). Then it goes on as it did.
    pub fn sample_every(&mut self, period: Duration) -> Result<(), PerfError> {
        let period_ns = in_ns(period);
        let refused = PerfError::of(&self.thread, Wanted::Samples);
        if period_ns != self.period_ns {
            self.source.set_period(period_ns).map_err(&refused)?;
            self.period_ns = period_ns;
        }
        if self.is_paused {
            self.source.set_on(true).map_err(&refused)?;
            self.is_paused = false;
        }
        Ok(())
    }

    /// From now on it samples no more until [told to](CpuSampler::sample_every), but for page faults. Meanwhile the thread is not slower: as
    /// long as it is sampled, it may be by some microseconds each time that it is given a CPU and gives it up, as that sets a timer.
    pub fn pause(&mut self) {
        // What is refused goes on as it did.
        self.is_paused = self.is_paused || self.source.set_on(false).is_ok();
    }

    /// Whether it is [paused](CpuSampler::pause).
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Gives every sample that is there, the earliest first, and does not wait for more.
    pub fn drain(&mut self, mut each: impl FnMut(Sample<'_>)) -> Drained {
        let mut drained = Drained::default();
        while let Some(record) = self.source.next() {
            match Record::read(record) {
                Record::Sample(body) => match body.copied() {
                    Some(body) => {
                        let (registers, stack) = (body.registers, body.stack);
                        let copied = Copied { process: self.thread.process, registers, stack, most: MOST };
                        each(Sample { time_ns: body.time_ns, copied });
                        drained.samples += 1;
                    }
                    None => drained.unreadable += 1,
                },
                Record::Lost(count) => drained.lost += count,
                Record::Throttled => drained.throttled += 1,
                Record::Short => drained.unreadable += 1,
                Record::Other => {}
            }
        }
        drained
    }
}

fn in_ns(period: Duration) -> u64 {
    u64::try_from(period.max(SHORTEST).as_nanos()).unwrap_or(u64::MAX >> 1)
}
