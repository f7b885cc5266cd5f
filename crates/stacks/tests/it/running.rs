//! Running threads, sampled by signal; and blocked ones, which must not notice.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use pollscope_stacks::capture::Capturer;
use pollscope_stacks::look::{Look, Looker};
use pollscope_stacks::process::Process;
use pollscope_stacks::signal::{MOST_WHOLE, SampleError, Sampler};
use pollscope_stacks::thread::ThreadRef;
use pollscope_stacks::unwind::{End, Obstacle, Stack};

use crate::support::{PATIENCE, capture_in, name, spawn, truth};

#[inline(never)]
fn spin_outer(stop: &AtomicBool) -> u64 {
    spin_inner(stop) + black_box(1)
}

#[inline(never)]
fn spin_inner(stop: &AtomicBool) -> u64 {
    let mut sum = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        sum = black_box(sum.wrapping_mul(31).wrapping_add(std::time::Instant::now().elapsed().subsec_nanos().into()));
        sum ^= format!("{sum}").len() as u64;
    }
    sum
}

/// Tests that sample do it one after the other: there is one handler for all.
pub(crate) fn one() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn a_thousand_samples_of_a_spinning_thread() {
    const SAMPLES: usize = 1000;
    let _one = one();
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let spinning = spawn(move || {
        black_box(spin_outer(&theirs));
    });
    let sampler = Sampler::install().unwrap();
    let mut capturer = Capturer::new();
    let (mut complete, mut right) = (0, 0);
    let mut samples = 0;
    while samples < SAMPLES {
        let sample = match sampler.sample(&spinning.thread, PATIENCE) {
            Ok(sample) => sample,
            // It just begins, or takes a lock of the allocator.
            Err(SampleError::NotRunning) => continue,
            Err(error) => panic!("{error}"),
        };
        samples += 1;
        let stack = capturer.unwind_sample(&sample).unwrap();
        complete += usize::from(stack.is_complete());
        let frames: Vec<u64> = stack.frames.iter().map(|frame| frame.raw()).collect();
        let functions: Vec<_> = frames.iter().filter_map(|address| name(*address)).collect();
        let inner = functions.iter().position(|name| name.contains("spin_inner"));
        let outer = functions.iter().position(|name| name.contains("spin_outer"));
        let nested = inner.zip(outer).is_some_and(|(inner, outer)| inner + 1 == outer)
            // The thread was told of by the test before it came to spin.
            || inner.is_none();
        right += usize::from(nested && frames.ends_with(&spinning.truth[1..]));
    }
    stop.store(true, Ordering::Relaxed);
    spinning.handle.join().unwrap();
    assert_eq!((complete, right), (SAMPLES, SAMPLES));
}

#[test]
fn of_a_deep_stack_as_much_is_right_as_was_copied() {
    const MORE: Obstacle = Obstacle::NotCopied(MOST_WHOLE as u64);

    #[inline(never)]
    fn down(levels: usize, spin: &mut dyn FnMut()) -> usize {
        let mut bytes = [levels as u8; 8 << 10];
        black_box(&mut bytes);
        let deeper = if levels == 0 {
            spin();
            0
        } else {
            down(levels - 1, spin)
        };
        deeper + black_box(usize::from(bytes[levels]))
    }
    let _one = one();
    let sampler = Sampler::install().unwrap();
    let mut capturer = Capturer::new();
    for (levels, is_whole) in [(3, true), (33, true), (200, true), (400, false)] {
        let (tell, hear) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let spin = move || {
            tell.send((ThreadRef::current(), truth())).unwrap();
            black_box(spin_outer(&theirs));
        };
        let thread = std::thread::Builder::new().stack_size(16 << 20);
        let handle = thread.spawn(move || black_box(down(levels, &mut { spin }))).unwrap();
        let (asked, truth) = hear.recv().unwrap();
        let begin = Instant::now();
        let stack = loop {
            assert!(begin.elapsed() < PATIENCE, "never sampled");
            match sampler.sample_up_to(MOST_WHOLE, &asked, PATIENCE) {
                Ok(sample) => break capturer.unwind_sample(&sample).unwrap(),
                Err(SampleError::NotRunning) => {}
                Err(error) => panic!("{error}"),
            }
        };
        let mut looker = Looker::new(asked.process);
        // One that got no CPU in time for the larger copy shows less.
        let is_partial = |stack: &Stack| matches!(stack.end, End::Incomplete { why, .. } if why != MORE);
        let looked = loop {
            assert!(begin.elapsed() < PATIENCE, "never looked at");
            match looker.look(&asked, 0) {
                Some(Look { stack: Some(stack), off_cpu: None, .. }) if !is_partial(&stack) => break stack,
                _ => {}
            }
        };
        stop.store(true, Ordering::Relaxed);
        handle.join().unwrap();
        for stack in [stack, looked] {
            let is_as_expected = match stack.end {
                End::Root => is_whole,
                End::Incomplete { why, .. } => !is_whole && why == MORE,
            };
            assert!(is_as_expected, "{levels}: {:?}", stack.end);
            let frames: Vec<u64> = stack.frames.iter().map(|frame| frame.raw()).collect();
            let own = frames.iter().position(|address| *address == truth[1]).expect("the caller");
            let known = frames.len() - own;
            assert_eq!(frames[own..], truth[1..=known], "{levels}");
            assert!(if is_whole { known == truth.len() - 1 } else { (240..260).contains(&known) }, "{levels}: {known}");
        }
    }
}

