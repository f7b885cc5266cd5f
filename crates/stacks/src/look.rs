//! One look at a thread: its state, its system call and its stack, as plain data; the names of what was seen, which take far
//! longer; and what follows from several looks at one stretch of time: the blocking line, the call, the cause.
//!
//! - [`Looker`] looks, while the thread is still there. [`SyscallSamples`] are cheap looks at the call alone.
//! - [`Namer`] names what was seen, on another thread if need be: [`SharedLook`] is between them.
//! - [`Observation`] is all that was seen, and says what it comes to.
//!
//! When to look, at which threads, and whether what was seen counts, is for the caller to say. So are clocks: times are what the
//! caller says they are.
//!
//! ```
//! # #[cfg(supported)] {
//! use pollscope_stacks::look::{Looker, Namer};
//! use pollscope_stacks::{process::Process, thread::ThreadRef};
//! let (tell, hear) = std::sync::mpsc::channel();
//! let (stop, stopped) = std::sync::mpsc::channel::<()>();
//! let sleeper = std::thread::spawn(move || (tell.send(ThreadRef::current()).unwrap(), stopped.recv()));
//! let thread = hear.recv().unwrap();
//! let (mut looker, mut namer) = (Looker::new(thread.process), Namer::new(thread.process, Vec::new(), false));
//! let look = loop {
//!     match looker.look(&thread, 0) {
//!         Some(look) if look.call.is_some() => break look,
//!         _ => std::thread::yield_now(),
//!     }
//! };
//! let named = namer.name(&look);
//! assert_eq!(look.call.unwrap().text, "futex(wait)");
//! assert!(named.stack.iter().any(|frame| frame.function.as_deref().is_some_and(|name| name.contains("recv"))));
//! # drop(stop);
//! # sleeper.join().unwrap();
//! # }
//! ```

mod call;
mod capture_limits;
mod delay_cause;
mod looker;
mod named;
mod namer;
mod observation;
mod placed;
mod shared;
mod shares;
mod stack_limits;
mod syscall_samples;
mod time_split;

pub use call::{call_of, futex_of};
pub use looker::{Look, Looker};
pub use named::NamedLook;
pub use namer::Namer;
pub use observation::{NamedSeen, Observation};
pub use shared::SharedLook;
pub use shares::{Early, Glance, Seen, Shares};
pub use syscall_samples::SyscallSamples;
pub use time_split::{Between, ClockReading, TICK_NS, TimeSplit};
