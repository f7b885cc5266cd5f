//! Where time goes: slow polls put together by place, call and cause, as they come; of the last seconds, and of all.

use std::collections::VecDeque;

use crate::recording::{Cause, Detail, Frame, Precision, Shared, SlowPoll, Text};

/// The window of what was of late, in nanoseconds.
pub(crate) const WINDOW_NS: u64 = 10 * SECOND_NS;
const SECOND_NS: u64 = 1_000_000_000;
/// Places that are told apart; what comes beyond is put together.
const MOST: usize = 500;

/// What tells places apart: where no line is known, the function, the spawn site and the future's type do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Key {
    place: Option<Text>,
    caller: Option<Text>,
    cause: Option<Cause>,
    call: Option<Text>,
}

impl Key {
    fn of(poll: &SlowPoll) -> Key {
        let place = poll.blocking_line.as_ref().or(poll.function.as_ref());
        let site = || poll.spawned_at.as_ref().map(|site| Text::from(format!("task of {site}")));
        let future = || poll.future.clone();
        Key {
            place: place.cloned().or_else(site).or_else(future),
            caller: poll.caller.clone(),
            cause: poll.cause.clone(),
            call: poll.syscall.as_ref().map(|call| call.name.clone()),
        }
    }
}

/// What was measured of a place, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) polls: u64,
    pub(crate) total_ns: u64,
    pub(crate) worst_ns: u64,
    /// Whether one of them may have lasted longer than is known.
    pub(crate) at_least: bool,
}

/// Whether a poll may have lasted longer than is known, as of one that was seen from outside.
pub(super) fn is_at_least(poll: &SlowPoll) -> bool {
    let is = |detail: &Detail| (detail.start_is, detail.end_is) != (Precision::Exact, Precision::Exact);
    poll.detail.as_deref().is_some_and(is)
}

impl Sum {
    fn of(poll: &SlowPoll) -> Sum {
        Sum { polls: 1, total_ns: poll.duration_ns, worst_ns: poll.duration_ns, at_least: is_at_least(poll) }
    }

    fn add(&mut self, other: Sum) {
        self.polls += other.polls;
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.worst_ns = self.worst_ns.max(other.worst_ns);
        self.at_least |= other.at_least;
    }
}

/// What is known of one place.
#[derive(Debug, Clone)]
struct Kept {
    key: Key,
    call: Option<Text>,
    stack: Shared<[Frame]>,
    all: Sum,
    /// By the second in which they ended, the oldest first.
    recent: VecDeque<(u64, Sum)>,
}

/// A row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) key: Key,
    /// `file:line`, a function, or whose task it is; `None` where nothing of it is known.
    pub(crate) place: Option<Text>,
    pub(crate) caller: Option<Text>,
    pub(crate) cause: Option<Cause>,
    /// The call's name.
    pub(crate) call: Option<Text>,
    /// The call with its arguments, of the first poll.
    pub(crate) call_text: Option<Text>,
    pub(crate) stack: Shared<[Frame]>,
    pub(crate) sum: Sum,
    /// Whether a poll is there now.
    pub(crate) is_now: bool,
}

/// Which polls count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Window {
    /// Those of the last ten seconds.
    #[default]
    Recent,
    All,
}

/// What rows are sorted by, the most first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Time,
    Worst,
    Polls,
}

impl Sort {
    pub(crate) fn next(self) -> Sort {
        match self {
            Sort::Time => Sort::Worst,
            Sort::Worst => Sort::Polls,
            Sort::Polls => Sort::Time,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Sort::Time => "time",
            Sort::Worst => "worst",
            Sort::Polls => "polls",
        }
    }
}

/// All places so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    kept: Vec<Kept>,
    /// Polls of places that there was no room for.
    pub(crate) others: u64,
}

impl Places {
    /// A slow poll ended.
    pub(crate) fn add(&mut self, poll: &SlowPoll) {
        let key = Key::of(poll);
        let sum = Sum::of(poll);
        let Some(at) = self.position(key, poll) else {
            self.others += 1;
            return;
        };
        let kept = &mut self.kept[at];
        kept.all.add(sum);
        if kept.stack.is_empty() {
            kept.stack = poll.stack.clone();
        }
        let second = poll.start_ns.saturating_add(poll.duration_ns) / SECOND_NS;
        // Not more of it than is in the window.
        let sum = Sum { total_ns: sum.total_ns.min(WINDOW_NS), ..sum };
        match kept.recent.iter_mut().find(|(of, _)| *of == second) {
            Some((_, of_second)) => of_second.add(sum),
            None => kept.recent.push_back((second, sum)),
        }
        if kept.recent.len() > 2 * (WINDOW_NS / SECOND_NS) as usize {
            kept.recent.pop_front();
        }
    }

    fn position(&mut self, key: Key, poll: &SlowPoll) -> Option<usize> {
        let known = self.kept.iter().position(|kept| kept.key == key);
        if known.is_some() || self.kept.len() == MOST {
            return known;
        }
        let call = poll.syscall.as_ref().map(|call| call.text.clone());
        let new = Kept { key, call, stack: poll.stack.clone(), all: Sum::default(), recent: VecDeque::new() };
        self.kept.push(new);
        Some(self.kept.len() - 1)
    }

