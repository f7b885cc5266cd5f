//! The parts of a screen: what blocks now, where time goes, the workers, what waits. Pure.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::cells::{left, place, right};
use super::frame::{ALARM, MARKED, QUIET, title};
use super::places::{Row, Window, is_at_least};
use super::state::Seen;
use super::view::View;
use crate::recording::SlowPoll;
use crate::units::{format_count, format_ns};
use pollscope_record::live::{State as Doing, Waits, Worker};

/// Columns of a time.
const TIME: usize = 8;
/// From so many columns on there is room for causes beside calls,
const WITH_CAUSE: usize = 76;
/// and for tasks beside places.
const WITH_TASK: usize = 110;

/// How many rows each panel has, beside its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) now: usize,
    pub(super) places: usize,
    pub(super) workers: usize,
}

impl Shape {
    /// What there is, as far as there is room: for what blocks now first.
    pub(super) fn of(view: &View, places: &[Row], room: usize) -> Shape {
        let state = view.state();
        // Three titles, and the line on queues.
        let room = room.saturating_sub(4);
        let (stalls, workers) = (state.stalls().len().max(1), state.live.as_ref().map_or(0, |live| live.workers.len()));
        let now = stalls.min((room / 3).max(1));
        let left = room.saturating_sub(now);
        let workers = workers.max(1).min(left.saturating_sub(places.len().max(1)).max(left / 2));
        Shape { now, places: left.saturating_sub(workers), workers }
    }
}

/// Polls that go on.
pub(super) fn now(view: &View, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let stalls = view.state().stalls();
    let more = stalls.len().saturating_sub(rows);
    let note = if more > 0 { format!("{more} more") } else { String::new() };
    let mut lines = vec![title("BLOCKS NOW", &note, columns)];
    if stalls.is_empty() {
        let threshold = format_ns(view.state().threshold_ns);
        let said = match (&view.state().live, view.state().seen) {
            (None, _) => String::new(),
            (Some(_), None) => format!("  nothing for {threshold} or more"),
            (Some(_), Some(_)) => format!("  nothing seen for {threshold} or more"),
        };
        lines.push(Line::styled(left(&said, columns), QUIET));
    }
    let is_seen = view.state().seen.is_some();
    lines.extend(stalls.iter().take(rows).map(|stall| stalled(stall, is_seen, columns)));
    lines
}

/// A time, with a sign if it is only known to be at least as long.
fn time(ns: u64, at_least: bool) -> String {
    let time = format_ns(ns);
    right(&if at_least { format!("~{time}") } else { time }, TIME)
}

/// `is_seen`: from outside.
fn stalled(stall: &SlowPoll, is_seen: bool, columns: usize) -> Line<'static> {
    let time = time(stall.duration_ns, is_at_least(stall));
    let room = columns.saturating_sub(TIME + 2);
    let at = stall.blocking_line.as_deref().or(stall.function.as_deref());
    let at = match (at, &stall.spawned_at, &stall.future) {
        (Some(at), ..) => at.to_owned(),
        (None, None, Some(future)) => future.to_string(),
        (None, site, _) => format!("task of {}", site.as_deref().unwrap_or("not known")),
    };
    let doing = doing(stall);
    let cells = if columns >= WITH_TASK {
        let (at_room, who_room) = (room * 35 / 100, room * 25 / 100);
        let doing_room = room.saturating_sub(at_room + who_room + 4);
        format!("{}  {}  {}", place(&at, at_room), left(&doing, doing_room), left(&who(stall, is_seen), who_room))
    } else {
        let at_room = room * 45 / 100;
        format!("{}  {}", place(&at, at_room), left(&doing, room.saturating_sub(at_room + 2)))
    };
    Line::from(vec![Span::styled(time, ALARM), Span::raw("  "), Span::raw(left(&cells, room))])
}

