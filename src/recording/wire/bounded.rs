//! Reading what may be hostile: no list longer than it can sensibly be, no element for next to no text.
//!
//! A list of empty objects takes three bytes an element in a file, and a hundred in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::dist::Dist;

/// What a whole recording may hold, wherever in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Of all histograms: a few bytes of compressed text hold millions.
    pub(crate) buckets: usize,
    /// Of all lists and maps: an empty text takes ten times as much in memory.
    pub(crate) elements: usize,
}

thread_local! {
    /// What is left. Serde passes nothing down to where lists are read and histograms inflated.
    static LEFT: Cell<Room> = const { Cell::new(Room { buckets: usize::MAX, elements: usize::MAX }) };
}

/// Reads with so much room.
pub(crate) fn within<T>(room: Room, read: impl FnOnce() -> T) -> T {
    let before = LEFT.replace(room);
    let done = read();
    LEFT.set(before);
    done
}

/// How many buckets there is room for.
pub(super) fn buckets_left() -> usize {
    LEFT.get().buckets
}

/// Takes room for buckets.
pub(super) fn take_buckets(count: usize) {
    let left = LEFT.get();
    LEFT.set(Room { buckets: left.buckets.saturating_sub(count), ..left });
}

fn take_element<E: Error>() -> Result<(), E> {
    let left = LEFT.get();
    let elements = left.elements.checked_sub(1);
    let elements = elements.ok_or_else(|| E::custom("its lists hold far more elements than text"))?;
    LEFT.set(Room { elements, ..left });
    Ok(())
}

/// A list of at most `N` elements.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    struct List<T, const N: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for List<T, N> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {N}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(element) = elements.next_element()? {
                if list.len() == N {
                    return Err(A::Error::invalid_length(N + 1, &self));
                }
                take_element()?;
                // Twice the room, as a list takes it by itself, is more than its text.
                if list.len() == list.capacity() {
                    list.reserve_exact((list.len() / 4).max(1));
                }
                list.push(element);
            }
            Ok(list)
        }
    }

    from.deserialize_seq(List::<T, N>(PhantomData))
}

/// At most `N` values by name.
pub(crate) fn map<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(
    from: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    struct Map<T, const N: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Map<T, N> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {N} keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry()? {
                if map.len() == N {
                    return Err(A::Error::invalid_length(N + 1, &self));
                }
                take_element()?;
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
