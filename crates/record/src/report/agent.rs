//! For programs that read reports, and have room for little: what held the loop, where, how that is known, what to do, and what to run
//! next. Lines of `key: value`, at most 2,000 bytes.

use crate::answer::{Answer, Item, answer};
use crate::blockers::blockers;
use crate::escape::line;
use crate::recording::{Completeness, Frame, GateVerdict, Recording, SlowPoll};
use crate::report::gates;
use crate::width::cut;

/// All of it, in bytes.
const MOST: usize = 2_000;
/// A value, in columns.
const VALUE: usize = 360;
/// Frames of the stack, innermost first; other places; what is not known.
const FRAMES: usize = 6;
const OTHERS: usize = 4;
const UNKNOWN: usize = 3;

/// The report. What has no room is left out from the end, but for what to run next.
pub fn render(recording: &Recording) -> String {
    let answer = answer(recording);
    let next = text("next", &next(&answer));
    let mut out = String::new();
    for said in lines(recording, &answer) {
        if out.len() + said.len() + next.len() > MOST {
            break;
        }
        out += &said;
    }
    out + &next
}

fn lines(recording: &Recording, answer: &Answer) -> Vec<String> {
    let Answer { lead, seen, meanwhile, fix, loops_time, others, gates: judged, facts, .. } = answer;
    let mut lines = vec![text("verdict", verdict(answer)), text("what", &lead.words)];
    let mut add = |key, value: Option<String>| lines.extend(value.map(|value| text(key, &value)));
    add("place", lead.place.clone());
    add("code", lead.code.clone());
    if let Some((looks, of)) = seen.as_ref().and_then(|seen| seen.looks) {
        add("evidence", Some(format!("{looks} of {of} looks at the thread saw it there")));
    }
    add("called from", seen.as_ref().and_then(|seen| seen.caller.clone()));
    if let Some(poll) = lead.place.as_deref().and_then(|place| dearest_at(recording, place)) {
        add("cause", poll.cause.as_deref().map(str::to_owned));
        add("call", poll.syscall.as_ref().map(|call| call.text.to_string()));
        add("task", task(poll));
        add("stack", stack(poll));
    }
    add("waited", meanwhile.clone());
    add("fix", fix.clone());
    add("loops' time", loops_time.clone());
    judged
        .iter()
        .for_each(|gate| add("gate", Some(format!("{}: {}", gate.expr, said(gate.verdict, &gates::value(gate))))));
    others.iter().take(OTHERS).for_each(|other| add("also", Some(item(other))));
    facts.iter().for_each(|fact| add("note", Some(item(fact))));
    let runs = &recording.runs;
    if runs.iter().any(|run| run.slow_polls_are == Completeness::AtLeast) {
        add("count", Some("slow polls are those that were seen; there may have been more".to_owned()));
    }
    recording.missing().into_iter().take(UNKNOWN).for_each(|missing| add("not known", Some(missing)));
    lines
}

fn verdict(answer: &Answer) -> &'static str {
    let worst = answer.gates.iter().map(|gate| gate.verdict).chain([answer.lead.mark]);
    match worst.max_by_key(|verdict| match verdict {
        GateVerdict::Fail => 2,
        GateVerdict::Inconclusive => 1,
        GateVerdict::Pass => 0,
    }) {
        Some(GateVerdict::Fail) => "bad",
        Some(GateVerdict::Inconclusive) => "unknown",
        Some(GateVerdict::Pass) | None => "good",
    }
}

fn said(verdict: GateVerdict, value: &str) -> String {
    let how = match verdict {
        GateVerdict::Pass => "holds",
        GateVerdict::Fail => "failed",
        GateVerdict::Inconclusive => "cannot be judged",
    };
    if value.is_empty() { how.to_owned() } else { format!("{how}, {value}") }
}

fn item(item: &Item) -> String {
    let code = item.code.as_ref().map_or(String::new(), |code| format!(" [{code}]"));
    let place = item.place.as_ref().map_or(String::new(), |place| format!("{place} "));
    format!("{place}{}{code}", item.words)
}

/// A slow poll of the place that the answer is about, of those that took most time together.
fn dearest_at<'r>(recording: &'r Recording, place: &str) -> Option<&'r SlowPoll> {
    let polls = recording.runs.iter().flat_map(|run| run.slow_polls.iter().chain(&run.stalls_open));
    let blockers = blockers(polls);
    let its = blockers.into_iter().filter(|blocker| blocker.line == Some(place));
    its.max_by_key(|blocker| blocker.total_ns).map(|blocker| blocker.first)
}

