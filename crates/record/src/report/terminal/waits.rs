//! Who waited: the tasks that slow polls held up, and whose they were.

use super::super::layout::{Ink, Line, cut, cut_start, width};
use super::Page;
use crate::blockers::Blocker;
use crate::recording::Ledger;
use crate::units::{format_count, format_ns, format_range};

/// Rows a mode.
const ROWS: usize = 5;
const COUNT: usize = 7;
/// `2.29 s to 3.41 s`
const WAITED: usize = 19;

const OTHERS: &str = "behind slow polls of";

/// Nothing where nobody waited for a slow poll.
pub(super) fn who_waited(page: &Page) -> Vec<Line> {
    let ledgers =
        page.modes.iter().enumerate().filter_map(|(index, mode)| Some((index, mode.name, mode.ledger.as_ref()?)));
    let ledgers: Vec<(usize, &str, &Ledger)> = ledgers.filter(|(_, _, ledger)| !ledger.charges.is_empty()).collect();
    if ledgers.is_empty() {
        return Vec::new();
    }
    let mode_columns = page.mode_columns_of_places();
    let title = "Who waited";
    let room = page.width.saturating_sub(mode_columns + COUNT + WAITED) / 2;
    let shown = || ledgers.iter().flat_map(|(_, _, ledger)| ledger.charges.iter().take(ROWS));
    let longest = shown().flat_map(|charge| [&charge.waiter, &charge.culprit]).map(|place| width(place)).max();
    // No wider than what stands there: numbers far from their names are hard to follow.
    let place = room.min(longest.unwrap_or(0).max(OTHERS.len()) + 2);
    let header = Line::new().text(Ink::Title, title).blank((mode_columns + place).saturating_sub(title.len()));
    let header =
        header.left(Ink::Dim, if page.is_narrow() { "behind" } else { OTHERS }, place).right(Ink::Dim, "waits", COUNT);
    let mut lines = vec![header.right(Ink::Dim, "waited", WAITED)];
    let at = |text: &str| cut_start(text, place.saturating_sub(2));
    for (index, mode, ledger) in ledgers {
        lines.extend(page.mode_line(index));
        for (row, charge) in ledger.charges.iter().take(ROWS).enumerate() {
            let name = if row == 0 { mode } else { "" };
            let line = Line::new()
                .left(Ink::Mode(index), &cut(name, mode_columns), mode_columns)
                .left(Ink::Plain, &at(&charge.waiter), place)
                .left(Ink::Plain, &at(&charge.culprit), place)
                .right(Ink::Plain, &format_count(charge.tasks), COUNT)
                .right(Ink::Plain, &format_wait(charge.wait_ns, charge.wait_most_ns), WAITED);
            lines.push(line);
        }
        let rest = &ledger.charges[ledger.charges.len().min(ROWS)..];
        if !rest.is_empty() {
            let of = |of: fn(&crate::recording::Charge) -> u64| rest.iter().map(of).sum();
            let line = Line::indent(mode_columns).left(Ink::Dim, &format!("and {} more", rest.len()), 2 * place);
            let line = line.right(Ink::Dim, &format_count(of(|charge| charge.tasks)), COUNT);
            let waited = format_wait(of(|charge| charge.wait_ns), of(|charge| charge.wait_most_ns));
            lines.push(line.right(Ink::Dim, &waited, WAITED));
        }
        let line = Line::indent(mode_columns).left(Ink::Dim, "otherwise, in all", 2 * place + COUNT);
        lines.push(line.right(Ink::Dim, &format_ns(ledger.unattributed_ns), WAITED));
    }
    lines
}

/// Where no task waited, which is no duration.
const NO_TASK: &str = "no task";

/// How long tasks waited, where it is known, or between which bounds it lies.
pub(in crate::report) fn format_wait(ns: u64, most_ns: u64) -> String {
    if ns == 0 && most_ns > 0 { format!("≤ {}", format_ns(most_ns)) } else { format_range(ns, most_ns) }
}

/// How long tasks waited for one line's slow polls, or the most that it can be; `None` where that cannot be seen.
/// Clients and timers may have waited where no task did: that is in their own measures.
pub(in crate::report) fn blocker_wait(blocker: &Blocker) -> Option<String> {
    let most = blocker.wait_most_ns?;
    if blocker.waits == Some(0) {
        return Some(NO_TASK.to_owned());
    }
    Some(if blocker.wait_ns == Some(most) { format_ns(most) } else { format!("≤ {}", format_ns(most)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blockers::blockers;
    use crate::recording::{Blame, Detail, SlowPoll};

    #[test]
    fn where_no_task_waited_it_is_not_said_that_the_wait_was_0() {
        let wait = |tasks, wait_ns, wait_most_ns| {
            let blame = Some(Blame { tasks, wait_ns, late_tasks: 0, wait_most_ns, lifo_tasks: 0 });
            let poll = SlowPoll { detail: Detail { blame, ..Detail::default() }.boxed(), ..SlowPoll::default() };
            blocker_wait(&blockers([&poll])[0])
        };
        assert_eq!(wait(0, 0, 0).as_deref(), Some("no task"));
        assert_eq!(wait(1, 0, 2_000).as_deref(), Some("≤ 2.00 µs"));
        assert_eq!(wait(1, 2_000, 2_000).as_deref(), Some("2.00 µs"));
    }
}
