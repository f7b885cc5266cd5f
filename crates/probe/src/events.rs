//! Slow polls as events of `tracing`: see [`ProbeBuilder::tracing`](crate::ProbeBuilder::tracing). With the cargo feature `tracing`.
//!
//! One event for each slow poll, without the limit that lines have: level `WARN`, target [`TARGET`], in no span. Its message is the
//! line of [`SlowPoll`]'s `Display`, with the spawn site as in the field. It is emitted by the thread `pollscope-report` when what
//! can be found out is there, some 100 ms after the poll's end: never by a worker, and never in the span that the task was in.
//!
//! These fields and their types stay as they are; more may come. What is not known is not there: no field is 0 or empty for it.
//!
//! | field | type | unit | what it is |
//! |---|---|---|---|
//! | `id` | `u64` | | from 1, in the order in which the polls ended; unique within a probe |
//! | `task_id` | `u64` | | Tokio's task id; absent for the future given to `block_on` |
//! | `task_name` | `str` | | the name given to [`Probe::spawn`](crate::Probe::spawn) or [`Watch::named`](crate::Watch::named) |
//! | `spawned_at` | `str` | | `file:line` where the task was spawned, or the future watched; from the source root on, if one was given and it is known to be below |
//! | `worker` | `u64` | | the worker's index; absent for a thread that is no worker of a runtime with the probe |
//! | `thread` | `str` | | the name of that thread, where it has one |
//! | `duration_ns` | `u64` | ns | how long the poll lasted, without the polls that ran within it |
//! | `cause` | `str` | | [`Cause::as_str`](crate::Cause::as_str): `blocking-call`, `lock`, `cpu`, … |
//! | `syscall` | `str` | | the system call that it was in, in one line: `write(fd 9 "/var/log/merged", 64 bytes)` |
//! | `blocking_line` | `str` | | `file:line` of the innermost frame of your code |
//! | `function` | `str` | | that frame's function |
//! | `holder` | `str` | | who has the lock that it waited for: [`Holder`](crate::Holder) in words; absent where that is not known |
//! | `span` | `str` | | the name of the span that it was in: [`Evidence::span`](crate::Evidence::span); with the feature `span` or `tower` |
//! | `span_fields` | `str` | | those of its fields that were asked for: `method=GET route=/items/{id}` |
//! | `trace_id`, `span_id` | `str` | | the trace that it belongs to, and what it is called there |
//! | `missing` | `str` | | why there is no line, where it came too late: [`Missing`](crate::Missing) |
//! | `blamed_tasks` | `u64` | tasks | how many polls had to wait for it: [`Blame::tasks`](crate::Blame::tasks) |
//! | `wait_ns` | `u64` | ns | how long those that were ready waited for it, added up: [`Blame::wait`](crate::Blame::wait) |
//!
//! A poll that goes on for ten times the threshold, and 100 ms at least, is an event of target [`STALL_TARGET`] meanwhile, once, whatever
//! is found out later. Its message is the line of [`Polling`]'s `Display`. Of these fields it has `task_id`, `task_name`, `spawned_at`,
//! `worker`, `thread`, `cause`, `syscall`, `blocking_line`, `function`, `holder`, `span`, `span_fields`, `trace_id` and `span_id`, as far as they are known by then,
//! and
//!
//! | field | type | unit | what it is |
//! |---|---|---|---|
//! | `elapsed_ns` | `u64` | ns | for how long the poll went on by then, without the polls that ran within it |
//!
//! One of target [`BLOCKING_POOL_TARGET`] has others:
//!
//! | field | type | unit | what it is |
//! |---|---|---|---|
//! | `saturation` | `u64` | | its number, from 1, the same when it begins and when it is over |
//! | `is_over` | `bool` | | whether it is over |
//! | `threads` | `u64` | threads | the pool's, all of them busy |
//! | `queued` | `u64` | closures | how many waited for one; when it is over, the most that did |
//! | `lasted_ns` | `u64` | ns | from the first look that found it so to the last |
//!
//! And so has one of target [`BUSY_STRETCH_TARGET`]; its `spawned_at` is where most of the worker's time in polls went:
//!
//! | field | type | unit | what it is |
//! |---|---|---|---|
//! | `stretch` | `u64` | | its number, from 1, the same when it is noticed and when it is over |
//! | `is_over`, `worker`, `spawned_at` | `bool`, `u64`, `str` | | as above |
//! | `lasted_ns` | `u64` | ns | for how long the worker did not park, at least |
//! | `polls` | `u64` | polls | of all threads, meanwhile |
//! | `longest_ns` | `u64` | ns | the longest of these |
//! | `percent` | `u64` | % | the share of that place |
//! | `cause`, `syscall`, `blocking_line`, `function` | `str` | | as above: of most of it, where looks at the worker told |
//!
//! Where the stretch's polls are not seen it has neither `spawned_at` nor the last three numbers.
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

