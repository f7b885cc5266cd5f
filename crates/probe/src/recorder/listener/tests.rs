use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pollscope_record::feed::Update;
use pollscope_record::growing::{self, Fed};
use pollscope_record::live::{Live, State};
use pollscope_record::recording::read::Saved;
use pollscope_record::recording::{Ended, Run, RuntimeInfo};
use tokio::runtime::Builder;

use super::*;
use crate::probe::{Probe, ProbeBuilder};

const MS: Duration = Duration::from_millis(1);
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// The only socket in a folder.
fn socket(folder: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    let [socket] = &files[..] else { panic!("{files:?}") };
    socket.clone()
}

fn connect(folder: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket(folder)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// A feed that was begun: its first lines are there.
fn begun(folder: &Path) -> BufReader<UnixStream> {
    let mut feed = BufReader::new(connect(folder));
    assert!(feed.fill_buf().unwrap().starts_with(b"{\"recording\":"));
    feed
}

fn run_of(text: &str) -> Run {
    let Saved { mut recording, .. } = growing::read([text.as_bytes()], text.len() as u64).unwrap();
    assert_eq!(recording.runs.len(), 1);
    recording.runs.remove(0)
}

fn listening(folder: &Path) -> ProbeBuilder {
    Probe::builder().slow_poll_threshold(5 * MS).listen_in(folder)
}

/// Blocks so many times, and then lets an interval end.
fn block(runtime: &tokio::runtime::Runtime, probe: &Probe, times: u64) {
    runtime.block_on(probe.watch(async move {
        for _ in 0..times {
            thread::sleep(6 * MS);
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(1_100 * MS).await;
    }));
}

#[test]
fn a_feed_says_what_the_file_says() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, file) = (parent.path().join("feed"), parent.path().join("one.pollscope"));
    let mut builder = Builder::new_current_thread();
    let probe = listening(&folder).record(&file).install(&mut builder).unwrap();
    let runtime = builder.enable_time().build().unwrap();
    let mut feed = begun(&folder);
    let reading = thread::spawn(move || {
        let mut text = String::new();
        io::Read::read_to_string(&mut feed, &mut text).unwrap();
        text
    });
    block(&runtime, &probe, 20);
    drop((runtime, probe));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "the socket is gone");
    let text = reading.join().unwrap();
    let [of_feed, of_file] = [run_of(&text), run_of(&fs::read_to_string(file).unwrap())];
    let counts = |run: &Run| {
        let of_intervals = run.intervals.iter().map(|slice| slice.polls.as_ref().unwrap().count()).sum::<u64>();
        let of_sites = run.known_sites().iter().map(|site| site.polls.count()).sum::<u64>();
        (run.polls.as_ref().unwrap().count(), of_intervals, of_sites, run.slow_polls_total, run.slow_polls_dropped)
    };
    assert_eq!(counts(&of_feed), counts(&of_file));
    let (polls, of_intervals, of_sites, slow, dropped) = counts(&of_feed);
    assert!(polls == of_intervals && polls == of_sites && slow >= 20 && dropped == 0, "{:?}", counts(&of_feed));
    let polls = |run: &Run| run.slow_polls.iter().map(|poll| (poll.id, poll.duration_ns)).collect::<Vec<_>>();
    assert_eq!(polls(&of_feed), polls(&of_file));
    assert_eq!([of_feed.ended, of_file.ended], [Ended::Done; 2]);
    let runtime = RuntimeInfo { flavor: "current_thread".to_owned(), workers: 1 };
    assert_eq!([of_feed.subject.runtimes(), of_file.subject.runtimes()], [[runtime.clone()], [runtime]]);
    assert!(text.contains("\n{\"live\":{") && !of_feed.coverage.missing.iter().any(|why| why.contains("passed over")));
}

#[test]
fn whoever_comes_later_gets_what_comes_later() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("feed");
    let mut builder = Builder::new_current_thread();
    let probe = listening(&folder).install(&mut builder).unwrap();
    let runtime = builder.enable_time().build().unwrap();
    block(&runtime, &probe, 3);
    assert!(probe.flush(LONG));
    let before = probe.snapshot();
    let mut feed = begun(&folder);
    // It writes, which nobody reads; and wants no more.
    let asking = feed.get_ref().try_clone().unwrap();
    (&asking).write_all(b"give me all\n").unwrap();
    block(&runtime, &probe, 2);
    assert!(probe.flush(LONG));
    let after = probe.snapshot();
    asking.shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    io::Read::read_to_string(&mut feed, &mut text).unwrap();
    let run = run_of(&text);
    let since = after.since(&before);
    assert_eq!((run.ended, run.slow_polls_total, run.slow_polls_dropped), (Ended::Done, since.slow_polls_total, 0));
    assert_eq!(run.slow_polls.len() as u64, run.slow_polls_total, "the ones before are not listed");
    assert_eq!(run.polls.as_ref().unwrap().count(), since.polls.count());
    assert!(run.slow_polls.iter().all(|poll| poll.start_ns + poll.duration_ns <= run.elapsed_ns));
    assert!(run.elapsed_ns < duration_of(&after), "its time begins with it");
}