    /// The table at a time, with polls that go on: most first.
    pub(crate) fn rows(&self, now_ns: u64, open: &[SlowPoll], window: Window, sort: Sort) -> Vec<Row> {
        let from = now_ns.saturating_sub(WINDOW_NS) / SECOND_NS;
        let of_window = |kept: &Kept| match window {
            Window::All => kept.all,
            Window::Recent => {
                let mut sum = Sum::default();
                kept.recent.iter().filter(|(second, _)| *second > from || from == 0).for_each(|(_, of)| sum.add(*of));
                sum
            }
        };
        let mut rows: Vec<Row> = self.kept.iter().map(|kept| kept.row(of_window(kept))).collect();
        for poll in open {
            let most_ns = if window == Window::Recent { WINDOW_NS } else { u64::MAX };
            let sum = Sum { total_ns: poll.duration_ns.min(most_ns), ..Sum::of(poll) };
            let key = Key::of(poll);
            let at = rows.iter().position(|row| row.key == key).unwrap_or_else(|| {
                let call = poll.syscall.as_ref().map(|call| call.text.clone());
                let new = Kept { key, call, stack: poll.stack.clone(), all: sum, recent: VecDeque::new() };
                rows.push(new.row(Sum::default()));
                rows.len() - 1
            });
            rows[at].sum.add(sum);
            rows[at].is_now = true;
        }
        rows.retain(|row| row.sum.polls > 0);
        rows.sort_by_key(|row| {
            let Sum { polls, total_ns, worst_ns, .. } = row.sum;
            std::cmp::Reverse(match sort {
                Sort::Time => (total_ns, worst_ns, polls),
                Sort::Worst => (worst_ns, total_ns, polls),
                Sort::Polls => (polls, total_ns, worst_ns),
            })
        });
        rows
    }
}

impl Kept {
    fn row(&self, sum: Sum) -> Row {
        let Key { place, caller, cause, call } = self.key.clone();
        Row {
            key: self.key.clone(),
            place,
            caller,
            cause,
            call,
            call_text: self.call.clone(),
            stack: self.stack.clone(),
            sum,
            is_now: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Kind;

    const MS: u64 = 1_000_000;

    fn poll(line: &str, start_ms: u64, ms: u64) -> SlowPoll {
        let kind = Kind { blocking_line: Some(line.into()), cause: Some("lock".into()), ..Kind::default() };
        SlowPoll { start_ns: start_ms * MS, duration_ns: ms * MS, ..SlowPoll::of(kind) }
    }

    fn shown(rows: &[Row]) -> Vec<(&str, u64, u64)> {
        rows.iter().map(|row| (row.place.as_deref().unwrap(), row.sum.polls, row.sum.total_ns / MS)).collect()
    }

    #[test]
    fn what_is_old_leaves_the_window_and_stays_in_all() {
        let mut places = Places::default();
        places.add(&poll("a:1", 500, 200));
        places.add(&poll("b:2", 20_000, 100));
        places.add(&poll("b:2", 25_000, 150));
        let now = 26_000 * MS;
        assert_eq!(shown(&places.rows(now, &[], Window::Recent, Sort::Time)), [("b:2", 2, 250)]);
        assert_eq!(shown(&places.rows(now, &[], Window::All, Sort::Worst)), [("a:1", 1, 200), ("b:2", 2, 250)]);
        assert_eq!(shown(&places.rows(now, &[], Window::All, Sort::Polls)), [("b:2", 2, 250), ("a:1", 1, 200)]);
        assert!(places.rows(60_000 * MS, &[], Window::Recent, Sort::Time).is_empty());
    }

    #[test]
    fn what_goes_on_counts_up_to_now() {
        let mut places = Places::default();
        places.add(&poll("a:1", 500, 200));
        let open = [poll("a:1", 1_000, 400), poll("c:3", 0, 30_000)];
        let rows = places.rows(30_000 * MS, &open, Window::Recent, Sort::Time);
        assert_eq!(shown(&rows), [("c:3", 1, 10_000), ("a:1", 1, 400)]);
        assert!(rows.iter().all(|row| row.is_now));
        let rows = places.rows(30_000 * MS, &open, Window::All, Sort::Time);
        assert_eq!(shown(&rows), [("c:3", 1, 30_000), ("a:1", 2, 600)]);
    }

    #[test]
    fn what_was_seen_is_at_least_so_long() {
        let mut places = Places::default();
        places.add(&poll("a:1", 500, 200));
        let mut seen = poll("b:2", 500, 200);
        seen.detail_mut().start_is = Precision::WithinNs(10);
        places.add(&seen);
        places.add(&poll("b:2", 900, 50));
        let rows = places.rows(1_000 * MS, &[], Window::Recent, Sort::Time);
        assert_eq!(rows.iter().map(|row| row.sum.at_least).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn there_are_not_more_places_than_there_is_room_for() {
        let mut places = Places::default();
        (0..MOST + 7).for_each(|line| places.add(&poll(&format!("a:{line}"), 0, 200)));
        assert_eq!((places.rows(0, &[], Window::All, Sort::Time).len(), places.others), (MOST, 7));
        places.add(&poll("a:1", 0, 200));
        assert_eq!(places.others, 7);
    }
}
