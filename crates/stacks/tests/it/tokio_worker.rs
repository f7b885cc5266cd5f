//! Workers of a Tokio runtime, blocked in a task.

use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
use std::sync::mpsc::channel;
use std::time::Duration;

use pollscope_stacks::capture::Capturer;
use pollscope_stacks::thread::ThreadRef;

use crate::support::{capture_in, full_pipe, name};

#[inline(never)]
async fn write_all(writer: &mut PipeWriter, rounds: usize) {
    for _ in 0..rounds {
        append(writer).await;
        tokio::task::yield_now().await;
    }
}

#[inline(never)]
async fn append(writer: &mut PipeWriter) {
    writer.write_all(&[0; 4096]).expect("the reader lives");
}

fn release(reader: &mut PipeReader) {
    reader.read_exact(&mut [0; 4096]).expect("the writer lives");
}

#[test]
fn a_thousand_blocking_writes_in_a_task() {
    const ROUNDS: usize = 1000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let (mut reader, mut writer) = full_pipe();
    let (tell, hear) = channel();
    let task = runtime.spawn(async move {
        tell.send(ThreadRef::current()).unwrap();
        write_all(&mut writer, ROUNDS).await;
    });
    let thread = hear.recv().unwrap();
    let mut capturer = Capturer::new();
    let mut complete = 0;
    let mut in_a_poll = 0;
    let mut last: Option<pollscope_stacks::capture::Capture> = None;
    for _ in 0..ROUNDS {
        let capture = loop {
            let capture = capture_in(&mut capturer, &thread, "write");
            // Each write is another one.
            if last.as_ref().is_none_or(|last| !capture.is_same_block_as(last)) {
                break capture;
            }
            std::thread::sleep(Duration::from_micros(100));
        };
        complete += usize::from(capture.stack.is_complete() && capture.stack.guessed.is_none());
        let functions: Vec<_> = capture.stack.frames.iter().filter_map(|frame| name(frame.raw())).collect();
        in_a_poll += usize::from(
            functions.iter().any(|name| name.contains("4task3raw4poll") || name.contains("4task7harness"))
                && functions.iter().any(|name| name.contains("scheduler")),
        );
        last = Some(capture);
        release(&mut reader);
    }
    runtime.block_on(task).unwrap();
    assert_eq!((complete, in_a_poll), (ROUNDS, ROUNDS));
}
