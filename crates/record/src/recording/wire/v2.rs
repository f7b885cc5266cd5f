//! `pollscope.recording/2`, as it is written and read. Equal stacks of a run stand once, by number, before what refers to them.

use std::collections::{BTreeMap, HashMap};

use serde::de::{Deserializer, Error};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};

use super::bounded;
use super::stacks::{self, StackId};
use crate::message::Message;
use crate::recording::{
    Blame, BusyShare, Cause, Completeness, Coverage, Detail, Dist, Ended, Fine, Frame, Holder, InputEvents, Interval,
    Kind, Ledger, Lines, MaybeU64, Merge, Place, Pool, Precision, Profile, Quota, Run, Shared, Site, SlowPoll, Span,
    Subject, Syscall, Text, Waiter, shared,
};

/// A run.
#[derive(Deserialize)]
pub(super) struct Run2 {
    group: String,
    subject: Subject,
    started_at: String,
    elapsed_ns: u64,
    ended: Ended,
    ended_why: Option<Message>,
    coverage: Coverage,
    merge: Option<Merge>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, 10_000>")]
    errors: Vec<Message>,
    #[serde(default)]
    input_events: InputEvents,
    #[serde(deserialize_with = "bounded::present")]
    polls: Option<Dist>,
    schedule_latency: Option<Dist>,
    lag: Option<Dist>,
    lag_raw: Option<Dist>,
    response_time: Option<Dist>,
    unanswered: Option<u64>,
    write_latency: Option<Dist>,
    busy_stretches: Option<Dist>,
    #[serde(default, deserialize_with = "bounded::waits")]
    pool_wait: Option<Dist>,
    #[serde(deserialize_with = "bounded::present")]
    loop_busy_ns: Option<u64>,
    busy_share: Option<BusyShare>,
    throughput_bytes_per_s: Option<u64>,
    cpu_user_ns: Option<u64>,
    cpu_system_ns: Option<u64>,
    context_switches_voluntary: Option<u64>,
    context_switches_involuntary: Option<u64>,
    slow_poll_threshold_ns: u64,
    slow_polls_total: u64,
    slow_polls_are: Completeness,
    slow_polls_dropped: u64,
    slow_poll_lines: Option<Lines>,
    #[serde(deserialize_with = "stacks::table")]
    #[expect(dead_code, reason = "read into the table that slow polls refer to")]
    stacks: (),
    #[serde(deserialize_with = "stacks::slow_polls")]
    slow_polls: Vec<SlowPoll>,
    #[serde(default, deserialize_with = "stacks::stalls_open")]
    stalls_open: Vec<SlowPoll>,
    #[serde(deserialize_with = "sites")]
    sites: Option<Vec<Site>>,
    #[serde(deserialize_with = "bounded::present")]
    ledger: Option<Ledger>,
    pool: Option<Pool>,
    #[serde(deserialize_with = "bounded::list::<_, _, 10_000_000>")]
    intervals: Vec<Interval>,
    #[serde(default, deserialize_with = "bounded::list::<_, _, 1_000_000>")]
    fine: Vec<Fine>,
    profile: Option<Box<Profile>>,
    #[serde(default, deserialize_with = "bounded::metrics")]
    runtime_metrics: Option<BTreeMap<String, f64>>,
}

fn sites<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Site>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Sites(#[serde(deserialize_with = "bounded::list::<_, _, 100_000>")] Vec<Site>);
    Ok(Option::<Sites>::deserialize(from)?.map(|Sites(sites)| sites))
}

impl Run2 {
    /// Reads a run whose slow polls refer to stacks by number.
    pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Run, D::Error> {
        let (run, late) = stacks::of_run(|| Run2::deserialize(from));
        let mut run = run?.run();
        late.settle(&mut run).map_err(D::Error::custom)?;
        Ok(run)
    }

    fn run(self) -> Run {
        Run {
            group: self.group,
            subject: self.subject,
            started_at: self.started_at,
            elapsed_ns: self.elapsed_ns,
            ended: self.ended,
            ended_why: self.ended_why,
            coverage: self.coverage,
            merge: self.merge,
            errors: self.errors,
            input_events: self.input_events,
            polls: self.polls,
            schedule_latency: self.schedule_latency,
            lag: self.lag,
            lag_raw: self.lag_raw,
            response_time: self.response_time,
            unanswered: self.unanswered,
            write_latency: self.write_latency,
            busy_stretches: self.busy_stretches,
            pool_wait: self.pool_wait,
            loop_busy_ns: self.loop_busy_ns,
            busy_share: self.busy_share,
            throughput_bytes_per_s: self.throughput_bytes_per_s,
            cpu_user_ns: self.cpu_user_ns,
            cpu_system_ns: self.cpu_system_ns,
            context_switches_voluntary: self.context_switches_voluntary,
            context_switches_involuntary: self.context_switches_involuntary,
            slow_poll_threshold_ns: self.slow_poll_threshold_ns,
            slow_polls_total: self.slow_polls_total,
            slow_polls_are: self.slow_polls_are,
            slow_polls_dropped: self.slow_polls_dropped,
            slow_poll_lines: self.slow_poll_lines,
            slow_polls: self.slow_polls,
            stalls_open: self.stalls_open,
            sites: self.sites,
            ledger: self.ledger,
            pool: self.pool,
            intervals: self.intervals,
            fine: self.fine,
            profile: self.profile,
            runtime_metrics: self.runtime_metrics,
        }
    }
}

