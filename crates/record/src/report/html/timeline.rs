//! What happened when: the worst poll and the worst lag of each moment, and every slow poll where it was.

use maud::{Markup, html};

use super::Page;
use super::chart::{LEFT, Log, RIGHT, Steps, TIME, Time, at, duration_axis, figure, title_y};
use super::longest::longest;
use super::spans::{Span, lag_spans, other_spans};
use super::table::class;
use super::text::{name, prose, sentence};
use crate::by_group::ByGroup;
use crate::recording::{Run, SlowPoll};
use crate::report::slow_poll::{executing, holder, places, still_executing};
use crate::units::{format_count, format_ns, plural};

/// Rounds drawn of each mode.
const ROUNDS: usize = 6;
/// Rounds drawn of all modes, but for the first of each.
const ROUNDS_OF_ALL: usize = 24;
/// Moments drawn of each round; more intervals share one.
const MOMENTS: usize = 110;
/// Moments drawn of all rounds.
const MOMENTS_OF_ALL: usize = 300;
/// Moments up to which each bar says what it is when it is pointed at: more are one outline a lane.
const TOLD: usize = 2 * MOMENTS;
/// Slow polls drawn of each round.
const SLOW_POLLS: usize = 150;
/// Slow polls drawn of all rounds.
const SLOW_POLLS_OF_ALL: usize = 2 * SLOW_POLLS;
/// Slow polls listed of each mode.
const LISTED: usize = 20;
const LANE: f64 = 74.0;
/// Where the first lane begins.
const FIRST: f64 = 24.0;

pub(super) fn section(page: &Page) -> Option<Markup> {
    if page.modes.is_empty() {
        return None;
    }
    let threshold_ns = page.modes[0].threshold_ns();
    let runs = || page.recording.runs.iter();
    let measured =
        runs().flat_map(|run| &run.intervals).flat_map(|interval| [interval.worst_poll(), interval.worst_lag()]);
    let slow = runs().flat_map(|run| run.slow_polls.iter().chain(&run.stalls_open)).map(|poll| poll.duration_ns);
    let worst = measured.flatten().chain(slow).max().unwrap_or(0);
    let drawing = Drawing::of(page, (1_000, worst.max(threshold_ns).max(10_000_000)));
    let readable = if drawing.are_told { "a bar" } else { "a slow poll, below the bars," };
    Some(html! {
        p.still { "A slow poll is a bar as wide as it lasted, from its start to its end; each other bar is the worst of its moment. \
             The dashed line is what counts as slow. In a gap nothing ended. All modes have the same axes. Point at " (readable) " to \
             read it." }
        (controls())
        div.charts {
            @for (index, mode) in page.modes.iter().enumerate() {
                div.lanes data-runs=(drawn_runs(page, mode, drawing.rounds)) data-title=(TIME) {
                    (lanes(index, mode, &drawing))
                }
            }
        }
        @for (index, mode) in page.modes.iter().enumerate().filter(|(_, mode)| mode.slow_total() > 0) {
            (list(index, mode))
        }
        @for (index, mode) in page.modes.iter().enumerate() { (still_running(index, mode)) }
    })
}

/// What all lanes have in common: much of few rounds, and less of each of many.
struct Drawing {
    time: Time,
    /// From the shortest to the longest duration.
    scale: (u64, u64),
    /// Of each mode.
    rounds: usize,
    /// Of each round.
    moments: usize,
    /// Of each round.
    slow_polls: usize,
    /// Each bar, when it is pointed at.
    are_told: bool,
}

impl Drawing {
    fn of(page: &Page, scale: (u64, u64)) -> Drawing {
        let rounds = (ROUNDS_OF_ALL / page.modes.len()).clamp(1, ROUNDS);
        let drawn: Vec<&Run> = page.modes.iter().flat_map(|mode| mode.rounds.iter().take(rounds).copied()).collect();
        let moments = (MOMENTS_OF_ALL / drawn.len().max(1)).clamp(1, MOMENTS);
        let all_moments: usize = drawn.iter().map(|run| run.intervals.len().min(moments)).sum();
        Drawing {
            time: Time::of(page),
            scale,
            rounds,
            moments,
            slow_polls: (SLOW_POLLS_OF_ALL / drawn.len().max(1)).clamp(1, SLOW_POLLS),
            are_told: all_moments <= TOLD,
        }
    }
}

