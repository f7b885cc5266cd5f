use std::io::BufReader;

use pollscope_record::growing;
use pollscope_record::recording::read::Saved;
use pollscope_record::recording::{Fine, RuntimeInfo};
use tokio::runtime::Builder;

use super::*;
use crate::probe::Probe;

const MS: Duration = Duration::from_millis(1);

/// What is in the files of a folder, together, in the order of their names.
fn read(folder: &Path) -> Saved {
    let (files, length) = open(folder).unwrap();
    growing::read(files, length).unwrap()
}

/// What [`read`] gives of a recording that is still written: none before there is a folder with something in it.
fn read_so_far(folder: &Path) -> Option<Saved> {
    let (files, length) = open(folder).ok()?;
    growing::read(files, length).ok()
}

/// The files of a folder, in the order of their names, and the length of all.
fn open(folder: &Path) -> io::Result<(Vec<BufReader<fs::File>>, u64)> {
    let mut names = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    names.sort();
    let files = names.iter().map(fs::File::open).collect::<io::Result<Vec<fs::File>>>()?;
    let length = files.iter().map(|file| Ok(file.metadata()?.len())).sum::<io::Result<u64>>()?;
    Ok((files.into_iter().map(BufReader::new).collect(), length))
}

/// A folder that is not there yet, in one that goes.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("a/recording");
    (parent, folder)
}

