//! Every code and every cause is explained.

use pollscope::explain::EXPLANATIONS;
use pollscope::findings::DIAGNOSES;
use pollscope_probe::Cause;

use crate::support::{Folder, assert_ends, root, run, stdout};

#[test]
fn every_code_and_every_cause_has_an_explanation() {
    let codes = DIAGNOSES.iter().map(|diagnosis| diagnosis.code);
    let all: Vec<&str> = codes.chain(Cause::ALL.into_iter().map(Cause::as_str)).collect();
    assert_eq!(all, EXPLANATIONS.iter().map(|explanation| explanation.code).collect::<Vec<_>>());
    for diagnosis in &DIAGNOSES {
        let title = EXPLANATIONS.iter().find(|explanation| explanation.code == diagnosis.code).map(|e| e.title());
        assert_eq!(title, Some(diagnosis.title));
    }
    for explanation in EXPLANATIONS {
        assert!(explanation.text.starts_with(&format!("# {}: ", explanation.code)), "{}", explanation.code);
        let code = explanation.text.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
        let lines = code.expect("an example").lines().count();
        assert!((5..=22).contains(&lines), "{}: {lines} lines", explanation.code);
        assert!(explanation.text.contains("fix"), "{}: how to fix it", explanation.code);
    }
}

#[test]
fn a_code_is_found_in_any_case_and_a_wrong_one_has_a_neighbour() {
    let folder = Folder::new();
    let output = folder.run("explain ps001");
    assert_ends(&output, 0, &[]);
    assert!(stdout(&output).starts_with("PS001: slow polls\n"), "{}", stdout(&output));
    let all = stdout(&folder.run("explain"));
    let (codes, more) = all.split_once("\n\n").expect("a list and a line below");
    assert_eq!(codes.lines().count(), EXPLANATIONS.len(), "{all}");
    assert_eq!(more, "The words of reports: `pollscope help glossary`.\n");
    assert_ends(&folder.run("explain lokc"), 2, &["cannot explain `lokc`", "did you mean `lock`?"]);
    assert_ends(
        &folder.run("explain zzzzzzzz"),
        2,
        &["`pollscope explain` lists all codes", "`pollscope help glossary`"],
    );
}

/// What the guide shows as a report has only words that can be asked for, and so have gates.
#[test]
fn the_words_of_reports_are_explained() {
    let folder = Folder::new();
    let guide = std::fs::read_to_string(root().join("docs/guide.md")).expect("it is there");
    let rows = [
        "poll time",
        "schedule latency",
        "loop lag",
        "raw",
        "response time",
        "write latency",
        "pool wait",
        "longest poll",
        "slow polls",
        "loop busy",
        "busy stretch",
        "unanswered",
        "throughput",
        "ratio",
        "Spawn sites",
        "Coverage",
        "Who waited",
        "Who blocked the loop",
        "Price of the fix",
    ];
    let of_gates = [
        "polls",
        "schedule_latency",
        "lag",
        "lag_raw",
        "response_time",
        "write_latency",
        "busy_stretches",
        "slow_polls",
        "busy",
        "slow_polls_dropped",
        "p99",
    ];
    for word in rows {
        assert!(guide.contains(word), "{word}");
    }
    for word in rows.into_iter().chain(of_gates) {
        let output = folder.run(&format!("explain {word}"));
        assert_ends(&output, 0, &[]);
        assert!(stdout(&output).lines().count() >= 3, "{word}: {}", stdout(&output));
    }
    // Both ways to write two words, in any case.
    let lag = stdout(&folder.run("explain Loop LAG"));
    assert!(lag.starts_with("loop lag\n\nHow late a periodic timer"), "{lag}");
    assert_eq!(stdout(&run(&mut folder.command(["explain", "loop lag"]))), lag);
    assert_ends(&folder.run("explain shedule latency"), 2, &["did you mean `schedule latency`?"]);
}

#[test]
fn topics_fit_the_page_and_commands_have_their_help() {
    let folder = Folder::new();
    for (topic, says) in [
        ("gates", "--fail-on 'offloaded.lag.p99 < 0.1 * naive.lag.p99'"),
        ("formats", "\nmarkdown  "),
        ("settings", "\nmerge.sink.sync_every  "),
        ("config", "\nfail_on  "),
        ("glossary", "\nloop lag "),
    ] {
        for columns in ["60", "100"] {
            let output = run(folder.command(["help", topic]).env("COLUMNS", columns));
            assert_ends(&output, 0, &[]);
            let page = stdout(&output);
            assert!(page.starts_with(&format!("{topic}: ")) && page.contains(says), "{page}");
            let widest = page.lines().map(|line| line.chars().count()).max().expect("lines");
            assert!(widest <= columns.parse().expect("a number") && !page.contains('…') | (topic != "gates"), "{page}");
        }
    }
    for name in [
        "run",
        "tasks",
        "merge",
        "confirm",
        "scenarios",
        "report",
        "compare",
        "init",
        "doctor",
        "explain",
        "schema",
        "completions",
        "man",
    ] {
        let help = folder.run(&format!("help {name}"));
        assert_ends(&help, 0, &[]);
        assert_eq!(stdout(&help), stdout(&folder.run(&format!("{name} --help"))));
        let [long, short] = [stdout(&help), stdout(&folder.run(&format!("{name} -h")))];
        assert!(long.contains("Examples:\n") && !short.contains("Examples:"), "{name}");
        assert!(short.lines().count() < long.lines().count(), "{name}");
    }
    assert_eq!(stdout(&folder.run("help")), stdout(&folder.run("--help")));
    let cases: &[(&str, &[&str])] = &[
        ("help zzzzzz", &["cannot help with `zzzzzz`", "`gates`, `formats`, `settings`, `config`, `glossary`"]),
        ("help gaets", &["did you mean `pollscope help gates`?"]),
        ("help PS001", &["did you mean `pollscope explain PS001`?"]),
    ];
    for (line, says) in cases {
        assert_ends(&folder.run(line), 2, says);
    }
}