/// What a script shows in the place of the drawing: a chart that zooms.
fn controls() -> Markup {
    let buttons =
        [("in", "Zoom in"), ("out", "Zoom out"), ("earlier", "Earlier"), ("later", "Later"), ("whole", "Whole run")];
    let lines = [
        ("solid", "the worst poll under way"),
        ("lag", "the worst loop lag, when its timer fired"),
        ("threshold", "what counts as slow"),
    ];
    html! {
        div.controls hidden {
            ul.legend {
                @for (kind, says) in lines {
                    li { svg.sample viewBox="0 0 34 10" aria-hidden="true" { path.(kind) d="M1 5H33" {} } (says) }
                }
                li {
                    svg.sample viewBox="0 0 34 10" aria-hidden="true" { rect.slow width="34" height="10" {} }
                    "a poll was slow"
                }
            }
            p role="group" aria-label="Zoom the timeline" {
                @for (step, label) in buttons { button type="button" data-zoom=(step) { (label) } " " }
                output id="range" {}
                span.dim { "Drag over a chart to zoom into all of them. In a gap nothing ended." }
            }
        }
    }
}

/// Where the drawn rounds of a mode are among the recording's runs.
fn drawn_runs(page: &Page, mode: &ByGroup, rounds: usize) -> String {
    let runs = page.recording.runs.iter().enumerate().filter(|(_, run)| run.group == mode.name);
    runs.take(rounds).map(|(index, _)| index.to_string()).collect::<Vec<_>>().join(" ")
}

/// All rounds of a mode, one below the other.
fn lanes(index: usize, mode: &ByGroup, drawing: &Drawing) -> Markup {
    let rounds = &mode.rounds[..mode.rounds.len().min(drawing.rounds)];
    let step = 2.0 * LANE + 70.0;
    let height = step * rounds.len() as f64 + 46.0;
    let content = html! {
        @for (row, run) in rounds.iter().enumerate() { (round(index, run, drawing, step * row as f64)) }
        (drawing.time.axis(height - 44.0))
    };
    let caption = html! {
        h3.mode.(class(index)) { (name(mode.name)) }
        @if mode.rounds.len() > rounds.len() {
            p.dim { "the first " (plural(rounds.len() as u64, "round")) " of " (mode.rounds.len()) }
        }
    };
    let worst = super::text::or_unknown(mode.worst_poll_ns().map(format_ns));
    let says = format!("{}: {}, longest poll {worst}", name(mode.name), mode.slow_words());
    figure(caption, &says, height, content)
}

fn round(index: usize, run: &Run, drawing: &Drawing, top: f64) -> Markup {
    let Drawing { time, moments, slow_polls, .. } = drawing;
    let ended = longest(run.slow_polls.iter().map(|poll| (poll.duration_ns, poll)), *slow_polls);
    let hidden = run.slow_polls_total.saturating_sub(ended.len() as u64);
    let open = run.stalls_open.iter().take(*slow_polls);
    let slow: Vec<(&SlowPoll, bool)> =
        ended.into_iter().map(|poll| (poll, true)).chain(open.map(|poll| (poll, false))).collect();
    let drawn = |span, says| Drawn { span, says };
    let mut polls: Vec<Drawn> = other_spans(run, *moments).into_iter().map(|span| drawn(span, "worst poll")).collect();
    polls.extend(slow.iter().map(|(poll, _)| drawn(Span::of(poll), "a slow poll of")));
    polls.sort_by_key(|drawn| drawn.span.ns);
    let lags: Vec<Drawn> = lag_spans(run, *moments).into_iter().map(|span| drawn(span, "worst lag")).collect();
    // Where polls are not seen one by one, the slow ones are all that is known.
    let are_all_seen = slow.is_empty() || run.intervals.iter().any(|interval| interval.worst_poll().is_some());
    let label = if are_all_seen { "worst poll" } else { "slow polls that were seen" };
    let lanes = [(label, top + FIRST, &polls), ("worst loop lag", top + LANE + 48.0, &lags)];
    let end = top + 2.0 * LANE + 48.0;
    html! {
        @for (label, y, spans) in lanes {
            (lane(index, run, drawing, (label, spans), y))
        }
        text x=(at(LEFT - 6.0)) y=(at(end + 10.0)) text-anchor="end" { "slow" }
        path.grid d={ "M" (at(LEFT)) " " (at(end + 6.0)) "H" (at(RIGHT)) } {}
        @for (poll, has_ended) in slow {
            @let Span { from_ns, to_ns, .. } = Span::of(poll);
            @let (from, to) = (time.place(from_ns), time.place(to_ns));
            rect.slow x=(at(from)) y=(at(end)) height="12" width=(at((to - from).max(1.5))) {
                title {
                    (at_second(poll)) " "
                    @if has_ended { (sentence(&executing(poll))) } @else { (sentence(&still_executing(poll))) }
                }
            }
        }
        @if hidden > 0 {
            text.dim x=(at(RIGHT)) y=(at(end - 3.0)) text-anchor="end" { (format_count(hidden)) " shorter slow polls not drawn" }
        }
    }
}

/// A bar, and what it says before its duration.
struct Drawn {
    span: Span,
    says: &'static str,
}

