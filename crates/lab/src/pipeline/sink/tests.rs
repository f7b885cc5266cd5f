//! What every mode promises.

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use super::*;

/// The same for every mode, on a runtime that allows them all.
macro_rules! in_every_mode {
    ($test:ident) => {{
        $test::<Naive>(&runtime());
        $test::<Offloaded>(&runtime());
        $test::<SpawnBlocking>(&runtime());
        $test::<TokioFs>(&runtime());
        $test::<BlockInPlace>(&runtime());
    }};
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap()
}

fn spec(path: &Path, existing: Existing) -> OutputSpec {
    OutputSpec { path: path.to_owned(), existing, sync_every: 3, sync_within: None }
}

fn whole_and_in_order<S: Sink>(runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    runtime.block_on(async {
        let (sink, opened) = S::open(spec(&path, Existing::Refuse), &Spawner::unmeasured()).await.unwrap();
        assert_eq!(opened.start, 0);
        let sink = Arc::new(sink);
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let sink = Arc::clone(&sink);
                tokio::spawn(async move {
                    for number in 0..50 {
                        let bytes = format!("{writer} {}\n{writer} {}\n", 2 * number, 2 * number + 1).into_bytes();
                        sink.write(LineBatch { bytes, count: 2 }).await.unwrap();
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        Arc::into_inner(sink).unwrap().close().await.unwrap();
    });
    let text = std::fs::read_to_string(&path).unwrap();
    for writer in 0..4 {
        let prefix = format!("{writer} ");
        let own: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
        assert_eq!(own, (0..100).map(|number| number.to_string()).collect::<Vec<_>>(), "writer {writer}");
    }
    assert_eq!(text.lines().count(), 400);
}

#[test]
fn lines_of_many_writers_are_whole_and_in_order() {
    in_every_mode!(whole_and_in_order);
}

fn the_first_error<S: Sink>(runtime: &Runtime) {
    runtime.block_on(async {
        let (sink, _) =
            S::open(spec(Path::new("/dev/full"), Existing::Overwrite), &Spawner::unmeasured()).await.unwrap();
        for _ in 0..3 {
            let error = sink.write(LineBatch::one(b"a\n".to_vec())).await.unwrap_err();
            assert_eq!((error.operation, error.good_to), ("write to", Some(0)));
            assert_eq!(error.error.kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(sink.close().await.unwrap_err().operation, "write to");
    });
}

#[test]
fn the_first_error_stays() {
    in_every_mode!(the_first_error);
}

fn a_failed_open<S: Sink>(runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let opened = runtime.block_on(async {
        S::open(spec(&folder.path().join("missing/out"), Existing::Refuse), &Spawner::unmeasured()).await
    });
    let error = opened.err().unwrap();
    assert_eq!((error.error.kind(), error.good_to), (io::ErrorKind::NotFound, None));
}

#[test]
fn an_output_that_cannot_be_opened_is_an_error() {
    in_every_mode!(a_failed_open);
}

/// The first write blocks in a full pipe when its caller goes away; what another writes then is not within its line.
fn a_cancelled_write<S: Sink>(runtime: &Runtime) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    let mut reader = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let long = [vec![b'a'; 3 << 20], b"\n".to_vec()].concat();
    let unsynced = OutputSpec { sync_every: 0, ..spec(&path, Existing::Fifo) };
    let text = runtime.block_on(async {
        let (sink, _) = S::open(unsynced, &Spawner::unmeasured()).await.unwrap();
        let sink = Arc::new(sink);
        let first = tokio::spawn({
            let (sink, long) = (Arc::clone(&sink), long.clone());
            async move { sink.write(LineBatch::one(long)).await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        first.abort();
        let second = tokio::spawn({
            let sink = Arc::clone(&sink);
            async move { sink.write(LineBatch::one(b"second\n".to_vec())).await }
        });
        let read = std::thread::spawn(move || {
            let mut text = Vec::new();
            let mut buffer = vec![0; 1 << 16];
            while !text.ends_with(b"end\n") {
                let length = io::Read::read(&mut reader, &mut buffer).unwrap();
                text.extend_from_slice(&buffer[..length]);
            }
            text
        });
        let second = second.await.unwrap();
        let _ = first.await;
        let closed = Arc::into_inner(sink).unwrap().close().await;
        assert_eq!(second.is_ok(), closed.is_ok(), "{second:?} {closed:?}");
        let mut end = std::fs::File::options().write(true).open(&path).unwrap();
        io::Write::write_all(&mut end, b"end\n").unwrap();
        (read.join().unwrap(), second.is_ok())
    });
    let (text, is_second) = text;
    if is_second {
        assert_eq!(text.len(), long.len() + "second\nend\n".len());
        assert!(text.starts_with(&long) && text.ends_with(b"second\nend\n"));
    } else {
        let written = text.strip_suffix(b"end\n").unwrap();
        assert!(long.starts_with(written) && written.len() < long.len(), "a named loss: nothing after a line in part");
    }
}

#[test]
fn a_write_whose_caller_goes_away_is_whole_or_a_named_loss() {
    in_every_mode!(a_cancelled_write);
}
