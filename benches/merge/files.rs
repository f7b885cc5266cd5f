//! Makes inputs, and merges them once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pollscope::pipeline::confirm::{ConfirmSettings, OutputEvidence, confirm};
use pollscope::pipeline::input::ReadSettings;
use pollscope::pipeline::merge::{MergeOutcome, merge, open_inputs};
use pollscope::pipeline::simulation::{Plan, SimulatedFiles};
use pollscope::pipeline::sink::{Existing, Mode, OutputSpec};
use pollscope::pipeline::tail::TailOptions;
use pollscope::recording::Verdict;
use pollscope::spawner::Spawner;
use tokio::runtime::Builder;
use tokio::sync::watch;

/// Makes files of so many lines each, in a new folder.
pub(crate) fn filled(folder: &Path, inputs: usize, lines: u64, letters: usize) -> Vec<PathBuf> {
    fs::create_dir(folder).expect("a folder can be made");
    let plan = Plan { inputs, lines, max_wait: Duration::ZERO, letters, seed: 1 };
    let files = SimulatedFiles::create(folder, &plan).expect("the inputs can be made");
    let paths = files.paths();
    files.fill().expect("the inputs can be written");
    paths
}

/// Merges inputs to their ends, with at most `batch` lines in each write.
pub(crate) fn merge_once(mode: Mode, batch: usize, inputs: &[PathBuf], output: &Path) -> MergeOutcome {
    let inputs = open_inputs(inputs, output, &ReadSettings::once()).expect("the inputs can be opened");
    let output = OutputSpec { path: output.to_owned(), existing: Existing::Refuse, sync_every: 0, sync_within: None };
    let options = TailOptions { interval: Duration::from_millis(100), batch, stamp_from: None, enough: Arc::default() };
    let (_close, closed) = watch::channel(false);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime
        .block_on(merge(&Spawner::unmeasured(), mode, inputs, output, options, closed))
        .expect("the output can be opened")
}

/// # Panics
/// When the merge is not confirmed.
pub(crate) fn check(merged: &MergeOutcome) {
    let evidence: Vec<_> = merged.inputs.iter().map(|input| input.evidence.clone()).collect();
    let opened = merged.opened.clone();
    let output = OutputEvidence { path: opened.path, start: opened.start, dev: opened.dev, ino: opened.ino };
    let found = confirm(&evidence, &output, &ConfirmSettings::default());
    assert_eq!(found.verdict, Verdict::Ok, "the merge is not confirmed: {:?}", found.reason);
}
