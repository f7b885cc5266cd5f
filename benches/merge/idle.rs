//! What idle inputs cost: CPU time and memory.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use pollscope::pipeline::input::{ReadSettings, Watch};
use pollscope::pipeline::merge::{merge, open_inputs};
use pollscope::pipeline::sink::{Existing, Mode, OutputSpec};
use pollscope::pipeline::tail::TailOptions;
use pollscope::spawner::Spawner;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::common::{is_measuring, rss_kib};
use crate::files::filled;

/// How long nothing happens before the measurement, and during it.
const SETTLE: Duration = Duration::from_secs(30);
const MEASURE: Duration = Duration::from_secs(30);

/// Prints the table.
pub(crate) fn run() {
    let inputs = if is_measuring() { 1_000 } else { 10 };
    println!(
        "idle: {inputs} inputs of 100 lines, followed, offloaded; after {SETTLE:?} without new lines, for {MEASURE:?}"
    );
    for (name, watch) in [("inotify", Watch::Inotify), ("poll", Watch::Poll)] {
        one(name, watch, inputs);
    }
}

fn one(name: &str, watch: Watch, inputs: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder can be made");
    let paths = filled(&folder.path().join("inputs"), inputs, 100, 40);
    let bytes: u64 = paths.iter().map(|path| fs::metadata(path).map_or(0, |metadata| metadata.len())).sum();
    let output = folder.path().join("merged");
    let (close, closed) = watch::channel(false);
    let before = rss_kib();
    let merging = {
        let output = output.clone();
        thread::spawn(move || {
            let opened =
                open_inputs(&paths, &output, &ReadSettings::following(watch)).expect("the inputs can be opened");
            let spec = OutputSpec { path: output, existing: Existing::Refuse, sync_every: 0, sync_within: None };
            let options = TailOptions {
                interval: Duration::from_millis(100),
                batch: 100_000,
                stamp_from: None,
                enough: Arc::default(),
            };
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
            let spawner = Spawner::unmeasured();
            runtime.block_on(merge(&spawner, Mode::Offloaded, opened, spec, options, closed)).expect("it can be opened")
        })
    };
    while fs::metadata(&output).map_or(0, |metadata| metadata.len()) < bytes {
        thread::sleep(Duration::from_millis(5));
    }
    if is_measuring() {
        thread::sleep(SETTLE);
        let start = cpu();
        thread::sleep(MEASURE);
        let share = (cpu() - start).as_secs_f64() / MEASURE.as_secs_f64();
        let each = rss_kib().saturating_sub(before) as f64 / inputs as f64;
        println!("{name}: {:.2} % of a core, {each:.1} KiB of memory an input", 100.0 * share);
    }
    close.send_replace(true);
    let merged = merging.join().expect("it merged");
    assert_eq!(merged.inputs.iter().map(|input| input.lines).sum::<u64>(), 100 * inputs as u64);
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