#[test]
fn every_slow_poll_is_in_the_recording_and_its_counts_agree_with_the_probes() {
    let (_parent, folder) = folder();
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(5 * MS).record(&folder).install(&mut builder).unwrap();
    let runtime = builder.enable_time().build().unwrap();
    runtime.block_on(probe.watch(async {
        for _ in 0..20 {
            thread::sleep(6 * MS);
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(1_100 * MS).await;
    }));
    drop(runtime);
    let snapshot = probe.snapshot();
    drop(probe);
    let saved = read(&folder);
    assert!(!saved.is_torn);
    let [run] = &saved.recording.runs[..] else { panic!("one run") };
    assert_eq!((run.ended, run.slow_polls_dropped), (Ended::Done, 0));
    let durations = |polls: &[SlowPoll]| polls.iter().map(|poll| duration::to_ns(poll.duration)).collect::<Vec<_>>();
    let read: Vec<u64> = run.slow_polls.iter().map(|poll| poll.duration_ns).collect();
    assert_eq!(read, durations(&snapshot.slow_polls));
    assert_eq!(run.slow_polls_total, snapshot.slow_polls_total);
    let polls = run.polls.as_ref().unwrap();
    assert_eq!(polls.count(), snapshot.polls.count());
    let of_sites: u64 = run.known_sites().iter().map(|site| site.polls.count()).sum();
    let of_intervals: u64 = run.intervals.iter().map(|slice| slice.polls.as_ref().unwrap().count()).sum();
    assert_eq!((of_sites, of_intervals), (polls.count(), polls.count()));
    assert_eq!(run.intervals.iter().filter_map(|slice| slice.slow).sum::<u64>(), run.slow_polls_total);
    let target = run.subject.target().unwrap();
    assert_eq!((target.pid, target.tokio_unstable), (Some(std::process::id().into()), Some(TOKIO_UNSTABLE)));
    assert_eq!(run.group, target.name);
    assert_eq!(target.runtimes, [RuntimeInfo { flavor: "current_thread".to_owned(), workers: 1 }]);
}

#[cfg(feature = "whole-process")]
#[test]
fn the_run_of_other_threads_goes_on_from_file_to_file() {
    const POLLS: u64 = 500;
    let (_parent, folder) = folder();
    let shared = Arc::new(Shared::new(crate::clock::Clock::monotonic(), duration::to_ns(50 * MS), 8));
    let mut recording = Recording::new(shared, folder.clone(), Arc::default(), Arc::default());
    recording.files = Files::new(Place::of(folder.clone(), "api", "20260101T000000"), 256 << 10);
    let target = recording.head.subject.target().cloned().unwrap();
    let head = Head { subject: Subject::Process(target), ..recording.head.clone() };
    recording.write_known();
    recording.of_others(&OfOthers::Begins(Box::new(head), 100));
    for id in 1..=POLLS {
        let start = pollscope_record::recording::SlowPoll::default();
        let poll = pollscope_record::recording::SlowPoll { id, start_ns: id << 32, duration_ns: 1, ..start };
        recording.of_others(&OfOthers::Update(Update::SlowPoll(Box::new(poll))));
    }
    recording.of_others(&OfOthers::Update(Update::End(Ended::Gone, None)));
    recording.end();
    assert!(fs::read_dir(&folder).unwrap().count() > 1, "it is in several files");
    let saved = read(&folder);
    let [own, others] = &saved.recording.runs[..] else { panic!("two runs") };
    assert!(!saved.is_torn);
    assert_eq!((own.slow_polls_total, own.ended), (0, Ended::Done));
    let ids: Vec<u64> = others.slow_polls.iter().map(|poll| poll.id).collect();
    assert_eq!(ids, (1..=POLLS).collect::<Vec<_>>());
    assert_eq!((others.slow_polls_total, others.slow_polls_dropped, others.ended), (POLLS, 0, Ended::Done));
    assert_eq!(others.group, pollscope_record::recording::other_threads(&own.group));
}

#[test]
fn a_stall_is_there_while_it_goes_on_and_ends_as_one_slow_poll() {
    let (_parent, folder) = folder();
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(10 * MS).record(&folder).install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    let seen = runtime.block_on(probe.watch(async {
        let start = Instant::now();
        loop {
            thread::sleep(5 * MS);
            let saved = read_so_far(&folder);
            if let Some(run) = saved.and_then(|saved| saved.recording.runs.into_iter().next())
                && !run.stalls_open.is_empty()
            {
                return run;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "it is not told");
        }
    }));
    assert_eq!((seen.ended, seen.slow_polls.len(), seen.stalls_open.len()), (Ended::Torn, 0, 1));
    drop((runtime, probe));
    let run = read(&folder).recording.runs.remove(0);
    assert_eq!((run.slow_polls.len(), run.stalls_open.len()), (1, 0));
    assert_eq!(run.slow_polls[0].id, seen.stalls_open[0].id, "it is the same");
    assert!(run.slow_polls[0].duration_ns >= seen.stalls_open[0].duration_ns);
}

#[test]
fn what_cannot_be_written_is_told_once_and_counted() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("folder");
    fs::write(&folder, "a file").unwrap();
    let (mut said, lines) = io::pipe().unwrap();
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(5 * MS).log_to(lines).record(folder.join("x"));
    let probe = probe.install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    runtime.block_on(probe.watch(async { thread::sleep(6 * MS) }));
    assert!(probe.flush(Duration::from_secs(60)));
    // Now it can be written after all.
    fs::remove_file(&folder).unwrap();
    runtime.block_on(probe.watch(async { thread::sleep(7 * MS) }));
    drop((runtime, probe));
    let mut text = String::new();
    io::Read::read_to_string(&mut said, &mut text).unwrap();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("cannot write the recording")).collect();
    assert_eq!(told.len(), 1, "{text}");
    assert!(told[0].contains("folder/x`") && told[0].contains("make room"), "{told:?}");
    let saved = read(&folder.join("x"));
    let run = &saved.recording.runs[0];
    assert_eq!((run.slow_polls_total, run.slow_polls.len() as u64 + run.slow_polls_dropped), (2, 2));
    assert!(run.slow_polls_dropped <= 1 && run.coverage.missing.iter().any(|why| why == LOST), "{run:?}");
    let of_intervals: u64 = run.intervals.iter().map(|slice| slice.polls.as_ref().unwrap().count()).sum();
    assert_eq!(of_intervals, 2, "an interval that could not be written is part of the next");
}

