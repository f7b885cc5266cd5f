//! What was measured becomes a run of a recording. Pure.

use std::time::{Duration, SystemTime};

use pollscope_base::duration::to_ns;
use pollscope_probe::record_of;

use super::supervisor::RunEnd;
use crate::cost::Cost;
use crate::pipeline::input::{Event, EventSummary};
use crate::pipeline::sink::Mode;
use crate::scenario::Settings;
use pollscope_record::feed::{Update, run_of};
use pollscope_record::message::Message;
use pollscope_record::recording::{Dist, Ended, InputEvent, InputEvents, Run, RuntimeInfo, ScenarioRun, Subject};

/// Makes a run of what the lab's feed says.
pub(super) fn run(
    settings: &Settings,
    mode: Mode,
    round: u32,
    started_at: SystemTime,
    interrupted: Option<String>,
    ended: RunEnd,
    cost: Cost,
) -> Run {
    let RunEnd { elapsed, collected, responses, merge, abandoned: _, is_cut_short: _ } = ended;
    let (snapshot, usage) = (&collected.snapshot, cost.usage);
    let bytes = merge.as_ref().and_then(|merge| merge.written_bytes);
    let (confirmed, write_latency, errors, told) = match merge {
        None => (None, None, Vec::new(), EventSummary::default()),
        Some(merge) => (Some(merge.confirmed), merge.write_latency, merge.errors, merge.input_events),
    };
    let start = start(settings, mode, round, started_at);
    let known = Run {
        elapsed_ns: to_ns(elapsed),
        merge: confirmed,
        errors,
        input_events: input_events(&told),
        lag: collected.lag,
        lag_raw: collected.lag_raw,
        response_time: responses.as_ref().map(|responses| Dist::from(&responses.times)),
        unanswered: responses.map(|responses| responses.unanswered),
        write_latency,
        throughput_bytes_per_s: bytes.and_then(|bytes| per_second(bytes, elapsed)),
        cpu_user_ns: usage.map(|usage| usage.user_ns),
        cpu_system_ns: usage.map(|usage| usage.system_ns),
        context_switches_voluntary: usage.map(|usage| usage.voluntary_switches),
        context_switches_involuntary: usage.map(|usage| usage.involuntary_switches),
        pool_wait: Some(cost.pool_wait),
        runtime_metrics: collected.runtime_metrics,
        ..record_of(snapshot, start.clone())
    };
    let ended = if interrupted.is_some() { Ended::Interrupted } else { Ended::Done };
    let polls = snapshot.slow_polls.iter().map(|poll| Update::SlowPoll(Box::new(poll.into())));
    let feed = collected.intervals.into_iter().map(|interval| Update::Interval(Box::new(interval))).chain(polls);
    run_of(start, feed.chain([Update::Known(Box::new(known)), Update::End(ended, interrupted.map(Message::text))]))
}

/// What is known of a run before it is over.
fn start(settings: &Settings, mode: Mode, round: u32, started_at: SystemTime) -> Run {
    let (flavor, workers) = (settings.runtime.flavor.as_str().to_owned(), settings.runtime.workers as u64);
    let runtime = RuntimeInfo { flavor, workers };
    let subject = Subject::Scenario(ScenarioRun { mode: mode.as_str().to_owned(), round, runtime });
    Run::unknown(mode.as_str(), subject, &humantime::format_rfc3339_millis(started_at).to_string())
}

fn input_events(told: &EventSummary) -> InputEvents {
    let event = |event: &Event| InputEvent {
        at_ns: event.at_ns,
        event: event.kind.as_str().to_owned(),
        text: event.message(),
        may_lose: event.kind.is_possible_loss(),
        may_repeat: event.kind.repeated_at_most().is_some_and(|bytes| bytes > 0),
    };
    InputEvents {
        events: told.events.iter().map(event).collect(),
        dropped: told.dropped,
        possible_losses: told.possible_losses,
        possible_repeats: told.possible_repeats,
        repeated_bytes_at_most: (told.possible_repeats > 0).then_some(told.repeated_at_most),
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> Option<u64> {
    let rate = bytes as f64 / elapsed.as_secs_f64();
    rate.is_finite().then_some(rate as u64)
}
