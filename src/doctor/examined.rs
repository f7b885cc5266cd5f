//! What can be seen of a process from outside, what cannot, and what would help, the least effort first: as a page. Pure.

mod help;

use pollscope_attach::{Access, Asker, Events, Program, Status};
use pollscope_stacks::perf::Hindrance;
use pollscope_stacks::symbolize::DebugInfo;

use self::help::{helps, of_obstacle};
use crate::report::Style;
use crate::report::layout::{Ink, Line, hanging};
use crate::units::plural;

/// Columns of what a row is of.
const WHAT: usize = 12;

/// How a row is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    /// Less than there could be.
    Partly,
    Bad,
    /// To know.
    Note,
}

/// One thing that was found out.
#[derive(Debug)]
struct Row {
    mark: Mark,
    what: &'static str,
    said: String,
}

impl Row {
    fn new(mark: Mark, what: &'static str, said: impl Into<String>) -> Row {
        Row { mark, what, said: said.into() }
    }
}

/// The whole page, each line ended by a newline. `listens`: whether its probe does; `None` where that is not told.
pub(crate) fn render(access: &Access, listens: Option<bool>, style: &Style) -> String {
    let rows = rows(access, listens);
    let mut sections = vec![header(access, listens, &rows, style)];
    sections.push(rows.iter().flat_map(|row| row_of(row, style)).collect());
    if access.program.is_ok() && listens != Some(true) {
        let never = "how many polls there are and how long each took, how long ready tasks waited and for whom, and what is queued: \
                     only the probe tells that";
        sections.push(hanging(
            Line::new().text(Ink::Title, "Never seen from outside: "),
            2,
            Ink::Plain,
            never,
            style.width,
        ));
    }
    let helps = helps(access, listens);
    if !helps.is_empty() {
        let mut lines = vec![Line::new().text(Ink::Title, "What would help, the least effort first")];
        for (nth, help) in helps.iter().enumerate() {
            let start = Line::new().text(Ink::Dim, &format!("{}. ", nth + 1));
            lines.extend(hanging(start, 3, Ink::Plain, help, style.width));
        }
        sections.push(lines);
    }
    let page =
        sections.into_iter().map(|lines| lines.into_iter().map(|line| line.finish(style) + "\n").collect::<String>());
    page.collect::<Vec<_>>().join("\n")
}

fn header(access: &Access, listens: Option<bool>, rows: &[Row], style: &Style) -> Vec<Line> {
    let title = Line::new().text(Ink::Title, "pollscope").blank(1).text(Ink::Bold, "doctor").blank(1);
    let name = access.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let is_any = |mark| rows.iter().any(|row| row.mark == mark);
    let (ink, verdict) = match &access.program {
        Err(_) if listens == Some(true) => (Ink::Good, "tells of itself, and is shut otherwise"),
        Err(_) => (Ink::Bad, "cannot be looked at"),
        Ok(_) if is_any(Mark::Partly) || is_any(Mark::Bad) => (Ink::Warn, "can be looked at, and more could be seen"),
        Ok(_) => (Ink::Good, "can be looked at"),
    };
    hanging(title, 2, ink, &format!("· process {}{name} {verdict}", access.pid), style.width)
}

fn row_of(row: &Row, style: &Style) -> Vec<Line> {
    let (sign, ascii, ink) = match row.mark {
        Mark::Good => ("✓", "+", Ink::Good),
        Mark::Partly => ("~", "~", Ink::Warn),
        Mark::Bad => ("✗", "x", Ink::Bad),
        Mark::Note => ("·", "-", Ink::Dim),
    };
    let start = Line::new().left(ink, if style.unicode { sign } else { ascii }, 2).left(Ink::Bold, row.what, WHAT);
    hanging(start, 2 + WHAT, Ink::Plain, &row.said, style.width)
}

fn rows(access: &Access, listens: Option<bool>) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(access.status.map(|status| process(&status)));
    rows.push(match &access.program {
        Ok(_) => Row::new(Mark::Good, "access", open(access)),
        Err(obstacle) => Row::new(Mark::Bad, "access", of_obstacle(obstacle).0),
    });
    if access.status.is_some() {
        rows.push(Row::new(Mark::Note, "Yama", yama(access.yama)));
        rows.push(probe(access, listens));
    }
    if let Ok(program) = &access.program {
        rows.push(match &program.tokio {
            Some(version) => Row::new(Mark::Good, "Tokio", version),
            None => Row::new(Mark::Note, "Tokio", "it is there; none of its messages names the version"),
        });
        rows.push(names(program));
        rows.extend(events(&program.events, access));
        rows.extend(program.notes.iter().map(|note| Row::new(Mark::Partly, "note", note)));
    }
    rows
}

