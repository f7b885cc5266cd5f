//! What a look-up costs, printed, not judged: `cargo test -p pollscope-stacks --release --test cost -- --nocapture`.
#![cfg(supported)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use pollscope_stacks::address::CodeAddress;
use pollscope_stacks::capture::Capturer;
use pollscope_stacks::poll::{self, Rules};
use pollscope_stacks::process::Process;
use pollscope_stacks::symbolize::Symbolizer;
use pollscope_stacks::thread::ThreadRef;

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
