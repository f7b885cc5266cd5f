//! What the kernel's perf events tell of one thread, of this process or of another of the same user, without its help: where it is
//! while it runs ([`CpuSampler`]), and when it comes to an instruction ([`Breakpoint`]).
//!
//! No privilege is needed where `kernel.perf_event_paranoid` is at most 2, as it is by default: only the program's own code is looked
//! at, never the kernel's. The thread is not stopped, is sent no signal, and no call of it is interrupted. Where perf events are not
//! to be had, [`Hindrance`] says why.

mod attributes;
mod breakpoint;
mod clock;
mod cpu_sampler;
#[cfg(supported)]
mod event;
mod hindrance;
#[cfg(not(supported))]
mod nowhere;
mod record;
mod registers;
#[cfg(supported)]
mod ring;

#[cfg(supported)]
use event as os;
#[cfg(not(supported))]
use nowhere as os;

pub use breakpoint::{Breakpoint, Hit};
pub use clock::now_ns;
pub use cpu_sampler::{CpuSampler, Drained, Sample};
pub use hindrance::{Hindrance, PerfError, Wanted};

/// `kernel.perf_event_paranoid`: above 2, some distributions' kernels close perf events to users without `CAP_PERFMON`. `None` where
/// there are no perf events.
///
/// ```
/// use pollscope_stacks::perf::paranoid_level;
/// assert!(paranoid_level().is_none_or(|level| level >= -1));
/// ```
pub fn paranoid_level() -> Option<i32> {
    os::paranoid_level()
}
