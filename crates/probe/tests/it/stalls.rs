//! Stalls that go on: told once while they last, and counted once when they end. Also where no watchdog looks at them.

use std::panic::Location;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pollscope_probe::{CAPTURE, Polling, Probe, ProbeBuilder};
use tokio::runtime::Runtime;

use crate::support::{Kept, LONG, current_thread, eventually, multi_thread, wait_until};

const THRESHOLD: Duration = Duration::from_millis(10);

/// A stall, and the thread that told it.
type Heard = (Polling, Option<String>);

/// The stalls that were told.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<Heard>>>);

impl Told {
    fn all(&self) -> Vec<Heard> {
        self.0.lock().unwrap().clone()
    }

    fn hear(&self, stall: &Polling) {
        self.0.lock().unwrap().push((stall.clone(), thread::current().name().map(str::to_owned)));
    }
}

fn telling(told: &Told) -> ProbeBuilder {
    let told = told.clone();
    Probe::builder().slow_poll_threshold(THRESHOLD).on_stall(move |stall| told.hear(stall))
}

/// A root poll on a thread of its own that goes on until the answer is dropped or sent to.
fn stall(runtime: &Arc<Runtime>, probe: &Probe, name: &str) -> (Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = channel::<()>();
    let (runtime, stuck) = (Arc::clone(runtime), probe.watch(async move { _ = stopped.recv() }));
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(stuck)).unwrap();
    (stop, thread)
}

fn page_says(probe: &Probe, line: &str) -> bool {
    probe.snapshot().to_prometheus().lines().any(|said| said == line)
}

#[test]
fn a_poll_that_never_ends_is_told_once_and_counted_when_it_ends() {
    eventually(|| {
        let (told, kept, ended) = (Told::default(), Kept::default(), Arc::new(Mutex::new(Vec::new())));
        let (before, ends) = (told.clone(), Arc::clone(&ended));
        let builder = telling(&told).log_to(kept.clone()).on_slow_poll(move |poll| {
            ends.lock().unwrap().push((poll.task_name.clone(), before.all().len()));
        });
        let (runtime, probe) = multi_thread(2, builder);
        let (stop, stopped) = channel::<()>();
        let here = Location::caller().line() + 3;
        let task = {
            let _inside = runtime.enter();
            probe.spawn("stuck", async move { _ = stopped.recv() })
        };
        // A line more, a hundred times the threshold after its beginning or with names, and no call more.
        let lines = || kept.lines().iter().filter(|line| line.contains(" still runs after ")).count();
        wait_until("it was not told", || lines() >= 2);
        let meanwhile = probe.snapshot();
        assert_eq!((meanwhile.stalls_open, meanwhile.slow_polls_total), (1, 0));
        assert!(page_says(&probe, "pollscope_stalls_open 1") && page_says(&probe, "pollscope_slow_polls_total 0"));
        let all = told.all();
        let [(stall, teller)] = &all[..] else { panic!("once: {all:#?}") };
        assert_eq!((stall.task_name.as_deref(), stall.spawned_at.line()), (Some("stuck"), here));
        assert_eq!((stall.task_id, stall.thread_name.clone()), (meanwhile.polling[0].task_id, None));
        assert!(stall.worker.is_some_and(|worker| worker < 2) && stall.worker == meanwhile.polling[0].worker);
        assert!(stall.elapsed >= Duration::from_millis(100) && stall.elapsed <= meanwhile.polling[0].elapsed);
        assert_eq!(teller.as_deref(), Some("pollscope-report"));
        // Where threads cannot be looked at, a line before it says so.
        let first = kept.lines().into_iter().find(|line| line.contains(" still runs after ")).unwrap();
        assert!(first.ends_with(&stall.to_string()), "{stall} {:#?}", kept.lines());
        drop(stop);
        runtime.block_on(task).unwrap();
        drop(runtime);
        assert!(probe.flush(LONG));
        let after = probe.snapshot();
        assert_eq!((after.stalls_open, after.slow_polls_total, after.stalls_untold), (0, 1, 0));
        assert!(page_says(&probe, "pollscope_stalls_open 0") && page_says(&probe, "pollscope_slow_polls_total 1"));
        assert_eq!(told.all().len(), 1);
        assert_eq!(*ended.lock().unwrap(), [(Some("stuck".into()), 1)], "its end is told after it");
        let is_seen = !CAPTURE || stall.evidence.captures > 0;
        if is_seen { Ok(()) } else { Err(format!("nothing was seen of it: {stall:#?}")) }
    });
}

