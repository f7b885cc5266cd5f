//! Reading what may be hostile: no list longer than it can sensibly be, and nothing that takes far more memory than its text.
//!
//! A list of empty objects takes three bytes an element in a file, and a hundred in memory; a histogram of a few bytes inflates to
//! millions of buckets. So whatever there can be many of is counted, as the memory that it takes, before more of it is read.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::message::Message;
use crate::recording::{
    Charge, Detail, Dist, Finding, Fine, Frame, Gate, Holder, InputEvent, Interval, Place, Quota, Run, RuntimeInfo,
    Site, SlowPoll, Span, Waiter,
};

thread_local! {
    /// How many bytes may still be taken. Serde passes nothing down to where lists are read and histograms inflated.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Reads with so much room, in bytes.
pub(crate) fn within<T>(room: usize, read: impl FnOnce() -> T) -> T {
    let before = LEFT.replace(room);
    let done = read();
    LEFT.set(before);
    done
}

/// How many bytes there is room for.
pub(crate) fn left() -> usize {
    LEFT.get()
}

/// Takes room.
pub(crate) fn take<E: Error>(bytes: usize) -> Result<(), E> {
    let left = LEFT.get().checked_sub(bytes);
    LEFT.set(left.ok_or_else(|| E::custom("it takes far more memory than its text"))?);
    Ok(())
}

/// Takes the room of something of that size that stands alone.
pub(crate) fn take_allocation<E: Error>(size: usize) -> Result<(), E> {
    take(allocated(size))
}

/// What [`take`] took.
pub(crate) fn give_back(bytes: usize) {
    LEFT.set(LEFT.get().saturating_add(bytes));
}

/// What an allocator takes for it: a word of its own, and sixteen bytes at a time, at least two of those.
fn allocated(size: usize) -> usize {
    if size == 0 { 0 } else { (size + 8).next_multiple_of(16).max(32) }
}

/// What a report takes for each kind of slow polls, at most: a row of its own.
pub(crate) const GROUPED: usize = 256;

/// What an element of a list takes beside its size, and beside what the lists, histograms and shared texts in it took when they
/// were read.
pub(crate) trait Element {
    /// In bytes.
    fn besides(&self) -> usize;
}

fn texts<'t>(texts: impl IntoIterator<Item = &'t String>) -> usize {
    texts.into_iter().map(|text| allocated(text.len())).sum()
}

impl Element for Message {
    fn besides(&self) -> usize {
        allocated(self.len())
    }
}

impl Element for String {
    fn besides(&self) -> usize {
        texts([self])
    }
}

/// Of a metric.
impl Element for Option<f64> {
    fn besides(&self) -> usize {
        0
    }
}

impl Element for InputEvent {
    fn besides(&self) -> usize {
        texts([&self.event]) + self.text.besides()
    }
}

impl Element for Frame {
    fn besides(&self) -> usize {
        0
    }
}

impl Element for SlowPoll {
    fn besides(&self) -> usize {
        let Some(detail) = self.detail.as_deref() else { return 0 };
        let Detail { worst_waiter, span, holder, quota, .. } = detail;
        let boxed = [
            worst_waiter.as_ref().map(|waiter| allocated(size_of::<Waiter>()) + texts([&waiter.spawned_at])),
            span.as_ref().map(|_| allocated(size_of::<Span>())),
            holder.as_ref().map(|_| allocated(size_of::<Holder>())),
            quota.as_ref().map(|_| allocated(size_of::<Quota>())),
        ];
        let fields = span.iter().flat_map(|span| &span.fields);
        let fields = fields.map(|(key, value)| texts([key, value]) + 2 * size_of::<(String, String)>());
        allocated(size_of::<Detail>()) + boxed.into_iter().flatten().sum::<usize>() + fields.sum::<usize>()
    }
}

impl Element for Place {
    fn besides(&self) -> usize {
        0
    }
}

impl Element for RuntimeInfo {
    fn besides(&self) -> usize {
        texts([&self.flavor])
    }
}

impl Element for Interval {
    fn besides(&self) -> usize {
        0
    }
}

impl Element for Fine {
    fn besides(&self) -> usize {
        0
    }
}

