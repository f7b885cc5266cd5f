//! The table of injected stalls, and what is not seen here.

use super::{CheckOutcome, Checkup, Injection, RETRIES, Sighting, StallCheck, Trial};
use crate::report::Style;
use crate::report::layout::{Ink, Line, hanging, paragraph};
use crate::scenario::Flavor;
use crate::units::{format_ns, plural};
use pollscope_base::Cause;

/// From this many columns on, lengths and lines have columns of their own, and the first look has that of the count of looks.
const WIDE: usize = 100;
/// Columns of the cells that every page has.
const STALL: usize = 15;
const CAUSE: usize = 14;
/// Columns of a length.
const LENGTH: usize = 8;

/// The whole page, each line ended by a newline.
pub(crate) fn render(checkup: &Checkup, style: &Style) -> String {
    let sections = [header(checkup, style), table(checkup, style), blind(checkup, style), too_slow(checkup, style)];
    let page: Vec<String> = sections
        .into_iter()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.into_iter().map(|line| line.finish(style) + "\n").collect())
        .collect();
    page.join("\n")
}

fn header(checkup: &Checkup, style: &Style) -> Vec<Line> {
    let title = Line::new().text(Ink::Title, "pollscope").blank(1).text(Ink::Bold, "doctor").blank(1);
    let (tried, missed) = (checkup.tried(), checkup.missed());
    let too_slow = checkup.too_slow();
    let stalls = plural(tried as u64, "injected stall");
    let (ink, said) = match (missed, too_slow) {
        (0, 0) => (Ink::Good, format!("· all of {stalls} were seen as they were")),
        (0, _) => (Ink::Warn, format!("· none of {stalls} missed, {too_slow} too slow here")),
        (_, 0) => (Ink::Bad, format!("· {missed} of {stalls} missed or seen wrong")),
        (..) => (Ink::Bad, format!("· {missed} of {stalls} missed or seen wrong, {too_slow} too slow here")),
    };
    hanging(title, 2, ink, &said, style.width)
}

/// What was not found out, as the last word.
fn too_slow(checkup: &Checkup, style: &Style) -> Vec<Line> {
    let stalls = match checkup.too_slow() {
        0 => return Vec::new(),
        count => plural(count as u64, "stall"),
    };
    let says = format!(
        "{stalls} could not be judged: what was seen came too late on this machine, which is no miss; try again when it has a \
         free CPU, or with a release build"
    );
    hanging(Line::new().text(Ink::Warn, "too slow here: "), 2, Ink::Plain, &says, style.width)
}

fn table(checkup: &Checkup, style: &Style) -> Vec<Line> {
    let is_wide = style.width >= WIDE;
    let mut lines = vec![table_header(is_wide)];
    for row in &checkup.checks {
        lines.extend(match &row.outcome {
            CheckOutcome::NotTried(reason) => {
                let start = start(row, ("–", "-", Ink::Warn), is_wide, style).text(Ink::Warn, "not tried: ");
                hanging(start, 4, Ink::Plain, reason, style.width)
            }
            CheckOutcome::Tried(trial) => tried(row, trial, is_wide, style),
        });
    }
    let notes = [
        "error: what the probe measured, less what the blocking code measured itself",
        if is_wide {
            "1st look: how long after it had become slow it was looked at"
        } else {
            "looks: how often it was looked at"
        },
        "many fsyncs: one after the other until the time is over, as none can be made to take so long",
        "CPU quota, process stop: those of a process of its own",
    ];
    lines.extend(notes.iter().flat_map(|note| paragraph(Line::new(), Ink::Dim, note, style.width)));
    lines
}

fn table_header(is_wide: bool) -> Line {
    let line = Line::indent(2).left(Ink::Title, "Stall", STALL).left(Ink::Dim, "flavour", flavor_columns(is_wide));
    let line = if is_wide { line.right(Ink::Dim, "length", LENGTH) } else { line };
    let line = line.right(Ink::Dim, "error", error_columns(is_wide)).blank(gap(is_wide));
    let line = line.left(Ink::Dim, "cause", CAUSE).blank(1).left(Ink::Dim, "line", line_columns(is_wide));
    let look = if is_wide { "1st look" } else { "looks" };
    line.right(Ink::Dim, look, look_columns(is_wide))
}

fn flavor_columns(is_wide: bool) -> usize {
    if is_wide { 15 } else { 8 }
}

fn error_columns(is_wide: bool) -> usize {
    if is_wide { 9 } else { 8 }
}

fn gap(is_wide: bool) -> usize {
    if is_wide { 2 } else { 1 }
}