#[test]
fn two_probes_of_a_process_have_files_of_their_own() {
    let parent = tempfile::tempdir().unwrap();
    for path in [parent.path().join("folder"), parent.path().join("one.pollscope")] {
        let probes = [(); 2].map(|()| {
            let mut builder = Builder::new_current_thread();
            let probe = Probe::builder().record(&path).install(&mut builder).unwrap();
            builder.build().unwrap().block_on(probe.watch(async {}));
            probe
        });
        drop(probes);
    }
    assert_eq!(read(&parent.path().join("folder")).recording.runs.len(), 2);
    assert!(parent.path().join("one.pollscope").is_file() && parent.path().join("one-1.pollscope").is_file());
}

#[test]
fn with_hidden_paths_there_are_none() {
    let (_parent, folder) = folder();
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(5 * MS).redact_paths(true).record(&folder);
    let probe = probe.install(&mut builder).unwrap();
    let file = fs::File::open("Cargo.toml").unwrap();
    builder.build().unwrap().block_on(probe.watch(async {
        thread::sleep(6 * MS);
        let _ = file.sync_all();
    }));
    drop(probe);
    let run = read(&folder).recording.runs.remove(0);
    let target = run.subject.target().unwrap();
    assert_eq!((target.pid, &target.exe), (None, &None));
    assert!(run.slow_polls.iter().all(|poll| poll.spawned_at.as_deref().is_some_and(|at| !at.starts_with('/'))));
    assert!(run.known_sites().iter().all(|site| !site.spawned_at.starts_with('/')));
}

#[test]
fn every_time_can_be_written() {
    let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    assert_eq!(Run::written(since_1970(at(1_764_467_555))), "2025-11-30T01:52:35.000Z");
    let before = UNIX_EPOCH.checked_sub(Duration::from_secs(1));
    for none in [None, before, at(253_402_300_800), at(i64::MAX as u64 / 2)] {
        assert_eq!(Run::written(since_1970(none)), "1970-01-01T00:00:00.000Z");
    }
}

#[test]
fn the_time_around_a_very_long_poll_is_kept_and_adds_to_nothing() {
    let (_parent, folder) = folder();
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(10 * MS).record(&folder).install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    runtime.block_on(probe.watch(async {
        let start = Instant::now();
        let is_late = |run: &Run| run.fine.iter().any(|fine| fine.late == 1);
        while !read_so_far(&folder).is_some_and(|saved| saved.recording.runs.iter().any(is_late)) {
            thread::sleep(5 * MS);
            assert!(start.elapsed() < Duration::from_secs(60), "it is not told");
        }
    }));
    drop((runtime, probe));
    let run = read(&folder).recording.runs.remove(0);
    assert!(run.fine.windows(2).all(|two| two[0].end_ns == two[1].start_ns), "none is missing: {:?}", run.fine);
    let poll = &run.slow_polls[0];
    let (start_ns, end_ns) = (poll.start_ns, poll.start_ns + poll.duration_ns);
    let late: Vec<&Fine> = run.fine.iter().filter(|fine| fine.late > 0).collect();
    assert!(late.iter().all(|fine| (start_ns..=end_ns).contains(&fine.end_ns)), "{late:?} in {start_ns} to {end_ns}");
    // One worker cannot be in polls for longer than there is time, but that a look itself takes some.
    let (busy_ns, first, last) =
        (run.fine.iter().map(|fine| fine.busy_ns).sum::<u64>(), run.fine[0], run.fine.last().unwrap());
    assert!(busy_ns > 0 && busy_ns <= last.end_ns - first.start_ns + 1_000_000_000, "{:?}", run.fine);
    let of_intervals: u64 = run.intervals.iter().map(|slice| slice.polls.as_ref().unwrap().count()).sum();
    assert_eq!(run.polls.as_ref().unwrap().count(), of_intervals);
}