impl Element for Site {
    /// Rounds are put together, in another of each site.
    fn besides(&self) -> usize {
        2 * texts(self.task_name.iter().chain([&self.spawned_at])) + size_of::<Site>() + self.polls.size()
    }
}

impl Element for Charge {
    /// Rounds are put together, in another of each charge, and found by their places.
    fn besides(&self) -> usize {
        2 * size_of::<Charge>()
    }
}

impl Element for Run {
    /// Rounds are put together, in another of each distribution.
    fn besides(&self) -> usize {
        let Run { group, started_at, coverage, ended_why, .. } = self;
        // A mode is a group as well.
        let texts =
            texts([group, group, started_at, &coverage.source]) + ended_why.as_ref().map_or(0, Message::besides);
        texts + self.dists().map(Dist::size).sum::<usize>()
    }
}

impl Element for Finding {
    fn besides(&self) -> usize {
        texts(self.at.iter().chain([&self.code, &self.group, &self.sentence, &self.advice]))
    }
}

impl Element for Gate {
    fn besides(&self) -> usize {
        texts(self.why.iter().chain([&self.expr]))
    }
}

/// A list of at most `N` elements.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de> + Element, const N: usize>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    let mut list = list_in::<D, T, N>(from, Vec::new())?;
    list.shrink_to_fit();
    Ok(list)
}

/// The same in the place of an empty list.
pub(crate) fn list_in<'de, D: Deserializer<'de>, T: Deserialize<'de> + Element, const N: usize>(
    from: D,
    place: Vec<T>,
) -> Result<Vec<T>, D::Error> {
    struct List<T, const N: usize>(Vec<T>);

    impl<'de, T: Deserialize<'de> + Element, const N: usize> Visitor<'de> for List<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {N}")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<Vec<T>, A::Error> {
            while let Some(element) = elements.next_element::<T>()? {
                let List(list) = &mut self;
                if list.len() == N {
                    return Err(A::Error::invalid_length(N + 1, &self));
                }
                take(size_of::<T>() + element.besides())?;
                // Twice the room, as a list takes it by itself, is more than its text.
                if list.len() == list.capacity() {
                    list.reserve_exact((list.len() / 4).max(4));
                }
                list.push(element);
            }
            Ok(self.0)
        }
    }

    from.deserialize_seq(List::<T, N>(place))
}

/// At most `N` values by name.
pub(crate) fn map<'de, D: Deserializer<'de>, T: Deserialize<'de> + Element, const N: usize>(
    from: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    struct Map<T, const N: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + Element, const N: usize> Visitor<'de> for Map<T, N> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry::<String, T>()? {
                if map.len() == N {
                    return Err(A::Error::invalid_length(N + 1, &self));
                }
                take(2 * size_of::<(String, T)>() + texts([&key]) + value.besides())?;
                map.insert(key, value);
            }
            Ok(map)
        }
    }

    from.deserialize_map(Map::<T, N>(PhantomData))
}

/// Numbers by name, or `null`; one that is no finite number is written as `null`, and so becomes one that is none.
pub(crate) fn metrics<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BTreeMap<String, f64>>, D::Error> {
    struct Numbers(BTreeMap<String, f64>);

    impl<'de> Deserialize<'de> for Numbers {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Numbers, D::Error> {
            let numbers = map::<D, Option<f64>, 10_000>(from)?;
            Ok(Numbers(numbers.into_iter().map(|(key, value)| (key, value.unwrap_or(f64::NAN))).collect()))
        }
    }

    Ok(Option::<Numbers>::deserialize(from)?.map(|Numbers(numbers)| numbers))
}

/// A distribution of no more values than can be added up over all runs.
pub(crate) fn waits<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Dist>, D::Error> {
    /// With the most runs that there can be, 2⁶².
    const MOST: u64 = 1 << 45;
    let waits = Option::<Dist>::deserialize(from)?;
    match &waits {
        Some(waits) if waits.count().max(waits.clamped) > MOST => {
            Err(D::Error::custom("it has more waits than can be"))
        }
        _ => Ok(waits),
    }
}

/// A value that may be `null`, but whose key may not be missing.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}
