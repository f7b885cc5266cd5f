//! A web server whose handler blocks: hyper's connections are all spawned at one place, and the line must be the handler's.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use pollscope_probe::{Cause, Probe, SlowPoll, TOKIO_UNSTABLE};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::support::{LONG, eventually, slow_polls};

const BLOCK: Duration = Duration::from_millis(90);
/// Where the handler blocks.
static LINE: AtomicU32 = AtomicU32::new(0);

async fn waits() -> &'static str {
    tokio::time::sleep(BLOCK).await;
    "waited"
}

async fn handler_that_blocks() -> &'static str {
    LINE.store(line!() + 1, Relaxed);
    std::thread::sleep(BLOCK);
    "blocked"
}

/// A request by a client that knows nothing of Tokio; the answer's body.
fn request(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// What a server shows of a few requests, one of which blocks.
fn served(mut builder: Builder) -> Vec<SlowPoll> {
    let probe = Probe::builder()
        .slow_poll_threshold(Duration::from_millis(30))
        .source_root(env!("CARGO_MANIFEST_DIR"))
        .install(builder.enable_all())
        .unwrap();
    let runtime = builder.build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn({
        let probe = probe.clone();
        move || {
            runtime.block_on(probe.watch(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let app = Router::new().route("/blocks", get(handler_that_blocks)).route("/waits", get(waits));
                axum::serve(listener, app).with_graceful_shutdown(async { _ = stopped.await }).await.unwrap();
            }));
        }
    });
    let address = told.recv().unwrap();
    for (path, body) in [("/waits", "waited"), ("/blocks", "blocked"), ("/waits", "waited")] {
        assert_eq!(request(address, path), body);
    }
    drop(stop);
    server.join().unwrap();
    slow_polls(&probe)
}

#[test]
fn the_blocking_line_is_the_handlers() {
    for flavour in [Builder::new_current_thread, Builder::new_multi_thread] {
        eventually(|| {
            let seen = served(flavour());
            if is_the_handlers(&seen) { Ok(()) } else { Err(format!("{seen:#?}")) }
        });
    }
}

fn is_the_handlers(polls: &[SlowPoll]) -> bool {
    if !TOKIO_UNSTABLE {
        // The connection's task is spawned by axum, so nobody can watch it.
        return polls.is_empty();
    }
    let [poll] = polls else { return false };
    let evidence = &poll.evidence;
    let line = format!("tests/it/web.rs:{}", LINE.load(Relaxed));
    let spawned_at = poll.spawned_at.file();
    (spawned_at.contains("hyper-util") || spawned_at.contains("axum"))
        && evidence.blocking_line.as_deref() == Some(line.as_str())
        && evidence.function.as_deref().is_some_and(|function| function.contains("handler_that_blocks"))
        && evidence.cause == Some(Cause::BlockingCall)
}