/// The call that it is in, or why it takes long; and who has the lock.
fn doing(stall: &SlowPoll) -> String {
    let holder = stall.detail.as_ref().and_then(|detail| detail.holder.as_ref());
    if let Some(line) = holder.and_then(|holder| holder.line.as_deref()) {
        return format!("lock, held at {line}");
    }
    let cause = stall.cause.as_ref().map(|cause| cause.to_string());
    match (&stall.syscall, cause) {
        (Some(call), Some(cause)) if cause == "lock" => format!("{} ({cause})", call.text),
        (Some(call), _) => call.text.to_string(),
        (None, Some(cause)) => cause,
        (None, None) => "not known yet".to_owned(),
    }
}

/// Which task it is, and on which thread. Seen from outside, one without a number may be any.
fn who(stall: &SlowPoll, is_seen: bool) -> String {
    let task = match (stall.task_id.get(), &stall.task_name) {
        (None, None) if is_seen => stall.future.as_deref().unwrap_or("task not known").to_owned(),
        (Some(id), Some(name)) => format!("task {id} {name}"),
        (Some(id), None) => format!("task {id}"),
        (None, Some(name)) => format!("root {name}"),
        (None, None) => "root task".to_owned(),
    };
    stall.worker.map_or_else(|| task.clone(), |worker| format!("{task}, worker {worker}"))
}

/// Where time goes.
pub(super) fn places(view: &View, all: &[Row], columns: usize, rows: usize) -> Vec<Line<'static>> {
    let window = if view.window == Window::Recent { "last 10 s" } else { "all" };
    let name = format!("PLACES, {window}, by {}", view.sort.word());
    let marked = view.marked(all);
    // The marked one is always there.
    let from = (marked + 1).saturating_sub(rows);
    let more = all.len().saturating_sub(from + rows) as u64 + view.state().places.others;
    let note = if more > 0 { format!("{} more", format_count(more)) } else { String::new() };
    let mut lines = vec![title(&name, &note, columns)];
    let mut all_lines: Vec<Line> = all.iter().enumerate().map(|(at, row)| row_of(row, at == marked, columns)).collect();
    if all.is_empty() {
        let said = if view.state().seen.is_some() { "  no slow poll seen" } else { "  no slow poll" };
        all_lines.push(Line::styled(left(said, columns), QUIET));
    }
    lines.extend(all_lines.into_iter().skip(from).take(rows));
    lines.resize(rows + 1, Line::default());
    lines
}

fn row_of(row: &Row, is_marked: bool, columns: usize) -> Line<'static> {
    const POLLS: usize = 5;
    let total = time(row.sum.total_ns, row.sum.at_least);
    let polls = right(&format!("{}×", short_count(row.sum.polls)), POLLS);
    let worst = time(row.sum.worst_ns, row.sum.at_least);
    let at = row.place.as_deref().unwrap_or("not known");
    let at = match &row.caller {
        Some(caller) if columns >= WITH_TASK && Some(caller) != row.place.as_ref() => format!("{at} from {caller}"),
        _ => at.to_owned(),
    };
    let cause = row.cause.as_ref().map(|cause| cause.to_string());
    let call = row.call.as_deref();
    let what = match columns {
        ..WITH_CAUSE => left(call.or(cause.as_deref()).unwrap_or("not known"), 15),
        _ => {
            let call = if columns >= WITH_TASK { row.call_text.as_deref().or(call) } else { call };
            let call_room = if columns >= WITH_TASK { columns / 4 } else { 15 };
            format!("{} {}", left(call.unwrap_or("–"), call_room), left(cause.as_deref().unwrap_or("not known"), 13))
        }
    };
    let numbers = format!("{total} {polls} {worst}  {what}  ");
    let room = columns.saturating_sub(crate::width::width(&numbers));
    let style = if is_marked { MARKED } else { Style::new() };
    let time_style = if row.is_now { ALARM } else { Style::new() };
    Line::from(vec![
        Span::styled(total.clone(), time_style),
        Span::raw(left(
            &numbers[total.len()..],
            columns.saturating_sub(TIME).min(crate::width::width(&numbers) - TIME),
        )),
        Span::raw(place(&at, room)),
    ])
    .style(style)
}

