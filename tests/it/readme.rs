//! What the documents show is what the program prints, and what they promise is there.

use std::fs;

use crate::support::{Folder, assert_ends, root, stderr, stdout};

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The first block of a document that is fenced as `kind` and holds `part`.
fn block(document: &str, kind: &str, part: &str) -> String {
    let fence = format!("```{kind}\n");
    let blocks = document.split(&fence).skip(1);
    let block = blocks.filter_map(|rest| rest.split("```").next()).find(|block| block.contains(part));
    block.unwrap_or_else(|| panic!("no `{kind}` block with {part}")).to_owned()
}

/// The first column of every line that begins with a word or a mark, its numbers taken out: what does not depend on the
/// machine. Rows of slow polls and of the histogram, and wrapped text, begin otherwise.
fn shape(report: &str) -> Vec<String> {
    let mut shape = Vec::new();
    for line in report.lines() {
        let first = line.split("  ").next().unwrap_or_default();
        if !first.starts_with(|c: char| c.is_alphabetic() || "▌✓✗~╌●".contains(c)) {
            continue;
        }
        let first = first.split_whitespace().next().unwrap_or_default();
        let row: String = first.chars().filter(|c| !c.is_ascii_digit()).collect();
        // Another machine may have other findings, polls whose evidence is missing, and a verdict of other words; that there is
        // one stays.
        if !row.starts_with("warning[") && !row.starts_with("note[") && row != "limits" && row != "missing" {
            shape.push(row);
        }
    }
    shape
}

/// The whole report, in the guide.
fn sample() -> String {
    block(&document("docs/guide.md"), "text", "Coverage")
}

#[test]
fn the_sample_has_the_shape_of_the_report() {
    if !pollscope_probe::TOKIO_UNSTABLE {
        println!("SKIP: the guide shows a build with task hooks");
        return;
    }
    let folder = Folder::new();
    let answer = folder.run("run slow-sink --json json");
    assert_eq!(labels(&shown_answer()), labels(&stdout(&answer)));
    assert_eq!(shape(&sample()), shape(&stdout(&folder.run("report json --full"))));
}

/// The answer that the README shows.
fn shown_answer() -> String {
    block(&document("README.md"), "text", "  fix: ")
}

/// What stands at the start of an answer's parts, and the place; what hangs below them does not count.
fn labels(answer: &str) -> Vec<&str> {
    let is_part = |line: &&str| line.starts_with(['✗', '✓', '~']) || line.starts_with("  ") && !line.starts_with("   ");
    let parts = answer.lines().filter(is_part).filter(|line| !line.contains('│'));
    parts
        .enumerate()
        .filter_map(|(nth, line)| match nth {
            0 => line.split("  ").next(),
            _ => line.split_once(": ").map(|(label, _)| label),
        })
        .filter(|label| label.starts_with(['✗', '✓', '~']) || ["meanwhile", "fix", "more"].contains(&label.trim()))
        .collect()
}

#[test]
fn the_readme_shows_an_answer_that_fits_a_screen() {
    let answer = shown_answer();
    assert!(answer.lines().count() <= 15, "{answer}");
    assert_eq!(labels(&answer)[1..], ["  meanwhile", "  fix", "  more"]);
}

#[test]
fn the_first_screens_have_the_two_commands() {
    let readme = document("README.md");
    assert!(readme.lines().count() <= 130, "{} lines", readme.lines().count());
    let first: Vec<&str> = readme.lines().take(70).collect();
    let commands = ["cargo run --release -- run slow-sink", "cargo test"];
    for command in commands {
        assert!(first.contains(&command), "`{command}` is not on the first screens");
    }
    assert_eq!(block(&readme, "sh", commands[0]).lines().collect::<Vec<_>>(), commands);
}

#[test]
fn the_scenario_in_the_guide_runs() {
    let folder = Folder::new();
    folder.write("guide.toml", block(&document("docs/guide.md"), "toml", "question = "));
    let output =
        folder.run("run guide.toml --rounds 1 --mode offloaded --set merge.lines=10 --set merge.close_after=0");
    assert_ends(&output, 0, &[]);
}

#[test]
fn the_guide_names_every_scenario_and_every_format() {
    let guide = document("docs/guide.md");
    let named: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let folder = Folder::new();
    let listed = stdout(&folder.run("scenarios"));
    let refused = stderr(&folder.run("report - --format none"));
    let scenarios =
        listed.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_whitespace().next());
    let formats = refused.split("choose one of").nth(1).expect("the formats").split('`').skip(1).step_by(2);
    let all: Vec<&str> = scenarios.chain(formats).collect();
    assert!(all.len() >= 18, "{all:?}");
    for name in all {
        assert!(named.contains(&name), "{name} is not in the guide");
    }
}

#[test]
fn the_guide_knows_only_settings_that_there_are() {
    let (guide, folder) = (document("docs/guide.md"), Folder::new());
    let settings =
        guide.split("### Every setting").nth(1).and_then(|rest| rest.split("### ").next()).expect("a section");
    let keys: Vec<&str> = settings.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(keys.len() >= 28, "{keys:?}");
    for key in keys {
        // No setting is a table.
        let output = folder.command(["run", "merge", "--set", &format!("{key}={{}}")]).output().unwrap();
        assert_ends(&output, 2, &[]);
        assert!(!stderr(&output).contains("unknown key"), "{}", stderr(&output));
    }
}