fn duration_of(snapshot: &Snapshot) -> u64 {
    pollscope_base::duration::to_ns(snapshot.at)
}

#[test]
fn a_fifth_client_is_told_so_and_has_room_when_another_leaves() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("feed");
    let mut builder = Builder::new_current_thread();
    let _probe = listening(&folder).install(&mut builder).unwrap();
    let mut four: Vec<_> = (0..MOST_CLIENTS).map(|_| begun(&folder)).collect();
    let mut said = String::new();
    io::Read::read_to_string(&mut connect(&folder), &mut said).unwrap();
    assert!(said.starts_with("{\"refused\":\"four others read it already") && said.ends_with("\n"), "{said}");
    four.pop();
    let start = Instant::now();
    loop {
        let mut first = String::new();
        BufReader::new(connect(&folder)).read_line(&mut first).unwrap();
        if first.starts_with("{\"recording\":") {
            break;
        }
        assert!(start.elapsed() < LONG, "{first}");
        thread::sleep(5 * MS);
    }
}

#[test]
fn a_client_that_does_not_read_is_left_and_the_service_and_others_go_on() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("feed");
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(Duration::from_nanos(1)).listen_in(&folder);
    #[cfg(feature = "capture")]
    let probe = probe.capture(false);
    let probe = probe.install(&mut builder).unwrap();
    let runtime = builder.enable_time().build().unwrap();
    let idle = begun(&folder);
    let feed = begun(&folder);
    let (tell, told) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut count = 0_u64;
        growing::follow(feed, |fed| {
            count += u64::from(matches!(fed, Fed::Update(Update::SlowPoll(_), _)));
            let _ = tell.send(count);
            ControlFlow::Continue(())
        })
        .unwrap();
        count
    });
    // More than the buffers have room for, of the system and of the probe.
    let is_left = || {
        let mut all = [PollFd::new(idle.get_ref(), PollFlags::RDHUP)];
        poll(&mut all, Some(&timespec(Duration::ZERO))).unwrap() > 0
    };
    let start = Instant::now();
    let mut polls = 0;
    while !is_left() {
        assert!(start.elapsed() < LONG, "after {polls} polls nobody left it");
        runtime.block_on(probe.watch(async {
            for _ in 0..500 {
                tokio::task::yield_now().await;
            }
        }));
        polls += 500;
        thread::sleep(MS);
    }
    let heard = told.try_iter().last().unwrap_or_default();
    drop((runtime, probe));
    assert!(reading.join().unwrap() >= heard && heard > 0);
}

#[test]
fn what_blocks_is_told_while_it_does() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("feed");
    let mut builder = Builder::new_current_thread();
    let probe = Probe::builder().slow_poll_threshold(10 * MS).listen_in(&folder).install(&mut builder).unwrap();
    let runtime = builder.build().unwrap();
    let feed = begun(&folder);
    let (tell, told) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut ended = Vec::new();
        let followed = growing::follow(feed, |fed| {
            match fed {
                Fed::Live(live) => drop(tell.send(*live)),
                Fed::Update(Update::SlowPoll(poll), _) => ended.push(poll.id),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        followed.map(|_| ended)
    });
    let live = runtime.block_on(probe.watch(async {
        let until = Instant::now() + LONG;
        let is_seen = |live: &Live| live.stalls.iter().any(|stall| !crate::CAPTURE || !stall.stack.is_empty());
        told.iter().find(|live| is_seen(live) || Instant::now() > until)
    }));
    let live = live.unwrap();
    let [stall] = &live.stalls[..] else { panic!("{live:.2000?}") };
    assert!(stall.duration_ns >= 10_000_000);
    assert_eq!(stall.id, 1, "it has a number, whoever told of it first");
    // This crate's own code is nobody's line.
    assert_eq!(stall.syscall.as_ref().map(|call| call.name.as_str()), crate::CAPTURE.then_some("futex"));
    let polling = live.workers.iter().find(|worker| worker.state == State::Polling).unwrap();
    assert_eq!(polling.task_id, None, "the root future");
    assert!(polling.for_ns >= Some(10_000_000) && polling.spawned_at.is_some(), "{polling:?}");
    drop((runtime, probe));
    assert_eq!(reading.join().unwrap().unwrap(), [1]);
}

#[test]
fn where_it_cannot_listen_it_says_so_and_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (mut said, lines) = io::pipe().unwrap();
    let mut builder = Builder::new_current_thread();
    let file = parent.path().join("one.pollscope");
    let probe = listening(parent.path()).log_to(lines).record(&file).install(&mut builder).unwrap();
    block(&builder.enable_time().build().unwrap(), &probe, 1);
    drop(probe);
    let mut text = String::new();
    io::Read::read_to_string(&mut said, &mut text).unwrap();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("cannot listen in `")).collect();
    assert!(told.len() == 1 && told[0].starts_with("WARN pollscope: ") && told[0].contains("chmod 700"), "{text}");
    let run = run_of(&fs::read_to_string(file).unwrap());
    assert!(run.slow_polls_total >= 1 && run.intervals.len() >= 2, "it writes the file by itself");
}
