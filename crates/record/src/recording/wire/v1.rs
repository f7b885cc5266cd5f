//! `pollscope.recording/1`, as it is read: a recording of a scenario, one entry a mode and round. It is no longer written.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::Error;

use super::bounded;
use crate::message::Message;
use crate::recording::shared;
use crate::recording::{
    Blame, Cause, Completeness, Coverage, Detail, Dist, Ended, Frame, InputEvents, Interval, Kind, Ledger, Lines,
    Merge, Run, RuntimeInfo, ScenarioRun, Shared, Site, SlowPoll, Subject, Syscall, Text, Waiter,
};

/// A run of a mode.
#[derive(Deserialize)]
pub(super) struct Run1 {
    mode: String,
    round: u32,
    runtime: RuntimeInfo,
    started_at: String,
    elapsed_ns: u64,
    coverage: Coverage,
    merge: Option<Merge>,
    interrupted: Option<Message>,
    #[serde(deserialize_with = "bounded::list::<_, _, 10_000>")]
    errors: Vec<Message>,
    #[serde(default)]
    input_events: InputEvents,
    polls: Dist,
    schedule_latency: Option<Dist>,
    lag: Option<Dist>,
    lag_raw: Option<Dist>,
    response_time: Option<Dist>,
    unanswered: Option<u64>,
    write_latency: Option<Dist>,
    busy_stretches: Option<Dist>,
    loop_busy_ns: u64,
    throughput_bytes_per_s: Option<u64>,
    cpu_user_ns: Option<u64>,
    cpu_system_ns: Option<u64>,
    context_switches_voluntary: Option<u64>,
    context_switches_involuntary: Option<u64>,
    #[serde(default, deserialize_with = "bounded::waits")]
    pool_wait: Option<Dist>,
    slow_poll_threshold_ns: u64,
    slow_polls_total: u64,
    slow_polls_dropped: u64,
    slow_poll_lines: Lines,
    #[serde(deserialize_with = "bounded::list::<_, _, 10_000_000>")]
    slow_polls: Vec<SlowPoll>,
    #[serde(deserialize_with = "bounded::list::<_, _, 100_000>")]
    sites: Vec<Site>,
    ledger: Option<Ledger>,
    #[serde(deserialize_with = "bounded::list::<_, _, 10_000_000>")]
    intervals: Vec<Interval>,
    #[serde(deserialize_with = "bounded::metrics")]
    runtime_metrics: Option<BTreeMap<String, f64>>,
}

impl From<Run1> for Run {
    fn from(run: Run1) -> Run {
        Run {
            group: run.mode.clone(),
            subject: Subject::Scenario(ScenarioRun { mode: run.mode, round: run.round, runtime: run.runtime }),
            started_at: run.started_at,
            elapsed_ns: run.elapsed_ns,
            ended: if run.interrupted.is_some() { Ended::Interrupted } else { Ended::Done },
            ended_why: run.interrupted,
            coverage: run.coverage,
            merge: run.merge,
            errors: run.errors,
            input_events: run.input_events,
            polls: Some(run.polls),
            schedule_latency: run.schedule_latency,
            lag: run.lag,
            lag_raw: run.lag_raw,
            response_time: run.response_time,
            unanswered: run.unanswered,
            write_latency: run.write_latency,
            busy_stretches: run.busy_stretches,
            pool_wait: run.pool_wait,
            loop_busy_ns: Some(run.loop_busy_ns),
            busy_share: None,
            throughput_bytes_per_s: run.throughput_bytes_per_s,
            cpu_user_ns: run.cpu_user_ns,
            cpu_system_ns: run.cpu_system_ns,
            context_switches_voluntary: run.context_switches_voluntary,
            context_switches_involuntary: run.context_switches_involuntary,
            slow_poll_threshold_ns: run.slow_poll_threshold_ns,
            slow_polls_total: run.slow_polls_total,
            slow_polls_are: Completeness::All,
            slow_polls_dropped: run.slow_polls_dropped,
            slow_poll_lines: Some(run.slow_poll_lines),
            slow_polls: run.slow_polls,
            stalls_open: Vec::new(),
            sites: Some(run.sites),
            ledger: run.ledger,
            pool: None,
            intervals: run.intervals,
            fine: Vec::new(),
            profile: None,
            runtime_metrics: run.runtime_metrics,
        }
    }
}

/// A slow poll, which was seen at one place.
#[derive(Deserialize)]
pub(super) struct SlowPoll1 {
    id: u64,
    #[serde(deserialize_with = "bounded::present")]
    task_id: Option<u64>,
    #[serde(deserialize_with = "bounded::present")]
    task_name: Option<Text>,
    spawned_at: Text,
    #[serde(deserialize_with = "bounded::present")]
    worker: Option<u64>,
    start_ns: u64,
    duration_ns: u64,
    #[serde(deserialize_with = "bounded::present")]
    cpu_ns: Option<u64>,
    run_delay_ns: Option<u64>,
    #[serde(deserialize_with = "bounded::present")]
    cause: Option<Cause>,
    #[serde(deserialize_with = "bounded::present")]
    syscall: Option<Shared<Syscall>>,
    #[serde(deserialize_with = "bounded::present")]
    blocking_line: Option<Text>,
    function: Option<Text>,
    #[serde(deserialize_with = "shared::stack")]
    stack: Shared<[Frame]>,
    #[serde(deserialize_with = "bounded::present")]
    stack_complete: Option<bool>,
    #[serde(deserialize_with = "bounded::present")]
    blame: Option<Blame>,
    worst_waiter: Option<Box<Waiter>>,
}

impl SlowPoll1 {
    pub(super) fn poll<E: Error>(self) -> Result<SlowPoll, E> {
        let (blame, nobody_waited) = Blame::or_nobody(self.blame);
        let kind = Kind {
            nobody_waited,
            task_name: self.task_name,
            spawned_at: Some(self.spawned_at),
            worker: self.worker,
            cause: self.cause,
            syscall: self.syscall,
            blocking_line: self.blocking_line,
            function: self.function,
            stack: self.stack,
            stack_complete: self.stack_complete,
            ..Kind::default()
        };
        let detail = Detail { blame, worst_waiter: self.worst_waiter, ..Detail::default() };
        Ok(SlowPoll {
            id: self.id,
            task_id: self.task_id.into(),
            start_ns: self.start_ns,
            duration_ns: self.duration_ns,
            cpu_ns: self.cpu_ns.into(),
            run_delay_ns: self.run_delay_ns.into(),
            kind: shared::kind(kind)?,
            detail: detail.boxed(),
            ..SlowPoll::default()
        })
    }
}
