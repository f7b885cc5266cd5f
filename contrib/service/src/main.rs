//! A shop's stock as a service, to try pollscope on: items from SQLite, orders that go into a journal on disk, uploads, a report that
//! computes, a stream, and background jobs.
//!
//! ```sh
//! cargo build && pollscope record --for 30s -- target/debug/pollscope-service
//! wrk -t1 -c16 -d25s -s load.lua http://127.0.0.1:3000    # meanwhile, elsewhere
//! ```
//!
//! `--block 120ms` makes every 40th order hold up its worker in [`journal`], as a lock or a full disk would; with `--offload` as well,
//! the same work is done on a thread of the blocking pool. So there are two builds of one service in one program, and a third without
//! the fault.

mod app;
mod database;
mod errors;
mod items;
mod jobs;
mod journal;
mod options;
mod orders;
mod report;
mod ticks;
mod uploads;

use std::io::{self, Write};
use std::process::ExitCode;

use pollscope_probe::ProbeBuilder;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use app::App;
use options::Options;

async fn serve(options: Options) -> io::Result<()> {
    let port = options.port;
    let app = tokio::task::spawn_blocking(move || App::open(&options)).await??;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    // The tests wait for this line.
    println!("listening on http://{}", listener.local_addr()?);
    io::stdout().flush()?;
    let jobs = jobs::start(&app);
    let served = axum::serve(listener, app.router()).with_graceful_shutdown(asked_to_end());
    served.await?;
    jobs.stop().await;
    app.journal.sync().await
}

/// SIGTERM, or Ctrl-C.
async fn asked_to_end() {
    let mut terminated = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminated) => terminated,
        Err(error) => return eprintln!("cannot listen for SIGTERM: {error}"),
    };
    tokio::select! {
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(options.workers).enable_all();
    let probe = ProbeBuilder::from_env().source_root(env!("CARGO_MANIFEST_DIR"));
    match probe.try_run(&mut runtime, serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot serve: {error}");
            ExitCode::FAILURE
        }
    }
}