fn line_columns(is_wide: bool) -> usize {
    if is_wide { 25 } else { 6 }
}

fn look_columns(is_wide: bool) -> usize {
    if is_wide { 9 } else { 5 }
}

/// A row's mark, stall and flavour.
fn start(row: &StallCheck, (sign, ascii, ink): (&str, &str, Ink), is_wide: bool, style: &Style) -> Line {
    let flavor = match row.flavor {
        flavor if is_wide => flavor.as_str(),
        Flavor::CurrentThread => "current",
        Flavor::MultiThread => "multi",
    };
    let line = Line::new().left(ink, if style.unicode { sign } else { ascii }, 2);
    line.left(Ink::Plain, row.stall, STALL).left(Ink::Dim, flavor, flavor_columns(is_wide))
}

fn tried(row: &StallCheck, trial: &Trial, is_wide: bool, style: &Style) -> Vec<Line> {
    let Trial { injected, seen, retries, missed, too_slow } = trial;
    let mark = match (missed.is_empty(), too_slow) {
        (true, None) => ("✓", "+", Ink::Good),
        (true, Some(_)) => ("~", "~", Ink::Warn),
        (false, _) => ("✗", "x", Ink::Bad),
    };
    let line = start(row, mark, is_wide, style);
    let line = if is_wide { line.right(Ink::Plain, &format_ns(injected.ns), LENGTH) } else { line };
    let mut lines = vec![match seen {
        None => line.right(Ink::Bad, "not seen", error_columns(is_wide)),
        Some(seen) => cells(line, injected, seen, is_wide),
    }];
    let mut notes = missed.clone();
    notes.extend(too_slow.iter().map(|why| format!("too slow here: {why}")));
    match retries {
        0 => {}
        again if missed.is_empty() && too_slow.is_none() => {
            notes.push(format!("only when injected again, {}", times(*again)))
        }
        _ => notes.push(format!("and when injected again, {}", times(RETRIES))),
    }
    if !notes.is_empty() {
        lines.extend(hanging(Line::indent(4), 4, Ink::Warn, &notes.join("; "), style.width));
    }
    lines
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn cells(line: Line, injected: &Injection, seen: &Sighting, is_wide: bool) -> Line {
    let judged = |is_right: bool| if is_right { Ink::Plain } else { Ink::Bad };
    let sign = if seen.ns < injected.ns { "-" } else { "+" };
    let error = format!("{sign}{}", format_ns(seen.ns.abs_diff(injected.ns)));
    let is_line_right = seen.line.as_ref() == Some(&injected.line);
    let at = match &seen.line {
        None => "—",
        Some(at) if is_wide => at,
        Some(_) if is_line_right => "right",
        Some(_) => "wrong",
    };
    let look = match seen.looked_after_ns {
        _ if !is_wide => seen.captures.to_string(),
        Some(ns) => format_ns(ns),
        None => "—".to_owned(),
    };
    line.right(Ink::Plain, &error, error_columns(is_wide))
        .blank(gap(is_wide))
        .left(judged(injected.causes.contains(&seen.cause)), seen.cause.map_or("—", Cause::as_str), CAUSE)
        .blank(1)
        .left(judged(is_line_right), at, line_columns(is_wide))
        .right(Ink::Plain, &look, look_columns(is_wide))
}

fn blind(checkup: &Checkup, style: &Style) -> Vec<Line> {
    if checkup.blind.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![Line::new().text(Ink::Title, "Blind to")];
    for spot in &checkup.blind {
        let start = Line::new().text(Ink::Warn, "- ");
        lines.extend(hanging(start, 2, Ink::Plain, &format!("{} ({})", spot.what, spot.proof), style.width));
        if let Some(remedy) = &spot.remedy {
            lines.extend(paragraph(Line::new().text(Ink::Dim, "  = help: "), Ink::Plain, remedy, style.width));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::BlindSpot;

    fn checkup() -> Checkup {
        let injected = Injection {
            ns: 120_100_000,
            causes: vec![Some(Cause::Lock)],
            line: "src/doctor/stalls.rs:99".to_owned(),
            is_line_due: true,
            holder: None,
        };
        let seen = Sighting {
            ns: 120_112_300,
            cause: Some(Cause::Lock),
            line: Some(injected.line.clone()),
            holder: None,
            captures: 3,
            looked_after_ns: Some(352_000),
            stack_complete: Some(true),
            cpu_ns: None,
            late: None,
        };
        let wrong =
            Sighting { cause: Some(Cause::BlockingCall), line: Some("src/doctor.rs:1".to_owned()), ..seen.clone() };
        let trial = |seen: Option<Sighting>, retries, missed: &[&str]| {
            let missed = missed.iter().map(|&what| what.to_owned()).collect();
            CheckOutcome::Tried(Box::new(Trial { injected: injected.clone(), seen, retries, missed, too_slow: None }))
        };
        let row = |stall, flavor, outcome| StallCheck { stall, flavor, outcome };
        Checkup {
            checks: vec![
                row("lock", Flavor::CurrentThread, trial(Some(seen), 0, &[])),
                row(
                    "block_in_place",
                    Flavor::MultiThread,
                    trial(Some(wrong), 2, &["cause blocking-call instead of lock"]),
                ),
                row("spin", Flavor::CurrentThread, trial(None, 2, &["no slow poll was seen"])),
                row("page fault", Flavor::MultiThread, CheckOutcome::NotTried("the kernel forbids it".to_owned())),
            ],
            blind: vec![BlindSpot {
                what: "tasks of a `LocalSet`".to_owned(),
                proof: "a stall in one was not seen".to_owned(),
                remedy: Some("watch them".to_owned()),
            }],
        }
    }

    /// A stall that was found to be slow, and of which no more came in time.
    fn late() -> StallCheck {
        let why = "no line: the watchdog came 80.0 ms late, after the poll's end".to_owned();
        let mut row = checkup().checks.remove(0);
        let CheckOutcome::Tried(trial) = &mut row.outcome else { panic!("it was tried") };
        let seen = trial.seen.as_mut().expect("it was seen");
        (seen.cause, seen.line, seen.looked_after_ns, seen.late) = (None, None, None, Some(why.clone()));
        (trial.retries, trial.too_slow) = (2, Some(why));
        row
    }

    #[test]
    fn what_came_too_late_is_told_apart_from_what_was_missed() {
        let style = Style { width: 100, color: false, unicode: true };
        let mut checkup = checkup();
        checkup.checks.push(late());
        assert_eq!((checkup.tried(), checkup.missed(), checkup.too_slow()), (4, 2, 1));
        let page = render(&checkup, &style);
        assert!(
            page.starts_with("pollscope doctor · 2 of 4 injected stalls missed or seen wrong, 1 too slow here\n"),
            "{page}"
        );
        let row = "\
~ lock           current_thread   120 ms +12.3 µs  —              —                                —
    too slow here: no line: the watchdog came 80.0 ms late, after the poll's end; and when injected
    again, 2 times
";
        assert!(page.contains(row), "{page}");
        checkup.checks.retain(|row| !row.is_missed());
        let page = render(&checkup, &style);
        assert!(page.starts_with("pollscope doctor · none of 2 injected stalls missed, 1 too slow here\n"), "{page}");
        let (_, last) = page.rsplit_once("\n\n").expect("sections");
        assert!(last.starts_with("too slow here: 1 stall could not be judged: "), "{page}");
    }

    fn page(width: usize, unicode: bool) -> String {
        render(&checkup(), &Style { width, color: false, unicode })
    }

    #[test]
    fn a_wide_page_has_lengths_and_lines() {
        let page = page(100, true);
        let expected = "\
pollscope doctor · 2 of 3 injected stalls missed or seen wrong

  Stall          flavour          length    error  cause          line                      1st look
✓ lock           current_thread   120 ms +12.3 µs  lock           src/doctor/stalls.rs:99     352 µs
✗ block_in_place multi_thread     120 ms +12.3 µs  blocking-call  src/doctor.rs:1             352 µs
    cause blocking-call instead of lock; and when injected again, 2 times
✗ spin           current_thread   120 ms not seen
    no slow poll was seen; and when injected again, 2 times
– page fault     multi_thread   not tried: the kernel forbids it
";
        assert!(page.starts_with(expected), "{page}");
        assert!(
            page.ends_with("- tasks of a `LocalSet` (a stall in one was not seen)\n  = help: watch them\n"),
            "{page}"
        );
    }

    #[test]
    fn a_narrow_page_keeps_every_row_on_a_line() {
        let page = page(60, false);
        let expected = "\
  Stall          flavour    error cause          line  looks
+ lock           current +12.3 us lock           right     3
x block_in_place multi   +12.3 us blocking-call  wrong     3
";
        assert!(page.contains(expected), "{page}");
        assert!(page.lines().all(|line| line.len() <= 60), "{page}");
        assert!(page.contains("- page fault     multi   not tried: the kernel forbids it\n"), "{page}");
    }
}
