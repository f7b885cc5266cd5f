//! The loop's side of a run: the runtime, its root future, and the witnesses that live on it.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Instant;

use pollscope_probe::Probe;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{oneshot, watch};

use super::setup::Work;
use super::{RunError, io_error};
use crate::blocking_tasks;
use crate::pipeline::merge::{MergeOutcome, merge};
use crate::pipeline::sink::Mode;
use crate::scenario::{ResponseSettings, Settings};
use crate::spawner::Spawner;
use crate::witness::lag::{self, Lag};
use crate::witness::responder;

/// A message of the loop's thread to the supervisor.
pub(super) enum LoopEvent {
    Started(Handle),
    WorkloadDone,
    Finished(Result<WorkloadOutcome, RunError>),
}

/// The result of the workload.
pub(super) enum WorkloadOutcome {
    Merged(Box<MergeOutcome>),
    Blocked,
}

/// What moves to the loop's thread.
pub(super) struct LoopThread {
    pub(super) probe: Probe,
    pub(super) spawner: Spawner,
    pub(super) work: Work,
    pub(super) mode: Mode,
    pub(super) closed: watch::Receiver<bool>,
    pub(super) origin: Instant,
    pub(super) witnesses: LoopWitnesses,
    pub(super) events: mpsc::Sender<LoopEvent>,
}

/// The witnesses' sides on the loop.
pub(super) struct LoopWitnesses {
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stop: watch::Sender<bool>,
    server: Option<EchoServer>,
}

struct EchoServer {
    listener: std::net::TcpListener,
    connections: usize,
    connected: oneshot::Receiver<()>,
}

/// The witnesses' sides outside.
pub(super) struct OutsideWitnesses {
    pub(super) lag: Option<Lag>,
    pub(super) client: Option<EchoClient>,
}

/// What the outside client needs to connect; `connected` tells the loop that it did.
pub(super) struct EchoClient {
    pub(super) server: SocketAddr,
    pub(super) settings: ResponseSettings,
    pub(super) connected: oneshot::Sender<()>,
}

/// Both sides of the witnesses that the settings ask for.
pub(super) fn witnesses(settings: &Settings) -> Result<(LoopWitnesses, OutsideWitnesses), RunError> {
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
    Ok((LoopWitnesses { timer, stop, server }, OutsideWitnesses { lag, client }))
}

fn echo(settings: ResponseSettings) -> std::io::Result<(EchoServer, EchoClient)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let (tell, connected) = oneshot::channel();
    let server = EchoServer { listener, connections: settings.connections, connected };
    Ok((server, EchoClient { server: address, settings, connected: tell }))
}

impl LoopThread {
    /// Builds the runtime and runs the workload on it. The last event is always `Finished`.
    pub(super) fn run(self, mut builder: Builder) {
        let (events, meter) = (self.events.clone(), self.spawner.meter().clone());
        let finished = match builder.build() {
            Err(error) => Err(io_error("build the runtime")(error)),
            Ok(runtime) => {
                let _ = events.send(LoopEvent::Started(runtime.handle().clone()));
                let root = self.probe.clone().watch(self.root()).named("main");
                let run = move || runtime.block_on(root);
                catch_unwind(AssertUnwindSafe(run)).unwrap_or(Err(RunError::Panicked))
            }
        };
        meter.thread_ends();
        // An error means that the supervisor has given up.
        let _ = events.send(LoopEvent::Finished(finished));
    }

    async fn root(self) -> Result<WorkloadOutcome, RunError> {
        let spawner = self.spawner;
        let timer = self.witnesses.timer.map(|timer| spawner.spawn("lag timer", timer));
        let server = match self.witnesses.server {
            None => None,
            Some(EchoServer { listener, connections, connected }) => {
                let listener = TcpListener::from_std(listener).map_err(io_error("listen on `127.0.0.1`"))?;
                let serve = responder::serve(spawner.clone(), listener, connections);
                let server = spawner.spawn("echo server", serve);
                // An error means that the client could not connect; the supervisor reports that.
                let _ = connected.await;
                Some(server)
            }
        };
        let outcome = work(&spawner, self.work, self.mode, self.origin, self.closed).await;
        let _ = self.events.send(LoopEvent::WorkloadDone);
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
    spawner: &Spawner,
    work: Work,
    mode: Mode,
    origin: Instant,
    closed: watch::Receiver<bool>,
) -> Result<WorkloadOutcome, RunError> {
    match work {
        Work::Block(settings) => {
            blocking_tasks::run(spawner, mode, settings, closed).await;
            Ok(WorkloadOutcome::Blocked)
        }
        Work::Merge(work) => {
            let options = work.tail_options(origin);
            let merged = merge(spawner, mode, work.inputs, work.output, options, closed).await;
            merged.map(|merged| WorkloadOutcome::Merged(Box::new(merged))).map_err(RunError::Output)
        }
    }
}