/// A slow poll, which was seen at some places.
#[derive(Deserialize)]
pub(super) struct SlowPoll2 {
    id: u64,
    #[serde(deserialize_with = "bounded::present")]
    task_id: Option<u64>,
    task_name: Option<Text>,
    #[serde(deserialize_with = "bounded::present")]
    spawned_at: Option<Text>,
    future: Option<Text>,
    span: Option<Box<Span>>,
    runtime: Option<u64>,
    #[serde(deserialize_with = "bounded::present")]
    worker: Option<u64>,
    start_ns: u64,
    duration_ns: u64,
    start_is: Precision,
    end_is: Precision,
    #[serde(deserialize_with = "bounded::present")]
    cpu_ns: Option<u64>,
    run_delay_ns: Option<u64>,
    #[serde(deserialize_with = "bounded::present")]
    cause: Option<Cause>,
    #[serde(deserialize_with = "stacks::places")]
    places: Vec<Place>,
    holder: Option<Box<Holder>>,
    quota: Option<Box<Quota>>,
    #[serde(deserialize_with = "bounded::present")]
    stack_complete: Option<bool>,
    #[serde(deserialize_with = "bounded::present")]
    blame: Option<Blame>,
    worst_waiter: Option<Box<Waiter>>,
}

impl SlowPoll2 {
    pub(super) fn poll<E: Error>(self) -> Result<SlowPoll, E> {
        let mut places = self.places.into_iter();
        let first = places.next().unwrap_or_default();
        let (blame, nobody_waited) = Blame::or_nobody(self.blame);
        let kind = Kind {
            task_name: self.task_name,
            spawned_at: self.spawned_at,
            future: self.future,
            runtime: self.runtime,
            worker: self.worker,
            cause: self.cause,
            syscall: first.syscall,
            blocking_line: first.line,
            caller: first.caller,
            function: first.function,
            stack: first.stack,
            stack_complete: self.stack_complete,
            nobody_waited,
        };
        let detail = Detail {
            blame,
            worst_waiter: self.worst_waiter,
            span: self.span,
            start_is: self.start_is,
            end_is: self.end_is,
            more_places: places.collect(),
            holder: self.holder,
            quota: self.quota,
        };
        Ok(SlowPoll {
            id: self.id,
            task_id: self.task_id.into(),
            start_ns: self.start_ns,
            duration_ns: self.duration_ns,
            cpu_ns: self.cpu_ns.into(),
            run_delay_ns: self.run_delay_ns.into(),
            share_ns: first.share_ns.into(),
            looks: first.looks,
            kind: shared::kind(kind)?,
            detail: detail.boxed(),
        })
    }
}

impl Serialize for Run {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(serializer, (&self.slow_polls, &self.stalls_open, &self.intervals, &self.fine))
    }
}

/// A run but for its slow polls, stalls and intervals, fine ones too.
pub(crate) struct WithoutLists<'a>(pub(crate) &'a Run);

impl Serialize for WithoutLists<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer, (&[], &[], &[], &[]))
    }
}