fn task(poll: &SlowPoll) -> Option<String> {
    let name = poll.task_name.as_deref().map(|name| format!("`{name}`"));
    let spawned = poll.spawned_at.as_deref().map(|place| format!("spawned at {place}"));
    let known: Vec<String> = name.into_iter().chain(spawned).chain(poll.future.as_deref().map(str::to_owned)).collect();
    (!known.is_empty()).then(|| known.join(", "))
}

/// `write (src/a.rs:3) < save (src/b.rs:9)`, innermost first.
fn stack(poll: &SlowPoll) -> Option<String> {
    let frame = |frame: &Frame| {
        let place =
            frame.file.as_ref().zip(frame.line).map_or(String::new(), |(file, line)| format!(" ({file}:{line})"));
        format!("{}{place}", frame.function.as_deref().unwrap_or("?"))
    };
    let frames: Vec<String> = poll.stack.iter().take(FRAMES).map(frame).collect();
    (!frames.is_empty()).then(|| frames.join(" < "))
}

fn next(answer: &Answer) -> String {
    let explain = answer.lead.code.as_ref().map(|code| format!("pollscope explain {code}"));
    explain.into_iter().chain(["pollscope report --full last".to_owned()]).collect::<Vec<_>>().join("; ")
}

fn text(key: &str, value: &str) -> String {
    format!("{key}: {}\n", cut(&line(value), VALUE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::recording::{Gate, Kind};

    #[test]
    fn it_says_what_held_the_loop_and_what_to_run_next() {
        let mut recording = fixture::recording();
        let frame =
            |function: &str| Frame { function: Some(function.into()), file: Some("src/a.rs".into()), line: Some(7) };
        let kind = Kind {
            cause: Some(pollscope_base::Cause::BlockingCall.into()),
            blocking_line: Some("src/a.rs:7".into()),
            future: Some("shop::serve".into()),
            stack: vec![frame("write"), frame("save")].into(),
            ..Kind::default()
        };
        let polls = recording.runs.iter_mut().flat_map(|run| &mut run.slow_polls);
        polls.for_each(|poll| *poll.kind_mut() = kind.clone());
        let report = render(&recording);
        let value = |key: &str| report.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        assert_eq!([value("verdict"), value("place")], [Some("bad"), Some("src/a.rs:7")], "{report}");
        assert_eq!(value("what"), Some(answer(&recording).lead.words.as_str()));
        assert_eq!([value("cause"), value("task")], [Some("blocking-call"), Some("shop::serve")]);
        assert_eq!(value("stack"), Some("write (src/a.rs:7) < save (src/a.rs:7)"));
        assert!(value("fix").is_some(), "{report}");
        assert_eq!(report.lines().last(), Some("next: pollscope explain PS001; pollscope report --full last"));
    }

    #[test]
    fn a_recording_without_slow_polls_is_good_until_a_gate_fails() {
        let mut recording = fixture::recording();
        recording.runs.iter_mut().for_each(|run| {
            (run.slow_polls, run.stalls_open, run.slow_polls_total) = (Vec::new(), Vec::new(), 0);
        });
        (recording.findings, recording.gates) = (Vec::new(), Vec::new());
        assert!(render(&recording).starts_with("verdict: good\n"), "{}", render(&recording));
        let gate = Gate { expr: "lag.p99 < 1ms".into(), verdict: GateVerdict::Fail, value: None, why: None };
        recording.gates.push(gate);
        let report = render(&recording);
        assert!(report.starts_with("verdict: bad\n") && report.contains("\ngate: lag.p99 < 1ms: failed"), "{report}");
    }

    #[test]
    fn it_has_no_more_than_its_bytes_and_each_value_one_line() {
        let mut recording = fixture::recording();
        let long = "\u{202e}x\n::error::y".repeat(3_000);
        for run in &mut recording.runs {
            run.coverage.missing = (0..20).map(|number| format!("{number} {long}")).collect();
            for poll in &mut run.slow_polls {
                let stack: Vec<Frame> =
                    (0..90).map(|_| Frame { function: Some(long.as_str().into()), file: None, line: None }).collect();
                *poll.kind_mut() =
                    Kind { stack: stack.into(), future: Some(long.as_str().into()), ..(*poll.kind).clone() };
            }
        }
        let report = render(&recording);
        assert!(report.len() <= MOST, "{}", report.len());
        assert!(report.lines().all(|line| line.contains(": ") && !line.contains('\u{202e}')), "{report}");
        assert!(report.lines().last().is_some_and(|line| line.starts_with("next: ")), "{report}");
    }
}
