//! What holds up the event loops of a process that knows nothing of pollscope, seen from outside.
//!
//! Its threads are looked at some hundred times a second, through what the kernel tells of them in `/proc` and by perf events: nothing
//! is written to the process, nothing is injected, no signal is sent, and nothing stops. Which line, which call and why follows from
//! stacks, by the code that the probe's watchdog uses as well.
//!
//! That two looks show one and the same poll is certain in two ways. A thread that is in one system call at both and was given no CPU
//! between them stood still. And the code that goes on when a poll ends is one place for all tasks of a loop: a breakpoint there, armed for
//! that thread alone, tells when it comes to it, and as long as it does not, it is in that poll. Where there are no breakpoints, only the first
//! holds, and what is told lasted *at least* so long.
//!
//! Whatever loops' threads do, every fourth look counts it: parked, in a poll or the scheduler, on a CPU or off it. That is the
//! [`Profile`](pollscope_record::recording::Profile) of the run.
//!
//! - [`Target`] is the process, and what is in the way of looking at it.
//! - [`Access`] is what can be seen of it, found out beforehand.
//! - [`Tasks`] is what all of its tasks wait for.
//! - [`Attached`] looks at it, and is the feed of what it sees: an iterator of [`Update`](pollscope_record::feed::Update)s.
//!
//! ```no_run
//! use pollscope_attach::{Attached, Settings, Target};
//! use pollscope_record::feed::Update;
//! let target = Target::open(4711, &[])?;
//! for update in Attached::to(target, Settings::default(), "2026-11-30T01:52:35.000Z")? {
//!     if let Update::SlowPoll(poll) = update {
//!         println!("{:?} held up the loop", poll.blocking_line);
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod attached;
mod looked;
mod naming;
mod obstacle;
mod poll;
mod profile;
mod sampler;
mod settings;
mod status;
mod target;
mod tasks;
mod threads;
mod throttling;
mod tokio;

pub use access::{Access, Events, Program};
/// Whether threads can be looked at on this platform.
pub use pollscope_stacks::SUPPORTED;

pub use attached::{Attached, Stop};
pub use obstacle::Obstacle;
pub use settings::{Hz, Settings};
pub use status::{Asker, Status};
pub use target::Target;
pub use tasks::Tasks;
pub use tokio::has_probe;
