//! What was measured becomes a run of a recording. Pure.

use std::time::{Duration, SystemTime};

use pollscope_base::duration::to_ns;
use pollscope_probe::{Site, SlowPoll, Snapshot};

use super::supervisor::RunEnd;
use crate::cost::Cost;
use crate::pipeline::input::{Event, EventSummary};
use crate::pipeline::sink::Mode;
use crate::scenario::Settings;
use pollscope_record::feed::{Update, run_of};
use pollscope_record::message::Message;
use pollscope_record::recording::{
    self, Blame, Cause, Completeness, Coverage, Dist, Ended, Frame, InputEvent, InputEvents, Ledger, Run, RuntimeInfo,
    ScenarioRun, Subject, Syscall, Text,
};

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
    let polls = Dist::from(&snapshot.polls);
    let start = start(settings, mode, round, started_at);
    let known = Run {
        elapsed_ns: to_ns(elapsed),
        coverage: coverage(snapshot),
        merge: confirmed,
        errors,
        input_events: input_events(&told),
        loop_busy_ns: Some(polls.sum_ns),
        polls: Some(polls),
        schedule_latency: snapshot.schedule_latency.as_ref().map(Dist::from),
        lag: collected.lag,
        lag_raw: collected.lag_raw,
        response_time: responses.as_ref().map(|responses| Dist::from(&responses.times)),
        unanswered: responses.map(|responses| responses.unanswered),
        write_latency,
        busy_stretches: Some(Dist::from(&snapshot.busy_stretches)),
        throughput_bytes_per_s: bytes.and_then(|bytes| per_second(bytes, elapsed)),
        cpu_user_ns: usage.map(|usage| usage.user_ns),
        cpu_system_ns: usage.map(|usage| usage.system_ns),
        context_switches_voluntary: usage.map(|usage| usage.voluntary_switches),
        context_switches_involuntary: usage.map(|usage| usage.involuntary_switches),
        pool_wait: Some(cost.pool_wait),
        slow_poll_threshold_ns: to_ns(snapshot.slow_poll_threshold),
        slow_polls_total: snapshot.slow_polls_total,
        slow_polls_are: Completeness::All,
        slow_polls_dropped: snapshot.slow_polls_dropped,
        slow_poll_lines: Some(snapshot.lines),
        sites: Some(snapshot.sites.iter().map(site).collect()),
        ledger: snapshot.ledger.as_ref().map(Ledger::from),
        runtime_metrics: collected.runtime_metrics,
        ..start.clone()
    };
    let ended = if interrupted.is_some() { Ended::Interrupted } else { Ended::Done };
    let polls = snapshot.slow_polls.iter().map(|poll| Update::SlowPoll(Box::new(slow_poll(poll))));
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

/// What a probe saw, and where it was blind, as recordings have it.
pub fn coverage(snapshot: &Snapshot) -> Coverage {
    let owned = |phrases: &[&str]| phrases.iter().map(|&phrase| phrase.to_owned()).collect();
    let limits = snapshot.capture_notes.iter().map(ToString::to_string);
    Coverage {
        source: snapshot.coverage.source.as_str().to_owned(),
        sees: owned(&snapshot.coverage.sees),
        blind_to: owned(&snapshot.coverage.blind_to),
        missing: limits.chain(snapshot.coverage.missing.iter().map(ToString::to_string)).collect(),
        looks_per_s: None,
    }
}

/// A slow poll that a probe saw, as recordings have it.
pub fn slow_poll(poll: &SlowPoll) -> recording::SlowPoll {
    recording::SlowPoll {
        id: poll.id,
        task_id: poll.task_id,
        task_name: poll.task_name.as_deref().map(Text::from),
        spawned_at: Some(format!("{}:{}", poll.spawned_at.file(), poll.spawned_at.line()).into()),
        worker: poll.worker.map(|worker| worker as u64),
        start_ns: to_ns(poll.start),
        duration_ns: to_ns(poll.duration),
        cpu_ns: poll.evidence.cpu_time.map(to_ns),
        run_delay_ns: poll.evidence.run_delay.map(to_ns),
        off_cpu_ns: poll.evidence.off_cpu(poll.duration).map(to_ns),
        cause: poll.evidence.cause.map(Cause::from),
        syscall: poll.evidence.call.as_ref().map(|call| Syscall::from(call).into()),
        blocking_line: poll.evidence.blocking_line.as_deref().map(Text::from),
        function: poll.evidence.function.as_deref().map(Text::from),
        stack: poll.evidence.stack.iter().map(Frame::from).collect(),
        stack_complete: poll.evidence.stack_complete,
        blame: poll.blame.map(Blame::from),
        worst_waiter: poll.blame.and_then(|blame| blame.worst).map(|waited| Box::new(waited.into())),
        detail: recording::detail(&poll.evidence),
    }
}

fn site(site: &Site) -> recording::Site {
    recording::Site {
        spawned_at: recording::place(&site.spawned_at).to_owned(),
        task_name: site.task_name.as_deref().map(str::to_owned),
        polls: Dist::from(&site.polls),
        slow: site.slow,
    }
}

fn per_second(bytes: u64, elapsed: Duration) -> Option<u64> {
    let rate = bytes as f64 / elapsed.as_secs_f64();
    rate.is_finite().then_some(rate as u64)
}
