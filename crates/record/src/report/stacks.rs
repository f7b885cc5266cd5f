//! Stacks of slow polls, and of places of wall-clock profiles, as tables, for formats that have each function and each frame once.

use std::collections::HashMap;
use std::hash::Hash;
use std::rc::Rc;

use crate::escape::escape;
use crate::loops_time::call_name;
use crate::recording::{Frame, ProfilePlace, Shared, SlowPoll, Syscall};
use crate::report::slow_poll::{future_type, root};

/// A place of a slow poll, and how much of its time went there.
pub(super) struct Part<'r> {
    pub(super) ns: u64,
    pub(super) call: Option<&'r Shared<Syscall>>,
    stack: &'r Shared<[Frame]>,
    /// Whether anybody knows that it was there.
    is_known: bool,
}

/// Where the time of a slow poll went, most first: together, all of it. Time of which nobody knows where it went comes last,
/// without a stack. Where no time is known by place, the first place has all.
pub(super) fn parts(slow: &SlowPoll) -> Vec<Part<'_>> {
    let first = |ns| Part { ns, call: slow.syscall.as_ref(), stack: &slow.stack, is_known: true };
    let Some(share_ns) = slow.share_ns.get() else { return vec![first(slow.duration_ns)] };
    let mut left = slow.duration_ns;
    let mut most = |ns: u64| {
        let ns = ns.min(left);
        left -= ns;
        ns
    };
    let mut parts = vec![first(most(share_ns))];
    for place in slow.more_places() {
        let ns = most(place.share_ns.unwrap_or(0));
        // For how long it was there is not known, or it is hardly worth a word.
        if ns > 0 {
            parts.push(Part { ns, call: place.syscall.as_ref(), stack: &place.stack, is_known: true });
        }
    }
    if left > 0 {
        static NOWHERE: std::sync::LazyLock<Shared<[Frame]>> = std::sync::LazyLock::new(Shared::default);
        parts.push(Part { ns: left, call: None, stack: &NOWHERE, is_known: false });
    }
    parts
}

/// A function, by names that are safe to show.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) file: Option<String>,
}

/// Each function and each frame once, in the order in which they were seen first.
#[derive(Default)]
pub(super) struct Tables<'r> {
    pub(super) functions: Once<Function>,
    /// A function, as its place in the table, and a line.
    pub(super) frames: Once<(usize, Option<u64>)>,
    known: HashMap<Seen<'r>, Rc<[usize]>>,
}

/// What a list of frames is made of. Of equal texts there is mostly one, so that where they are tells them apart soon enough;
/// those that are equal elsewhere only are looked at again.
type Seen<'r> = (At, bool, At, Option<&'r str>, bool);
type At = (usize, usize);

fn at<T: ?Sized>(of: &T, length: usize) -> At {
    (std::ptr::from_ref(of).cast::<()>() as usize, length)
}

impl<'r> Tables<'r> {
    /// The frames of a part, from the outermost on: where the task begins, the stack, the system call.
    pub(super) fn frames(&mut self, slow: &'r SlowPoll, part: &Part<'r>) -> Rc<[usize]> {
        let begins = slow.spawned_at.as_ref().or(slow.future.as_ref()).map_or((0, 0), |text| at(&**text, text.len()));
        let call = part.call.map(|call| call.name.as_str());
        let seen = (begins, slow.spawned_at.is_some(), at(&**part.stack, part.stack.len()), call, part.is_known);
        if let Some(known) = self.known.get(&seen) {
            return Rc::clone(known);
        }
        let mut frames = self.list(root(slow).as_deref(), part.stack, call);
        match (part.is_known, frames.is_empty()) {
            (false, _) => frames.push(self.named("not known where")),
            (true, true) => frames.push(self.named("not known")),
            (true, false) => {}
        }
        let frames: Rc<[usize]> = frames.into();
        self.known.insert(seen, Rc::clone(&frames));
        frames
    }

    /// Those of a place of a wall-clock profile: the type of the future, the stack, the system call.
    pub(super) fn of_place(&mut self, place: &ProfilePlace) -> Rc<[usize]> {
        let root = place.future.as_deref().map(future_type);
        let mut frames = self.list(root.as_deref(), &place.stack, None);
        if place.stack.is_empty() {
            frames.extend(place.function.as_deref().or(place.line.as_deref()).map(|at| self.named(at)));
        }
        frames.extend(place.call.as_deref().map(|call| self.named(call_name(call))));
        if frames.is_empty() {
            frames.push(self.named(place.state.as_str()));
        }
        frames.into()
    }

