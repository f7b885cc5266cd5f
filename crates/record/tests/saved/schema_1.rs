//! Recordings of the first schema, made by the version that wrote it, are read and shown as they always were.

use crate::support::{check, page_facts, recording, shown, style, with_gates};
use pollscope_record::by_group::by_group;
use pollscope_record::compare::{Rounds, Side, compare};
use pollscope_record::findings::findings;
use pollscope_record::recording::Recording;
use pollscope_record::report::Format;
use pollscope_record::report::comparison::{self, Compared};

const KIND: &str = "schema-1";
const NAMES: [&str; 8] =
    ["busy-server", "fsync", "many-inputs", "many-short-polls", "merge", "multi-thread", "slow-coroutine", "slow-sink"];
const GATES: [&str; 3] = ["naive.slow_polls == 0", "busy < 50%", "lag.p99 < 10ms"];

#[test]
fn a_report_of_each_scenario_is_as_it_was() {
    for name in NAMES {
        let recording = recording(KIND, name);
        for format in [Format::Text, Format::Markdown, Format::Junit] {
            check(KIND, name, format.as_str(), &shown(&recording, format));
        }
        check(KIND, name, "page", &page_facts(&shown(&recording, Format::Html)));
    }
}

#[test]
fn gates_and_comparisons_are_as_they_were() {
    for name in NAMES {
        let recording = recording(KIND, name);
        check(KIND, name, "compare", &modes_compared(&recording));
        check(KIND, name, "gates", &shown(&with_gates(recording, &GATES), Format::Text));
    }
}

#[test]
fn what_is_found_in_them_is_what_was_found() {
    for name in NAMES {
        let recording = recording(KIND, name);
        let now = findings(&recording.runs).into_iter();
        // They called waits of several polls tasks.
        let now = now
            .map(|found| found.sentence.replace(" waits of ", " tasks waited ").replace(" wait of ", " task waited "));
        // And a range had its unit twice.
        let before: Vec<String> = recording
            .findings
            .iter()
            .map(|found| found.sentence.replace(" s to ", " to ").replace(" ms to ", " to "))
            .collect();
        assert_eq!(now.collect::<Vec<_>>(), before, "{name}");
    }
}

/// Each mode but the first, compared with the first.
fn modes_compared(recording: &Recording) -> String {
    let modes: Vec<&str> = by_group(&recording.runs).into_iter().map(|mode| mode.name).collect();
    let [first, others @ ..] = &modes[..] else { panic!("modes") };
    let side = |mode: &str| Side::of(recording, mode, mode);
    let compared = Compared {
        scenario: recording.name().to_owned(),
        sides: Vec::new(),
        comparisons: others
            .iter()
            .map(|other| (String::new(), compare(&side(first), &side(other), Rounds::Interleaved, others.len())))
            .collect(),
        environments: Vec::new(),
        gates: Vec::new(),
    };
    comparison::render(&compared, comparison::Format::Text, &style(100)).expect("a comparison")
}
