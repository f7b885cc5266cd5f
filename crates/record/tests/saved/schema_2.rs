//! Recordings of a process that was looked at from outside, and of a service that has the probe: what is not known of them is said
//! to be, and never becomes a number.

use pollscope_record::compare::{Rounds, Side, compare, differences};
use pollscope_record::findings::{findings, verdict};
use pollscope_record::recording::{GateVerdict, Recording, ScenarioInfo, wire};
use pollscope_record::report::comparison::{self, Compared};
use pollscope_record::report::{Format, render};

use crate::support::{self, check, page_text, shown, style, with_gates};

const KIND: &str = "schema-2";

fn recording(name: &str) -> Recording {
    let mut recording = support::recording(KIND, name);
    recording.findings = findings(&recording.runs);
    recording
}

/// The process, of which no slow poll was seen.
fn calm() -> Recording {
    let mut recording = support::recording(KIND, "process");
    let run = &mut recording.runs[0];
    (run.slow_polls, run.stalls_open, run.slow_polls_total) = (Vec::new(), Vec::new(), 0);
    recording.findings = findings(&recording.runs);
    recording
}

fn text(recording: &Recording, width: usize) -> String {
    String::from_utf8(render(recording, Format::Text, &style(width)).expect("a report")).expect("a text")
}

/// A number for something that nobody measured.
#[track_caller]
fn says_no_zero(what: &str, text: &str) {
    for line in text.lines() {
        for zero in ["0 ns", "0 %", "0 polls", "0 slow", "0 waits", "0 tasks", "0 B", "NaN", "spawned at not known"] {
            let found = line
                .match_indices(zero)
                .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_digit() || ".,".contains(c)));
            assert!(!found, "{what}: `{zero}` in `{line}`");
        }
    }
}

