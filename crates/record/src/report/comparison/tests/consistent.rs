//! One truth: what is said in two places is the same, whoever says it.

use std::sync::LazyLock;

use super::super::*;
use crate::by_group::by_group;
use crate::compare::synthetic::Machine;
use crate::compare::{LEAST_ROUNDS, Side, change, compare};
use crate::findings::{findings, verdict};
use crate::fixture;
use crate::gate::Gate as Expectation;
use crate::recording::Recording;
use crate::report::{Format as Report, render as report};
use crate::saved;
use crate::units::format_ratio;

const SAVED: [&[u8]; 10] = [
    include_bytes!("../../../../tests/fixtures/schema-1/busy-server.json"),
    include_bytes!("../../../../tests/fixtures/schema-1/fsync.json"),
    include_bytes!("../../../../tests/fixtures/schema-1/many-inputs.json"),
    include_bytes!("../../../../tests/fixtures/schema-1/many-short-polls.json"),
    include_bytes!("../../../../tests/fixtures/schema-1/merge.json"),
    include_bytes!("../../../../tests/fixtures/schema-1/multi-thread.json"),
    include_bytes!("../../../../tests/fixtures/schema-1/slow-coroutine.json"),
    include_bytes!("../../../../tests/fixtures/schema-1/slow-sink.json"),
    include_bytes!("../../../../tests/fixtures/schema-2/process.json"),
    include_bytes!("../../../../tests/fixtures/schema-2/service.json"),
];

/// Two or three modes in one to five rounds: some alike, some in which only the first round was blocked.
fn made_up(seed: u64) -> Recording {
    let modes: &[&str] = match seed % 4 {
        0 => &["naive", "spawn-blocking", "offloaded"],
        1 => &["offloaded", "tokio-fs"],
        _ => &["naive", "offloaded"],
    };
    let mut machine = Machine::new(seed);
    let mut runs = machine.rounds(modes, 1 + (seed / 4 % 5) as u32);
    if seed.is_multiple_of(3) {
        for run in runs.iter_mut().filter(|run| run.group == "naive" && run.subject.round() != Some(1)) {
            let calm = machine.rounds(&["offloaded"], 1).remove(0);
            *run = crate::recording::Run { group: run.group.clone(), subject: run.subject.clone(), ..calm };
        }
    }
    fixture::recording_of(runs)
}

/// What is saved, and what is made up; each with its name.
static RECORDINGS: LazyLock<Vec<(String, Recording)>> = LazyLock::new(|| {
    let saved = (0..).zip(SAVED).map(|(nth, bytes)| {
        let mut recording = saved::read(std::io::Cursor::new(bytes)).expect("a recording").recording;
        recording.findings = findings(&recording.runs);
        (format!("saved {nth}"), recording)
    });
    saved.chain((0..200).map(|seed| (format!("seed {seed}"), made_up(seed)))).collect()
});

fn comparison(recording: &Recording, a: &str, b: &str) -> Comparison {
    let others = by_group(&recording.runs).len() - 1;
    compare(&Side::of(recording, a, a), &Side::of(recording, b, b), Rounds::Interleaved, others)
}

fn plain(recording: &Recording, format: Report) -> String {
    let text = report(recording, format, &Style { width: 200, color: false, unicode: true }).expect("a report");
    String::from_utf8(text).expect("a text")
}

