//! The recording within the page: as `--json` writes it, so that `pollscope report` reads a page as it reads a file.
//!
//! A long run's page would be too big to open, so only some of its slow polls, and its intervals put together, are in it. What was
//! left out is counted in the recording itself, and said on the page.

use crate::recording::{Interval, Recording, Run, SlowPoll, Text, wire};
use crate::units::{format_count, plural};

/// Bytes of JSON that slow polls may take in all.
const SLOW_POLLS: usize = 3 << 18;
/// Intervals that a recording's runs may have in all.
const INTERVALS: usize = 1_000;

/// The data of a page.
pub(super) struct Island {
    /// JSON that cannot end its element.
    pub(super) json: String,
    /// Slow polls that are not in it, but were in the recording.
    slow_polls_left_out: u64,
    /// How many intervals became one; 1 when all are there.
    intervals_joined: usize,
}

impl Island {
    /// # Errors
    /// When a histogram cannot be encoded.
    pub(super) fn of(recording: &Recording) -> serde_json::Result<Island> {
        let intervals = recording.runs.iter().map(|run| run.intervals.len()).sum::<usize>();
        let intervals_joined = intervals.div_ceil(INTERVALS).max(1);
        let kept = kept(recording);
        if kept.is_none() && intervals_joined == 1 {
            let json = inert(&wire::to_compact_json(recording)?);
            return Ok(Island { json, slow_polls_left_out: 0, intervals_joined });
        }
        let mut left_out = 0;
        let runs = recording.runs.iter().enumerate().map(|(index, run)| {
            let is_kept = |at: usize| kept.as_ref().is_none_or(|kept| kept[index][at]);
            let polls = run.slow_polls.iter().enumerate().filter(|(at, _)| is_kept(*at));
            let slow_polls: Vec<SlowPoll> = polls.map(|(_, poll)| poll.clone()).collect();
            let dropped = (run.slow_polls.len() - slow_polls.len()) as u64;
            left_out += dropped;
            let slow_polls_dropped = run.slow_polls_dropped + dropped;
            Run {
                slow_polls,
                slow_polls_dropped,
                intervals: joined(&run.intervals, intervals_joined),
                ..without_lists(run)
            }
        });
        let thinned = Recording { runs: runs.collect(), ..parts(recording) };
        Ok(Island { json: inert(&wire::to_compact_json(&thinned)?), slow_polls_left_out: left_out, intervals_joined })
    }

    /// What is in the page.
    pub(super) fn sentence(&self) -> String {
        let mut text = "The recording is in this page: pollscope report reads it back.".to_owned();
        if self.slow_polls_left_out > 0 {
            text += &format!(
                " To keep the page small, {} of it are left out of that data: kept are the longest, and an even sample of the rest. \
                 All were counted, and the tables and charts above are made from all.",
                plural(self.slow_polls_left_out, "slow poll")
            );
        }
        if self.intervals_joined > 1 {
            text += &format!(" Every {} intervals in a row became one.", format_count(self.intervals_joined as u64));
        }
        text
    }
}

/// Which slow polls of which run stay; `None` when all do. Half of the room is for the longest, the rest for every n-th.
fn kept(recording: &Recording) -> Option<Vec<Vec<bool>>> {
    let mut sizes: Vec<(usize, usize, u64, usize)> = Vec::new();
    for (index, run) in recording.runs.iter().enumerate() {
        for (at, poll) in run.slow_polls.iter().enumerate() {
            sizes.push((index, at, poll.duration_ns, size(poll)));
        }
    }
    let total: usize = sizes.iter().map(|(.., size)| size).sum();
    if total <= SLOW_POLLS {
        return None;
    }
    let mut kept: Vec<Vec<bool>> = recording.runs.iter().map(|run| vec![false; run.slow_polls.len()]).collect();
    let step = total.div_ceil(SLOW_POLLS / 2);
    let mut room = SLOW_POLLS;
    for (index, at, ..) in sizes.iter().step_by(step).take_while(|(.., size)| take(&mut room, *size, SLOW_POLLS / 2)) {
        kept[*index][*at] = true;
    }
    sizes.sort_by_key(|(_, _, duration_ns, _)| std::cmp::Reverse(*duration_ns));
    for (index, at, _, size) in sizes {
        if !kept[index][at] && take(&mut room, size, 0) {
            kept[index][at] = true;
        }
    }
    Some(kept)
}

/// Takes from `room` what leaves at least `rest` of it.
fn take(room: &mut usize, size: usize, rest: usize) -> bool {
    let fits = *room >= rest + size;
    *room -= if fits { size } else { 0 };
    fits
}

/// About how many bytes of JSON a slow poll takes: writing a million of them to find out would take too long.
fn size(poll: &SlowPoll) -> usize {
    let text = |text: &Option<Text>| text.as_ref().map_or(4, |text| text.len() + 2);
    let frames = poll.stack.iter().map(|frame| 50 + text(&frame.function) + text(&frame.file));
    let call = poll.syscall.as_ref().map_or(0, |call| 90 + call.name.len() + call.text.len() + text(&call.path));
    let texts = [&poll.task_name, &poll.cause, &poll.blocking_line, &poll.function].map(text);
    520 + poll.spawned_at.len() + texts.iter().sum::<usize>() + call + frames.sum::<usize>()
}

/// Every `size` intervals as one.
fn joined(intervals: &[Interval], size: usize) -> Vec<Interval> {
    let join = |chunk: &[Interval]| {
        let mut joined = chunk[0].clone();
        for interval in &chunk[1..] {
            joined.polls.add(&interval.polls);
            joined.busy_ns += interval.busy_ns;
            match (&mut joined.lag, &interval.lag) {
                (Some(lag), Some(more)) => lag.add(more),
                (none, more) => *none = none.take().or(more.clone()),
            }
        }
        joined
    };
    intervals.chunks(size).map(join).collect()
}

/// A run but for its long lists.
fn without_lists(run: &Run) -> Run {
    Run {
        mode: run.mode.clone(),
        round: run.round,
        runtime: run.runtime.clone(),
        started_at: run.started_at.clone(),
        elapsed_ns: run.elapsed_ns,
        coverage: run.coverage.clone(),
        merge: run.merge.clone(),
        interrupted: run.interrupted.clone(),
        errors: run.errors.clone(),
        polls: run.polls.clone(),
        schedule_latency: run.schedule_latency.clone(),
        lag: run.lag.clone(),
        lag_raw: run.lag_raw.clone(),
        response_time: run.response_time.clone(),
        unanswered: run.unanswered,
        write_latency: run.write_latency.clone(),
        busy_stretches: run.busy_stretches.clone(),
        loop_busy_ns: run.loop_busy_ns,
        throughput_bytes_per_s: run.throughput_bytes_per_s,
        slow_poll_threshold_ns: run.slow_poll_threshold_ns,
        slow_polls_total: run.slow_polls_total,
        slow_polls_dropped: run.slow_polls_dropped,
        slow_poll_lines: run.slow_poll_lines,
        slow_polls: Vec::new(),
        sites: run.sites.clone(),
        ledger: run.ledger.clone(),
        intervals: Vec::new(),
        runtime_metrics: run.runtime_metrics.clone(),
    }
}

/// A recording but for its runs.
fn parts(recording: &Recording) -> Recording {
    Recording {
        environment: recording.environment.clone(),
        scenario: recording.scenario.clone(),
        runs: Vec::new(),
        findings: recording.findings.clone(),
        gates: recording.gates.clone(),
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
