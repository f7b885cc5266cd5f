//! What holds up the event loops of a process that knows nothing of pollscope, seen from outside.
//!
//! Its threads are looked at some hundred times a second, through what the kernel tells of them in `/proc`: nothing is written to the
//! process, nothing is injected, no signal is sent, and nothing stops. A worker of Tokio that is found in one and the same system call
//! again and again, within the poll of a task, holds up its loop; which line, which call and why follows from its stack, by the code
//! that the probe's watchdog uses as well.
//!
//! - [`Target`] is the process, and what is in the way of looking at it.
//! - [`Access`] is what can be seen of it, found out beforehand.
//! - [`Attached`] looks at it, and is the feed of what it sees: an iterator of [`Update`](pollscope_record::feed::Update)s.
//!
//! What is told is what was seen: a stall lasted *at least* from the first look that showed it to the last one.
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
mod block;
mod naming;
mod obstacle;
mod sampler;
mod status;
mod target;
mod tokio;

pub use access::{Access, Events, Program};
pub use attached::{Attached, Stop};
pub use obstacle::Obstacle;
pub use sampler::{Hz, Settings};
pub use status::{Asker, Status};
pub use target::Target;
pub use tokio::has_probe;
