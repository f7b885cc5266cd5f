use super::*;
use crate::answer::answer;
use crate::fixture::{MS, blocked, profiled, profiled_recording, recording, recording_of, run};
use crate::recording::{Recording, Run};

fn more() -> Vec<String> {
    ["`pollscope report --full last`", "with `--open` as a page", "`pollscope explain PS001`"]
        .map(str::to_owned)
        .to_vec()
}

fn excerpt() -> Excerpt {
    let long = format!("        self.file.write_all(batch){}", " // and so on".repeat(20));
    Excerpt { link: None, lines: vec![(40, "pub fn write(&mut self) {".to_owned()), (41, long)] }
}

fn style(width: usize) -> Style {
    Style { width, color: false, unicode: true }
}

/// Recordings that have little and much to say.
fn recordings() -> Vec<Recording> {
    let mut many = blocked("naive", &[120 * MS; 40]);
    for (nth, poll) in many.slow_polls.iter_mut().enumerate() {
        poll.kind_mut().blocking_line =
            Some(format!("src/a/rather/long/path/to/handlers/of/requests_{nth}.rs:{nth}").as_str().into());
    }
    let mut failing = recording();
    for _ in 0..30 {
        failing.gates.extend(failing.gates.clone().into_iter().filter(|gate| gate.verdict != GateVerdict::Pass));
        failing.gates.truncate(60);
    }
    let looked_at = recording_of(vec![Run { profile: profiled().profile, ..many.clone() }, profiled()]);
    vec![
        recording(),
        recording_of(vec![run("naive")]),
        recording_of(vec![many]),
        failing,
        recording_of(Vec::new()),
        profiled_recording(),
        looked_at,
    ]
}

#[test]
fn the_answer_is_whole_on_a_small_terminal_and_no_line_is_cut() {
    for recording in recordings() {
        let answer = answer(&recording);
        for width in [30, 60, 80, 100, 200] {
            let text = render(&answer, Some(&excerpt()), &more(), &style(width));
            let widest = text.lines().map(width_of).max();
            assert!(widest <= Some(width), "{width}: {text}");
            assert!(width < 80 || text.lines().count() <= 15, "{width}: {} lines\n{text}", text.lines().count());
            let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(width < 80 || words(&text).contains(&words(&answer.lead.words)), "{text}");
            assert!(width < 80 || words(&text).ends_with(&words(&more().join(" · "))), "{text}");
        }
    }
}

fn width_of(line: &str) -> usize {
    width(line)
}

#[test]
fn what_finds_no_room_is_counted() {
    let recordings = recordings();
    let many = answer(&recordings[2]);
    let text = render(&many, None, &more(), &style(80));
    let shown =
        many.others.iter().filter(|other| text.contains(&format!("✗ {}", other.place.as_deref().expect("a place"))));
    let left = many.others.len() - shown.count();
    assert!(left > 0 && text.contains(&format!("\n  and {left} more\n")), "{left}\n{text}");
    // The code of what costs most comes before other places.
    let with_code = render(&many, Some(&excerpt()), &more(), &style(80));
    assert!(with_code.contains("   40 │ pub fn write"), "{with_code}");
    let failing = render(&answer(&recordings[3]), None, &more(), &style(80));
    assert!(failing.contains("gate failed: ") && failing.contains("\n  and "), "{failing}");
}

#[test]
fn the_first_line_says_what_where_and_how_long() {
    let line = first_line(&answer(&recording()), &style(40));
    assert_eq!(line.lines().count(), 1, "it is for programs and logs, and is not wrapped: {line}");
    assert!(line.starts_with("✗ ") && line.contains("503 ms") && line.ends_with(" [PS001]\n"), "{line}");
}

#[test]
fn code_stands_below_the_place_and_the_looks_behind_it_or_below() {
    let mut recording = recording();
    for poll in &mut recording.runs[0].slow_polls {
        poll.kind_mut().blocking_line = Some("src/sink.rs:41".into());
    }
    let mut answer = answer(&recording);
    answer.seen = Some(Seen { looks: Some((3, 4)), caller: None });
    let short = Excerpt { link: None, lines: vec![(41, "file.sync_all()?;".to_owned())] };
    let text = render(&answer, Some(&short), &[], &style(80));
    assert!(text.contains("\n   41 │ file.sync_all()?;  ← 3 of 4 looks here\n"), "{text}");
    let text = render(&answer, Some(&excerpt()), &[], &style(80));
    assert!(text.contains("\n      │ ↑ 3 of 4 looks here\n"), "{text}");
    let text = render(&answer, None, &[], &style(80));
    assert!(text.contains("\n  seen: 3 of 4 looks here\n"), "{text}");
}

#[test]
fn the_place_leads_to_its_file_and_nothing_else_does() {
    let answer = answer(&recording());
    let place = answer.shown_place().expect("a place").to_owned();
    let linked = Excerpt { link: Some("file://host/src/sink.rs".to_owned()), ..excerpt() };
    let text = render(&answer, Some(&linked), &more(), &Style { color: true, ..style(100) });
    assert_eq!(text.matches("\u{1b}]8;;file://host/src/sink.rs\u{1b}\\").count(), 1, "{text}");
    let (_, shown) = text.split_once("\u{1b}\\").expect("a link");
    assert!(shown.split("\u{1b}]8;;").next().is_some_and(|shown| shown.contains(&place)), "{text:?}");
    let plain = render(&answer, Some(&linked), &more(), &style(100));
    assert_eq!(plain, render(&answer, Some(&excerpt()), &more(), &style(100)), "without colours there are no links");
}

#[test]
fn colour_says_where_and_what_to_do_and_nothing_else_needs_it() {
    let answer = answer(&recording());
    let colored = render(&answer, None, &more(), &Style { color: true, ..style(100) });
    let plain = render(&answer, None, &more(), &style(100));
    let mut stripped = String::new();
    for (nth, part) in colored.split('\u{1b}').enumerate() {
        stripped.push_str(if nth == 0 { part } else { part.split_once('m').expect("the end of a colour").1 });
    }
    assert_eq!(stripped, plain);
    let ascii = render(&answer, None, &more(), &Style { unicode: false, ..style(100) });
    assert!(ascii.is_ascii() && ascii.starts_with("FAIL "), "{ascii}");
}

#[test]
fn a_process_that_was_looked_at_has_a_line_of_where_its_time_went() {
    let text = render(&answer(&profiled_recording()), None, &more(), &style(100));
    assert!(
        text.contains("  loops' time: 60.0 % parked, 25.0 % in polls off the CPU, 8.0 % on it, 2.0 % in the"),
        "{text}"
    );
    let two = render(&answer(&recording_of(vec![profiled(), run("naive")])), None, &more(), &style(100));
    assert!(two.contains("loops' time: api: 60.0 % parked"), "{two}");
    assert!(!render(&answer(&recording()), None, &more(), &style(100)).contains("loops' time"));
}
