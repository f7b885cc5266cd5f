mod consistent;

use super::*;
use crate::compare::synthetic::{Build, Machine};
use crate::compare::{Side, compare};
use crate::fixture;
use crate::recording::Run;

fn compared() -> Compared {
    let runs: Vec<Run> = (1..=5u32)
        .flat_map(|round| {
            let stall = (120 + 25 * u64::from(round)) * fixture::MS;
            [fixture::blocked("naive", &[stall; 6]), fixture::run("offloaded")].map(|run| fixture::in_round(run, round))
        })
        .collect();
    let side = |mode: &str| Side::new(runs.iter().filter(|run| run.group == mode), mode);
    let comparison = compare(&side("naive"), &side("offloaded"), Rounds::Interleaved, 1);
    Compared {
        scenario: "merge".to_owned(),
        sides: Vec::new(),
        comparisons: vec![(String::new(), comparison)],
        environments: vec!["kernel 6.8.0 and <b>|6.9\u{1b}".to_owned()],
        gates: fixture::recording().gates,
    }
}

fn rendered(format: Format, width: usize) -> String {
    render(&compared(), format, &Style { width, color: false, unicode: true }).expect("rendered")
}

#[test]
fn a_table_fits_its_page_and_says_what_it_comes_to() {
    for width in [60, 80, 100] {
        let page = rendered(Format::Text, width);
        for line in page.lines() {
            assert!(super::super::layout::width(line) <= width && !line.ends_with('…'), "{width}: {line}");
        }
        let response = page.lines().find(|line| line.starts_with("response p99")).expect("a row");
        assert!(response.ends_with("+ better"), "{response}");
        assert!(page.contains("▌ offloaded is better than naive: response p99 "), "{page}");
    }
}

#[test]
fn json_has_every_metric_with_its_unit() {
    let json: serde_json::Value = serde_json::from_str(&rendered(Format::Json, 0)).expect("JSON");
    let comparison = &json["comparisons"][0];
    assert_eq!((&json["schema"], &comparison["verdict"]), (&"pollscope.comparison/1".into(), &"better".into()));
    let metric = &comparison["metrics"][0];
    assert_eq!((&metric["key"], &metric["unit"]), (&"response_time.p99".into(), &"ns".into()));
    assert!(metric["low"].as_f64() < metric["ratio"].as_f64() && metric["ratio"].as_f64() < Some(0.5), "{metric}");
}

#[test]
fn what_had_to_hold_comes_first() {
    let page = rendered(Format::Text, 100);
    let lines: Vec<&str> = page.lines().skip(1).take(6).collect();
    assert_eq!(lines[0], "");
    assert!(lines[1].starts_with("✓ naive.slow_polls >= 3 ") && lines[1].ends_with("  6"), "{page}");
    assert!(lines[3].starts_with("✗ offloaded.lag.p99 < 1ms ") && lines[3].ends_with("  1.56 ms"), "{page}");
    assert!(lines[4].starts_with("~ ") && lines[4].ends_with("— not measured") && lines[5].is_empty(), "{page}");
    let ascii = render(&compared(), Format::Text, &Style { width: 100, color: false, unicode: false });
    assert!(ascii.expect("rendered").contains("\nFAIL offloaded.lag.p99 < 1ms "));
    let json: serde_json::Value = serde_json::from_str(&rendered(Format::Json, 0)).expect("JSON");
    assert_eq!(json["gates"][2]["verdict"], "fail");
    let page = rendered(Format::Markdown, 0);
    assert!(page.contains("\n- ✗ offloaded.lag.p99 &lt; 1ms: **1.56 ms**\n- \\~ offloaded"), "{page}");
}

#[test]
fn names_from_outside_are_text_in_markdown() {
    let page = rendered(Format::Markdown, 0);
    assert!(page.contains("kernel 6.8.0 and &lt;b&gt;\\|6.9\\\\u{1b}"), "{page}");
    assert!(page.contains("\n| response p99 | "), "{page}");
}

#[test]
fn of_services_a_page_says_what_of_their_time_is_compared_and_fits() {
    let mut machine = Machine::new(1);
    let runs = [Build::BLOCKS, Build::SOUND].map(|build| machine.service(build, 60));
    let [a, b] = [("A", &runs[0]), ("B", &runs[1])].map(|(name, run)| Side::new(std::iter::once(run), name));
    let compared = Compared {
        scenario: "shop".to_owned(),
        sides: Vec::new(),
        comparisons: vec![(String::new(), compare(&a, &b, Rounds::Apart, 1))],
        environments: Vec::new(),
        gates: Vec::new(),
    };
    for width in [60, 80, 100] {
        let page = render(&compared, Format::Text, &Style { width, color: false, unicode: true }).expect("rendered");
        for line in page.lines() {
            assert!(super::super::layout::width(line) <= width && !line.ends_with('…'), "{width}: {line}");
        }
        let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
        // A minute, without its first and last second, and without a tenth of the rest.
        assert!(words.contains("52 s of 60 s and 52 s of 60 s, in blocks of 4 s"), "{page}");
        assert!(words.contains(" polls/s ") && words.contains("left out: the time before"), "{page}");
        assert!(words.contains("B is better than A: "), "{page}");
        assert!(words.contains("warning: one recording of a build does not tell how much two starts"), "{page}");
    }
    let json = render(&compared, Format::Json, &Style { width: 0, color: false, unicode: true }).expect("rendered");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let comparison = &json["comparisons"][0];
    assert_eq!(comparison["service"]["recorded_ns"], serde_json::json!([60_000_000_000_u64, 60_000_000_000_u64]));
    assert_eq!(comparison["metrics"][1]["interval_of"], "blocks");
}
