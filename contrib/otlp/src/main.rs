//! A web service whose slow polls go to an OpenTelemetry collector, as log records over OTLP/HTTP: `cargo run --release` in this
//! folder, and then, elsewhere, `curl localhost:3000/blocks`. Ctrl-C ends it. Each record has the trace of its request; the spans
//! themselves are sent by an exporter of their own, which this service has not.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` names another collector than `http://localhost:4318`, `PORT` another port.

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::LogExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use pollscope_probe::{Probe, SpanLayer, events};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Holds up its worker, and every connection that waits for it.
#[tracing::instrument(name = "GET /blocks", fields(route = "/blocks"))]
async fn blocks() -> &'static str {
    std::thread::sleep(Duration::from_millis(50));
    "blocked\n"
}

async fn serve() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}/blocks", listener.local_addr()?);
    let interrupted = async { _ = tokio::signal::ctrl_c().await };
    axum::serve(listener, Router::new().route("/blocks", get(blocks))).with_graceful_shutdown(interrupted).await
}

fn main() -> Result<(), Box<dyn Error>> {
    // Built before the runtime: its client has a thread of its own, and refuses to be made within one.
    let exporter = LogExporter::builder().with_http().build()?;
    let service = Resource::builder().with_service_name("pollscope-otlp").build();
    let logs = SdkLoggerProvider::builder().with_resource(service).with_batch_exporter(exporter).build();
    // The exporter has events of its own: sent on, each batch would make the next.
    let of_ours =
        Targets::new().with_target(events::TARGET, LevelFilter::WARN).with_target("pollscope_otlp", LevelFilter::INFO);
    let tracer = SdkTracerProvider::builder().build().tracer("pollscope-otlp");
    let spans = SpanLayer::new().field("route").trace_by(|id, dispatch| {
        let context = tracing_opentelemetry::get_otel_context(id, dispatch)?;
        let span = context.span().span_context().clone();
        span.is_valid().then(|| (span.trace_id().to_string(), span.span_id().to_string()))
    });
    let traces = tracing_opentelemetry::layer().with_tracer(tracer);
    tracing_subscriber::registry()
        .with(spans)
        .with(traces)
        .with(OpenTelemetryTracingBridge::new(&logs).with_filter(of_ours))
        .init();

    let probe = Probe::builder()
        .slow_poll_threshold(Duration::from_millis(20))
        .source_root(env!("CARGO_MANIFEST_DIR"))
        .tracing(true);
    let served = probe.try_run(Builder::new_multi_thread().enable_all(), serve());
    // After the runtime and its probe are gone: the last events are on their way.
    logs.shutdown()?;
    Ok(served?)
}
