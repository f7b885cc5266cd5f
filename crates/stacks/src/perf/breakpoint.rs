//! When one thread comes to an instruction.

use std::hint::black_box;
use std::sync::OnceLock;

use super::attributes::Attributes;
use super::os::{Once, Source};
use super::record::Record;
use super::{Hindrance, PerfError, Wanted};
use crate::process::Process;
use crate::thread::{ThreadRef, current_tid};

/// Room for more hits than there can be: one, each time that it is armed.
const RING: usize = 4 << 10;

/// That a thread came to an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`, by which `Instant` counts.
    pub time_ns: u64,
    /// The stack pointer then; `None` of a program of 32 bits. Where a call returned, it is that of the caller's frame: whether this call
    /// returned, or another one of the same function, is told by [`StackPointers`](crate::unwind::StackPointers).
    pub sp: Option<u64>,
}

/// Tells when one thread, of this process or of another, comes to an instruction the next time: such as the one that a function
/// returns to, hence when the function ends. Nothing is written to the process. The thread takes one trap of a few microseconds each
/// time that this was armed, and none otherwise.
///
/// No call waits for the thread.
///
/// ```
/// # #[cfg(supported)] {
/// use pollscope_stacks::perf::{Breakpoint, Hindrance};
/// use pollscope_stacks::thread::ThreadRef;
/// #[inline(never)]
/// extern "C" fn place() -> u32 { std::hint::black_box(7) }
/// let here = ThreadRef::current();
/// // Where breakpoints are not to be had, the error says why.
/// if let Ok(mut breakpoint) = Breakpoint::open(&here, place as *const () as u64) {
///     place();
///     assert_eq!(breakpoint.fired(), None, "it is not armed");
///     breakpoint.arm().unwrap();
///     assert_eq!(breakpoint.fired(), None, "nobody came");
///     (place(), place());
///     let first = breakpoint.fired().unwrap();
///     assert_eq!(breakpoint.hits(), 1, "once for each time that it was armed");
///     breakpoint.arm().unwrap();
///     place();
///     assert!(breakpoint.fired().unwrap().time_ns > first.time_ns);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Breakpoint {
    thread: ThreadRef,
    address: u64,
    /// Where all events that are armed one after the other tell what happened.
    source: Source,
    /// The one that can be armed, or is. A new one each time that the last one happened: since Linux 6.16 one that turned itself off
    /// happens no more, whatever it is told, unless that is done while its thread is on a CPU.
    event: Option<Once>,
    is_armed: bool,
    /// One that happened. To end it, the kernel waits for the CPU that its thread is on: not before the next is armed.
    spent: Option<Once>,
    fired: Option<Hit>,
    hits: u64,
}

impl Breakpoint {
    /// At this address of the thread's code, not armed.
    ///
    /// # Errors
    /// See [`Hindrance`].
    pub fn open(thread: &ThreadRef, address: u64) -> Result<Breakpoint, PerfError> {
        let hindered = PerfError::of(thread, Wanted::Breakpoint);
        check(address).and_then(|()| check_that_they_fire()).map_err(&hindered)?;
        // It has a ring, but is no breakpoint.
        let source = Source::open(&Attributes::nothing(), thread, Wanted::Samples, RING).map_err(hindered)?;
        let mut breakpoint = Breakpoint {
            thread: *thread,
            address,
            source,
            event: None,
            is_armed: false,
            spent: None,
            fired: None,
            hits: 0,
        };
        // Whether it can be had.
        breakpoint.event = Some(breakpoint.next_event()?);
        Ok(breakpoint)
    }

    /// Where it is.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// From now on the next time counts. What [`fired`](Breakpoint::fired) said before is forgotten. Costs nothing where it is armed and
    /// the thread did not come there since.
    ///
    /// # Errors
    /// See [`Hindrance`]: the thread may have ended, or a debugger have taken the last breakpoint. Then it is not armed.
    pub fn arm(&mut self) -> Result<(), PerfError> {
        self.take_in();
        self.fired = None;
        if !self.is_armed {
            self.spent = None;
            let event = self.event.take().map_or_else(|| self.next_event(), Ok)?;
            event.begin().map_err(PerfError::of(&self.thread, Wanted::Breakpoint))?;
            (self.event, self.is_armed) = (Some(event), true);
        }
        Ok(())
    }

    /// From now on nothing happens, until it is armed again. What it saw up to now is kept.
    pub fn disarm(&mut self) {
        if self.is_armed {
            (self.event, self.is_armed) = (None, false);
            // It may have happened until then.
            self.take_in();
        }
        self.spent = None;
    }

    /// When the thread came there for the first time since this was armed; `None` while it has not. Costs no system call.
    pub fn fired(&mut self) -> Option<Hit> {
        self.take_in();
        self.fired
    }

    /// How often the thread was seen there: no more than it was armed.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Takes it to another address, not armed; what it saw is forgotten.
    ///
    /// # Errors
    /// [`Hindrance::NotCode`]. Then it is where it was, not armed.
    pub fn move_to(&mut self, address: u64) -> Result<(), PerfError> {
        self.disarm();
        check(address).map_err(PerfError::of(&self.thread, Wanted::Breakpoint))?;
        (self.address, self.event, self.fired) = (address, None, None);
        Ok(())
    }

    fn next_event(&self) -> Result<Once, PerfError> {
        let added = self.source.add(&Attributes::breakpoint(self.address), &self.thread, Wanted::Breakpoint);
        added.map_err(PerfError::of(&self.thread, Wanted::Breakpoint))
    }

    /// What happened since this was last asked.
    fn take_in(&mut self) {
        while let Some(record) = self.source.next() {
            let Record::Sample(body) = Record::read(record) else { continue };
            let hit = body.hit();
            self.hits += 1;
            self.is_armed = false;
            self.spent = self.event.take();
            self.fired = self.fired.or(hit);
        }
    }
}

/// The upper half of all addresses is the kernel's.
fn check(address: u64) -> Result<(), Hindrance> {
    if (1..1 << 63).contains(&address) { Ok(()) } else { Err(Hindrance::NotCode) }
}

/// A machine may take breakpoints and do nothing: some virtual ones do. Then that one does not fire says nothing.
fn check_that_they_fire() -> Result<(), Hindrance> {
    static FIRES: OnceLock<bool> = OnceLock::new();
    let fires = match FIRES.get() {
        Some(fires) => *fires,
        None => {
            let fires = fires_here()?;
            *FIRES.get_or_init(|| fires)
        }
    };
    if fires { Ok(()) } else { Err(Hindrance::NoBreakpoints) }
}

/// Whether one fires in the thread that asks.
fn fires_here() -> Result<bool, Hindrance> {
    #[inline(never)]
    extern "C" fn place() -> u32 {
        black_box(1)
    }
    let (here, place) = (Process::current().thread(current_tid()), black_box(place as extern "C" fn() -> u32));
    let mut source = Source::open(&Attributes::nothing(), &here, Wanted::Samples, RING)?;
    let event = source.add(&Attributes::breakpoint(place as *const () as u64), &here, Wanted::Breakpoint)?;
    event.begin()?;
    place();
    Ok(source.next().is_some_and(|record| matches!(Record::read(record), Record::Sample(_))))
}
