//! Around long polls: what was before, during and after a poll that took very long, where that was kept more finely.

use super::super::layout::{Ink, Line, paragraph};
use super::Page;
use crate::recording::{Fine, Run, SlowPoll};
use crate::report::slow_poll::at;
use crate::units::{format_count, format_ns, format_percent, plural};

/// Polls that are told.
const MOST: usize = 5;
/// How long before and after.
const SIDE_NS: u64 = 5_000_000_000;

/// Nothing where nothing was kept.
pub(super) fn section(page: &Page) -> Vec<Line> {
    let runs = page.recording.runs.iter().filter(|run| !run.fine.is_empty());
    let told: Vec<(&Run, &SlowPoll)> =
        runs.flat_map(|run| longest(run).into_iter().map(move |slow| (run, slow))).collect();
    if told.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::new().text(Ink::Title, "Around long polls")];
    for (run, slow) in told {
        let of = if page.modes.len() > 1 { format!("{}: ", run.label()) } else { String::new() };
        let what = format!("{of}{} from {} on{}: ", format_ns(slow.duration_ns), format_ns(slow.start_ns), at(slow));
        lines.extend(paragraph(Line::indent(2).text(Ink::Bold, &what), Ink::Plain, &around(run, slow), page.width));
    }
    lines
}

/// Those of which something was kept, the longest first.
fn longest(run: &Run) -> Vec<&SlowPoll> {
    let is_kept = |slow: &&SlowPoll| {
        // What is kept of another one may touch it: it has what is before it, or all of it.
        run.fine.iter().any(|fine| fine.start_ns <= slow.start_ns && fine.end_ns > slow.start_ns)
            && slow.duration_ns >= run.slow_poll_threshold_ns.saturating_mul(4)
    };
    let mut kept: Vec<&SlowPoll> = run.slow_polls.iter().chain(&run.stalls_open).filter(is_kept).collect();
    kept.sort_by_key(|slow| (std::cmp::Reverse(slow.duration_ns), slow.id));
    kept.truncate(MOST);
    kept
}

fn around(run: &Run, slow: &SlowPoll) -> String {
    let end_ns = slow.start_ns.saturating_add(slow.duration_ns);
    let part = |from_ns: u64, to_ns: u64| {
        let is_in = move |fine: &&Fine| fine.start_ns >= from_ns && fine.end_ns <= to_ns;
        run.fine.iter().filter(is_in).copied().collect::<Vec<Fine>>()
    };
    let before = part(slow.start_ns.saturating_sub(SIDE_NS), slow.start_ns);
    let during = part(slow.start_ns, end_ns);
    let after = part(end_ns, end_ns.saturating_add(SIDE_NS));
    let parts = [(&before, "before it"), (&during, "during it"), (&after, "after it")];
    let busy =
        parts.into_iter().filter_map(|(fine, when)| Some(format!("{} {when}", format_percent(busy(run, fine)?))));
    let busy: Vec<String> = busy.collect();
    let all = || parts.iter().flat_map(|(fine, _)| fine.iter());
    let late = all().map(|fine| fine.late).max().filter(|late| *late > 1);
    let queued =
        all().filter_map(|fine| Some(fine.queued?.global.saturating_add(fine.queued?.local.unwrap_or(0)))).max();
    let closures = all().filter_map(|fine| fine.pool_queued).max().filter(|closures| *closures > 0);
    let said = [
        (!busy.is_empty()).then(|| format!("workers were busy for {}", busy.join(", "))),
        late.map(|late| format!("{} were late at once", plural(late, "poll"))),
        queued.map(|queued| format!("at most {} queued", plural(queued, "task"))),
        closures.map(|closures| format!("{} closures waited for the blocking pool", format_count(closures))),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Which part of all workers' time polls took; `None` where their number is not known, or there is nothing.
fn busy(run: &Run, fine: &[Fine]) -> Option<f64> {
    let first = fine.first()?;
    let busy_ns = fine.iter().map(|fine| fine.busy_ns).fold(0, u64::saturating_add);
    let lasted_ns = fine.iter().map(|fine| fine.end_ns.saturating_sub(fine.start_ns)).fold(0, u64::saturating_add);
    Fine { end_ns: first.start_ns.saturating_add(lasted_ns), busy_ns, ..*first }.busy_share(run.subject.workers()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{self, MS};
    use crate::recording::Queued;
    use crate::report::terminal::render;

    #[test]
    fn a_long_poll_is_told_with_what_was_around_it() {
        let mut run = fixture::blocked("naive", &[1_000 * MS, 150 * MS]);
        (run.slow_polls[0].start_ns, run.slow_polls[1].start_ns) = (6_000 * MS, 7_100 * MS);
        run.elapsed_ns = 20_000 * MS;
        run.fine = (10..120)
            .map(|tenth| Fine {
                start_ns: tenth * 100 * MS,
                end_ns: (tenth + 1) * 100 * MS,
                busy_ns: if (60..70).contains(&tenth) { 100 * MS } else { 25 * MS },
                late: u64::from((60..70).contains(&tenth)) * 2,
                queued: Some(Queued { global: tenth, local: None }),
                pool_queued: None,
            })
            .collect();
        let text = render(
            &fixture::recording_of(vec![run.clone()]),
            &crate::report::Style { width: 200, color: false, unicode: true },
        );
        let said = "  1.00 s from 6.00 s on: workers were busy for 25.0 % before it, 100 % during it, 25.0 % after it; 2 polls were late at \
                    once; at most 119 tasks queued\n";
        assert!(text.contains(&format!("\nAround long polls\n{said}")), "{text}");
        assert!(!text.contains("150 ms from 7.10 s on"), "only what is very long");

        run.fine.clear();
        let without = render(
            &fixture::recording_of(vec![run]),
            &crate::report::Style { width: 200, color: false, unicode: true },
        );
        assert!(!without.contains("Around long polls"));
    }
}
