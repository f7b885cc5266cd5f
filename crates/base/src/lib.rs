//! What is known of a slow poll, in plain words: the data that pollscope's probe fills in, that other ways of looking at a process
//! fill in as well, and that reports read.
//!
//! Plain data with public fields, and what is pure about it: nothing here has a clock, a thread, a file or a runtime, and nothing
//! depends on another crate. What was not seen is `None`. With the feature `serde` what is in recordings reads and writes the words
//! and keys of their JSON.

#![forbid(unsafe_code)]

mod blame;
mod call;
mod capture_limits;
mod cause;
pub mod count;
mod coverage;
mod distribution;
pub mod duration;
pub mod escape;
mod evidence;
mod frame;
mod holder;
mod ledger;
mod lines;
mod missing;
#[cfg(feature = "serde")]
#[doc(hidden)]
pub mod place;
mod places;
mod quota;
mod reason;
pub mod redact;
mod span;
mod waiting;

pub use blame::{Blame, Waited};
pub use call::Call;
pub use capture_limits::{CaptureNote, unreadable_help};
pub use cause::Cause;
pub use coverage::{Coverage, Source};
pub use distribution::{Bucket, Distribution, HIGHEST_NS};
pub use evidence::Evidence;
pub use frame::{Frame, RUNTIME_CRATES};
pub use holder::{Held, Holder, HolderUnknown, LockWait};
pub use ledger::{Charge, Ledger};
pub use lines::Lines;
pub use missing::{Missing, Shortfall, Shortfalls};
pub use places::Place;
pub use quota::Quota;
pub use reason::reason;
pub use span::Span;
pub use waiting::{Await, Hold, Leaf, LeafKind, Progress, RunBy, SeenThread, TaskState, ThreadDoes, WaitingTask};
