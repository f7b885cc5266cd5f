//! Slow polls as events of `tracing`: see [`ProbeBuilder::tracing`](crate::ProbeBuilder::tracing). With the cargo feature `tracing`.
//!
//! One event for each slow poll, without the limit that lines have: level `WARN`, target [`TARGET`], in no span. Its message is the
//! line of [`SlowPoll`]'s `Display`. It is emitted by the thread `pollscope-report` when what can be found out is
//! there, some 100 ms after the poll's end: never by a worker, and never in the span that the task was in.
//!
//! These fields and their types stay as they are; more may come. What is not known is not there: no field is 0 or empty for it.
//!
//! | field | type | unit | what it is |
//! |---|---|---|---|
//! | `id` | `u64` | | from 1, in the order in which the polls ended; unique within a probe |
//! | `task_id` | `u64` | | Tokio's task id; absent for the future given to `block_on` |
//! | `task_name` | `str` | | the name given to [`Probe::spawn`](crate::Probe::spawn) or [`Watch::named`](crate::Watch::named) |
//! | `spawned_at` | `str` | | `file:line` where the task was spawned, or the future watched |
//! | `worker` | `u64` | | the worker's index; absent for a thread that is not a worker |
//! | `duration_ns` | `u64` | ns | how long the poll lasted, without the polls that ran within it |
//! | `cause` | `str` | | [`Cause::as_str`](crate::Cause::as_str): `blocking-call`, `lock`, `cpu`, … |
//! | `syscall` | `str` | | the system call that it was in, in one line: `write(fd 9 "/var/log/merged", 64 bytes)` |
//! | `blocking_line` | `str` | | `file:line` of the innermost frame of your code |
//! | `function` | `str` | | that frame's function |
//! | `missing` | `str` | | why there is no line, where it came too late: [`Missing`](crate::Missing) |
//! | `blamed_tasks` | `u64` | tasks | how many polls had to wait for it: [`Blame::tasks`](crate::Blame::tasks) |
//! | `wait_ns` | `u64` | ns | how long those that were ready waited for it, added up: [`Blame::wait`](crate::Blame::wait) |
//!
//! Texts are as the program has them: a subscriber that writes to a terminal escapes them, as that of `tracing-subscriber` does.
//! [`redact_paths`](crate::ProbeBuilder::redact_paths) hides paths here as well.
//!
//! ```
//! use std::time::Duration;
//! use pollscope_probe::Probe;
//!
//! # fn main() -> std::io::Result<()> {
//! // tracing_subscriber::fmt::init();
//! let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(5)).tracing(true);
//! probe.run(tokio::runtime::Builder::new_current_thread().enable_all(), async {
//!     std::thread::sleep(Duration::from_millis(6));
//! })
//! # }
//! ```

use tracing::dispatcher::{self, Dispatch};
use tracing::subscriber::NoSubscriber;

use crate::snapshot::SlowPoll;
use pollscope_base::duration::to_ns;
use pollscope_base::redact::redacted_source;

/// The target of every event, for filters: `pollscope=off` silences it.
pub const TARGET: &str = "pollscope::slow_poll";

/// Where events go.
#[derive(Debug)]
pub(crate) struct Events {
    /// Who subscribes on the thread that installs the probe; `None` for the one who is the process's default when an event comes.
    subscriber: Option<Dispatch>,
    redacted: bool,
}

impl Events {
    pub(crate) fn here(redacted: bool) -> Events {
        let here = dispatcher::get_default(Dispatch::clone);
        Events { subscriber: (!here.is::<NoSubscriber>()).then_some(here), redacted }
    }

    pub(crate) fn emit(&self, poll: &SlowPoll) {
        match &self.subscriber {
            Some(subscriber) => dispatcher::with_default(subscriber, || self.event(poll)),
            None => self.event(poll),
        }
    }

    fn event(&self, poll: &SlowPoll) {
        let file = poll.spawned_at.file();
        let file = if self.redacted { redacted_source(file) } else { file.into() };
        let spawned_at = format!("{file}:{}", poll.spawned_at.line());
        let evidence = &poll.evidence;
        // An `Option` that is `None` is a field that is not there.
        tracing::event!(
            name: "slow_poll",
            target: TARGET,
            parent: None,
            tracing::Level::WARN,
            id = poll.id,
            task_id = poll.task_id,
            task_name = poll.task_name.as_deref(),
            spawned_at = spawned_at.as_str(),
            worker = poll.worker.map(|worker| worker as u64),
            duration_ns = to_ns(poll.duration),
            cause = evidence.cause.map(|cause| cause.as_str()),
            syscall = evidence.call.as_ref().map(|call| call.text.as_str()),
            blocking_line = evidence.blocking_line.as_deref(),
            function = evidence.function.as_deref(),
            missing = evidence.missing.map(|missing| missing.to_string()).as_deref(),
            blamed_tasks = poll.blame.map(|blame| blame.tasks),
            wait_ns = poll.blame.map(|blame| to_ns(blame.wait)),
            "{}",
            poll.executing(self.redacted),
        );
    }
}
