//! When one thread comes to an instruction.

use super::attributes::Attributes;
use super::os::Event;
use super::record::Record;
use super::{Control, Hindrance, PerfError, Wanted};
use crate::thread::ThreadRef;

/// Room for more hits than there can be: one, each time that it is armed.
const RING: usize = 4 << 10;

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
///     let at_ns = breakpoint.fired().unwrap();
///     assert_eq!(breakpoint.hits(), 1, "once for each time that it was armed");
///     breakpoint.arm().unwrap();
///     place();
///     assert!(breakpoint.fired().unwrap() > at_ns);
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Breakpoint {
    thread: ThreadRef,
    address: u64,
    event: Event,
    /// Whether it is on, as far as is known: a hit turns it off.
    is_armed: bool,
    /// Whether the kernel lets one more hit happen once it is on. It adds up what it is told: it is told again only after a hit.
    is_charged: bool,
    fired: Option<u64>,
    hits: u64,
}

impl Breakpoint {
    /// At this address of the thread's code, not armed.
    ///
    /// # Errors
    /// See [`Hindrance`].
    pub fn open(thread: &ThreadRef, address: u64) -> Result<Breakpoint, PerfError> {
        let event = open(thread, address)?;
        let thread = *thread;
        Ok(Breakpoint { thread, address, event, is_armed: false, is_charged: false, fired: None, hits: 0 })
    }

    /// Where it is.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// From now on the next time counts. What [`fired`](Breakpoint::fired) said before is forgotten.
    ///
    /// # Errors
    /// See [`Hindrance`]; the kernel is not known to refuse.
    pub fn arm(&mut self) -> Result<(), PerfError> {
        self.take_in();
        self.fired = None;
        if self.is_armed {
            return Ok(());
        }
        // The hit was told of, but turns it off a moment later: without this, after it is turned on again.
        self.control(Control::Disable)?;
        self.control(if self.is_charged { Control::Enable } else { Control::Once })?;
        (self.is_armed, self.is_charged) = (true, true);
        Ok(())
    }

    /// From now on nothing happens, until it is armed again. What it saw up to now is kept.
    ///
    /// # Errors
    /// As [`Breakpoint::arm`].
    pub fn disarm(&mut self) -> Result<(), PerfError> {
        self.take_in();
        if self.is_armed {
            self.control(Control::Disable)?;
            // It may have happened until then.
            self.take_in();
            self.is_armed = false;
        }
        Ok(())
    }

    /// When the thread came there for the first time since this was armed, in nanoseconds of `CLOCK_MONOTONIC`, by which `Instant`
    /// counts; `None` while it has not. Costs no system call.
    pub fn fired(&mut self) -> Option<u64> {
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
    /// See [`Hindrance`]. Then it is where it was, not armed.
    pub fn move_to(&mut self, address: u64) -> Result<(), PerfError> {
        self.disarm()?;
        check_address(&self.thread, address)?;
        // Kernels before 4.17 cannot.
        if self.event.change(&Attributes::breakpoint(address)).is_err() {
            (self.event, self.is_charged) = (open(&self.thread, address)?, false);
        }
        (self.address, self.fired) = (address, None);
        Ok(())
    }

    fn control(&self, control: Control) -> Result<(), PerfError> {
        self.event.control(control).map_err(PerfError::of(&self.thread, Wanted::Breakpoint))
    }

    /// What happened since this was last asked.
    fn take_in(&mut self) {
        while let Some(record) = self.event.next() {
            let Record::Sample(body) = Record::read(record) else { continue };
            self.hits += 1;
            (self.is_armed, self.is_charged) = (false, false);
            self.fired = self.fired.or(body.time());
        }
    }
}

fn open(thread: &ThreadRef, address: u64) -> Result<Event, PerfError> {
    check_address(thread, address)?;
    let event = Event::open(&Attributes::breakpoint(address), thread, Wanted::Breakpoint, RING);
    event.map_err(PerfError::of(thread, Wanted::Breakpoint))
}

/// The upper half of all addresses is the kernel's.
fn check_address(thread: &ThreadRef, address: u64) -> Result<(), PerfError> {
    if (1..1 << 63).contains(&address) {
        return Ok(());
    }
    Err(PerfError::of(thread, Wanted::Breakpoint)(Hindrance::NotCode))
}