impl Run {
    fn write<S: Serializer>(
        &self,
        serializer: S,
        (slow_polls, stalls_open, intervals, fine): (&[SlowPoll], &[SlowPoll], &[Interval], &[Fine]),
    ) -> Result<S::Ok, S::Error> {
        let ids = Ids::of(slow_polls.iter().chain(stalls_open));
        let mut run = serializer.serialize_map(None)?;
        run.serialize_entry("group", &self.group)?;
        run.serialize_entry("subject", &self.subject)?;
        run.serialize_entry("started_at", &self.started_at)?;
        run.serialize_entry("elapsed_ns", &self.elapsed_ns)?;
        run.serialize_entry("ended", &self.ended)?;
        run.serialize_entry("ended_why", &self.ended_why)?;
        run.serialize_entry("coverage", &self.coverage)?;
        run.serialize_entry("merge", &self.merge)?;
        run.serialize_entry("errors", &self.errors)?;
        run.serialize_entry("input_events", &self.input_events)?;
        self.write_measured(&mut run)?;
        run.serialize_entry("slow_poll_threshold_ns", &self.slow_poll_threshold_ns)?;
        run.serialize_entry("slow_polls_total", &self.slow_polls_total)?;
        run.serialize_entry("slow_polls_are", &self.slow_polls_are)?;
        run.serialize_entry("slow_polls_dropped", &self.slow_polls_dropped)?;
        run.serialize_entry("slow_poll_lines", &self.slow_poll_lines)?;
        run.serialize_entry("stacks", &ids.stacks)?;
        run.serialize_entry("slow_polls", &written(slow_polls, &ids))?;
        run.serialize_entry("stalls_open", &written(stalls_open, &ids))?;
        run.serialize_entry("sites", &self.sites)?;
        run.serialize_entry("ledger", &self.ledger)?;
        run.serialize_entry("pool", &self.pool)?;
        run.serialize_entry("intervals", intervals)?;
        if !fine.is_empty() {
            run.serialize_entry("fine", fine)?;
        }
        // Only of what is looked at from outside.
        if let Some(profile) = &self.profile {
            run.serialize_entry("profile", profile)?;
        }
        run.serialize_entry("runtime_metrics", &self.runtime_metrics)?;
        run.end()
    }
}

fn written<'a>(polls: &'a [SlowPoll], ids: &Ids<'_>) -> Vec<WrittenPoll<'a>> {
    polls.iter().map(|poll| WrittenPoll::of(poll, &|stack| ids.of.get(stack).copied())).collect()
}

impl Run {
    fn write_measured<M: SerializeMap>(&self, run: &mut M) -> Result<(), M::Error> {
        run.serialize_entry("polls", &self.polls)?;
        run.serialize_entry("schedule_latency", &self.schedule_latency)?;
        run.serialize_entry("lag", &self.lag)?;
        run.serialize_entry("lag_raw", &self.lag_raw)?;
        run.serialize_entry("response_time", &self.response_time)?;
        run.serialize_entry("unanswered", &self.unanswered)?;
        run.serialize_entry("write_latency", &self.write_latency)?;
        run.serialize_entry("busy_stretches", &self.busy_stretches)?;
        run.serialize_entry("pool_wait", &self.pool_wait)?;
        run.serialize_entry("loop_busy_ns", &self.loop_busy_ns)?;
        run.serialize_entry("busy_share", &self.busy_share)?;
        run.serialize_entry("throughput_bytes_per_s", &self.throughput_bytes_per_s)?;
        run.serialize_entry("cpu_user_ns", &self.cpu_user_ns)?;
        run.serialize_entry("cpu_system_ns", &self.cpu_system_ns)?;
        run.serialize_entry("context_switches_voluntary", &self.context_switches_voluntary)?;
        run.serialize_entry("context_switches_involuntary", &self.context_switches_involuntary)
    }
}

/// A run's stacks by number, and the number of each.
struct Ids<'a> {
    of: HashMap<&'a [Frame], StackId>,
    stacks: BTreeMap<StackId, &'a [Frame]>,
}

impl<'a> Ids<'a> {
    fn of(polls: impl Iterator<Item = &'a SlowPoll>) -> Ids<'a> {
        let mut ids = Ids { of: HashMap::new(), stacks: BTreeMap::new() };
        for poll in polls {
            for stack in std::iter::once(&poll.stack).chain(poll.more_places().iter().map(|place| &place.stack)) {
                ids.add(stack);
            }
        }
        ids
    }

    fn add(&mut self, stack: &'a [Frame]) {
        if !stack.is_empty() && !self.of.contains_key(stack) {
            let id = self.of.len() as StackId + 1;
            self.of.insert(stack, id);
            self.stacks.insert(id, stack);
        }
    }
}

#[derive(Serialize)]
struct WrittenPoll<'a> {
    id: u64,
    task_id: MaybeU64,
    task_name: &'a Option<Text>,
    spawned_at: &'a Option<Text>,
    future: &'a Option<Text>,
    span: Option<&'a Span>,
    runtime: Option<u64>,
    worker: Option<u64>,
    start_ns: u64,
    duration_ns: u64,
    start_is: Precision,
    end_is: Precision,
    cpu_ns: MaybeU64,
    run_delay_ns: MaybeU64,
    off_cpu_ns: Option<u64>,
    cause: &'a Option<Cause>,
    places: Vec<WrittenPlace<'a>>,
    holder: Option<&'a Holder>,
    /// Only where it is known: few services have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    stack_complete: Option<bool>,
    blame: Option<WrittenBlame>,
    worst_waiter: Option<&'a Waiter>,
}

