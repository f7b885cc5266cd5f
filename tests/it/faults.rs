//! What becomes of a merge on a disk that fails: at call n, for n = 1, 2, 3, … until a run completes without the fault, once and
//! from n on, in every mode. Lines may be lost then, but never silently.

mod disk;
mod ring;

use std::path::{Path, PathBuf};
use std::time::Duration;

use fuser::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use pollscope::pipeline::confirm::{OutputEvidence, confirm};
use pollscope::pipeline::merge::{self, Merged, open_inputs};
use pollscope::pipeline::sink::{Existing, Mode, OutputSpec, SinkError};
use pollscope::pipeline::tail::{TailError, TailOptions};
use pollscope::recording::Verdict;
use pollscope::tasks::Tasks;
use tokio::runtime::{Builder, Runtime};

use disk::{Call, Disk, Fault, Plan};

const INPUTS: usize = 3;
const LINES: usize = 8;
/// A sync after so many lines.
const SYNC_EVERY: u64 = 4;

/// How a merge ended into which a fault was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The merge is whole all the same, and no error is told.
    Survived,
    /// An error names what went wrong.
    Reported,
}

/// What goes wrong, for how many calls beyond the first, and how a merge then ends.
fn faults() -> Vec<(&'static str, Call, Fault, u64, End)> {
    let always = u64::MAX;
    let error = Fault::Error;
    vec![
        ("write: EIO once", Call::Write, error(Errno::EIO), 0, End::Reported),
        ("write: EIO from then on", Call::Write, error(Errno::EIO), always, End::Reported),
        ("write: ENOSPC once", Call::Write, error(Errno::ENOSPC), 0, End::Reported),
        ("write: ENOSPC from then on", Call::Write, error(Errno::ENOSPC), always, End::Reported),
        ("write: EFBIG from then on", Call::Write, error(Errno::EFBIG), always, End::Reported),
        ("write: EROFS from then on", Call::Write, error(Errno::EROFS), always, End::Reported),
        ("write: EAGAIN once", Call::Write, error(Errno::EAGAIN), 0, End::Reported),
        ("write: EINTR once", Call::Write, error(Errno::EINTR), 0, End::Survived),
        ("write: EINTR ten times", Call::Write, error(Errno::EINTR), 9, End::Survived),
        ("write: half of it, once", Call::Write, Fault::Short, 0, End::Survived),
        ("write: half of it, from then on", Call::Write, Fault::Short, always, End::Survived),
        ("write: 5 ms late", Call::Write, Fault::Late(Duration::from_millis(5)), 0, End::Survived),
        ("sync: EIO once", Call::Sync, error(Errno::EIO), 0, End::Reported),
        ("sync: EIO from then on", Call::Sync, error(Errno::EIO), always, End::Reported),
        ("sync: ENOSPC once", Call::Sync, error(Errno::ENOSPC), 0, End::Reported),
        ("close: EIO", Call::Flush, error(Errno::EIO), 0, End::Reported),
        ("close: ENOSPC", Call::Flush, error(Errno::ENOSPC), 0, End::Reported),
        ("open: EIO", Call::Create, error(Errno::EIO), 0, End::Reported),
        ("open: ENOSPC", Call::Create, error(Errno::ENOSPC), 0, End::Reported),
    ]
}

/// Says what is not tested here, and why.
fn skip(what: &str, why: &str) {
    println!("SKIP: {what}: {why}");
}

struct Bench {
    disk: Disk,
    folder: PathBuf,
    inputs: Vec<PathBuf>,
}

impl Bench {
    fn out(&self) -> PathBuf {
        self.folder.join("disk/out")
    }

    fn merge(&self, runtime: &Runtime, mode: Mode, batch: usize) -> Result<Merged, SinkError> {
        let handles = open_inputs(&self.inputs, &self.out()).expect("the inputs can be opened");
        let output = OutputSpec { path: self.out(), existing: Existing::Refuse, sync_every: SYNC_EVERY };
        let options = TailOptions { interval: Duration::from_millis(1), batch, stamp_from: None };
        // Closed already: the tails end where the files end.
        let (_close, closed) = tokio::sync::watch::channel(true);
        runtime.block_on(merge::merge(&Tasks::unmeasured(), mode, handles, output, options, closed))
    }

    /// One merge with one plan: `None` when nothing went wrong any more.
    fn inject(&self, runtime: &Runtime, mode: Mode, batch: usize, plan: Plan) -> Option<Result<End, String>> {
        self.disk.reset(plan);
        let merged = self.merge(runtime, mode, batch);
        let faults = self.disk.heal();
        (faults > 0).then(|| self.judge(merged))
    }

