//! The README's sample is what the program prints.

use crate::support::{pollscope, root, stdout};

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
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
        // Another machine may have other findings, and a verdict of other words; that there is one stays.
        if !row.starts_with("warning[") && !row.starts_with("note[") && row != "limits" {
            shape.push(row);
        }
    }
    shape
}

#[test]
fn the_sample_has_the_shape_of_the_report() {
    if !pollscope_probe::TOKIO_UNSTABLE {
        println!("SKIP: the README shows a build with task hooks");
        return;
    }
    let readme = readme();
    let sample = readme.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a sample");
    let output = pollscope().args(["run", "slow-sink", "--quiet"]).output().unwrap();
    assert_eq!(shape(sample), shape(&stdout(&output)));
}

#[test]
fn the_first_screen_has_the_two_commands() {
    let readme = readme();
    let first: Vec<&str> = readme.lines().take(25).collect();
    for command in ["cargo run --release -- run slow-sink", "cargo test"] {
        assert!(first.iter().any(|line| line.trim() == command), "`{command}` is not on the first screen");
    }
}
