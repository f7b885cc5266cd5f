//! Who blocked the loop: slow polls put together by line, caller and cause. Pure.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::recording::{Cause, SlowPoll};

/// All slow polls that blocked at one line, called from one, or in one function whose line is not known, for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocker<'a> {
    /// `file:line` of the user's code; `None` for those of which no line was seen.
    pub(crate) line: Option<&'a str>,
    /// `file:line` of the outermost frame of the user's code, if that is another line: what calls a helper that blocks.
    pub(crate) caller: Option<&'a str>,
    /// The function that it is in, of the first of them; of those without a line, that of all.
    pub(crate) function: Option<&'a str>,
    /// Why they took long; `None` for those of which it is not known.
    pub(crate) cause: Option<&'a Cause>,
    /// The system call's name, where they were in one.
    pub(crate) call: Option<&'a str>,
    /// The first of them, for what all of them have in common.
    pub(crate) first: &'a SlowPoll,
    /// Where their tasks were spawned, of the first of them; `None` where that is not known.
    pub(crate) spawned_at: Option<&'a str>,
    /// How many.
    pub(crate) polls: u64,
    /// How long they lasted, added up, in nanoseconds.
    pub(crate) total_ns: u64,
    /// The longest, in nanoseconds.
    pub(crate) worst_ns: u64,
    /// How often tasks waited for them: a task behind two of them counts twice. `None` where that cannot be seen.
    pub(crate) waits: Option<u64>,
    /// How long those waited at least, added up, in nanoseconds.
    pub(crate) wait_ns: Option<u64>,
    /// How long at most.
    pub(crate) wait_most_ns: Option<u64>,
}

/// The slow polls of one kind, or of several that one row stands for.
struct Row<'a> {
    /// The first of them.
    first: &'a SlowPoll,
    /// Which of all that is.
    index: usize,
    polls: u64,
    total_ns: u64,
    worst_ns: u64,
    waits: Option<[u64; 3]>,
}

impl<'a> Row<'a> {
    fn of(index: usize, first: &'a SlowPoll) -> Row<'a> {
        let waits = first.blame().map(|blame| [blame.tasks, blame.wait_ns, blame.wait_most_ns]);
        Row { first, index, polls: 1, total_ns: first.duration_ns, worst_ns: first.duration_ns, waits }
    }

    fn add(&mut self, more: &Row<'a>) {
        if more.index < self.index {
            (self.first, self.index) = (more.first, more.index);
        }
        self.polls += more.polls;
        self.total_ns += more.total_ns;
        self.worst_ns = self.worst_ns.max(more.worst_ns);
        self.waits = match (self.waits, more.waits) {
            (Some(a), Some(b)) => Some([a[0] + b[0], a[1] + b[1], a[2] + b[2]]),
            (a, b) => a.or(b),
        };
    }
}

/// Groups slow polls, most time first.
///
/// A million slow polls may be of as many kinds: those are sorted, which takes a third of the memory that a table by texts does.
pub(crate) fn blockers<'a>(polls: impl IntoIterator<Item = &'a SlowPoll>) -> Vec<Blocker<'a>> {
    let mut rows = by_kind(polls);
    rows.sort_unstable_by(|a, b| key(a.first).cmp(&key(b.first)).then(a.index.cmp(&b.index)));
    rows.dedup_by(|more, row| {
        let is_same = key(more.first) == key(row.first);
        if is_same {
            row.add(more);
        }
        is_same
    });
    rows.sort_unstable_by_key(|row| (Reverse(row.total_ns), row.index));
    rows.iter().map(blocker).collect()
}

/// Those that share what they have in common.
fn by_kind<'a>(polls: impl IntoIterator<Item = &'a SlowPoll>) -> Vec<Row<'a>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut row_of: HashMap<usize, usize> = HashMap::new();
    let mut last = None;
    for (index, poll) in polls.into_iter().enumerate() {
        let kind = poll.kind.address();
        let at = match last {
            Some((of, at)) if of == kind => at,
            _ => *row_of.entry(kind).or_insert(rows.len()),
        };
        last = Some((kind, at));
        match rows.get_mut(at) {
            Some(row) => row.add(&Row::of(index, poll)),
            None => rows.push(Row::of(index, poll)),
        }
    }
    rows
}

/// What tells groups apart: where no line is known, the function and the spawn site do.
fn key(poll: &SlowPoll) -> [Option<&str>; 6] {
    let line = poll.blocking_line.as_deref();
    let [function, site] = [&poll.function, &poll.spawned_at].map(|text| text.as_deref().filter(|_| line.is_none()));
    let caller = poll.caller.as_deref().filter(|caller| Some(*caller) != line);
    [line, caller, function, site, poll.cause.as_deref(), poll.syscall.as_ref().map(|call| call.name.as_str())]
}

