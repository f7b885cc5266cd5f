//! The loop's side of a run: the runtime, its root future, and the witnesses' ends that live on it.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Instant;

use pollscope_probe::Probe;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::prepare::Work;
use super::{RunError, io_error};
use crate::block;
use crate::pipeline::merge::{Merged, merge};
use crate::pipeline::sink::Mode;
use crate::scenario::{ResponseSettings, Settings};
use crate::tasks::Tasks;
use crate::witness::lag::{self, Lag};
use crate::witness::responder;

/// What the loop's thread says to the one that watches it.
pub(super) enum Event {
    Started(Handle),
    WorkloadDone,
    Finished(Result<Outcome, RunError>),
}

/// What the workload came to.
pub(super) enum Outcome {
    Merged(Box<Merged>),
    Blocked,
}

/// What moves to the loop's thread.
pub(super) struct OnLoop {
    pub(super) probe: Probe,
    pub(super) tasks: Tasks,
    pub(super) work: Work,
    pub(super) mode: Mode,
    pub(super) closed: watch::Receiver<bool>,
    pub(super) origin: Instant,
    pub(super) witnesses: EndsOnLoop,
    pub(super) events: mpsc::Sender<Event>,
}

/// The witnesses' ends on the loop.
pub(super) struct EndsOnLoop {
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stop: watch::Sender<bool>,
    server: Option<Server>,
}

struct Server {
    listener: std::net::TcpListener,
    connections: usize,
    connected: oneshot::Receiver<()>,
}

/// The witnesses' ends outside.
pub(super) struct EndsOutside {
    pub(super) lag: Option<Lag>,
    pub(super) client: Option<ClientEnd>,
}

/// What the outside client needs to connect, and whom it tells that it did.
pub(super) struct ClientEnd {
    pub(super) server: SocketAddr,
    pub(super) settings: ResponseSettings,
    pub(super) connected: oneshot::Sender<()>,
}

/// Both ends of what the settings ask for.
pub(super) fn witnesses(settings: &Settings) -> Result<(EndsOnLoop, EndsOutside), RunError> {
    let (stop, stopped) = watch::channel(false);
    let (lag, timer) = settings.witness.lag.map(|period| lag::witness(period, stopped)).unzip();
    let (server, client) = match settings.witness.response {
        None => (None, None),
        Some(response) => {
            let (server, client) = echo(response).map_err(io_error("listen on `127.0.0.1`"))?;
            (Some(server), Some(client))
        }
    };
    let timer = timer.map(|timer| Box::pin(timer) as _);
    Ok((EndsOnLoop { timer, stop, server }, EndsOutside { lag, client }))
}

fn echo(settings: ResponseSettings) -> std::io::Result<(Server, ClientEnd)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (tell, connected) = oneshot::channel();
    let server = Server { listener, connections: settings.connections, connected };
    Ok((server, ClientEnd { server: address, settings, connected: tell }))
}

impl OnLoop {
    /// Builds the runtime and runs the workload on it. The last event is always `Finished`.
    pub(super) fn run(self, mut builder: Builder) {
        let (events, meter) = (self.events.clone(), self.tasks.meter().clone());
        let finished = match builder.build() {
            Err(error) => Err(io_error("build the runtime")(error)),
            Ok(runtime) => {
                let _ = events.send(Event::Started(runtime.handle().clone()));
                let root = self.probe.clone().watch(self.root()).named("main");
                let run = move || runtime.block_on(root);
                catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(RunError::Panicked))
            }
        };
        meter.thread_ends();
        // An error means that the watching side gave up: there is nobody to tell.
        let _ = events.send(Event::Finished(finished));
    }

    async fn root(self) -> Result<Outcome, RunError> {
        let tasks = self.tasks;
        let timer = self.witnesses.timer.map(|timer| tasks.spawn("lag timer", timer));
        let server = match self.witnesses.server {
            None => None,
            Some(Server { listener, connections, connected }) => {
                let listener = TcpListener::from_std(listener).map_err(io_error("listen on `127.0.0.1`"))?;
                let serve = responder::serve(tasks.clone(), listener, connections);
                let server = tasks.spawn("echo server", serve);
                // An error means that the client could not connect; the watching side says so.
                let _ = connected.await;
                Some(server)
            }
        };
        let outcome = work(&tasks, self.work, self.mode, self.origin, self.closed).await;
        let _ = self.events.send(Event::WorkloadDone);
        let _ = self.witnesses.stop.send(true);
        if let Some(timer) = timer {
            let _ = timer.await;
        }
        if let Some(server) = server {
            let _ = server.await;
        }
        outcome
    }
}

async fn work(
    tasks: &Tasks,
    work: Work,
    mode: Mode,
    origin: Instant,
    closed: watch::Receiver<bool>,
) -> Result<Outcome, RunError> {
    match work {
        Work::Block(settings) => {
            block::block(tasks, mode, settings, closed).await;
            Ok(Outcome::Blocked)
        }
        Work::Merge(work) => {
            let options = work.tail_options(origin);
            let merged = merge(tasks, mode, work.inputs, work.output, options, closed).await;
            merged.map(|merged| Outcome::Merged(Box::new(merged))).map_err(RunError::Output)
        }
    }
}
