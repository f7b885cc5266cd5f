//! What a look-up costs, printed, not judged: `cargo test -p pollscope-stacks --release --test cost -- --nocapture`.
#![cfg(supported)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use pollscope_stacks::address::CodeAddress;
use pollscope_stacks::poll::{self, Rules};
use pollscope_stacks::process::Process;
use pollscope_stacks::symbolize::Symbolizer;

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