/// As long as it takes for names and lines: nobody waits for whoever is called.
#[test]
fn a_callback_that_blocks_holds_up_no_loop_and_what_finds_no_room_is_counted() {
    const MORE: usize = 40;
    const ROOM: usize = 32;
    let told = Told::default();
    let (entered, let_go) = (Arc::new(Mutex::new(0)), channel::<()>());
    let (open, gate) = let_go;
    let (hears, enters) = (told.clone(), Arc::clone(&entered));
    let builder = Probe::builder().slow_poll_threshold(THRESHOLD).on_stall(move |stall| {
        *enters.lock().unwrap() += 1;
        let _ = gate.recv();
        hears.hear(stall);
    });
    let (runtime, probe) = current_thread(builder);
    let runtime = Arc::new(runtime);
    let first = stall(&runtime, &probe, "first");
    wait_until("the first is told", || *entered.lock().unwrap() == 1);
    let threads: Vec<_> = (0..MORE).map(|n| stall(&runtime, &probe, &format!("more-{n}"))).collect();
    wait_until("all go on", || probe.snapshot().stalls_open == 1 + MORE as u64);
    // Without a watchdog nobody looks meanwhile, and nobody has to wait for room.
    let untold = if has_watchdog() { MORE - ROOM } else { 0 };
    wait_until("not counted", || probe.snapshot().stalls_untold == untold as u64);
    drop(open);
    wait_until("not told", || told.all().len() == 1 + MORE - untold);
    let all = told.all();
    // Whoever came first is the runtime's worker, and the others are none.
    assert_eq!((all[0].0.worker, &all[0].0.thread_name), (Some(0), &None));
    let is_named = |name: &str| name.starts_with("more-");
    let are_named = all[1..].iter().all(|(stall, _)| stall.thread_name.as_deref().is_some_and(is_named));
    assert!(are_named && all[1..].iter().all(|(stall, _)| stall.worker.is_none()), "{all:#?}");
    drop(first.0);
    first.1.join().unwrap();
    for (stop, thread) in threads {
        drop(stop);
        thread.join().unwrap();
    }
    assert!(probe.flush(LONG));
    let after = probe.snapshot();
    assert_eq!((after.stalls_open, after.stalls_untold, after.slow_polls_total), (0, untold as u64, 1 + MORE as u64));
    assert!(page_says(&probe, &format!("pollscope_stalls_untold_total {untold}")));
}

fn has_watchdog() -> bool {
    cfg!(feature = "capture")
}

#[test]
fn a_callback_that_panics_is_counted_and_called_for_the_next() {
    let (told, mut times) = (Told::default(), 0);
    let hears = told.clone();
    let builder = Probe::builder().slow_poll_threshold(THRESHOLD).on_stall(move |stall| {
        times += 1;
        if times == 1 {
            std::panic::resume_unwind(Box::new("on purpose"));
        }
        hears.hear(stall);
    });
    let (runtime, probe) = current_thread(builder);
    let runtime = Arc::new(runtime);
    let first = stall(&runtime, &probe, "first");
    wait_until("not counted", || probe.snapshot().callback_panics == 1);
    let next = stall(&runtime, &probe, "next");
    wait_until("not told", || told.all().len() == 1);
    assert_eq!(told.all()[0].0.thread_name.as_deref(), Some("next"));
    for (stop, thread) in [first, next] {
        drop(stop);
        thread.join().unwrap();
    }
}

/// What ends before is slow, and no stall that is told.
#[test]
fn a_slow_poll_that_ends_in_time_is_no_stall() {
    let told = Told::default();
    let (runtime, probe) = current_thread(telling(&told).slow_poll_threshold(Duration::from_secs(30)));
    runtime.block_on(probe.watch(async { thread::sleep(Duration::from_millis(250)) }));
    let (runtime, slow) = current_thread(telling(&told).slow_poll_threshold(Duration::from_millis(1)));
    runtime.block_on(slow.watch(async { thread::sleep(Duration::from_millis(2)) }));
    assert!(probe.flush(LONG) && slow.flush(LONG));
    let ended = slow.snapshot();
    assert_eq!((probe.snapshot().slow_polls_total, ended.slow_polls_total), (0, 1));
    // A busy machine can make it one.
    let long = ended.slow_polls.iter().filter(|poll| poll.duration >= Duration::from_millis(100)).count();
    assert!(told.all().len() <= long, "{:#?}", told.all());
}