use std::panic::Location;
use std::sync::Arc;

use tracing::dispatcher::{self, Dispatch};
use tracing::subscriber::NoSubscriber;

use crate::blocking_pool::Saturation;
use crate::late_stretches::BusyStretch;
use crate::snapshot::{Polling, SlowPoll};
use crate::sources::Sources;
use pollscope_base::Span;
use pollscope_base::duration::to_ns;

/// The target of every event of a slow poll, for filters: `pollscope=off` silences it.
pub const TARGET: &str = "pollscope::slow_poll";
/// The target of the event of a poll that goes on for ten times the threshold: see [`ProbeBuilder::on_stall`](crate::ProbeBuilder::on_stall).
pub const STALL_TARGET: &str = "pollscope::stall";
/// The target of every event of a blocking pool that was full for at least the threshold. Two for each, without the limit that
/// lines have: when that is seen, and when it is over.
pub const BLOCKING_POOL_TARGET: &str = "pollscope::blocking_pool";
/// The target of every event of a worker that did not park for ten times the threshold, without a slow poll: two for each, likewise. One
/// whose polls are not seen may be blocked in one wait for less than that: of such a stretch there is one, at its end.
pub const BUSY_STRETCH_TARGET: &str = "pollscope::busy_stretch";

/// Where events go.
#[derive(Debug)]
pub(crate) struct Events {
    /// Who subscribes on the thread that installs the probe; `None` for the one who is the process's default when an event comes.
    subscriber: Option<Dispatch>,
    sources: Arc<Sources>,
}

impl Events {
    pub(crate) fn here(sources: Arc<Sources>) -> Events {
        let here = dispatcher::get_default(Dispatch::clone);
        Events { subscriber: (!here.is::<NoSubscriber>()).then_some(here), sources }
    }

    pub(crate) fn emit(&self, poll: &SlowPoll) {
        self.with_subscriber(|| self.event(poll));
    }

    pub(crate) fn emit_stall(&self, stall: &Polling) {
        self.with_subscriber(|| {
            let (evidence, span) = (&stall.evidence, stall.evidence.span.as_deref());
            tracing::event!(
                name: "stall",
                target: STALL_TARGET,
                parent: None,
                tracing::Level::WARN,
                task_id = stall.task_id,
                task_name = stall.task_name.as_deref(),
                spawned_at = self.place(stall.spawned_at).as_str(),
                worker = stall.worker.map(|worker| worker as u64),
                thread = stall.thread_name.as_deref(),
                elapsed_ns = to_ns(stall.elapsed),
                cause = evidence.cause.map(|cause| cause.as_str()),
                syscall = evidence.call.as_ref().map(|call| call.text.as_str()),
                blocking_line = evidence.blocking_line.as_deref(),
                function = evidence.function.as_deref(),
                holder = evidence.holder().map(|holder| holder.to_string()).as_deref(),
                span = span.map(|span| span.name.as_str()),
                span_fields = fields(span).as_deref(),
                trace_id = span.and_then(|span| span.trace_id.as_deref()),
                span_id = span.and_then(|span| span.span_id.as_deref()),
                "{}",
                stall.executing(self.sources.shown(stall.spawned_at.file())),
            );
        });
    }

