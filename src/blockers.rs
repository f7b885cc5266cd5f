//! Who blocked the loop: slow polls put together by line and cause. Pure.

use std::collections::HashMap;

use crate::recording::SlowPoll;

/// All slow polls that blocked at one line for one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker<'a> {
    /// `file:line` of the user's code; `None` for those of which no line was seen.
    pub line: Option<&'a str>,
    /// The function that it is in.
    pub function: Option<&'a str>,
    /// Why they took long; `None` for those of which it is not known.
    pub cause: Option<&'a str>,
    /// The system call's name, where they were in one.
    pub call: Option<&'a str>,
    /// Where their tasks were spawned, of the first of them.
    pub spawned_at: &'a str,
    /// How many.
    pub polls: u64,
    /// How long they lasted, added up, in nanoseconds.
    pub total_ns: u64,
    /// The longest, in nanoseconds.
    pub worst_ns: u64,
    /// How many tasks waited for them; `None` where that cannot be seen.
    pub waited: Option<u64>,
    /// How long those waited at least, added up, in nanoseconds.
    pub wait_ns: Option<u64>,
    /// How long at most.
    pub wait_most_ns: Option<u64>,
}

/// Groups slow polls, most time first.
pub fn blockers<'a>(polls: impl IntoIterator<Item = &'a SlowPoll>) -> Vec<Blocker<'a>> {
    let mut blockers: Vec<Blocker<'a>> = Vec::new();
    let mut places = HashMap::new();
    for poll in polls {
        let (line, cause) = (poll.blocking_line.as_deref(), poll.cause.as_deref());
        let call = poll.syscall.as_ref().map(|call| call.name.as_str());
        // Where no line is known, the spawn site is what tells them apart.
        let site = line.is_none().then_some(&poll.spawned_at);
        let index = *places.entry((line, site, cause, call)).or_insert_with(|| {
            blockers.push(Blocker {
                line,
                function: poll.function.as_deref(),
                cause,
                call,
                spawned_at: &poll.spawned_at,
                polls: 0,
                total_ns: 0,
                worst_ns: 0,
                waited: None,
                wait_ns: None,
                wait_most_ns: None,
            });
            blockers.len() - 1
        });
        let blocker = &mut blockers[index];
        blocker.polls += 1;
        blocker.total_ns += poll.duration_ns;
        blocker.worst_ns = blocker.worst_ns.max(poll.duration_ns);
        if let Some(blame) = poll.blame {
            let add = |sum: &mut Option<u64>, more| *sum = Some(sum.map_or(more, |sum| sum + more));
            add(&mut blocker.waited, blame.tasks);
            add(&mut blocker.wait_ns, blame.wait_ns);
            add(&mut blocker.wait_most_ns, blame.wait_most_ns);
        }
    }
    blockers.sort_by_key(|blocker| std::cmp::Reverse(blocker.total_ns));
    blockers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Blame;

    #[test]
    fn polls_of_one_line_and_cause_are_one_row() {
        let poll = |line: Option<&str>, spawned_at: &str, ns, blame| SlowPoll {
            blocking_line: line.map(str::to_owned),
            cause: line.map(|_| "lock".to_owned()),
            spawned_at: spawned_at.to_owned(),
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
        assert_eq!((last.waited, last.wait_ns, last.wait_most_ns), (Some(2), Some(30), Some(40)));
        assert_eq!((found[0].waited, found[0].wait_ns, found[0].wait_most_ns), (None, None, None));
    }
}
