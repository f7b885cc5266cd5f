//! A web server with one handler that blocks its event loop:
//! `cargo run --release -p pollscope-probe --example axum`, and then, elsewhere, `curl localhost:3000/blocks`.
//!
//! On stderr: the slow poll, and the line in the handler. Every connection's task is spawned inside hyper-util, so where it was
//! spawned says nothing. `PORT` sets another port.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use pollscope_probe::Probe;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

const PAUSE: Duration = Duration::from_millis(20);

/// Holds up its worker, and every connection that waits for it.
async fn blocks() -> &'static str {
    std::thread::sleep(PAUSE);
    "blocked\n"
}

/// Takes as long, and holds up nobody.
async fn waits() -> &'static str {
    tokio::time::sleep(PAUSE).await;
    "waited\n"
}

async fn serve() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}: /blocks and /waits", listener.local_addr()?);
    axum::serve(listener, Router::new().route("/blocks", get(blocks)).route("/waits", get(waits))).await
}

fn main() -> std::io::Result<()> {
    let probe = Probe::builder().slow_poll(Duration::from_millis(10)).slow_poll_lines(std::io::stderr());
    probe.run(Builder::new_multi_thread().enable_all(), serve())?
}
