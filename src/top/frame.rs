//! One screen, of a view and a size. Pure.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use super::cells::{left, place, right};
use super::panels::{self, Shape};
use super::state::{State, Status};
use super::view::View;
use crate::escape::escape;
use crate::width::{take, width};

/// What stands out.
pub(super) const ALARM: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
/// The titles of panels.
pub(super) const TITLE: Style = Style::new().add_modifier(Modifier::BOLD);
/// What is said beside.
pub(super) const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
/// The row that is marked.
pub(super) const MARKED: Style = Style::new().add_modifier(Modifier::REVERSED);

/// The lines of a screen: as many as it is high, none wider than it is.
pub(crate) fn frame(view: &View, columns: usize, rows: usize) -> Vec<Line<'static>> {
    let mut lines = header(view, columns);
    let footer = footer(view, columns);
    let room = rows.saturating_sub(lines.len() + footer.len());
    let places = view.rows();
    let mut body = match view.opened(&places) {
        Some((row, from)) => panels::stack(row, from, columns, room),
        None => body(view, columns, room),
    };
    body.truncate(room);
    body.resize(room, Line::default());
    lines.extend(body);
    lines.extend(footer);
    lines.truncate(rows);
    lines.into_iter().map(|line| clipped(line, columns)).collect()
}

/// A line without what is beyond the last column.
fn clipped(line: Line<'static>, columns: usize) -> Line<'static> {
    let mut room = columns;
    let Line { spans, style, .. } = line;
    let spans = spans.into_iter().map(|span| {
        let content: String = span.content.chars().take_while(|&c| take(&mut room, c)).collect();
        // What comes behind a wide character that has no room has none either.
        room = if content.len() < span.content.len() { 0 } else { room };
        Span::styled(content, span.style)
    });
    Line::from(spans.collect::<Vec<_>>()).style(style)
}

/// What is shown between the header and the footer.
fn body(view: &View, columns: usize, room: usize) -> Vec<Line<'static>> {
    let places = view.rows();
    let shape = Shape::of(view, &places, room);
    let mut lines = panels::now(view, columns, shape.now);
    lines.extend(panels::places(view, &places, columns, shape.places));
    lines.extend(panels::workers(view, columns, shape.workers));
    lines.extend(panels::queues(view, columns));
    lines
}

/// Which service it is, and how it does: in one line, or in two where there is no room.
fn header(view: &View, columns: usize) -> Vec<Line<'static>> {
    let state = view.state();
    let name = if state.name.is_empty() { "no service yet" } else { &state.name };
    let mut who = format!("pollscope top  {}", escape(name));
    if let Some(pid) = state.pid {
        who += &format!("  pid {pid}");
    }
    // Of a process that was there before, nobody may know it.
    if let Some(live) = state.live.as_ref().filter(|live| live.up_ns > 0) {
        who += &format!("  up {}", panels::long_time(live.up_ns));
    }
    let how = counts(state);
    let said = status(view);
    let mut lines = match columns.checked_sub(width(&who) + width(&how)) {
        Some(gap) if gap >= 2 => {
            vec![Line::from(vec![Span::styled(who, TITLE), Span::raw(" ".repeat(gap)), Span::raw(how)])]
        }
        _ => vec![Line::styled(left(&who, columns), TITLE), Line::raw(left(&how, columns))],
    };
    lines.extend(said.map(|said| Line::styled(left(&said, columns), ALARM)));
    lines
}

/// How many polls, how many of them slow, how busy; what cannot be seen from outside is there as unknown.
fn counts(state: &State) -> String {
    let slow = || panels::short_count(state.slow);
    let busy = state.busy_share().map(|share| format!("{:.0} % busy", share * 100.0));
    let counts = match state.seen {
        Some(_) => [
            Some("- polls/s".to_owned()),
            Some(format!("at least {} slow", slow())),
            Some(busy.map_or_else(|| "- busy".to_owned(), |busy| format!("~{busy}"))),
        ],
        None => [
            state.polls_per_s().map(|rate| format!("{} polls/s", panels::short_count(rate.round() as u64))),
            (state.intervals > 0).then(|| format!("{} slow", slow())),
            busy,
        ],
    };
    counts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// What is to be said of the feed.
fn status(view: &View) -> Option<String> {
    let of_feed = match (&view.now().status, &view.trouble) {
        (Status::Gone(Some(how)), _) => Some(format!("the program {how}: this is what was known")),
        (Status::Gone(None), _) => {
            let what = if view.state().seen.is_some() { "process" } else { "service" };
            Some(format!("the {what} is gone: this is what was known"))
        }
        (Status::Goes, _) => None,
        (_, Some(trouble)) => Some(trouble.clone()),
        (Status::Waiting, None) => {
            Some("waiting for a probe that listens; without one, look at it by its number".to_owned())
        }
        (Status::Ended, None) if view.state().seen.is_some() => {
            Some("it is looked at no more: this is what was seen".to_owned())
        }
        (Status::Ended, None) => Some("its probe ended: waiting for another".to_owned()),
    };
    let paused = view.is_paused().then(|| "paused: `p` goes on".to_owned());
    let said: Vec<String> = paused.into_iter().chain(of_feed).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

/// What keys do, and where the output of a program is.
fn footer(view: &View, columns: usize) -> Vec<Line<'static>> {
    let opened = view.opened(&view.rows()).is_some();
    let keys = match (opened, columns) {
        (true, _) => "↑↓ scroll  Esc back  q quit",
        (false, ..66) => "q quit  s sort  w window  p pause  ↑↓ Enter stack",
        (false, _) => "q quit   s sort   w last 10 s or all   p pause   ↑↓ and Enter a place's stack",
    };
    let keys = Line::styled(left(keys, columns), QUIET);
    let output = view.output.as_ref().map(|path| {
        let label = "output: ";
        Line::styled(format!("{label}{}", place(path, columns.saturating_sub(width(label)))), QUIET)
    });
    output.into_iter().chain([keys]).collect()
}

/// A title, and to its right what its columns are.
pub(super) fn title(name: &str, note: &str, columns: usize) -> Line<'static> {
    let name = left(name, width(name).min(columns));
    let rest = columns - width(&name);
    Line::from(vec![Span::styled(name, TITLE), Span::styled(right(note, rest), QUIET)])
}

/// The lines as text, without what is blank at their ends.
pub(crate) fn text(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let shown: String = line.spans.iter().map(|span| &*span.content).collect();
        text += shown.trim_end();
        text.push('\n');
    }
    text
}
