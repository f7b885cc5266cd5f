//! What a look-up costs, printed, not judged: `cargo test -p pollscope-stacks --release --test cost -- --nocapture`.
#![cfg(supported)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use pollscope_stacks::address::CodeAddress;
use pollscope_stacks::capture::Capturer;
use pollscope_stacks::perf::{Breakpoint, CpuSampler, Sample};
use pollscope_stacks::poll::{self, Rules};
use pollscope_stacks::process::Process;
use pollscope_stacks::symbolize::Symbolizer;
use pollscope_stacks::thread::{ThreadRef, Watched, read_schedule, read_state};

fn stack() -> Vec<CodeAddress> {
    let mut stack = Vec::new();
    backtrace::trace(|frame| {
        stack.push(CodeAddress::Return(frame.ip() as u64));
        true
    });
    stack
}

fn timed<T>(what: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = what();
    (start.elapsed(), result)
}

#[test]
fn look_ups() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let spawned = runtime.block_on(async { tokio::spawn(async { stack() }).await.unwrap() });
    let mut symbolizer = Symbolizer::new(Process::current());
    let mut all = |stack: &[CodeAddress]| timed(|| symbolizer.symbolize_stack(stack));
    let (first, symbolized) = all(&spawned);
    let (repeated, _) = all(&spawned);
    let (other, _) = all(&stack());
    let (found, _) = timed(|| black_box(poll::find(&symbolized, &Rules::default())));
    const TIMES: u32 = 100_000;
    let (many, ()) = timed(|| (0..TIMES).for_each(|_| drop(black_box(symbolizer.symbolize(spawned[3])))));
    println!(
        "{} frames, {} with inlined: first stack {first:?}, the same again {repeated:?}, another {other:?}, \
         one repeated look-up {:?}, finding the poll {found:?}",
        symbolized.len(),
        poll::frames(&symbolized).count(),
        many / TIMES,
    );
    assert_eq!(poll::find(&symbolized, &Rules::default()).kind, poll::Kind::Task);
}

#[inline(never)]
fn down(levels: u32, call: &mut dyn FnMut()) -> u32 {
    if levels == 0 {
        call();
        return 0;
    }
    down(levels - 1, call) + black_box(1)
}

/// At a blocked thread: a few frames deep, as most are, and very many.
#[test]
fn looks() {
    for (levels, times) in [(0, 1_000), (1_000, 100), (100_000, 2)] {
        let (tell, hear) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let block = move || {
            tell.send(ThreadRef::current()).unwrap();
            stopped.recv().ok();
        };
        let sleeper = std::thread::Builder::new().stack_size(64 << 20);
        let sleeper = sleeper.spawn(move || down(levels, &mut { block })).unwrap();
        let thread = hear.recv().unwrap();
        let mut capturer = Capturer::new();
        while capturer.capture(&thread).is_err() {}
        let round = || timed(|| (0..times).for_each(|_| drop(black_box(capturer.capture(&thread).unwrap())))).0 / times;
        let mut rounds: Vec<_> = std::iter::repeat_with(round).take(25).collect();
        rounds.sort();
        println!("one look at {levels} frames: fastest {:?}, median {:?}", rounds[0], rounds[rounds.len() / 2]);
        drop(stop);
        sleeper.join().unwrap();
    }
}

/// Says the median and the 90th percentile.
fn say(thread: &str, what: &str, mut times: Vec<Duration>) {
    times.sort();
    let of = |part: usize| times.get(times.len() * part / 100);
    if let (Some(median), Some(most)) = (of(50), of(90)) {
        println!("a thread that {thread}: {what}: median {median:?}, 90 % {most:?}, {} times", times.len());
    }
}

#[inline(never)]
fn round() {
    (0..1_000).for_each(|number| _ = black_box(number));
}

/// What open files and perf events cost the one who looks: at a thread of this process that computes, and at one that is blocked.
#[test]
fn perf_events_and_open_files() {
    for name in ["computes", "is blocked"] {
        let (tell, hear) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let looked_at = std::thread::spawn(move || {
            tell.send(ThreadRef::current()).unwrap();
            if name == "is blocked" {
                stopped.recv().ok();
            }
            while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                round();
            }
        });
        let thread = hear.recv().unwrap();
        files(name, &thread);
        samples(name, &thread);
        breakpoints(name, &thread);
        drop(stop);
        looked_at.join().unwrap();
    }
}

fn files(name: &str, thread: &ThreadRef) {
    let many = |what: &mut dyn FnMut()| (0..1_000).map(|_| timed(&mut *what).0).collect();
    let watched = Watched::open(thread).unwrap();
    let open = many(&mut || _ = black_box((watched.state().unwrap(), watched.schedule().unwrap())));
    say(name, "state and schedule, of open files", open);
    let opened = many(&mut || _ = black_box((read_state(thread).unwrap(), read_schedule(thread).unwrap())));
    say(name, "state and schedule, opened each time", opened);
}

fn samples(name: &str, thread: &ThreadRef) {
    let mut sampler = match CpuSampler::open(thread, Duration::from_millis(1)) {
        Ok(sampler) => sampler,
        Err(error) => return eprintln!("SKIP: {error}"),
    };
    let mut capturer = Capturer::new();
    let (mut none, mut one, mut unwound) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2_000 {
        std::thread::sleep(Duration::from_micros(500));
        let mut unwinding = Duration::ZERO;
        let mut unwind = |sample: Sample<'_>| unwinding += timed(|| capturer.unwind_sample(&sample).unwrap()).0;
        let (time, drained) = timed(|| sampler.drain(&mut unwind));
        match drained.samples {
            0 => none.push(time),
            1 => {
                one.push(time - unwinding);
                unwound.push(unwinding);
            }
            _ => {}
        }
    }
    say(name, "a drain of nothing", none);
    say(name, "a drain of one sample", one);
    say(name, "unwinding it", unwound);
}

fn breakpoints(name: &str, thread: &ThreadRef) {
    let mut breakpoint = match Breakpoint::open(thread, round as *const () as u64) {
        Ok(breakpoint) => breakpoint,
        Err(error) => return eprintln!("SKIP: {error}"),
    };
    let (mut armed, mut again, mut not_fired, mut fired, mut disarmed) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..1_000 {
        armed.push(timed(|| breakpoint.arm().unwrap()).0);
        let begin = Instant::now();
        // One that is blocked does not come there.
        while begin.elapsed() < Duration::from_micros(200) {
            let (time, at) = timed(|| breakpoint.fired());
            if at.is_some() {
                fired.push(time);
                break;
            }
            not_fired.push(time);
        }
        if breakpoint.fired().is_none() {
            again.push(timed(|| breakpoint.arm().unwrap()).0);
            disarmed.push(timed(|| breakpoint.disarm()).0);
        }
    }
    say(name, "arming a breakpoint", armed);
    say(name, "arming one that is armed", again);
    say(name, "fired, when it did not", not_fired);
    say(name, "fired, when it did", fired);
    say(name, "disarming", disarmed);
}