/// In one line, without what escapes Markdown.
fn words(text: &str) -> String {
    text.replace('\\', "").replace("&#39;", "'").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every `1.94x` of a text.
fn factors_in(text: &str) -> Vec<f64> {
    let tokens = text.split(|c: char| c.is_whitespace() || "|()[]~;:".contains(c));
    tokens.filter_map(|token| token.strip_suffix('x')?.replace(',', "").parse().ok()).collect()
}

#[test]
fn the_headline_is_one_and_claims_nothing_that_a_comparison_denies() {
    let (mut claimed, mut described) = (0, 0);
    for (name, recording) in RECORDINGS.iter() {
        let headline = verdict(recording);
        for format in [Report::Text, Report::Markdown, Report::Junit] {
            assert!(words(&plain(recording, format)).contains(&words(&headline)), "{name} {format:?}: {headline}");
        }
        let groups = by_group(&recording.runs);
        let pairs = groups.iter().flat_map(|a| groups.iter().map(move |b| (a, b))).filter(|(a, b)| a.name != b.name);
        let rows = pairs.flat_map(|(a, b)| comparison(recording, a.name, b.name).rows);
        let claims: Vec<String> = rows.filter(|row| row.verdict == Verdict::Better).map(|row| change(&row)).collect();
        if headline.contains("x lower") || headline.contains("x higher") {
            claimed += 1;
            assert!(claims.iter().any(|claim| headline.contains(claim)), "{name}: {headline}\n{claims:?}");
            assert!(groups.iter().all(|group| group.rounds.len() >= LEAST_ROUNDS), "{name}: {headline}");
        } else if headline.contains(" instead of ") {
            described += 1;
        }
    }
    assert!(claimed > 20 && described > 20, "{claimed} claimed, {described} described");
}

#[test]
fn every_factor_is_one_or_more_in_every_report() {
    for (name, recording) in RECORDINGS.iter() {
        for format in [Report::Text, Report::Markdown, Report::Junit, Report::Github] {
            let text = plain(recording, format);
            assert!(factors_in(&text).iter().all(|factor| *factor >= 1.0), "{name} {format:?}: {text}");
        }
        let [first, others @ ..] = &by_group(&recording.runs)[..] else { panic!("{name} has runs") };
        for other in others {
            for row in comparison(recording, first.name, other.name).rows {
                let factors = factors_in(&change(&row));
                assert!(factors.iter().all(|factor| *factor >= 1.0), "{name}: {}", change(&row));
                let Some((interval, ratio)) = row.interval.zip(row.ratio) else { continue };
                assert!(interval[0] <= ratio && ratio <= interval[1], "{name}: {row:?}");
            }
        }
    }
}

/// The cells of a row of Markdown, of a mode in the part of a table that begins with that cell.
fn cells<'t>(table: &'t str, measure: &str, mode: &str) -> Option<Vec<&'t str>> {
    let rows = table.lines().map(|line| line.split('|').map(str::trim).skip(1).collect::<Vec<_>>());
    let of_measure = rows.skip_while(|cells| cells.first() != Some(&measure));
    of_measure.filter(|cells| cells.len() > 2).find(|cells| cells[1].replace('\\', "") == mode)
}

#[test]
fn a_percentile_and_its_factor_are_the_same_in_tables_gates_and_comparisons() {
    let mut seen = 0;
    for (name, recording) in RECORDINGS.iter() {
        let markdown = plain(recording, Report::Markdown);
        let text = plain(recording, Report::Text);
        let groups = by_group(&recording.runs);
        let [first, others @ ..] = &groups[..] else { panic!("{name} has runs") };
        for other in others.iter().filter(|_| recording.runs.iter().all(|run| run.early_end().is_none())) {
            let comparison = comparison(recording, first.name, other.name);
            for (key, measure) in [
                ("response_time.p99", "response time"),
                ("lag.p99", "loop lag"),
                ("schedule_latency.p99", "schedule latency"),
                ("polls.p99", "poll time"),
            ] {
                let Some(row) = comparison.row(key) else { continue };
                for (mode, value) in [(first.name, row.a), (other.name, row.b)] {
                    let cells = cells(&markdown, measure, mode).unwrap_or_else(|| panic!("{name} {key}"));
                    let shown = row.metric.unit.show(value);
                    if cells[4] == "—" {
                        continue;
                    }
                    assert_eq!(cells[4], shown, "{name} {key} of {mode}");
                    assert!(text.contains(&shown), "{name} {key} of {mode}");
                    let gate =
                        Expectation::parse(&format!("{mode}.{key} < 1h")).expect("a gate").judge(&recording.runs);
                    assert_eq!(gate.value, Some(value), "{name} {key} of {mode}");
                    seen += 1;
                    let (Some(ratio), true) = (row.ratio, groups.len() == 2) else { continue };
                    let factor = if mode == first.name { ratio.recip() } else { ratio };
                    let factor = if factor <= 1.0 { "best".to_owned() } else { format_ratio(factor) };
                    let (is, has_both) = (cells[8], self::cells(&markdown, measure, first.name).is_some());
                    assert!(is == factor || is.is_empty() && has_both, "{name} {key} of {mode}: {is} and {factor}");
                }
            }
        }
    }
    assert!(seen > 1_000, "{seen}");
}