    /// What has no stack, by its name.
    pub(super) fn alone(&mut self, name: &str) -> Rc<[usize]> {
        [self.named(name)].into()
    }

    fn list(&mut self, root: Option<&str>, stack: &[Frame], call: Option<&str>) -> Vec<usize> {
        let mut frames: Vec<usize> = root.map(|root| self.named(root)).into_iter().collect();
        for frame in stack.iter().rev() {
            let file = frame.file.as_deref().map(|file| escape(file).into_owned());
            let name = frame.function.as_deref().or(frame.file.as_deref()).unwrap_or("?");
            let function = self.functions.number(Function { name: escape(name).into_owned(), file });
            frames.push(self.frames.number((function, frame.line)));
        }
        frames.extend(call.map(|call| self.named(call)));
        frames
    }

    fn named(&mut self, name: &str) -> usize {
        let function = self.functions.number(Function { name: escape(name).into_owned(), file: None });
        self.frames.number((function, None))
    }
}

/// A list in which everything is once, and has the number of its place.
pub(super) struct Once<T> {
    numbers: HashMap<T, usize>,
    list: Vec<T>,
}

impl<T> Default for Once<T> {
    fn default() -> Once<T> {
        Once { numbers: HashMap::new(), list: Vec::new() }
    }
}

impl<T: Eq + Hash + Clone> Once<T> {
    pub(super) fn number(&mut self, of: T) -> usize {
        let next = self.list.len();
        *self.numbers.entry(of).or_insert_with_key(|of| {
            self.list.push(of.clone());
            next
        })
    }

    pub(super) fn list(&self) -> &[T] {
        &self.list
    }
}

impl Once<String> {
    /// The same of a text, which is copied only if it is new.
    pub(super) fn number_of(&mut self, text: &str) -> usize {
        match self.numbers.get(text) {
            Some(number) => *number,
            None => self.number(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Detail, Kind, MaybeU64, Place};

    fn frame(function: &str) -> Frame {
        Frame { function: Some(function.into()), file: Some("src/a.rs".into()), line: Some(7) }
    }

    fn poll() -> SlowPoll {
        let place = |function, share_ns| Place { share_ns, stack: vec![frame(function)].into(), ..Place::default() };
        let more_places = vec![place("second", Some(30)), place("third", None)];
        let detail = Detail { more_places, ..Detail::default() };
        let kind = Kind { stack: vec![frame("first"), frame("outer")].into(), ..Kind::default() };
        SlowPoll { duration_ns: 100, share_ns: 60.into(), detail: detail.boxed(), ..SlowPoll::of(kind) }
    }

    #[test]
    fn parts_add_up_to_the_poll_whatever_their_shares_say() {
        let shares = |slow: &SlowPoll| parts(slow).iter().map(|part| (part.ns, part.is_known)).collect::<Vec<_>>();
        assert_eq!(shares(&poll()), [(60, true), (30, true), (10, false)]);
        let hostile = SlowPoll { duration_ns: 70, ..poll() };
        assert_eq!(shares(&hostile), [(60, true), (10, true)], "never more than all of it");
        let unknown = SlowPoll { share_ns: MaybeU64::default(), ..poll() };
        assert_eq!(shares(&unknown), [(100, true)]);
    }

    #[test]
    fn frames_go_from_the_outermost_on_and_each_is_there_once() {
        let mut slow = poll();
        slow.kind_mut().spawned_at = Some("src/main.rs:3".into());
        let mut tables = Tables::default();
        let lists: Vec<Rc<[usize]>> = parts(&slow).iter().map(|part| tables.frames(&slow, part)).collect();
        let names = |list: &Rc<[usize]>| {
            let name = |frame: &usize| tables.functions.list()[tables.frames.list()[*frame].0].name.clone();
            list.iter().map(name).collect::<Vec<_>>().join(";")
        };
        let expected = ["outer;first", "second", "not known where"];
        assert_eq!(
            lists.iter().map(names).collect::<Vec<_>>(),
            expected.map(|at| format!("spawned at src/main.rs:3;{at}"))
        );
        assert_eq!(tables.frames.list().len(), 5);
        let empty = SlowPoll { duration_ns: 1, ..SlowPoll::default() };
        let list = tables.frames(&empty, &parts(&empty)[0]);
        assert_eq!(tables.functions.list()[tables.frames.list()[list[0]].0].name, "not known");
    }
}
