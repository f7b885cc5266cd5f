//! Reading what may be hostile: no list longer than it can sensibly be, no element for next to no text.
//!
//! A list of empty objects takes three bytes an element in a file, and a hundred in memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

thread_local! {
    /// How many buckets all histograms together may still hold; see [`within`].
    static ROOM: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Reads with room for so many buckets. A few bytes of compressed text hold millions, and serde passes nothing down to where they
/// are inflated.
pub(crate) fn within<T>(buckets: usize, read: impl FnOnce() -> T) -> T {
    let before = ROOM.replace(buckets);
    let done = read();
    ROOM.set(before);
    done
}

/// How many buckets there is room for.
pub(super) fn room() -> usize {
    ROOM.get()
}

/// Takes room for buckets.
pub(super) fn take(buckets: usize) {
    ROOM.set(ROOM.get().saturating_sub(buckets));
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

/// A value that may be `null`, but whose key may not be missing.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(from)
}