#[test]
fn what_is_measured_once_a_round_has_one_mean() {
    for (name, recording) in RECORDINGS.iter() {
        let markdown = plain(recording, Report::Markdown);
        let groups = by_group(&recording.runs);
        let [first, others @ ..] = &groups[..] else { panic!("{name} has runs") };
        let Some((_, price)) = markdown.split_once("### The price of the fix") else { continue };
        let price: String =
            price.lines().take_while(|line| !line.starts_with("###")).map(|line| format!("{line}\n")).collect();
        for other in others.iter().filter(|_| recording.runs.iter().all(|run| run.early_end().is_none())) {
            let comparison = comparison(recording, first.name, other.name);
            for key in ["throughput", "elapsed", "cpu", "context_switches"] {
                let Some(row) = comparison.row(key) else { continue };
                for value in [row.a, row.b] {
                    let shown = match key {
                        // The table has whole ones.
                        "context_switches" => crate::units::format_count(value.round() as u64),
                        _ => row.metric.unit.show(value),
                    };
                    assert!(price.contains(&shown), "{name} {key}: {shown} in {price}");
                }
            }
        }
    }
}

/// What a page shows, piece by piece, without what its scripts read.
fn pieces(page: &str) -> Vec<String> {
    let (_, body) = page.split_once("<body").expect("a body");
    let (mut pieces, mut is_code) = (Vec::new(), false);
    for part in body.split('<').skip(1) {
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        is_code = match tag.split_whitespace().next() {
            Some("script" | "style") => true,
            Some("/script" | "/style") => false,
            _ => is_code,
        };
        if !is_code && !text.trim().is_empty() {
            let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
            pieces.push(text.trim().to_owned());
        }
    }
    pieces
}

/// Letters and signs alone: where a page has a `code` element, others have `.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !"\\`".contains(*c)).collect()
}

#[test]
fn the_page_says_what_the_other_reports_say() {
    let (mut rows, mut blockers) = (0, 0);
    for (name, recording) in RECORDINGS.iter() {
        let (page, markdown) = (pieces(&plain(recording, Report::Html)), plain(recording, Report::Markdown));
        let all = squeezed(&page.join(" "));
        assert!(all.contains(&squeezed(&verdict(recording))), "{name}: {}", verdict(recording));
        assert!(all.contains(&squeezed(&crate::answer::answer(recording).lead.words)), "{name}");
        assert!(factors_in(&page.join(" ")).iter().all(|factor| *factor >= 1.0), "{name}");
        for group in by_group(&recording.runs) {
            let cell = |measure: &str, column: usize| {
                cells(&markdown, measure, group.name)
                    .filter(|_| markdown.contains(&format!("| {measure} | ")))?
                    .get(column)
                    .copied()
            };
            let (worst, lag, response) = (cell("poll time", 7), cell("loop lag", 4), cell("response time", 4));
            let slow = crate::units::format_count(group.slow_total());
            let at = page.windows(5).find(|row| {
                row[0] == group.name && row[1].ends_with(&slow) && worst.is_none_or(|worst| row[2] == worst)
            });
            let Some(at) = at else { panic!("{name}: {} {slow} {worst:?} in {page:?}", group.name) };
            for (shown, known) in [(&at[3], lag), (&at[4], response)] {
                assert!(known.is_none_or(|known| shown == known), "{name} {}: {at:?} and {known:?}", group.name);
                rows += usize::from(known.is_some());
            }
        }
        let (_, blamed) = markdown.split_once("### Who blocked the loop").unwrap_or_default();
        for line in blamed.lines().skip(4).take_while(|line| line.starts_with('|')) {
            let numbers: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).skip(4).collect();
            let [polls, time, worst, waited] = numbers[..] else { panic!("{name}: {line}") };
            // The page has the share of the run between.
            let has = |row: &[String]| row[0] == polls && row[1] == time && row[3] == worst && row[4] == waited;
            assert!(page.windows(5).any(has), "{name}: {line}");
            blockers += 1;
        }
    }
    assert!(rows > 500 && blockers > 5, "{rows} rows, {blockers} blockers");
}