/// What the workers do: those that are in one poll for long first.
pub(super) fn workers(view: &View, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let state = view.state();
    if let Some(seen) = state.seen {
        return unseen_workers(seen, columns, rows);
    }
    let mut all: Vec<&Worker> = state.live.iter().flat_map(|live| &live.workers).collect();
    let late = |worker: &Worker| worker.state == Doing::Polling && worker.for_ns >= Some(state.threshold_ns);
    let is_late = |worker: &&Worker| late(worker);
    let count = |of: Doing| all.iter().filter(|worker| worker.state == of && !is_late(worker)).count();
    let stalled = all.iter().filter(|worker| is_late(worker)).count();
    let parts = [(stalled, "stalled"), (count(Doing::Polling), "polling"), (count(Doing::Busy), "busy")];
    let parts = parts.into_iter().chain([(count(Doing::Parked), "parked")]);
    let note: Vec<String> =
        parts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    let mut lines = vec![title(&format!("WORKERS, {}", all.len()), &note.join(", "), columns)];
    if all.len() > rows {
        all.sort_by_key(|worker| (!late(worker), worker.state == Doing::Parked));
    }
    lines.extend(all.iter().take(rows).map(|worker| doing_of(worker, late(worker), columns)));
    lines.resize(rows + 1, Line::default());
    lines
}

/// Of workers that are looked at from outside, only those in slow polls are told.
fn unseen_workers(seen: Seen, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let count = seen.workers.map_or_else(|| "-".to_owned(), |workers| workers.to_string());
    let mut lines = vec![title(&format!("WORKERS, {count}"), "", columns)];
    lines.push(Line::styled(left("  - what each does now is not told from outside", columns), QUIET));
    lines.resize(rows + 1, Line::default());
    lines
}

fn doing_of(worker: &Worker, is_late: bool, columns: usize) -> Line<'static> {
    let name = match (worker.worker, &worker.thread) {
        (Some(index), _) => index.to_string(),
        (None, Some(thread)) => thread.to_string(),
        (None, None) => "–".to_owned(),
    };
    let name = if worker.worker.is_some() { right(&name, 4) } else { left(&name, 4) };
    let (word, style) = match worker.state {
        Doing::Polling if is_late => ("stalled", ALARM),
        Doing::Polling => ("polling", Style::new()),
        Doing::Busy => ("busy", Style::new()),
        Doing::Parked => ("parked", QUIET),
        Doing::Unknown => ("not known", QUIET),
    };
    let time = worker.for_ns.map(format_ns).unwrap_or_default();
    let task = match (worker.task_id, &worker.task_name, &worker.spawned_at) {
        (None, None, None) => String::new(),
        (id, name, site) => {
            let id = id.map_or_else(|| "root task".to_owned(), |id| format!("task {id}"));
            let name = name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            let site = site.as_ref().map(|site| format!(" of {site}")).unwrap_or_default();
            format!("{id}{name}{site}")
        }
    };
    let queued = worker.queued.filter(|queued| *queued > 0).map(|queued| format!("{} queued", format_count(queued)));
    let queued = queued.unwrap_or_default();
    let queue_room = if queued.is_empty() { 0 } else { crate::width::width(&queued) + 2 };
    let room = columns.saturating_sub(4 + 1 + 9 + TIME + 2 + queue_room);
    let parked = worker.state == Doing::Parked;
    let rest =
        format!("{} {}  {}{}", left(word, 8), right(&time, TIME), left_place(&task, room), right(&queued, queue_room));
    let rest = left(&rest, columns.saturating_sub(5));
    let style = if parked || is_late { style } else { Style::new() };
    Line::from(vec![Span::styled(format!("{name} "), QUIET), Span::styled(rest, style)])
}

