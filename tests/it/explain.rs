//! Every code and every cause is explained.

use pollscope::explain::EXPLANATIONS;
use pollscope::findings::DIAGNOSES;
use pollscope_probe::Cause;

use crate::support::{Folder, assert_ends, stdout};

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
    assert_eq!(all.lines().count(), EXPLANATIONS.len(), "{all}");
    assert_ends(&folder.run("explain lokc"), 2, &["cannot explain `lokc`", "did you mean `lock`?"]);
    assert_ends(
        &folder.run("explain zzzzzzzz"),
        2,
        &["`pollscope explain` lists all codes", "`pollscope help glossary`"],
    );
}