    pub(crate) fn emit_saturation(&self, saturation: &Saturation) {
        self.with_subscriber(|| {
            tracing::event!(
                name: "blocking_pool",
                target: BLOCKING_POOL_TARGET,
                parent: None,
                tracing::Level::WARN,
                saturation = saturation.number,
                is_over = saturation.is_over,
                threads = saturation.threads,
                queued = saturation.queued,
                lasted_ns = to_ns(saturation.lasted),
                "{saturation}",
            );
        });
    }

    pub(crate) fn emit_stretch(&self, stretch: &BusyStretch) {
        let (polls, evidence) = (stretch.polls.as_ref(), &stretch.evidence);
        self.with_subscriber(|| {
            tracing::event!(
                name: "busy_stretch",
                target: BUSY_STRETCH_TARGET,
                parent: None,
                tracing::Level::WARN,
                stretch = stretch.number,
                is_over = stretch.is_over,
                worker = u64::from(stretch.worker),
                lasted_ns = to_ns(stretch.lasted),
                polls = polls.map(|polls| polls.count),
                longest_ns = polls.and_then(|polls| polls.longest).map(to_ns),
                spawned_at = stretch.spawned_at().as_deref(),
                percent = polls.map(|polls| polls.percent),
                cause = evidence.cause.map(|cause| cause.as_str()),
                syscall = evidence.call.as_ref().map(|call| call.text.as_str()),
                blocking_line = evidence.blocking_line.as_deref(),
                function = evidence.function.as_deref(),
                "{stretch}",
            );
        });
    }

    fn with_subscriber(&self, emit: impl FnOnce()) {
        match &self.subscriber {
            Some(subscriber) => dispatcher::with_default(subscriber, emit),
            None => emit(),
        }
    }

    /// `file:line` as it may be shown.
    fn place(&self, at: &Location<'_>) -> String {
        format!("{}:{}", self.sources.shown(at.file()), at.line())
    }

    fn event(&self, poll: &SlowPoll) {
        let (evidence, span) = (&poll.evidence, poll.evidence.span.as_deref());
        // An `Option` that is `None` is a field that is not there.
        tracing::event!(
            name: "slow_poll",
            target: TARGET,
            parent: None,
            tracing::Level::WARN,
            id = poll.id,
            task_id = poll.task_id,
            task_name = poll.task_name.as_deref(),
            spawned_at = self.place(poll.spawned_at).as_str(),
            worker = poll.worker.map(|worker| worker as u64),
            thread = poll.thread_name.as_deref(),
            duration_ns = to_ns(poll.duration),
            cause = evidence.cause.map(|cause| cause.as_str()),
            syscall = evidence.call.as_ref().map(|call| call.text.as_str()),
            blocking_line = evidence.blocking_line.as_deref(),
            function = evidence.function.as_deref(),
            holder = evidence.holder().map(|holder| holder.to_string()).as_deref(),
            span = span.map(|span| span.name.as_str()),
            span_fields = fields(span).as_deref(),
            trace_id = span.and_then(|span| span.trace_id.as_deref()),
            span_id = span.and_then(|span| span.span_id.as_deref()),
            missing = evidence.missing.map(|missing| missing.to_string()).as_deref(),
            blamed_tasks = poll.blame.map(|blame| blame.tasks),
            wait_ns = poll.blame.map(|blame| to_ns(blame.wait)),
            "{}",
            poll.executing(self.sources.shown(poll.spawned_at.file())),
        );
    }
}

/// `method=GET route=/items/{id}`; `None` where there is none.
fn fields(span: Option<&Span>) -> Option<String> {
    let fields = span?.fields.iter().map(|(name, value)| format!("{name}={value}"));
    Some(fields.collect::<Vec<_>>().join(" ")).filter(|fields| !fields.is_empty())
}