/// A task with its place, which is cut at its beginning if it must be.
fn left_place(task: &str, columns: usize) -> String {
    match task.split_once(" of ") {
        Some((task, site)) if crate::width::width(task) + 8 < columns => {
            let task = left(task, crate::width::width(&crate::escape::escape(task)));
            let room = columns.saturating_sub(crate::width::width(&task) + 4);
            left(&format!("{task} of {}", place(site, room)), columns)
        }
        _ => left(task, columns),
    }
}

/// What waits.
pub(super) fn queues(view: &View, columns: usize) -> Vec<Line<'static>> {
    let Some(live) = &view.state().live else { return vec![Line::default()] };
    if view.state().seen.is_some() {
        let (ready, from) =
            if columns >= WITH_CAUSE { ("ready tasks waited", "seen from outside") } else { ("waited", "outside") };
        let said = format!("{ready} - · queued - · pool - · {from}: ~ is at least");
        return vec![Line::raw(left(&said, columns))];
    }
    let (who, has_p50) = if columns >= WITH_TASK { ("ready tasks ", true) } else { ("", columns >= WITH_CAUSE) };
    let waited = live.schedule_latency.map(|Waits { count, p50_ns, p99_ns, max_ns }| match count {
        0 => "no task was polled".to_owned(),
        _ => {
            let p50 = if has_p50 { format!("p50 {} ", format_ns(p50_ns)) } else { String::new() };
            format!("{who}waited {p50}p99 {} max {}", format_ns(p99_ns), format_ns(max_ns))
        }
    });
    let queued = live.queued.map(|queued| match queued.local {
        Some(local) => format!("queued {}", format_count(queued.global + local)),
        None => format!("queued {} globally", format_count(queued.global)),
    });
    let pool = live.pool.and_then(|pool| {
        let (threads, busy, queued) = (pool.threads?, pool.busy?, pool.queued?);
        let waits = if queued > 0 { format!(", {} wait", format_count(queued)) } else { String::new() };
        Some(format!("pool {busy}/{threads}{waits}"))
    });
    let said = [waited, queued, pool].into_iter().flatten().collect::<Vec<_>>().join(" · ");
    vec![Line::raw(left(&said, columns))]
}

/// The stack of a place.
pub(super) fn stack(row: &Row, from: usize, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let name = format!("STACK of {}", row.place.as_deref().unwrap_or("a place that is not known"));
    let mut lines =
        vec![title(&left(&name, columns.min(crate::width::width(&crate::escape::escape(&name)))), "", columns)];
    let cause = row.cause.as_ref().map(|cause| cause.to_string());
    let what = row.call_text.as_deref().map(str::to_owned).or(cause);
    lines.extend(what.map(|what| Line::raw(left(&format!("  in {what}"), columns))));
    if row.stack.is_empty() {
        lines.push(Line::styled(left("  no stack of it is known", columns), QUIET));
    }
    for frame in row.stack.iter().skip(from).take(rows) {
        let function = frame.function.as_deref().unwrap_or("not known");
        let at = match (&frame.file, frame.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (Some(file), None) => file.to_string(),
            (None, _) => String::new(),
        };
        let at_room = columns * 45 / 100;
        let function_room = columns.saturating_sub(at_room + 4);
        lines.push(Line::raw(left(&format!("  {}  {}", left(function, function_room), place(&at, at_room)), columns)));
    }
    lines
}

/// A count in few columns: `950`, `12.3 k`, `4.50 M`.
pub(super) fn short_count(count: u64) -> String {
    match count {
        ..10_000 => format_count(count),
        10_000..1_000_000 => format!("{:.1} k", count as f64 / 1e3),
        _ => format!("{:.1} M", count as f64 / 1e6),
    }
}

/// A time that may be days: `45 s`, `2 min 03 s`, `5 h 12 min`, `3 d 4 h`.
pub(super) fn long_time(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min {:02} s", seconds % 60),
        () if days == 0 => format!("{hours} h {:02} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}
