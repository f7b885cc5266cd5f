//! A web server that has a page of metrics already, with the probe's added to it:
//! `cargo run --release -p pollscope-probe --example metrics`, and then, elsewhere, `curl localhost:3000/blocks localhost:3000/metrics`.
//!
//! A page that the measured loop serves is not served while the loop is blocked: it shows that afterwards.
//! `Probe::serve_prometheus` answers meanwhile too, from a thread of its own, on a port of its own. `PORT` sets another port.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use pollscope_probe::Probe;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

/// What the handlers share: a metric of the service's own, and the probe.
#[derive(Clone)]
struct Service {
    requests: Arc<AtomicU64>,
    probe: Probe,
}

/// Holds up its worker, and every connection that waits for it.
async fn blocks(State(service): State<Service>) -> &'static str {
    service.requests.fetch_add(1, Relaxed);
    std::thread::sleep(Duration::from_millis(20));
    "blocked\n"
}

/// However many spawn sites there are, 50 have a label and the rest is `site="other"`: what a scrape costs has a bound.
async fn metrics(State(service): State<Service>) -> impl IntoResponse {
    let requests = service.requests.load(Relaxed);
    // It adds up the histograms of all threads, and need not be on the loop for that.
    let of_the_loop = tokio::task::spawn_blocking(move || service.probe.snapshot().to_prometheus());
    let page =
        format!("# TYPE requests_total counter\nrequests_total {requests}\n{}", of_the_loop.await.unwrap_or_default());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page)
}

async fn serve(probe: Probe) -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}: /blocks and /metrics", listener.local_addr()?);
    let app = Router::new().route("/blocks", get(blocks)).route("/metrics", get(metrics));
    axum::serve(listener, app.with_state(Service { requests: Arc::default(), probe })).await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut runtime = Builder::new_multi_thread();
    let probe = Probe::builder().slow_poll_threshold(Duration::from_millis(10)).install(runtime.enable_all())?;
    let runtime = runtime.build()?;
    Ok(runtime.block_on(probe.watch(serve(probe.clone())))?)
}