    fn judge(&self, merged: Result<Merged, SinkError>) -> Result<End, String> {
        let merged = match merged {
            Ok(merged) => merged,
            Err(error) if error.good_to.is_none() => return Ok(End::Reported),
            Err(error) => return Err(format!("an output that was not opened is good up to a byte: {error}")),
        };
        if merged.input_errors().next().is_some() {
            return Err("an input was blamed for the disk".to_owned());
        }
        let sinks = merged.inputs.iter().filter_map(|tailed| match &tailed.error {
            Some(TailError::Sink(error)) => Some(error),
            _ => None,
        });
        if let Some(error) = merged.output_error.as_ref().or(sinks.clone().next()) {
            return self.judge_loss(&merged, error);
        }
        let evidence: Vec<_> = merged.inputs.iter().map(|input| input.evidence.clone()).collect();
        let opened = merged.opened;
        let output = OutputEvidence { path: opened.path, start: opened.start, dev: opened.dev, ino: opened.ino };
        let found = confirm(&evidence, &output);
        match found.verdict {
            Verdict::Ok => Ok(End::Survived),
            _ => Err(format!("SILENT: no error, and the merge is not whole: {:?}", found.reason)),
        }
    }

    /// An error was reported: what it says must be true.
    fn judge_loss(&self, merged: &Merged, error: &SinkError) -> Result<End, String> {
        let said = error.to_string();
        if !said.contains("disk/out") || error.error.raw_os_error().is_none() {
            return Err(format!("neither path nor cause: {said}"));
        }
        let content = self.disk.content().unwrap_or_default();
        let good = error.good_to.and_then(|good_to| content.get(..usize::try_from(good_to).ok()?));
        let Some(good) = good else { return Err(format!("less is there than is said to be good: {said}")) };
        if merged.bytes() > good.len() as u64 {
            return Err(format!("{} bytes were answered for, and {said}", merged.bytes()));
        }
        for input in &self.inputs {
            let whole = std::fs::read_to_string(input).expect("the input can be read");
            let name = whole.split(' ').next().expect("lines begin with a name").to_owned();
            let good = String::from_utf8_lossy(good);
            let own: String = good.split_inclusive('\n').filter(|line| line.starts_with(&name)).collect();
            if !whole.starts_with(&own) || !(good.is_empty() || good.ends_with('\n')) {
                return Err(format!("what is said to be good is not: {said}: {good}"));
            }
        }
        Ok(End::Reported)
    }
}

/// Mounts of this thread's own, which go with it and the programs that it starts; an error where that is not allowed.
fn private_mounts() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("no mount namespace: {error}"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(|error| format!("no mounts: {error}"))
}

/// A disk mounted at `disk` in a folder, for this thread alone.
fn disk(folder: &Path, victim: &'static str) -> Result<Disk, String> {
    private_mounts()?;
    let at = folder.join("disk");
    std::fs::create_dir(&at).expect("a folder can be made");
    Disk::mount(&at, victim).map_err(|error| format!("no FUSE: {error}"))
}

fn bench(folder: &Path) -> Result<Bench, String> {
    let disk = disk(folder, "out")?;
    let inputs = (0..INPUTS).map(|input| {
        let path = folder.join(format!("input{input}"));
        let lines: String = (0..LINES).map(|line| format!("{input}-{} {line} of it\n", "x".repeat(line))).collect();
        std::fs::write(&path, lines).expect("the input can be written");
        path
    });
    Ok(Bench { disk, inputs: inputs.collect(), folder: folder.to_owned() })
}

#[test]
fn no_fault_of_the_disk_is_silent() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let bench = match bench(folder.path()) {
        Ok(bench) => bench,
        Err(why) => return skip("a disk that fails", &why),
    };
    println!("{:<16} {:>9} {:>9} {:>9} {:>7}", "", "injected", "survived", "reported", "silent");
    let mut injected = 0;
    let mut wrong = Vec::new();
    for mode in Mode::ALL {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (mut survived, mut reported, mut silent) = (0u64, 0u64, 0u64);
        for batch in [1, 3] {
            for (name, call, fault, more, expected) in faults() {
                for at in 1.. {
                    let Some(end) = bench.inject(&runtime, mode, batch, Plan { call, fault, at, more }) else { break };
                    match &end {
                        Ok(End::Survived) => survived += 1,
                        Ok(End::Reported) => reported += 1,
                        Err(why) => silent += u64::from(why.starts_with("SILENT")),
                    }
                    if end != Ok(expected) {
                        let what = format!("{mode}, {batch} lines a write, {name} at call {at}");
                        wrong.push(format!("{what}: {end:?}, and not {expected:?}"));
                    }
                    assert!(at < 1_000, "{name} never ends");
                }
            }
        }
        let all = survived + reported + silent;
        println!("{:<16} {all:>9} {survived:>9} {reported:>9} {silent:>7}", mode.as_str());
        injected += all;
    }
    assert!(wrong.is_empty(), "{} of {injected}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(injected >= 1_000, "only {injected} faults");
}