impl<'a> WrittenPoll<'a> {
    /// With the number that each stack has.
    fn of(poll: &'a SlowPoll, id: &dyn Fn(&[Frame]) -> Option<StackId>) -> WrittenPoll<'a> {
        let detail = poll.detail.as_deref();
        let first = WrittenPlace {
            line: poll.blocking_line.as_ref(),
            caller: poll.caller.as_ref(),
            function: poll.function.as_ref(),
            syscall: poll.syscall.as_ref(),
            looks: poll.looks,
            share_ns: poll.share_ns.get(),
            stack: id(&poll.stack),
        };
        let places = std::iter::once(first).filter(WrittenPlace::says_something);
        WrittenPoll {
            id: poll.id,
            task_id: poll.task_id,
            task_name: &poll.task_name,
            spawned_at: &poll.spawned_at,
            future: &poll.future,
            span: detail.and_then(|detail| detail.span.as_deref()),
            runtime: poll.runtime,
            worker: poll.worker,
            start_ns: poll.start_ns,
            duration_ns: poll.duration_ns,
            start_is: detail.map_or(Precision::Exact, |detail| detail.start_is),
            end_is: detail.map_or(Precision::Exact, |detail| detail.end_is),
            cpu_ns: poll.cpu_ns,
            run_delay_ns: poll.run_delay_ns,
            off_cpu_ns: poll.off_cpu_ns(),
            cause: &poll.cause,
            places: places.chain(poll.more_places().iter().map(|place| WrittenPlace::of(place, id))).collect(),
            holder: detail.and_then(|detail| detail.holder.as_deref()),
            quota: detail.and_then(|detail| detail.quota.as_deref().copied()),
            stack_complete: poll.stack_complete,
            blame: poll.blame().map(WrittenBlame::from),
            worst_waiter: poll.worst_waiter(),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct WrittenPlace<'a> {
    pub(crate) line: Option<&'a Text>,
    pub(crate) caller: Option<&'a Text>,
    pub(crate) function: Option<&'a Text>,
    pub(crate) syscall: Option<&'a Shared<Syscall>>,
    pub(crate) looks: Option<u32>,
    pub(crate) share_ns: Option<u64>,
    pub(crate) stack: Option<StackId>,
}

impl<'a> WrittenPlace<'a> {
    pub(crate) fn of(place: &'a Place, id: &dyn Fn(&[Frame]) -> Option<StackId>) -> WrittenPlace<'a> {
        WrittenPlace {
            line: place.line.as_ref(),
            caller: place.caller.as_ref(),
            function: place.function.as_ref(),
            syscall: place.syscall.as_ref(),
            looks: place.looks,
            share_ns: place.share_ns,
            stack: id(&place.stack),
        }
    }

    /// A poll whose stack nobody saw was seen at no place.
    pub(crate) fn says_something(&self) -> bool {
        self.line.is_some()
            || self.function.is_some()
            || self.syscall.is_some()
            || self.stack.is_some()
            || self.looks.is_some()
    }
}

/// Each task waits for one poll once: waits of several polls are added up, their tasks are not.
#[derive(Serialize)]
pub(crate) struct WrittenBlame {
    tasks: u64,
    waits: u64,
    wait_ns: u64,
    late_tasks: u64,
    wait_most_ns: u64,
    lifo_tasks: u64,
}

impl From<Blame> for WrittenBlame {
    fn from(blame: Blame) -> WrittenBlame {
        let Blame { tasks, wait_ns, late_tasks, wait_most_ns, lifo_tasks } = blame;
        WrittenBlame { tasks, waits: tasks, wait_ns, late_tasks, wait_most_ns, lifo_tasks }
    }
}

#[cfg(test)]
mod tests {
    use crate::fixture;
    use crate::recording::wire::{from_json, to_json};
    use crate::recording::{Detail, Kind, Place};

    /// A place of which no line is known is one all the same, and those after it stay after it.
    #[test]
    fn a_place_that_is_known_by_its_looks_alone_comes_back() {
        let mut recording = fixture::recording();
        let poll = &mut recording.runs[0].slow_polls[0];
        poll.kind = Kind::default().into();
        let more = Place { line: Some("src/a.rs:1".into()), looks: Some(1), ..Place::default() };
        (poll.looks, poll.share_ns) = (Some(2), 7.into());
        poll.detail = Detail { more_places: vec![more], ..Detail::default() }.boxed();
        let read = from_json(to_json(&recording).expect("JSON").as_bytes()).expect("it is whole");
        assert_eq!(read.runs[0].slow_polls[0], recording.runs[0].slow_polls[0]);
    }
}
