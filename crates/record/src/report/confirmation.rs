//! What `pollscope confirm` says: the verdict on a merge, and what the output lacks of which input.
//!
//! As JSON, for other tools; keys may be added, none is renamed. `schema` is `pollscope.confirmation/1`, `output` the file,
//! `merge` is that of a recording, `ends_early` says whether the output is what it should be up to its end, and each of `missing` has
//! `input`, `lines`, `of`, `line` and `byte` (the first that is missing), and `to_the_end`.

use std::path::Path;

use serde_json::{Value, json};

use super::layout::{Ink, Line, paragraph};
use super::style::Style;
use crate::escape::{self, escape_path};
use crate::merge_words::{not_ok_words, ok_words};
use crate::recording::{Confirmation, Missing, Verdict};
use crate::units::{format_count, plural};

/// How many inputs are listed.
const MOST: usize = 5;

/// The answer as text.
pub fn text(confirmation: &Confirmation, output: &Path, style: &Style) -> String {
    let title = Line::new().text(Ink::Title, "pollscope confirm").blank(1).text(Ink::Bold, &escape_path(output));
    let merge = &confirmation.merge;
    let (ink, sign, ascii, says) = match merge.verdict {
        Verdict::Ok => (Ink::Good, "✓ ", "ok ", ok_words(merge, "")),
        Verdict::Failed => (Ink::Bad, "✗ ", "FAIL ", not_ok_words(merge, "")),
        Verdict::Unverifiable => (Ink::Warn, "~ ", "~ ", not_ok_words(merge, "")),
    };
    let sign = Line::new().text(ink, if style.unicode { sign } else { ascii });
    let mut lines = vec![title];
    lines.extend(paragraph(sign, Ink::Plain, &says, style.width));
    for (index, says) in missing(&confirmation.missing).iter().enumerate() {
        let prefix = Line::new().left(Ink::Bold, if index == 0 { "missing" } else { "" }, 9);
        lines.extend(paragraph(prefix, Ink::Plain, says, style.width));
    }
    if let Some(advice) = advice(confirmation) {
        lines.extend(paragraph(Line::new().text(Ink::Dim, "= help: "), Ink::Plain, &advice, style.width));
    }
    lines.into_iter().map(|line| line.finish(style) + "\n").collect()
}

/// A line for each of the first inputs, and one for the others.
fn missing(all: &[Missing]) -> Vec<String> {
    let (shown, others) = all.split_at(all.len().min(MOST));
    let mut lines: Vec<String> = shown.iter().map(one).collect();
    if !others.is_empty() {
        let sum = others.iter().fold(0, |sum: u64, missing| sum.saturating_add(missing.lines));
        let inputs = if others.len() == 1 { "input" } else { "inputs" };
        lines.push(format!("{} of {} more {inputs}", plural(sum, "line"), format_count(others.len() as u64)));
    }
    lines
}

fn one(missing: &Missing) -> String {
    let Missing { input, lines, of, line, byte, to_the_end } = missing;
    let (input, lines, all) = (escape_path(input), format_count(*lines), plural(*of, "line"));
    if is_all(missing) {
        format!("all {all} of `{input}`")
    } else if *to_the_end {
        format!("{lines} of {all} of `{input}`: all from line {line} (byte {byte}) on")
    } else {
        format!("{lines} of {all} of `{input}`, the first at line {line} (byte {byte})")
    }
}

fn is_all(missing: &Missing) -> bool {
    missing.lines == missing.of
}

/// What to do next.
fn advice(confirmation: &Confirmation) -> Option<String> {
    let merge = &confirmation.merge;
    let again = "merge again, into a new file or with `--force`";
    match merge.verdict {
        Verdict::Ok => None,
        Verdict::Failed if merge.torn == 0 && confirmation.ends_early && confirmation.missing.iter().all(is_all) => {
            Some(format!("the output has nothing of these inputs: if they were among those that were merged, {again}"))
        }
        Verdict::Failed if confirmation.ends_early => {
            let torn = if merge.torn > 0 { " but for the torn line" } else { "" };
            Some(format!(
                "the output ends early, as after a merge that was killed; what it holds is right{torn}: to have all, {again}"
            ))
        }
        Verdict::Failed if merge.lost == 0 && merge.foreign + merge.duplicated > 0 => Some(
            "the output has more than the inputs: name every input that was merged, and with `--skip` how long the output \
             was before"
                .to_owned(),
        ),
        Verdict::Failed => Some(format!(
            "name the inputs that were merged, with the same `--tag` and `--max-line`; if these are they, {again}"
        )),
        Verdict::Unverifiable => Some("confirm again when nobody writes to these files".to_owned()),
    }
}

/// The answer as JSON.
///
/// # Errors
/// When it cannot be made, which no answer has been seen to do.
pub fn json(confirmation: &Confirmation, output: &Path) -> serde_json::Result<String> {
    let missing = |missing: &Missing| -> Value {
        let Missing { input, lines, of, line, byte, to_the_end } = missing;
        let input = input.to_string_lossy();
        json!({"input": input, "lines": lines, "of": of, "line": line, "byte": byte, "to_the_end": to_the_end})
    };
    let document = json!({
        "schema": "pollscope.confirmation/1",
        "output": output.to_string_lossy(),
        "merge": confirmation.merge,
        "ends_early": confirmation.ends_early,
        "missing": confirmation.missing.iter().map(missing).collect::<Vec<_>>(),
    });
    Ok(escape::json(serde_json::to_string_pretty(&document)? + "\n"))
}
