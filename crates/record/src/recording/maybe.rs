//! A number that may not be known, in eight bytes: there may be millions of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number below 2⁶⁴ − 1, or none. It is read and written as an `Option<u64>` is.
///
/// ```
/// use pollscope_record::recording::MaybeU64;
/// let known = MaybeU64::from(Some(7));
/// assert_eq!((known.get(), MaybeU64::default().get()), (Some(7), None));
/// assert_eq!(size_of::<MaybeU64>(), 8);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MaybeU64(u64);

impl MaybeU64 {
    const UNKNOWN: u64 = u64::MAX;

    /// The number, if it is known.
    pub fn get(self) -> Option<u64> {
        (self.0 != MaybeU64::UNKNOWN).then_some(self.0)
    }
}

impl Default for MaybeU64 {
    fn default() -> MaybeU64 {
        MaybeU64(MaybeU64::UNKNOWN)
    }
}

impl std::fmt::Debug for MaybeU64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

impl From<u64> for MaybeU64 {
    fn from(value: u64) -> MaybeU64 {
        MaybeU64(value)
    }
}

impl From<Option<u64>> for MaybeU64 {
    fn from(value: Option<u64>) -> MaybeU64 {
        value.map_or(MaybeU64::default(), MaybeU64)
    }
}

impl Serialize for MaybeU64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for MaybeU64 {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<MaybeU64, D::Error> {
        Option::deserialize(from).map(MaybeU64::from)
    }
}
