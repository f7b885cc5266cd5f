//! Inputs, merged once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pollscope::pipeline::confirm::{How, OutputEvidence, confirm};
use pollscope::pipeline::generate::{Files, Plan};
use pollscope::pipeline::input::Reading;
use pollscope::pipeline::merge::{Merged, merge, open_inputs};
use pollscope::pipeline::sink::{Existing, Mode, OutputSpec};
use pollscope::pipeline::tail::TailOptions;
use pollscope::recording::Verdict;
use pollscope::tasks::Tasks;
use tokio::runtime::Builder;
use tokio::sync::watch;

/// So many files of so many lines each, in a new folder.
pub(crate) fn filled(folder: &Path, inputs: usize, lines: u64, letters: usize) -> Vec<PathBuf> {
    fs::create_dir(folder).expect("a folder can be made");
    let plan = Plan { inputs, lines, max_wait: Duration::ZERO, letters, seed: 1 };
    let files = Files::create(folder, &plan).expect("the inputs can be made");
    let paths = files.paths();
    files.fill().expect("the inputs can be written");
    paths
}

/// Merges them to their ends, with so many lines at once, at most.
pub(crate) fn merge_once(mode: Mode, batch: usize, inputs: &[PathBuf], output: &Path) -> Merged {
    let inputs = open_inputs(inputs, output, &Reading::once()).expect("the inputs can be opened");
    let output = OutputSpec { path: output.to_owned(), existing: Existing::Refuse, sync_every: 0 };
    let options = TailOptions { interval: Duration::from_millis(100), batch, stamp_from: None, enough: Arc::default() };
    let (_close, closed) = watch::channel(false);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime
        .block_on(merge(&Tasks::unmeasured(), mode, inputs, output, options, closed))
        .expect("the output can be opened")
}

/// # Panics
/// When it is not ok.
pub(crate) fn check(merged: &Merged) {
    let evidence: Vec<_> = merged.inputs.iter().map(|input| input.evidence.clone()).collect();
    let opened = merged.opened.clone();
    let output = OutputEvidence { path: opened.path, start: opened.start, dev: opened.dev, ino: opened.ino };
    let found = confirm(&evidence, &output, &How::default());
    assert_eq!(found.verdict, Verdict::Ok, "the merge is not confirmed: {:?}", found.reason);
}