fn process(status: &Status) -> Row {
    let (mark, doing) = match status.state {
        'R' => (Mark::Good, "runs"),
        'S' | 'I' => (Mark::Good, "sleeps"),
        'D' => (Mark::Good, "waits in the kernel"),
        'T' => (Mark::Partly, "is stopped: nothing is seen before it goes on"),
        't' => (Mark::Partly, "is stopped by a debugger: nothing is seen before it goes on"),
        'Z' | 'X' => (Mark::Bad, "has ended"),
        _ => (Mark::Note, "does what is not known here"),
    };
    let Status { threads, user, .. } = status;
    Row::new(mark, "process", format!("of the user {user}, {}; its first one {doing}", plural(*threads, "thread")))
}

fn open(access: &Access) -> String {
    let own = access.status.map(|status| status.user) == access.by.map(|by| by.user);
    match access.by {
        Some(by) if by.may_trace && by.is_root() => "root may look at it".to_owned(),
        Some(Asker { may_trace: true, .. }) => "this user may look at all processes (`CAP_SYS_PTRACE`)".to_owned(),
        _ if own => "it is yours, and open to you".to_owned(),
        _ => "it is open to you".to_owned(),
    }
}

/// What the level means for one who did not start the process.
fn yama(level: Option<u8>) -> String {
    let Some(level) = level else { return "not in this kernel: a user's processes are open to that user".to_owned() };
    let means = match level {
        0 => "a user's processes are open to that user",
        1 => "only a parent may look at its children, and root at all",
        2 => "only root may look",
        _ => "nobody may look, not even root",
    };
    format!("`kernel.yama.ptrace_scope` is {level}: {means}")
}

fn probe(access: &Access, listens: Option<bool>) -> Row {
    let has_probe = access.has_probe == Some(true);
    let said = match listens {
        Some(true) => return Row::new(Mark::Good, "probe", "it listens, and tells every poll"),
        Some(false) if has_probe => "it is in the program, and does not listen",
        Some(false) => "none that listens",
        None => "whether one listens is told to its own user and root alone",
    };
    Row::new(Mark::Note, "probe", said)
}

fn names(program: &Program) -> Row {
    let (mark, said) = match &program.names {
        Some(DebugInfo::Full | DebugInfo::LineTables) => {
            (Mark::Good, "functions, the futures' types, files and lines".to_owned())
        }
        Some(DebugInfo::Symbols) => (Mark::Partly, "functions and the futures' types, no files and lines".to_owned()),
        Some(DebugInfo::Stripped) => (Mark::Partly, "only those of functions that are exported".to_owned()),
        Some(DebugInfo::Unreadable(why)) => (Mark::Partly, format!("its file is unreadable: {why}")),
        None => (Mark::Note, "not known".to_owned()),
    };
    Row::new(mark, "names", said)
}

/// What perf events give, tried on the process's own threads.
fn events(events: &Events, access: &Access) -> Vec<Row> {
    if events.threads == 0 {
        return vec![Row::new(Mark::Note, "perf events", "not tried: its threads end as soon as they begin")];
    }
    let all = access.status.map(|status| format!(" of {}", status.threads)).unwrap_or_default();
    let tried = format!("tried on {}{all}", plural(events.threads as u64, "thread"));
    let level = access.paranoid.map(|level| format!("; `kernel.perf_event_paranoid` is {level}")).unwrap_or_default();
    let row = |what, had: Result<(), Hindrance>, gives: &str, lacks: &str| match had {
        Ok(()) => Row::new(Mark::Good, what, format!("{gives} ({tried}{level})")),
        Err(why) => Row::new(Mark::Partly, what, format!("{lacks}: {} ({tried})", help::of_hindrance(why).0)),
    };
    vec![
        row("samples", events.samples, "polls that compute can be sampled", "polls that compute cannot be sampled"),
        row(
            "breakpoints",
            events.breakpoints,
            "the ends of polls can be exact",
            "the ends of polls are those of looks (`~`)",
        ),
    ]
}

#[cfg(test)]
mod tests;
