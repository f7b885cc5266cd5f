//! A web server with two handlers that block its event loop, and one that does not:
//! `cargo run --release -p pollscope-probe --example axum`, and then, elsewhere, `curl localhost:3000/blocks`.
//!
//! On stderr: the slow poll, and the line in the handler. Every connection's task is spawned at one place inside axum, so where it was
//! spawned says nothing. `PORT` sets another port.

use std::time::{Duration, Instant};

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

/// Holds it up as well, by computing.
async fn computes() -> &'static str {
    let start = Instant::now();
    while start.elapsed() < PAUSE {
        std::hint::spin_loop();
    }
    "computed\n"
}

/// Takes as long, and holds up nobody.
async fn waits() -> &'static str {
    tokio::time::sleep(PAUSE).await;
    "waited\n"
}

async fn serve() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}: /blocks, /computes and /waits", listener.local_addr()?);
    let app = Router::new().route("/blocks", get(blocks)).route("/computes", get(computes)).route("/waits", get(waits));
    axum::serve(listener, app).await
}

fn main() -> std::io::Result<()> {
    let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(10)).log_to(std::io::stderr());
    probe.try_run(Builder::new_multi_thread().enable_all(), serve())
}
