//! A run's stacks by number. Slow polls refer to them, and a file may have its keys in any order: a reference to a number that is
//! not known yet is settled when the run was read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::bounded;
use crate::recording::{Frame, Kind, Place, Run, Shared, SlowPoll, Syscall, Text, shared};

/// The number of a stack within its run.
pub(crate) type StackId = u64;

/// Stacks that a run may have.
const MOST: usize = 1_000_000;
/// Places that a slow poll may have.
const MOST_PLACES: usize = 1_000;

/// Which of a run's lists a slow poll is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum List {
    #[default]
    Ended,
    Open,
}

#[derive(Default)]
struct State {
    stacks: BTreeMap<StackId, Shared<[Frame]>>,
    /// References that nobody could follow when they were read.
    late: Vec<Late>,
    list: List,
    /// The place in its list of the slow poll that is being read.
    poll: usize,
    /// The place in that slow poll.
    place: usize,
}

struct Late {
    list: List,
    poll: usize,
    place: usize,
    id: StackId,
}

thread_local! {
    /// Serde passes nothing down to where slow polls are read.
    static STATE: RefCell<State> = RefCell::default();
}

/// The references of a run that are still to be followed.
pub(crate) struct Unsettled(State);

/// Reads a run with a table of its own.
pub(crate) fn of_run<T>(read: impl FnOnce() -> T) -> (T, Unsettled) {
    let before = STATE.take();
    let done = read();
    (done, Unsettled(STATE.replace(before)))
}

impl Unsettled {
    /// Whether there are none.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.late.is_empty()
    }

    /// Follows what was read before the stack that it means.
    pub(super) fn settle(self, run: &mut Run) -> Result<(), String> {
        let Unsettled(State { stacks, late, .. }) = self;
        for Late { list, poll, place, id } in late {
            let stack =
                stacks.get(&id).ok_or_else(|| format!("a slow poll refers to stack {id}, which is not there"))?;
            let polls = if list == List::Ended { &mut run.slow_polls } else { &mut run.stalls_open };
            let Some(poll) = polls.get_mut(poll) else { continue };
            match place.checked_sub(1) {
                None => poll.kind_mut().stack = stack.clone(),
                Some(more) => {
                    let places = poll.detail.as_mut().map(|detail| &mut detail.more_places);
                    if let Some(place) = places.and_then(|places| places.get_mut(more)) {
                        place.stack = stack.clone();
                    }
                }
            }
        }
        Ok(())
    }
}

pub(super) fn slow_polls<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SlowPoll>, D::Error> {
    in_list(List::Ended);
    bounded::list::<_, _, 10_000_000>(from)
}

pub(super) fn stalls_open<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SlowPoll>, D::Error> {
    in_list(List::Open);
    bounded::list::<_, _, 100_000>(from)
}

fn in_list(list: List) {
    STATE.with_borrow_mut(|state| (state.list, state.poll, state.place) = (list, 0, 0));
}

/// A slow poll was read: the next one has places of its own.
pub(super) fn next_poll() {
    STATE.with_borrow_mut(|state| {
        state.poll += 1;
        state.place = 0;
    });
}

/// From now on, that number means this stack.
pub(crate) fn define<E: serde::de::Error>(id: StackId, stack: Shared<[Frame]>) -> Result<(), E> {
    bounded::take(2 * size_of::<(StackId, Shared<[Frame]>)>())?;
    STATE.with_borrow_mut(|state| state.stacks.insert(id, stack));
    Ok(())
}

/// No number means a stack.
pub(crate) fn forget() {
    STATE.with_borrow_mut(|state| state.stacks.clear());
}

/// The table: a map from numbers to stacks.
pub(super) fn table<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
    struct Table;

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Stack(#[serde(deserialize_with = "shared::stack")] Shared<[Frame]>);

    impl<'de> Visitor<'de> for Table {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MOST} stacks by number")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
            let mut count = 0;
            while let Some((id, Stack(stack))) = entries.next_entry::<StackId, Stack>()? {
                count += 1;
                if count > MOST {
                    return Err(serde::de::Error::invalid_length(count, &self));
                }
                define(id, stack)?;
            }
            Ok(())
        }
    }

    from.deserialize_map(Table)
}

#[derive(Deserialize)]
struct ReadPlace {
    #[serde(deserialize_with = "bounded::present")]
    line: Option<Text>,
    caller: Option<Text>,
    function: Option<Text>,
    #[serde(deserialize_with = "bounded::present")]
    syscall: Option<Shared<Syscall>>,
    looks: Option<u32>,
    share_ns: Option<u64>,
    #[serde(deserialize_with = "bounded::present")]
    stack: Option<StackId>,
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Place, D::Error> {
        let read = ReadPlace::deserialize(from)?;
        let stack = STATE.with_borrow_mut(|state| {
            let place = state.place;
            state.place += 1;
            let id = read.stack?;
            let known = state.stacks.get(&id).cloned();
            if known.is_none() {
                state.late.push(Late { list: state.list, poll: state.poll, place, id });
            }
            known
        });
        if stack.is_none() && read.stack.is_some() {
            bounded::take(2 * size_of::<Late>() + size_of::<Kind>() + bounded::GROUPED)?;
        }
        Ok(Place {
            line: read.line,
            caller: read.caller,
            function: read.function,
            syscall: read.syscall,
            looks: read.looks,
            share_ns: read.share_ns,
            stack: stack.unwrap_or_default(),
        })
    }
}

pub(crate) fn places<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Place>, D::Error> {
    bounded::list::<_, _, MOST_PLACES>(from)
}