impl Blocker<'_> {
    /// Which of the rows of one line it is, where there are several: by what called it.
    pub(crate) fn caller_among<'a>(&'a self, all: &[Blocker]) -> Option<&'a str> {
        let is_told_apart = |other: &Blocker| other.line == self.line && other.caller != self.caller;
        self.caller.filter(|_| all.iter().any(is_told_apart))
    }

    /// The line, or, where it is not known, the function and whose polls they are.
    pub(crate) fn place(&self) -> String {
        match (self.line, self.function, self.spawned_at) {
            (Some(line), ..) => line.to_owned(),
            (None, Some(function), Some(site)) => format!("{function} (of {site})"),
            (None, Some(function), None) => function.to_owned(),
            (None, None, Some(site)) => format!("task of {site}"),
            (None, None, None) => "not known".to_owned(),
        }
    }

    /// Whether a poll is one of them.
    pub(crate) fn is_of(&self, poll: &SlowPoll) -> bool {
        let [line, caller, function, site, cause, call] = key(poll);
        let is_same_place = [line, caller] == [self.line, self.caller]
            && (line.is_some() || [function, site] == [self.function, self.spawned_at]);
        is_same_place && cause == self.cause.map(|cause| &**cause) && call == self.call
    }
}

fn blocker<'a>(row: &Row<'a>) -> Blocker<'a> {
    let first = row.first;
    let [line, caller, .., call] = key(first);
    let waited = |which: usize| row.waits.map(|waits| waits[which]);
    Blocker {
        line,
        caller,
        function: first.function.as_deref(),
        cause: first.cause.as_ref(),
        call,
        first,
        spawned_at: first.spawned_at.as_deref(),
        polls: row.polls,
        total_ns: row.total_ns,
        worst_ns: row.worst_ns,
        waits: waited(0),
        wait_ns: waited(1),
        wait_most_ns: waited(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::{Blame, Detail, Kind};

    #[test]
    fn polls_of_one_line_and_cause_are_one_row() {
        let poll = |line: Option<&str>, spawned_at: &str, ns, blame| {
            let kind = Kind {
                blocking_line: line.map(Into::into),
                cause: line.map(|_| "lock".into()),
                spawned_at: Some(spawned_at.into()),
                ..Kind::default()
            };
            let detail = Detail { blame, ..Detail::default() }.boxed();
            SlowPoll { duration_ns: ns, detail, ..SlowPoll::of(kind) }
        };
        let waited = Some(Blame { tasks: 2, wait_ns: 30, late_tasks: 1, wait_most_ns: 40, lifo_tasks: 0 });
        let polls = [
            poll(Some("a:1"), "s:1", 10, waited),
            poll(None, "s:1", 100, None),
            poll(Some("a:1"), "s:2", 20, None),
            poll(None, "s:2", 100, None),
        ];
        let found = blockers(&polls);
        assert_eq!(found.len(), 3, "without a line, by spawn site");
        let last = found.last().unwrap();
        assert_eq!((last.line, last.polls, last.total_ns, last.worst_ns), (Some("a:1"), 2, 30, 20));
        assert_eq!((last.waits, last.wait_ns, last.wait_most_ns), (Some(2), Some(30), Some(40)));
        assert_eq!((found[0].waits, found[0].wait_ns, found[0].wait_most_ns), (None, None, None));
        for poll in &polls {
            assert_eq!(found.iter().filter(|blocker| blocker.is_of(poll)).count(), 1, "{poll:?}");
        }
    }

    #[test]
    fn without_a_line_the_function_tells_polls_apart() {
        let poll = |function: &str| {
            let (function, spawned_at) = (Some(function.into()), Some("s:1".into()));
            SlowPoll::of(Kind { function, spawned_at, ..Kind::default() })
        };
        let polls = [poll("shop::read"), poll("shop::write"), poll("shop::read")];
        let found = blockers(&polls);
        let places: Vec<(String, u64)> = found.iter().map(|blocker| (blocker.place(), blocker.polls)).collect();
        assert_eq!(places, [("shop::read (of s:1)".to_owned(), 2), ("shop::write (of s:1)".to_owned(), 1)]);
        assert_eq!(polls.iter().filter(|poll| found[0].is_of(poll)).count(), 2);
    }

    #[test]
    fn a_helper_does_not_hide_what_calls_it() {
        let poll = |caller: &str, ns| {
            let (blocking_line, caller) = (Some("query:1".into()), Some(caller.into()));
            SlowPoll { duration_ns: ns, ..SlowPoll::of(Kind { blocking_line, caller, ..Kind::default() }) }
        };
        let polls = [poll("get:1", 25), poll("list:2", 400), poll("get:1", 25)];
        let found = blockers(&polls);
        let rows: Vec<_> = found.iter().map(|row| (row.caller_among(&found), row.polls, row.worst_ns)).collect();
        assert_eq!(rows, [(Some("list:2"), 1, 400), (Some("get:1"), 2, 25)]);
        assert_eq!(blockers(&polls[..1])[0].caller_among(&blockers(&polls[..1])), None, "one row needs no more words");
    }
}
