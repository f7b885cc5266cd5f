//! A slow poll as a line of a recording that grows has it: what it has in common with others is in a line before it, once.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::lines::KindId;
use crate::feed::Update;
use crate::recording::wire::stacks::{self, StackId};
use crate::recording::wire::{WrittenBlame, WrittenPlace, bounded};
use crate::recording::{
    Blame, Cause, Detail, Frame, Holder, Kind, MaybeU64, Place, Precision, Quota, Shared, SlowPoll, Span, Text, Waiter,
};

/// What slow polls of a kind have in common.
#[derive(Serialize)]
pub(super) struct WrittenKind<'a> {
    id: KindId,
    task_name: &'a Option<Text>,
    spawned_at: &'a Option<Text>,
    future: &'a Option<Text>,
    runtime: Option<u64>,
    worker: Option<u64>,
    cause: &'a Option<Cause>,
    /// One, or none.
    places: Vec<WrittenPlace<'a>>,
    stack_complete: Option<bool>,
    blame: Option<WrittenBlame>,
}

impl<'a> WrittenKind<'a> {
    pub(super) fn of(id: KindId, kind: &'a Kind, stack: Option<StackId>) -> WrittenKind<'a> {
        let place = WrittenPlace {
            line: kind.blocking_line.as_ref(),
            caller: kind.caller.as_ref(),
            function: kind.function.as_ref(),
            syscall: kind.syscall.as_ref(),
            looks: None,
            share_ns: None,
            stack,
        };
        WrittenKind {
            id,
            task_name: &kind.task_name,
            spawned_at: &kind.spawned_at,
            future: &kind.future,
            runtime: kind.runtime,
            worker: kind.worker,
            cause: &kind.cause,
            places: Some(place).into_iter().filter(WrittenPlace::says_something).collect(),
            stack_complete: kind.stack_complete,
            blame: kind.nobody_waited.then(|| Blame::default().into()),
        }
    }
}

/// What a slow poll has of its own. What is not known is left out.
#[derive(Serialize)]
pub(super) struct WrittenPoll<'a> {
    kind: KindId,
    /// `None` where it is the one after that of the slow poll before.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "is_unknown")]
    task_id: MaybeU64,
    start_ns: u64,
    duration_ns: u64,
    /// On the CPU, and ready for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    clocks_ns: Option<[MaybeU64; 2]>,
    /// At the first place: looks, and its share in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<(Option<u32>, MaybeU64)>,
    #[serde(flatten)]
    detail: Option<WrittenDetail<'a>>,
}

#[derive(Serialize)]
struct WrittenDetail<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    blame: Option<WrittenBlame>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worst_waiter: Option<&'a Waiter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<&'a Span>,
    #[serde(skip_serializing_if = "is_exact")]
    start_is: Precision,
    #[serde(skip_serializing_if = "is_exact")]
    end_is: Precision,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    more_places: Vec<WrittenPlace<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<&'a Holder>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
}

fn is_unknown(value: &MaybeU64) -> bool {
    value.get().is_none()
}

fn is_exact(end: &Precision) -> bool {
    *end == Precision::Exact
}

impl<'a> WrittenPoll<'a> {
    /// `id` only where it does not follow from the one before.
    pub(super) fn of(
        poll: &'a SlowPoll,
        kind: KindId,
        id: Option<u64>,
        stack: &dyn Fn(&[Frame]) -> Option<StackId>,
    ) -> WrittenPoll<'a> {
        let clocks = [poll.cpu_ns, poll.run_delay_ns];
        let detail = |detail: &'a Detail| WrittenDetail {
            blame: detail.blame.map(WrittenBlame::from),
            worst_waiter: detail.worst_waiter.as_deref(),
            span: detail.span.as_deref(),
            start_is: detail.start_is,
            end_is: detail.end_is,
            more_places: detail.more_places.iter().map(|place| WrittenPlace::of(place, stack)).collect(),
            holder: detail.holder.as_deref(),
            quota: detail.quota.as_deref().copied(),
        };
        WrittenPoll {
            kind,
            id,
            task_id: poll.task_id,
            start_ns: poll.start_ns,
            duration_ns: poll.duration_ns,
            clocks_ns: clocks.iter().any(|clock| !is_unknown(clock)).then_some(clocks),
            seen: (poll.looks.is_some() || !is_unknown(&poll.share_ns)).then_some((poll.looks, poll.share_ns)),
            detail: poll.detail.as_deref().map(detail),
        }
    }
}

/// The kinds of a file, by number.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    by_id: HashMap<KindId, Shared<Kind>>,
    /// The last slow poll's number.
    last_id: u64,
}

