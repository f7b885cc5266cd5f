//! What becomes of a merge on a disk that fails: at call n, for n = 1, 2, 3, … until a run completes without the fault, once and
//! from n on, in every mode. Lines may be lost then, but never silently.

pub(crate) mod disk;
mod hang;
mod places;
mod reading;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fuser::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use pollscope::pipeline::confirm::{ConfirmSettings, OutputEvidence, confirm};
use pollscope::pipeline::input::ReadSettings;
use pollscope::pipeline::merge::{self, MergeOutcome, open_inputs};
use pollscope::pipeline::sink::{Existing, Mode, OutputSpec, SinkError};
use pollscope::pipeline::tail::{TailError, TailOptions};
use pollscope::recording::Verdict;
use pollscope::spawner::Spawner;
use tokio::runtime::{Builder, Runtime};

use disk::{Call, Disk, Fault, Plan};

const INPUTS: usize = 3;
const LINES: usize = 8;
/// A sync after so many lines.
const SYNC_EVERY: u64 = 4;

/// How a merge ended into which a fault was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The merge is still complete, and there is no error.
    Survived,
    /// An error names what went wrong, or the report says that nothing is confirmed.
    Reported,
}

/// What goes wrong, and how a merge then ends.
struct Injection {
    name: &'static str,
    call: Call,
    fault: Fault,
    /// For how many calls beyond the first.
    more: u64,
    /// At which call it is tried last. Late ones take their time: `POLLSCOPE_ALL_FAULTS` has them all at each call.
    last: u64,
    end: End,
}

/// Far more calls than a merge here makes.
const CALLS: u64 = 1_000;

fn injections() -> Vec<Injection> {
    let (error, ms) = (Fault::Error, |ms| Fault::Late(Duration::from_millis(ms)));
    let (write, sync, close, open) = (Call::Write, Call::Sync, Call::Flush, Call::Create);
    let (once, always) = (0, u64::MAX);
    let all = std::env::var_os("POLLSCOPE_ALL_FAULTS").is_some();
    let few = |calls| if all { CALLS } else { calls };
    let of = |name, call, fault, more, last, end| Injection { name, call, fault, more, last, end };
    vec![
        of("write: EIO once", write, error(Errno::EIO), once, CALLS, End::Reported),
        of("write: EIO from then on", write, error(Errno::EIO), always, CALLS, End::Reported),
        of("write: ENOSPC once", write, error(Errno::ENOSPC), once, CALLS, End::Reported),
        of("write: ENOSPC from then on", write, error(Errno::ENOSPC), always, CALLS, End::Reported),
        of("write: EFBIG from then on", write, error(Errno::EFBIG), always, CALLS, End::Reported),
        of("write: EROFS from then on", write, error(Errno::EROFS), always, CALLS, End::Reported),
        of("write: EDQUOT from then on", write, error(Errno::EDQUOT), always, CALLS, End::Reported),
        of("write: EAGAIN once", write, error(Errno::EAGAIN), once, CALLS, End::Reported),
        of("write: EINTR once", write, error(Errno::EINTR), once, CALLS, End::Survived),
        of("write: EINTR ten times", write, error(Errno::EINTR), 9, CALLS, End::Survived),
        of("write: half of it, once", write, Fault::Short, once, CALLS, End::Survived),
        of("write: half of it, from then on", write, Fault::Short, always, CALLS, End::Survived),
        of("write: 10 ms late", write, ms(10), once, few(6), End::Survived),
        of("write: 10 ms late, from then on", write, ms(10), always, few(2), End::Survived),
        of("write: 100 ms late", write, ms(100), once, few(2), End::Survived),
        of("write: 500 ms late", write, ms(500), once, few(1), End::Survived),
        of("sync: EIO once", sync, error(Errno::EIO), once, CALLS, End::Reported),
        of("sync: EIO from then on", sync, error(Errno::EIO), always, CALLS, End::Reported),
        of("sync: ENOSPC once", sync, error(Errno::ENOSPC), once, CALLS, End::Reported),
        of("sync: 100 ms late", sync, ms(100), once, few(1), End::Survived),
        of("close: EIO", close, error(Errno::EIO), once, CALLS, End::Reported),
        of("close: ENOSPC", close, error(Errno::ENOSPC), once, CALLS, End::Reported),
        of("close: 100 ms late", close, ms(100), once, few(1), End::Survived),
        of("open: EIO", open, error(Errno::EIO), once, CALLS, End::Reported),
        of("open: ENOSPC", open, error(Errno::ENOSPC), once, CALLS, End::Reported),
        of("open: EROFS", open, error(Errno::EROFS), once, CALLS, End::Reported),
        of("open: 100 ms late", open, ms(100), once, few(1), End::Survived),
    ]
}

/// How often merges ended how, by what went wrong and by mode, in the order in which they came.
#[derive(Default)]
struct Tally(Vec<(&'static str, &'static str, Result<End, String>)>);

impl Tally {
    fn count(&mut self, fault: &'static str, mode: Mode, end: Result<End, String>) {
        self.0.push((fault, mode.as_str(), end));
    }