#[test]
fn blocked_threads_are_not_interrupted() {
    let _one = one();
    static INTERRUPTED: AtomicUsize = AtomicUsize::new(0);
    let sampler = Sampler::install().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let sleeper = spawn(|| {
        let time = libc::timespec { tv_sec: 2, tv_nsec: 0 };
        // SAFETY: a valid time, and nowhere to put what remains of it.
        let result = unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
        INTERRUPTED.fetch_add(usize::from(result != 0), Ordering::Relaxed);
    });
    let poller = spawn(move || {
        use std::os::fd::AsRawFd as _;
        let mut file = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid `pollfd`, and the count says so.
        let result = unsafe { libc::poll(&raw mut file, 1, 30_000) };
        INTERRUPTED.fetch_add(usize::from(result != 1), Ordering::Relaxed);
    });
    let mut capturer = Capturer::new();
    capture_in(&mut capturer, &sleeper.thread, "clock_nanosleep");
    capture_in(&mut capturer, &poller.thread, "poll");
    for _ in 0..200 {
        for blocked in [&sleeper, &poller] {
            let error = sampler.sample(&blocked.thread, PATIENCE).unwrap_err();
            assert_eq!(error, SampleError::NotRunning);
            assert!(capturer.capture(&blocked.thread).unwrap().stack.is_complete());
        }
    }
    drop(writer);
    sleeper.handle.join().unwrap();
    poller.handle.join().unwrap();
    assert_eq!(INTERRUPTED.load(Ordering::Relaxed), 0);
}

#[test]
fn a_thread_that_blocks_the_signal_is_left_alone() {
    let _one = one();
    let sampler = Sampler::install().unwrap();
    let (tell, hear) = channel();
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let signal = sampler.signal();
    let thread = std::thread::spawn(move || {
        // SAFETY: an empty set of signals, to which one is added that exists; of this thread only.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        }
        tell.send(ThreadRef::current()).unwrap();
        black_box(spin_inner(&theirs));
    });
    let asked = hear.recv().unwrap();
    assert_eq!(sampler.sample(&asked, Duration::from_millis(1)).unwrap_err(), SampleError::Masked);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    assert!(matches!(sampler.sample(&asked, PATIENCE), Err(SampleError::State(_))));
}

#[test]
fn a_thread_of_another_process_is_sent_nothing() {
    let _one = one();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let foreign = Process::open(child.id()).unwrap().thread(child.id());
    let sampler = Sampler::install().unwrap();
    assert_eq!(sampler.sample(&foreign, PATIENCE).unwrap_err(), SampleError::Foreign);
    assert!(child.try_wait().unwrap().is_none(), "the signal would have ended it");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_replaced_handler_is_noticed_and_a_foreign_signal_does_no_harm() {
    let _one = one();
    let sampler = Sampler::install().unwrap();
    assert_eq!(Sampler::install().unwrap().signal(), sampler.signal());
    let me = ThreadRef::current();
    // SAFETY: the signal has a handler; the thread is this one.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), me.tid, sampler.signal()) };
    // SAFETY: all zeros are a valid `sigaction`, which asks for the default. What was there is put back, and no signal
    // is sent meanwhile.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        let mut ours: libc::sigaction = std::mem::zeroed();
        libc::sigaction(sampler.signal(), &raw const default, &raw mut ours);
        assert_eq!(sampler.sample(&me, PATIENCE).unwrap_err(), SampleError::Displaced);
        libc::sigaction(sampler.signal(), &raw const ours, std::ptr::null_mut());
    }
    // Anyone who asks is in a system call whenever it looks.
    assert_eq!(sampler.sample(&me, PATIENCE).unwrap_err(), SampleError::NotRunning);
}

/// In a process of its own: there is one handler for all who sample.
#[test]
#[ignore = "what a child process of another test does"]
fn beside_a_foreign_handler() {
    static PLAIN: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn plain(_: i32) {
        PLAIN.fetch_add(1, Ordering::Relaxed);
    }
    let signal = libc::SIGRTMIN() + 3;
    // SAFETY: all zeros and a handler, which only counts, are a valid `sigaction`.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = plain as extern "C" fn(i32) as libc::sighandler_t;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
    let sampler = Sampler::install_for(signal).unwrap();
    assert_eq!(Sampler::install().unwrap().signal(), signal, "one is enough");
    let me = ThreadRef::current();
    for _ in 0..10 {
        // SAFETY: the signal has a handler; the thread is this one.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), me.tid, signal) };
    }
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let spinning = spawn(move || {
        black_box(spin_outer(&theirs));
    });
    let samples = (0..100).filter(|_| sampler.sample(&spinning.thread, PATIENCE).is_ok()).count();
    stop.store(true, Ordering::Relaxed);
    spinning.handle.join().unwrap();
    assert!(samples > 0);
    assert_eq!(PLAIN.load(Ordering::Relaxed), 10, "those that were not sent by the sampler, and no others");
    println!("both were called");
}

#[test]
fn a_foreign_handler_is_called_for_its_signals() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["running::beside_a_foreign_handler", "--exact", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("both were called"), "{output:?}");
}
