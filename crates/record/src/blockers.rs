//! Who blocked the loop: slow polls put together by line and cause. Pure.

use std::cmp::Reverse;
use std::hash::{BuildHasher, RandomState};

use crate::recording::{Blame, Cause, SlowPoll};

/// All slow polls that blocked at one line for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blocker<'a> {
    /// `file:line` of the user's code; `None` for those of which no line was seen.
    pub(crate) line: Option<&'a str>,
    /// The function that it is in.
    pub(crate) function: Option<&'a str>,
    /// Why they took long; `None` for those of which it is not known.
    pub(crate) cause: Option<&'a Cause>,
    /// The system call's name, where they were in one.
    pub(crate) call: Option<&'a str>,
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

/// A slow poll, the digest of what it is grouped by, and which of all it is.
type Digested<'a> = (u64, usize, &'a SlowPoll);

/// Groups slow polls, most time first.
///
/// A million slow polls may be of as many lines: they are sorted, which takes a third of the memory that a table of groups does.
pub(crate) fn blockers<'a>(polls: impl IntoIterator<Item = &'a SlowPoll>) -> Vec<Blocker<'a>> {
    let digests = RandomState::new();
    let digested = |(index, poll)| (digests.hash_one(key(poll)), index, poll);
    let mut polls: Vec<Digested> = polls.into_iter().enumerate().map(digested).collect();
    polls.sort_unstable_by_key(|(digest, index, _)| (*digest, *index));
    for alike in polls.chunk_by_mut(|a, b| a.0 == b.0) {
        let first = key(alike[0].2);
        // Digests of different keys are the same once in an age.
        if alike.iter().any(|(_, _, poll)| key(poll) != first) {
            alike.sort_by_key(|(_, _, poll)| key(poll));
        }
    }
    let same = |a: &Digested, b: &Digested| a.0 == b.0 && key(a.2) == key(b.2);
    let total = |group: &[Digested]| group.iter().map(|(_, _, poll)| poll.duration_ns).sum::<u64>();
    let mut groups: Vec<&[Digested]> = Vec::with_capacity(polls.chunk_by(same).count());
    groups.extend(polls.chunk_by(same));
    groups.sort_by_cached_key(|group| (Reverse(total(group)), group[0].1));
    groups.into_iter().map(|group| blocker(group, total(group))).collect()
}

/// What tells groups apart: where no line is known, the spawn site does.
fn key(poll: &SlowPoll) -> [Option<&str>; 4] {
    let line = poll.blocking_line.as_deref();
    let site = poll.spawned_at.as_deref().filter(|_| line.is_none());
    [line, site, poll.cause.as_deref(), poll.syscall.as_ref().map(|call| call.name.as_str())]
}

impl Blocker<'_> {
    /// The line, or, where it is not known, whose polls they are.
    pub(crate) fn place(&self) -> String {
        match (self.line, self.spawned_at) {
            (Some(line), _) => line.to_owned(),
            (None, Some(site)) => format!("? (of {site})"),
            (None, None) => "not known".to_owned(),
        }
    }
}

fn blocker<'a>(group: &[Digested<'a>], total_ns: u64) -> Blocker<'a> {
    let (_, _, first) = group[0];
    let [line, _, _, call] = key(first);
    let polls = || group.iter().map(|(_, _, poll)| *poll);
    let waited = |of: fn(&Blame) -> u64| polls().filter_map(|poll| poll.blame.as_ref().map(of)).reduce(|a, b| a + b);
    Blocker {
        line,
        function: first.function.as_deref(),
        cause: first.cause.as_ref(),
        call,
        spawned_at: first.spawned_at.as_deref(),
        polls: group.len() as u64,
        total_ns,
        worst_ns: polls().map(|poll| poll.duration_ns).max().unwrap_or_default(),
        waits: waited(|blame| blame.tasks),
        wait_ns: waited(|blame| blame.wait_ns),
        wait_most_ns: waited(|blame| blame.wait_most_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_of_one_line_and_cause_are_one_row() {
        let poll = |line: Option<&str>, spawned_at: &str, ns, blame| SlowPoll {
            blocking_line: line.map(Into::into),
            cause: line.map(|_| "lock".into()),
            spawned_at: Some(spawned_at.into()),
            duration_ns: ns,
            blame,
            ..SlowPoll::default()
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
    }
}
