//! The whole page.

use super::*;
use crate::fixture;
use crate::recording::{Charge, Ledger};

#[test]
fn it_answers_shows_and_advises_in_this_order() {
    let mut recording = fixture::recording();
    let charge = Charge {
        culprit: "src/a.rs:1".into(),
        waiter: "src/b.rs:2".into(),
        tasks: 3,
        wait_ns: 0,
        late_tasks: 3,
        wait_most_ns: 1_000_000,
    };
    recording.runs[0].ledger = Some(Ledger { charges: vec![charge], unattributed_ns: 2_000 });
    recording.runs[1].errors.push("cannot read `a`".into());
    let page = render(&recording);
    let parts = [
        "## pollscope merge\n\n**✗ `task of src/pipeline/merge.rs:88` a poll held the loop in naive mode",
        "- **meanwhile**: outside clients: response p99 ",
        "\noffloaded keeps the loop responsive",
        "### Errors\n\n- offloaded, round 1: cannot read \\`a\\`\n",
        "### Gates\n\n- ✓ naive.slow\\_polls &gt;= 3: **6**\n",
        "- ✗ offloaded.lag.p99 &lt; 1ms: **1.56 ms**\n- \\~ offloaded.response\\_time.p999 &lt; 10ms: **— not measured**\n",
        "### Findings\n\n- **warning PS001** naive: 6 slow polls",
        "to `tokio::task::spawn_blocking`, or a thread",
        "### Who blocked the loop\n",
        "| naive | task of src/pipeline/merge.rs:88 |  | unknown | 6 | ",
        "### Who waited\n",
        "| naive | src/b.rs:2 | src/a.rs:1 | 3 | ≤ 1.00 ms |\n| naive | otherwise, in all |  |  | 2.00 µs |\n",
        "### Durations\n\n|  | mode | p50 | p90 | p99 | p99.9 | p99.99 | max | p99 vs best |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n| poll time | naive | ",
        "| loop lag | naive | ",
        "| loop lag, raw | naive | ",
        "|\n\nvs best: how many times the best mode's p99.\n\n### The price of the fix\n\n| mode | throughput | elapsed | CPU time | in kernel, about | context switches | involuntary |\n",
        "| naive | 1.20 kB/s (best) | 3.02 s (best) | 300 ms (best) | 90.0 ms (best) | 9,040 (best) | 40 (best) |\n",
        "<details>\n<summary>Poll times</summary>\n\n```text\nPoll times (log)",
    ];
    let mut at = 0;
    for part in parts {
        let found = page[at..].find(part).unwrap_or_else(|| panic!("no `{part}` from here on: {}", &page[at..]));
        at += found + part.len();
    }
    assert!(page.ends_with("\n```\n\n</details>\n"), "{page}");
}

#[test]
fn every_row_of_a_table_has_as_many_cells_as_its_head() {
    let mut recording = fixture::recording();
    for run in &mut recording.runs {
        run.group = format!("a|b`{}", run.group);
        for poll in &mut run.slow_polls {
            poll.kind_mut().blocking_line = Some("x|y\n|.rs:1".into());
        }
    }
    let page = render(&recording);
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    let (mut head, mut rows) = (0, 0);
    for line in page.lines() {
        if !line.starts_with('|') {
            head = 0;
        } else if head == 0 {
            head = cells(line);
        } else {
            assert_eq!(cells(line), head, "{line}");
            rows += 1;
        }
    }
    assert!(rows > 10, "{page}");
}

#[test]
fn a_name_cannot_end_the_histogram_or_become_markup() {
    let mut recording = fixture::recording();
    recording.runs[0].group = "````\n</details><script>@all".to_owned();
    recording.findings.clear();
    let page = render(&recording);
    let fence = "`".repeat(5);
    assert!(page.contains(&format!("\n\n{fence}text\n")), "{page}");
    let (before, _) = page.split_once("<details>").unwrap();
    assert!(!before.contains("<script>") && !before.contains("@all"), "{before}");
}

#[test]
fn long_lists_are_cut_and_counted() {
    let mut recording = fixture::recording();
    recording.gates = vec![recording.gates[0].clone(); 1_234];
    let page = render(&recording);
    assert_eq!(page.matches("- ✓ ").count(), LISTED);
    assert!(page.contains("- … and 1,134 more\n"), "{page}");
}

#[test]
fn nothing_measured_is_a_page_all_the_same() {
    let page = render(&fixture::recording_of(Vec::new()));
    assert!(page.contains("**\\~ nothing was measured**"), "{page}");
    assert!(!page.contains("### Durations") && !page.contains("<details>"), "{page}");
}
