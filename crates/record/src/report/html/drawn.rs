//! What a page's scripts draw: when what took how long, for the timeline that zooms and the spinners. It is apart from the recording, so
//! that it stays whole where that is made smaller.

use serde::Serialize;

use super::size_limit::for_scripts;
use super::spans::others;
use super::text;
use crate::recording::{Run, SlowPoll};

/// The element that has it.
pub(super) const MARK: &str = "<script type=\"application/json\" id=\"drawn\">";

/// The data of the scripts.
pub(super) struct Drawn {
    /// JSON that cannot end its element.
    pub(super) json: String,
    /// Those are not shown when one zooms.
    pub(super) slow_polls_left_out: u64,
}

#[derive(Serialize)]
struct Data {
    /// Lines, each once.
    places: Vec<String>,
    /// In the recording's order.
    runs: Vec<RunData>,
}

#[derive(Serialize)]
struct RunData {
    elapsed_ns: u64,
    threshold_ns: u64,
    round: Option<u32>,
    /// When intervals begin.
    starts: Vec<u64>,
    /// Of each interval the longest poll that is not among the slow ones here.
    others: Vec<Option<u64>>,
    lags: Vec<Option<u64>>,
    slow: Vec<Slow>,
    /// They had not ended when the recording did.
    open: Vec<Slow>,
}

/// Start, duration, and which of the places.
#[derive(Serialize)]
struct Slow(u64, u64, Option<usize>);

impl Drawn {
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn of(runs: &[Run]) -> serde_json::Result<Drawn> {
        let mut places = Vec::new();
        let kept = for_scripts(runs);
        let data = kept.iter().map(|run| RunData {
            elapsed_ns: run.elapsed_ns,
            threshold_ns: run.slow_poll_threshold_ns,
            round: run.subject.round(),
            starts: run.intervals.iter().map(|interval| interval.start_ns).collect(),
            others: others(run),
            lags: run.intervals.iter().map(|interval| interval.worst_lag()).collect(),
            slow: run.slow_polls.iter().map(|poll| Slow::of(poll, &mut places)).collect(),
            open: run.stalls_open.iter().map(|poll| Slow::of(poll, &mut places)).collect(),
        });
        let runs_data = data.collect();
        let count = |runs: &[Run]| runs.iter().map(|run| run.slow_polls.len() as u64).sum::<u64>();
        let json = inert(&serde_json::to_string(&Data { places, runs: runs_data })?);
        Ok(Drawn { json, slow_polls_left_out: count(runs) - count(&kept) })
    }
}

impl Slow {
    fn of(poll: &SlowPoll, places: &mut Vec<String>) -> Slow {
        let place = poll.blocking_line.as_ref().or(poll.spawned_at.as_ref()).map(|place| {
            let place = text::place(place);
            places.iter().position(|known| *known == place).unwrap_or_else(|| {
                places.push(place);
                places.len() - 1
            })
        });
        Slow(poll.start_ns, poll.duration_ns, place)
    }
}

/// JSON in which nothing means anything to HTML: such characters occur only within its texts, where `\u003c` is as good.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{7f}'..='\u{9f}' => {
                out += &format!("\\u{:04x}", u32::from(c))
            }
            _ => out.push(c),
        }
    }
    out
}
