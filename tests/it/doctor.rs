//! The doctor finds what it injects, in this build and on this machine.

use crate::support::{Folder, alone, assert_ends, run, stderr, stdout};

/// Rows of the table: mark and name in front, flavour behind.
fn rows(page: &str) -> Vec<&str> {
    page.lines().filter(|line| line.starts_with(['✓', '✗', '–', '~'])).collect()
}

#[test]
fn every_injected_stall_is_seen_as_it_was() {
    let _alone = alone();
    let output = Folder::new().run("doctor");
    let page = stdout(&output);
    eprintln!("{page}");
    assert_ends(&output, 0, &[]);
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
    let rows = rows(&page);
    assert_eq!(rows.len(), 17, "nine stalls on two flavours, but one on the other alone");
    // What this machine was too slow for is not judged, and is said to be so at the end.
    let too_slow: Vec<&&str> = rows.iter().filter(|row| row.starts_with('~')).collect();
    too_slow.iter().for_each(|row| println!("SKIP: this machine had no CPU to see in time: {row}"));
    assert_eq!(page.contains("\ntoo slow here: "), !too_slow.is_empty(), "{page}");
    for flavor in ["current_thread", "multi_thread"] {
        for stall in ["sleep", "lock", "full pipe", "spin", "LocalSet task", "root future"] {
            let is = |row: &&&str| row.contains(stall) && row.contains(flavor);
            let row = rows.iter().find(is).unwrap_or_else(|| panic!("no {stall} on {flavor}"));
            assert!(row.starts_with(['✓', '~']), "{row}");
        }
        let row = rows.iter().find(|row| row.contains("page fault") && row.contains(flavor)).expect("a page fault");
        assert!(row.starts_with(['✓', '~']) || row.contains("not tried: cannot"), "{row}");
    }
    let blind = page.split("Blind to\n").nth(1).expect("it is blind somewhere");
    assert_eq!(blind.contains("lacks `--cfg tokio_unstable`"), !pollscope_probe::TOKIO_UNSTABLE, "{blind}");
    assert!(blind.contains("block_on"), "{blind}");
}

#[test]
fn a_narrow_page_stays_narrow() {
    let _alone = alone();
    let output = run(Folder::new().command(["doctor"]).env("COLUMNS", "60").env("LC_ALL", "C"));
    let page = stdout(&output);
    assert!(page.is_ascii() && page.lines().all(|line| line.len() <= 60), "{page}");
}
