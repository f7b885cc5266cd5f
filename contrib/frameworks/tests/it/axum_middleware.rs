//! axum's middleware that blocks.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::get;
use pollscope_frameworks::{Expected, Place, block, check, served};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tower::ServiceBuilder;
use tower::limit::ConcurrencyLimitLayer;

static BEFORE: Place = Place::new();
static AFTER: Place = Place::new();
static LIMITED: Place = Place::new();

async fn blocks_before(request: Request, next: Next) -> Response {
    block!(BEFORE);
    next.run(request).await
}

async fn blocks_after(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    block!(AFTER);
    response
}

async fn blocks_behind_a_limit() -> &'static str {
    block!(LIMITED);
    "answered"
}

fn app() -> Router {
    let limited = ServiceBuilder::new().layer(ConcurrencyLimitLayer::new(1));
    Router::new()
        .route("/before", get(async || "answered").layer(from_fn(blocks_before)))
        .route("/after", get(async || "answered").layer(from_fn(blocks_after)))
        .route("/limited", get(blocks_behind_a_limit).layer(limited))
}

#[test]
fn the_line_is_the_middlewares() {
    for (path, place, function) in [
        ("/before", &BEFORE, "blocks_before"),
        ("/after", &AFTER, "blocks_after"),
        ("/limited", &LIMITED, "blocks_behind_a_limit"),
    ] {
        check(&Expected { place, spawned_in: "axum", function }, |builder| {
            let serve = async |listener, stopped: tokio::sync::oneshot::Receiver<()>| {
                let ends = async { _ = stopped.await };
                axum::serve(listener, app()).with_graceful_shutdown(ends).await.unwrap();
            };
            let ask = async |address| {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nanswered"), "{answer}");
            };
            served(builder, serve, ask)
        });
    }
}
