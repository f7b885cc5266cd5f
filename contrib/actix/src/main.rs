//! An actix-web service whose requests are measured: `POLLSCOPE=1 cargo run --release` in this folder, and then, elsewhere,
//! `curl localhost:3000/blocks`. Ctrl-C ends it. `PORT` names another port.
//!
//! Each of actix's workers has a runtime of its own, which no probe is installed in. So the requests are watched.

use std::io;
use std::time::Duration;

use actix_web::dev::Service;
use actix_web::{App, HttpServer, get};
use pollscope_probe::{Probe, ProbeBuilder};
use tokio::runtime::Builder;

/// Holds up its worker, and every connection that waits for it.
#[get("/blocks")]
async fn blocks() -> &'static str {
    std::thread::sleep(Duration::from_millis(150));
    "blocked\n"
}

async fn serve(probe: Probe) -> io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let app = move || {
        let probe = probe.clone();
        App::new().service(blocks).wrap_fn(move |request, next| probe.watch(next.call(request)))
    };
    let server = HttpServer::new(app).workers(2).bind(("127.0.0.1", port))?;
    server.addrs().iter().for_each(|address| println!("listening on http://{address}/blocks"));
    server.run().await
}

fn main() -> io::Result<()> {
    let mut builder = Builder::new_current_thread();
    let probe = ProbeBuilder::from_env().install(builder.enable_all())?;
    let runtime = builder.build()?;
    let measured = probe.watch(serve(probe.clone()));
    actix_web::rt::System::with_tokio_rt(|| runtime).block_on(measured)
}
