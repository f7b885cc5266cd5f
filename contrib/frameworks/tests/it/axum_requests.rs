//! Which route of axum's blocked, by the probe's layer: whoever spawned the task, and without spans.

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::routing::{get, put};
use pollscope_frameworks::{BLOCK, served};
use pollscope_probe::{RequestLayer, TOKIO_UNSTABLE};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

async fn blocks() -> &'static str {
    tokio::task::yield_now().await;
    std::thread::sleep(BLOCK);
    "answered"
}

fn app() -> Router {
    let route = |request: &Request| request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    Router::new()
        .route("/items/{id}", get(blocks).put(async || "answered"))
        .route("/others/{id}", put(blocks))
        .route_layer(RequestLayer::new(route))
}

#[test]
fn the_route_is_the_one_that_blocked() {
    for (request, span) in [
        ("GET /items/7", "`GET /items/{id}` (method GET, route /items/{id})"),
        ("PUT /others/7", "`PUT /others/{id}` (method PUT, route /others/{id})"),
    ] {
        for flavor in [Builder::new_current_thread, Builder::new_multi_thread] {
            let serve = async |listener, stopped: tokio::sync::oneshot::Receiver<()>| {
                let ends = async { _ = stopped.await };
                axum::serve(listener, app()).with_graceful_shutdown(ends).await.unwrap();
            };
            let ask = async |address| {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.ends_with("\r\n\r\nanswered"), "{answer}");
            };
            let (probe, ()) = served(&mut flavor(), serve, ask);
            assert!(probe.flush(std::time::Duration::from_secs(60)));
            let polls = probe.snapshot().slow_polls;
            let is_told =
                polls.iter().any(|poll| poll.evidence.span.as_ref().is_some_and(|told| told.to_string() == span));
            assert!(is_told || !TOKIO_UNSTABLE, "{polls:#?}");
        }
    }
}