#[test]
fn every_format_shows_both_and_no_number_that_nobody_measured() {
    for name in ["process", "service"] {
        let recording = recording(name);
        for width in [60, 100] {
            let text = text(&recording, width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            check(KIND, name, &format!("text-{width}"), &text);
        }
        for format in Format::ALL.into_iter().filter(|format| {
            ![Format::Json, Format::Html, Format::Text, Format::Pprof, Format::Profile].contains(format)
        }) {
            check(KIND, name, format.as_str(), &shown(&recording, format));
        }
        check(
            KIND,
            name,
            "pprof",
            &support::uncompressed(&render(&recording, Format::Pprof, &style(100)).expect("a profile")),
        );
        check(KIND, name, "page", &page_text(&shown(&recording, Format::Html)));
    }
    for (name, recording) in [("process", recording("process")), ("calm process", calm())] {
        let others = [Format::Json, Format::Html, Format::Pprof, Format::Firefox];
        for format in Format::ALL.into_iter().filter(|format| !others.contains(format)) {
            says_no_zero(&format!("{name}, {format:?}"), &shown(&recording, format));
        }
        let page = shown(&recording, Format::Html);
        says_no_zero(name, &page_text(&page));
        assert!(!support::body(&page).contains(" data-key=\"0\">0</td>"), "{name}");
        assert!(!shown(&recording, Format::Markdown).contains("| 0 |"), "{name}");
    }
}

/// A process that was looked at all the time, with a slow poll in a place that its profile has too.
#[test]
fn every_format_shows_where_the_time_of_loops_went() {
    let recording = recording("profiled");
    let profile = recording.runs[0].profile.as_ref().expect("a profile");
    assert!(profile.places.len() > 10, "more than a table shows");
    for width in [60, 100] {
        let text = text(&recording, width);
        assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        check(KIND, "profiled", &format!("text-{width}"), &text);
    }
    for format in [Format::Folded, Format::Profile, Format::Firefox, Format::Markdown, Format::Agent] {
        check(KIND, "profiled", format.as_str(), &shown(&recording, format));
    }
    let pprof = render(&recording, Format::Pprof, &style(100)).expect("a profile");
    check(KIND, "profiled", "pprof", &support::uncompressed(&pprof));
    check(KIND, "profiled", "page", &page_text(&shown(&recording, Format::Html)));
    let json = wire::to_json(&recording).expect("JSON");
    assert_eq!(wire::to_json(&wire::from_json(json.as_bytes()).expect("a recording")).expect("JSON"), json);
    let page = shown(&recording, Format::Html);
    let read = pollscope_record::saved::read(std::io::Cursor::new(page.into_bytes())).expect("a recording").recording;
    assert_eq!(read.runs[0].profile, recording.runs[0].profile, "a page has all of it");
}

#[test]
fn both_are_written_as_they_were_read() {
    for name in ["process", "service"] {
        let recording = recording(name);
        let json = wire::to_json(&recording).expect("JSON");
        let again = wire::from_json(json.as_bytes()).expect("a recording");
        assert_eq!(wire::to_json(&again).expect("JSON"), json, "{name}");
        for key in ["\"polls\"", "\"sites\"", "\"ledger\"", "\"schedule_latency\"", "\"loop_busy_ns\""] {
            assert_eq!(json.contains(&format!("{key}: null")), name == "process", "{name} {key}");
        }
    }
}

#[test]
fn a_process_is_introduced_and_its_unknowns_are_named() {
    let recording = recording("process");
    let text = text(&recording, 200);
    for said in [
        "pollscope inventory · multi_thread, 4 workers · slow from 100 ms\n",
        "the loop was blocked: at least 3 slow polls seen, worst 503 ms",
        "Executing <Task 7, future type inventory::orders::place::{{closure}}, in span POST /orders (id 81, trace 4bf92f35), worker 2> took ~0.503 seconds",
        "63.6 % at src/stock.rs:118 in futex, called at src/orders.rs:57 (31 looks)",
        "held by task 12 on thread tokio-runtime-worker at src/stock.rs:96, in `fsync` on fd 9",
        "Executing <future> took ~0.120 seconds",
        "Still running when the recording ended",
        "Executing <Task 19, future type inventory::orders::place::{{closure}}, worker 3> for ~1.200 seconds so far, at src/stock.rs:118",
        "probably held at src/stock.rs:96",
        "attached, 97 looks a second",
        "process 4242, /opt/inventory/bin/inventory, build 5f3a9c0d, tokio 1.44.2 without tokio_unstable; the build has no line tables",
        "not measured: poll time, schedule latency, loop lag, response time, write latency, pool wait",
        "—: who waited is not known",
    ] {
        assert!(text.contains(said), "`{said}` in\n{text}");
    }
    for never in ["seed", "round", "not known>", "of not known"] {
        assert!(!text.contains(never), "{never}: {text}");
    }
}

#[test]
fn a_process_without_a_slow_poll_is_not_called_responsive() {
    let calm = calm();
    assert_eq!(verdict(&calm), "no slow poll was seen; there may have been some");
    let page = page_text(&shown(&calm, Format::Html));
    assert!(page.contains("No slow poll was seen.") && page.contains("none seen"), "{page}");
}

#[test]
fn gates_on_what_cannot_be_known_are_inconclusive() {
    let gates =
        ["busy < 50%", "slow_polls == 0", "slow_polls < 10", "slow_polls >= 3", "polls.p99 < 1s", "lag.max < 1s"];
    let judged = |recording| -> Vec<GateVerdict> {
        with_gates(recording, &gates).gates.iter().map(|gate| gate.verdict).collect()
    };
    use GateVerdict::{Fail, Inconclusive, Pass};
    // How busy it was is known by looks: of each of four workers 38 %.
    assert_eq!(judged(recording("process")), [Fail, Fail, Inconclusive, Pass, Inconclusive, Inconclusive]);
    let of_calm = [Fail, Inconclusive, Inconclusive, Inconclusive, Inconclusive, Inconclusive];
    assert_eq!(judged(calm()), of_calm);
    assert_eq!(judged(recording("service")), [Pass, Fail, Pass, Pass, Pass, Pass]);
    for format in [Format::Text, Format::Markdown, Format::Junit, Format::Github] {
        says_no_zero(&format!("{format:?}"), &shown(&with_gates(calm(), &gates), format));
    }
    let text = shown(&with_gates(calm(), &gates), Format::Text);
    assert!(text.contains("slow_polls == 0  — there may have been more than were seen"), "{text}");
    check(KIND, "service", "gates", &shown(&with_gates(recording("service"), &gates), Format::Text));
}

#[test]
fn two_of_a_service_are_compared_in_what_both_know() {
    let (a, b) = (recording("service"), recording("service"));
    assert_eq!(differences(a.scenario.as_ref(), b.scenario.as_ref()), []);
    let keys = |a: &Recording, b: &Recording| -> Vec<&'static str> {
        let side = |of, name| Side::new(std::iter::once(of), name);
        let comparison = compare(&side(&a.runs[0], "A"), &side(&b.runs[0], "B"), Rounds::Apart, 1);
        comparison.rows.iter().map(|row| row.metric.key).collect()
    };
    let of_services = keys(&a, &b);
    assert!(of_services.contains(&"lag.p99") && !of_services.contains(&"elapsed"), "{of_services:?}");
    let process = recording("process");
    assert_eq!(keys(&process, &process), ["busy"], "no more of what is compared is known from outside");
    let side = |of, name| Side::new(std::iter::once(of), name);
    let compared = Compared {
        scenario: b.name().to_owned(),
        sides: Vec::new(),
        comparisons: vec![(String::new(), compare(&side(&a.runs[0], "A"), &side(&b.runs[0], "B"), Rounds::Apart, 1))],
        environments: Vec::new(),
        gates: Vec::new(),
    };
    let text = comparison::render(&compared, comparison::Format::Text, &style(100)).expect("a comparison");
    check(KIND, "service", "compare", &text);
}

#[test]
fn a_service_is_no_scenario() {
    let scenario = ScenarioInfo {
        name: "merge".to_owned(),
        why: String::new(),
        seed: 1,
        settings: std::collections::BTreeMap::new(),
        changed: Vec::new(),
    };
    let found = differences(recording("service").scenario.as_ref(), Some(&scenario));
    assert_eq!((found[0].key.as_str(), found[0].b.as_deref()), ("scenario", Some("merge")));
}