impl Kinds {
    /// A file begins: what those before it had means nothing in it.
    pub(super) fn forget(&mut self) {
        stacks::forget();
        *self = Kinds::default();
    }

    pub(super) fn define(&mut self, read: ReadKind) -> Result<(), &'static str> {
        let first = read.places.into_iter().next().unwrap_or_default();
        let (blame, nobody_waited) = Blame::or_nobody(read.blame);
        if blame.is_some() {
            return Err("who waited is not the same for all slow polls of a kind, unless nobody did");
        }
        let kind = Kind {
            task_name: read.task_name,
            spawned_at: read.spawned_at,
            future: read.future,
            runtime: read.runtime,
            worker: read.worker,
            cause: read.cause,
            syscall: first.syscall,
            blocking_line: first.line,
            caller: first.caller,
            function: first.function,
            stack: first.stack,
            stack_complete: read.stack_complete,
            nobody_waited,
        };
        let room = 4 * size_of::<(KindId, Shared<Kind>)>() + size_of::<Kind>() + bounded::GROUPED;
        bounded::take::<serde_json::Error>(room).map_err(|_| "it takes far more memory than its text")?;
        self.by_id.insert(read.id, kind.into());
        Ok(())
    }

    /// What became known by a line: a slow poll that ended, or goes on.
    pub(super) fn update(&mut self, read: ReadPoll, goes_on: bool) -> Result<Update, &'static str> {
        let poll = Box::new(self.poll(read, goes_on)?);
        Ok(if goes_on { Update::Stall(poll) } else { Update::SlowPoll(poll) })
    }

    /// The same by a line of the run beside, whose slow polls have numbers of their own.
    pub(super) fn update_beside(&mut self, read: ReadPoll, goes_on: bool) -> Result<Update, &'static str> {
        let poll = Box::new(self.poll(read, true)?);
        Ok(if goes_on { Update::Stall(poll) } else { Update::SlowPoll(poll) })
    }

    /// The slow poll of a line; one that goes on does not count.
    pub(super) fn poll(&mut self, read: ReadPoll, goes_on: bool) -> Result<SlowPoll, &'static str> {
        let kind = self.by_id.get(&read.kind).ok_or("it refers to a kind of slow polls that is not there")?.clone();
        let id = read.id.unwrap_or(self.last_id.saturating_add(1));
        if !goes_on {
            self.last_id = id;
        }
        let (looks, share_ns) = read.seen.unwrap_or_default();
        let [cpu_ns, run_delay_ns] = read.clocks_ns.unwrap_or_default();
        let detail = Detail {
            blame: read.blame,
            worst_waiter: read.worst_waiter,
            span: read.span,
            start_is: read.start_is,
            end_is: read.end_is,
            more_places: read.more_places,
            holder: read.holder,
            quota: read.quota,
        };
        Ok(SlowPoll {
            id,
            task_id: read.task_id,
            start_ns: read.start_ns,
            duration_ns: read.duration_ns,
            cpu_ns,
            run_delay_ns,
            share_ns,
            looks,
            kind,
            detail: detail.boxed(),
        })
    }
}

/// See [`WrittenKind`].
#[derive(Debug, Deserialize)]
pub(super) struct ReadKind {
    id: KindId,
    task_name: Option<Text>,
    spawned_at: Option<Text>,
    future: Option<Text>,
    runtime: Option<u64>,
    worker: Option<u64>,
    cause: Option<Cause>,
    #[serde(deserialize_with = "stacks::places")]
    places: Vec<Place>,
    stack_complete: Option<bool>,
    blame: Option<Blame>,
}

/// Of a list of polls that go on.
impl bounded::Element for ReadPoll {
    fn besides(&self) -> usize {
        size_of::<SlowPoll>() + size_of::<Detail>()
    }
}

/// See [`WrittenPoll`].
#[derive(Debug, Deserialize)]
pub(super) struct ReadPoll {
    kind: KindId,
    id: Option<u64>,
    #[serde(default)]
    task_id: MaybeU64,
    start_ns: u64,
    duration_ns: u64,
    clocks_ns: Option<[MaybeU64; 2]>,
    seen: Option<(Option<u32>, MaybeU64)>,
    blame: Option<Blame>,
    worst_waiter: Option<Box<Waiter>>,
    span: Option<Box<Span>>,
    #[serde(default)]
    start_is: Precision,
    #[serde(default)]
    end_is: Precision,
    #[serde(default, deserialize_with = "stacks::places")]
    more_places: Vec<Place>,
    holder: Option<Box<Holder>>,
    quota: Option<Box<Quota>>,
}
