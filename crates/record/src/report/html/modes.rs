//! Modes side by side: what a fix costs, and how alike the rounds are.

use maud::{Markup, html};

use super::table::{Cell, mode, table};
use super::text::or_unknown;
use super::{Page, percentiles};
use crate::by_group::{ByGroup, slow_number};
use crate::recording::{Completeness, Dist, Run};
use crate::units::{format_bytes, format_count, format_ns, format_percent};

/// Throughput, write latency and what the loop did for it.
pub(super) fn price(page: &Page) -> Option<Markup> {
    let row = |(index, group): (usize, &ByGroup)| {
        let written = group.write_latency.as_ref();
        vec![
            mode(index, group.name),
            Cell::number(group.throughput_bytes_per_s(), per_second),
            Cell::number(written.and_then(|dist| dist.shown_quantile_ns(0.5)), format_ns),
            Cell::number(written.and_then(|dist| dist.shown_quantile_ns(0.99)), format_ns),
            Cell::number(group.busy_fraction(), format_percent),
            Cell::number(group.polls.as_ref().map(Dist::count), format_count),
            Cell::number(Some(group.elapsed_ns()), format_ns),
            Cell::number(group.unanswered(), format_count),
            Cell::number(group.cpu_ns(), format_ns),
            Cell::number(group.context_switches(), format_count),
            Cell::number(group.pool_wait.as_ref().and_then(|dist| dist.shown_quantile_ns(0.99)), format_ns),
        ]
    };
    let head = [
        "mode",
        "throughput",
        "write p50",
        "write p99",
        "loop busy",
        "polls",
        "elapsed",
        "unanswered",
        "CPU time",
        "switches",
        "pool wait p99",
    ];
    let rows: Vec<Vec<Cell>> = page.modes.iter().enumerate().map(row).collect();
    // Of a program that is only looked at there may be nothing of it.
    let is_known = |group: &ByGroup| {
        group.throughput_bytes_per_s().is_some()
            || group.write_latency.is_some()
            || group.polls.is_some()
            || group.cpu_ns().is_some()
    };
    let has_some = !page.is_of_program() || page.modes.iter().any(is_known);
    (!rows.is_empty() && has_some).then(|| {
        html! {
            p { "What keeps the loop responsive is not free. Response time is what an outside client waits for an answer, write \
                 latency is from a line's appearance in its input to the end of its write. Of 1,000 cases, all but one took no \
                 longer than the line is high at 99.9 %." }
            (table("The price of the fix", &head, rows))
            div.charts { (percentiles::gain_and_cost(page)) }
        }
    })
}

fn per_second(bytes: u64) -> String {
    format!("{}/s", format_bytes(bytes))
}

/// Every run by itself, in the order in which they ran.
pub(super) fn rounds(page: &Page) -> Option<Markup> {
    let index_of = |run: &Run| page.modes.iter().position(|mode| mode.name == run.group).unwrap_or_default();
    let row = |run: &Run| {
        let p99 = |dist: &Option<Dist>| dist.as_ref().and_then(|dist| dist.shown_quantile_ns(0.99));
        let busy = || Some(run.loop_busy_ns? as f64 / run.available_ns()?);
        let busy = busy().or_else(|| Some(run.busy_share?.value));
        vec![
            mode(index_of(run), &run.group),
            Cell::number(run.subject.round().map(u64::from), format_count),
            Cell::shown(
                &slow_number(run.slow_polls_total, run.slow_polls_are == Completeness::AtLeast),
                run.slow_polls_total,
            ),
            Cell::number(run.polls.as_ref().and_then(|polls| polls.max_ns), format_ns),
            Cell::number(p99(&run.lag), format_ns),
            Cell::number(p99(&run.response_time), format_ns),
            Cell::number(busy, format_percent),
            Cell::number(run.throughput_bytes_per_s, per_second),
            Cell::number(Some(run.elapsed_ns), format_ns),
            Cell::text(&or_unknown(run.merge.as_ref().map(|merge| merge.verdict.as_str().to_owned()))),
        ]
    };
    let head = [
        "mode",
        "round",
        "slow polls",
        "worst poll",
        "lag p99",
        "response p99",
        "busy",
        "throughput",
        "elapsed",
        "merge",
    ];
    let rows: Vec<Vec<Cell>> = page.recording.runs.iter().map(row).collect();
    (!rows.is_empty()).then(|| table("Rounds", &head, rows))
}