/// One lane from `y` on: its spans as bars, the longest over the others. All have the axis of the first.
fn lane(index: usize, run: &Run, drawing: &Drawing, (label, spans): (&str, &[Drawn]), y: f64) -> Markup {
    let scale = Log::new(drawing.scale.0, drawing.scale.1, y + LANE - 20.0, y);
    let threshold = scale.place(run.slow_poll_threshold_ns as f64);
    let round = run.subject.round().filter(|round| *round > 1);
    let round = round.map_or(String::new(), |round| format!(" of round {round}"));
    let unknown = if spans.is_empty() { ": — not measured" } else { "" };
    html! {
        (title_y(y, &format!("{label}{round}, log scale{unknown}")))
        @if y == FIRST {
            g id={ "lane-" (index) } { (duration_axis(&scale, 2)) }
        } @else {
            use href={ "#lane-" (index) } y=(at(y - FIRST)) {}
        }
        (bars(index, drawing, spans, &scale))
        path.threshold d={ "M" (at(LEFT)) " " (at(threshold)) "H" (at(RIGHT)) } {}
    }
}

fn bars(index: usize, Drawing { time, are_told, .. }: &Drawing, spans: &[Drawn], scale: &Log) -> Markup {
    let bottom = scale.place(1.0);
    let place = |Span { from_ns, to_ns, ns }: &Span| {
        let (from, height) = (time.place(*from_ns), (bottom - scale.place(*ns as f64)).max(1.0));
        (from, (time.place(*to_ns) - from - 0.6).max(0.8), height)
    };
    if !are_told {
        let mut outline = Steps::new();
        outline.go(LEFT, bottom);
        for (x, width, height) in spans.iter().map(|drawn| place(&drawn.span)) {
            for (x, y) in [(x, bottom), (x, bottom - height), (x + width, bottom - height), (x + width, bottom)] {
                outline.line(x, y);
            }
        }
        return html! { path.bar.(class(index)) d=(outline.d()) {} };
    }
    html! {
        g.bar.(class(index)) {
            @for Drawn { span, says } in spans {
                @let (x, width, height) = place(span);
                rect x=(at(x)) y=(at(bottom - height)) width=(at(width)) height=(at(height)) {
                    title { (second(span.from_ns)) ": " (says) " " (format_ns(span.ns)) }
                }
            }
        }
    }
}

/// That there may have been more.
fn seen(mode: &ByGroup) -> &'static str {
    if mode.slow_is_at_least() { " that were seen" } else { "" }
}

fn at_second(poll: &SlowPoll) -> String {
    format!("+{}", second(poll.start_ns))
}

fn second(ns: u64) -> String {
    format!("{:.2} s", ns as f64 / 1e9)
}

/// Where a slow poll's time went, and who has what it waited for, as far as that is known.
fn where_and_for_whom(poll: &SlowPoll) -> Markup {
    let all: Vec<String> = places(poll).into_iter().chain(holder(poll)).collect();
    html! { @if !all.is_empty() { ul { @for text in &all { li.dim { (prose(text)) } } } } }
}

/// The polls that had not ended when the recording did.
fn still_running(index: usize, mode: &ByGroup) -> Markup {
    let open: Vec<&SlowPoll> = mode.rounds.iter().flat_map(|run| &run.stalls_open).collect();
    if open.is_empty() {
        return html! {};
    }
    html! {
        p { span.mode.(class(index)) { (name(mode.name)) } ": still running when the recording ended" }
        ol.plain {
            @for poll in open.iter().take(LISTED) {
                li {
                    (at_second(poll)) " " (sentence(&still_executing(poll)))
                    (blocked_at(poll))
                    @if let Some(cause) = &poll.cause { " (" (name(cause)) ")" }
                    (where_and_for_whom(poll))
                }
            }
        }
        @if open.len() > LISTED { p.dim { "and " (open.len() - LISTED) " more" } }
    }
}

/// The line, or the function where the line is not known.
fn blocked_at(poll: &SlowPoll) -> Markup {
    html! {
        @if let Some(line) = &poll.blocking_line { " at " code { (super::text::place(line)) } }
        @else if let Some(function) = &poll.function { " within " code { (name(function)) } }
    }
}

/// The slowest polls, in asyncio's words.
fn list(index: usize, mode: &ByGroup) -> Markup {
    let polls = longest(mode.slow_polls().map(|(round, poll)| (poll.duration_ns, (round, poll))), LISTED);
    let of = format!("{} of {}{}", format_count(polls.len() as u64), format_count(mode.slow_total()), seen(mode));
    html! {
        details {
            summary { span.mode.(class(index)) { (name(mode.name)) } ": the longest slow polls, " (of) }
            ol.plain {
                @for (round, poll) in polls {
                    li {
                        @if mode.rounds.len() > 1 { "round " (round) " " }
                        (at_second(poll)) " " (sentence(&executing(poll)))
                        @if let Some(call) = &poll.syscall { " in " (sentence(&call.text)) }
                        (blocked_at(poll))
                        @if let Some(cause) = &poll.cause { " (" (name(cause)) ")" }
                        (where_and_for_whom(poll))
                    }
                }
            }
        }
    }
}