    /// That all ended so.
    #[track_caller]
    fn assert_all(&self, expected: End) {
        let wrong = self.0.iter().filter(|(_, _, end)| *end != Ok(expected));
        let wrong: Vec<_> = wrong.map(|(fault, mode, end)| format!("{mode}: {fault}: {end:?}")).collect();
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), self.0.len(), wrong.join("\n"));
    }

    /// What is wrong is counted as silent when it was that.
    fn table(&self) -> String {
        let mut text = format!("| {:<31} | injected | survived | reported | silent |\n|---|---|---|---|---|\n", "");
        let mut row = |name: &str, is: &dyn Fn(&str, &str) -> bool| {
            let ends = || self.0.iter().filter(|(fault, mode, _)| is(fault, mode)).map(|(_, _, end)| end);
            let count = |end| ends().filter(|it| **it == Ok(end)).count();
            let silent = ends().filter(|it| it.as_ref().is_err_and(|why| why.starts_with("SILENT"))).count();
            let (survived, reported) = (count(End::Survived), count(End::Reported));
            let line =
                format!("| {name:<31} | {:>8} | {survived:>8} | {reported:>8} | {silent:>6} |\n", ends().count());
            text.push_str(&line);
        };
        let mut named = Vec::new();
        for &(fault, ..) in &self.0 {
            if !named.contains(&fault) {
                named.push(fault);
                row(fault, &|it, _| it == fault);
            }
        }
        for mode in Mode::ALL.map(Mode::as_str) {
            if self.0.iter().any(|(_, it, _)| *it == mode) {
                row(&format!("`{mode}`"), &|_, it| it == mode);
            }
        }
        row("all", &|_, _| true);
        text
    }
}

/// Says what is not tested here, and why, and counts it.
pub(crate) fn skip(what: &str, why: &str) {
    static SKIPPED: AtomicU64 = AtomicU64::new(0);
    let skipped = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    println!("SKIP: {what}: {why} ({skipped} skipped so far)");
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

    fn merge(&self, runtime: &Runtime, mode: Mode, batch: usize) -> Result<MergeOutcome, SinkError> {
        let handles = open_inputs(&self.inputs, &self.out(), &ReadSettings::once()).expect("the inputs can be opened");
        let output =
            OutputSpec { path: self.out(), existing: Existing::Refuse, sync_every: SYNC_EVERY, sync_within: None };
        let options =
            TailOptions { interval: Duration::from_millis(1), batch, stamp_from: None, enough: Default::default() };
        // Closed already: the tails end where the files end.
        let (_close, closed) = tokio::sync::watch::channel(true);
        runtime.block_on(merge::merge(&Spawner::unmeasured(), mode, handles, output, options, closed))
    }

    /// One merge with one plan: `None` when nothing went wrong any more.
    fn inject(&self, runtime: &Runtime, mode: Mode, batch: usize, plan: Plan) -> Option<Result<End, String>> {
        self.disk.reset(plan);
        let merged = self.merge(runtime, mode, batch);
        let faults = self.disk.heal();
        (faults > 0).then(|| self.judge(merged))
    }

    fn judge(&self, merged: Result<MergeOutcome, SinkError>) -> Result<End, String> {
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
        let found = confirm(&evidence, &output, &ConfirmSettings::default());
        match found.verdict {
            Verdict::Ok => Ok(End::Survived),
            _ => Err(format!("SILENT: no error, and the merge is not whole: {:?}", found.reason)),
        }
    }

    /// An error was reported: what it says must be true.
    fn judge_loss(&self, merged: &MergeOutcome, error: &SinkError) -> Result<End, String> {
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
pub(crate) fn private_mounts() -> Result<(), String> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("no mount namespace: {error}"))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).map_err(|error| format!("no mounts: {error}"))
}

/// A disk mounted at `disk` in a folder, for this thread alone.
pub(crate) fn disk(folder: &Path, victim: &'static str) -> Result<Disk, String> {
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
    let (mut tally, mut wrong) = (Tally::default(), Vec::new());
    for injection in injections() {
        for mode in Mode::ALL {
            sweep(&bench, mode, &injection, &mut tally, &mut wrong);
        }
    }
    println!("{}", tally.table());
    let injected = tally.0.len();
    assert!(wrong.is_empty(), "{} of {injected}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(injected >= 1_000, "only {injected} faults");
}

/// One fault in one mode, at call 1, 2, 3, … until a merge does not come so far, one line a write and three.
fn sweep(bench: &Bench, mode: Mode, injection: &Injection, tally: &mut Tally, wrong: &mut Vec<String>) {
    let &Injection { name, call, fault, more, last, end: expected } = injection;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for batch in [1, 3] {
        for at in 1..=last {
            let Some(end) = bench.inject(&runtime, mode, batch, Plan { call, fault, at, more }) else { break };
            assert!(at < CALLS, "{name} never ends");
            if end != Ok(expected) {
                wrong
                    .push(format!("{mode}, {batch} lines a write, {name} at call {at}: {end:?}, and not {expected:?}"));
            }
            tally.count(name, mode, end);
        }
    }
}
