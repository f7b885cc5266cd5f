//! What many slow polls have in common, held once: names, places, system calls and stacks.
//!
//! A recording can have a million slow polls of a dozen lines. As they are read, each value is looked for among those that were
//! read of late, in a table of fixed size: what is hostile cannot make it grow, and what is real is nearly always found.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use super::wire::bounded;
use super::{Frame, Kind, Syscall};

/// A value that is cheap to copy, since the copies share it. It is read like what it holds.
pub struct Shared<T: ?Sized>(Arc<T>);

/// A text that is cheap to copy.
///
/// ```
/// use pollscope_record::recording::Text;
/// let text = Text::from("src/main.rs:29");
/// assert!(text.clone() == text && text.as_str().ends_with(":29") && *text == *"src/main.rs:29");
/// ```
pub type Text = Shared<str>;

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: ?Sized + fmt::Display> fmt::Display for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: ?Sized> Borrow<T> for Shared<T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T: ?Sized + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl<T: ?Sized + Eq> Eq for Shared<T> {}

impl<T: ?Sized + Hash> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T: ?Sized> Default for Shared<T>
where
    Arc<T>: Default,
{
    fn default() -> Shared<T> {
        Shared(Arc::default())
    }
}

impl<T> Shared<T> {
    /// Tells values that are held in two places from one that is shared, as long as both live.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

impl<T: Clone> Shared<T> {
    /// The value, to be changed in this copy alone.
    pub(crate) fn make_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Shared<T> {
        Shared(Arc::new(value))
    }
}

impl<T> From<Vec<T>> for Shared<[T]> {
    fn from(items: Vec<T>) -> Shared<[T]> {
        Shared(items.into())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Shared(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Shared(text.into())
    }
}

impl<T> FromIterator<T> for Shared<[T]> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Shared<[T]> {
        Shared(items.into_iter().collect())
    }
}

impl<'a, T> IntoIterator for &'a Shared<[T]> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        self
    }
}

impl<T: ?Sized + Serialize> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text, D::Error> {
        struct OfText;

        impl Visitor<'_> for OfText {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                known(|known| &mut known.texts, text, || Text::from(text), text.len())
            }
        }

        from.deserialize_str(OfText)
    }
}

impl<'de> Deserialize<'de> for Shared<Syscall> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Shared<Syscall>, D::Error> {
        let call = Syscall::deserialize(from)?;
        known(|known| &mut known.calls, &call, || Shared::from(call.clone()), size_of::<Syscall>())
    }
}

/// A stack; for `deserialize_with`.
pub(crate) fn stack<'de, D: Deserializer<'de>>(from: D) -> Result<Shared<[Frame]>, D::Error> {
    // All are read in one place: lists that grow between texts that stay would leave holes that nothing fits.
    let place = KNOWN.with_borrow_mut(|known| known.as_mut().map(|known| std::mem::take(&mut known.frames)));
    let mut frames: Vec<Frame> = bounded::list_in::<D, Frame, 4_096>(from, place.unwrap_or_default())?;
    let held = size_of_val(&*frames);
    // It was taken for the list; what stays of it is shared.
    bounded::give_back(held);
    let stack = known(|known| &mut known.stacks, &*frames, || frames.iter().cloned().collect(), held);
    frames.clear();
    KNOWN.with_borrow_mut(|known| known.as_mut().map(|known| known.frames = frames));
    stack
}

/// What slow polls have in common, of which a report makes a row.
pub(crate) fn kind<E: Error>(kind: Kind) -> Result<Shared<Kind>, E> {
    let size = size_of::<Kind>() + bounded::GROUPED;
    known(|known| &mut known.kinds, &kind, || Shared::from(kind.clone()), size)
}

/// What was read of late, each at the place that its hash gives it.
struct Known {
    texts: Vec<Option<Text>>,
    calls: Vec<Option<Shared<Syscall>>>,
    stacks: Vec<Option<Shared<[Frame]>>>,
    kinds: Vec<Option<Shared<Kind>>>,
    /// Where frames are read, one stack after the other.
    frames: Vec<Frame>,
}

/// Of each table, at most and at least; powers of two.
const PLACES: (usize, usize) = (1 << 13, 1 << 5);
/// A place for so many bytes of a file.
const TEXT_OF_PLACE: u64 = 256;
/// Two counters.
const HEAD: usize = 16;

thread_local! {
    /// `None` unless a file is being read: serde passes nothing down to where texts are.
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

/// Reads values that are equal as one, from a file of that length.
pub(crate) fn sharing<T>(length: u64, read: impl FnOnce() -> T) -> T {
    let (most, least) = PLACES;
    let places = usize::try_from(length / TEXT_OF_PLACE).unwrap_or(most).clamp(least, most).next_power_of_two();
    let known = Known {
        texts: vec![None; places],
        calls: vec![None; places],
        stacks: vec![None; places],
        kinds: vec![None; places],
        frames: Vec::new(),
    };
    let before = KNOWN.replace(Some(known));
    let done = read();
    KNOWN.replace(before);
    done
}

/// The value that is known and equal to `value`, or the one that `make` makes, for which room is taken.
fn known<T: ?Sized + Eq + Hash, E: Error>(
    table: impl FnOnce(&mut Known) -> &mut Vec<Option<Shared<T>>>,
    value: &T,
    make: impl FnOnce() -> Shared<T>,
    size: usize,
) -> Result<Shared<T>, E> {
    let made = || bounded::take_allocation(HEAD + size).map(|()| make());
    KNOWN.with_borrow_mut(|known| {
        let Some(known) = known else { return made() };
        let mut hasher = Quick(0);
        value.hash(&mut hasher);
        let places = table(known);
        let at = (hasher.finish() >> 32) as usize % places.len();
        let place = &mut places[at];
        match place {
            Some(shared) if **shared == *value => Ok(shared.clone()),
            _ => Ok(place.insert(made()?).clone()),
        }
    })
}

/// Eight bytes at a time. Texts that meet at one place only are held twice.
struct Quick(u64);

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.write_u64(u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let rest = words.remainder().iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        self.write_u64(rest ^ (bytes.len() as u64) << 56);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Text {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn equal_texts_are_one_while_a_file_is_read() {
        let same = |a: &Text, b: &Text| Arc::ptr_eq(&a.0, &b.0);
        sharing(0, || {
            let [a, b, c] = ["\"src/a.rs:1\"", "\"src/a.rs:1\"", "\"src/a.rs:2\""].map(text);
            assert!(same(&a, &b) && a == b && !same(&a, &c) && a != c);
        });
        assert!(!same(&text("\"a\""), &text("\"a\"")));
    }

    #[test]
    fn texts_that_differ_a_little_have_places_of_their_own() {
        sharing(u64::MAX, || {
            let texts: Vec<Text> = (0..1_000).map(|line| text(&format!("\"src/a.rs:{line}\""))).collect();
            let again = (0..1_000).map(|line| text(&format!("\"src/a.rs:{line}\"")));
            let kept = texts.iter().zip(again).filter(|(a, b)| Arc::ptr_eq(&a.0, &b.0)).count();
            assert!(kept > 800, "{kept}");
        });
    }
}
