//! Offloaded: a writer thread that owns the output and runs an event loop of its own.
//!
//! Its methods are async and take no lock: `write` hands the lines to the thread's loop and awaits the answer. Starting and
//! joining the thread are system calls too, so these run on the blocking pool.

use std::io;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::output::{OpenedOutput, Output, OutputSpec};
use super::{LineBatch, Sink, SinkError};
use crate::spawner::Spawner;

/// The most writes that wait for the thread; further writers wait for room.
const QUEUE: usize = 1_024;

enum Command {
    Write { lines: LineBatch, done: oneshot::Sender<Result<(), SinkError>> },
    Stop { done: oneshot::Sender<Result<(), SinkError>> },
}

/// The output of this mode.
#[derive(Debug)]
pub(crate) struct Offloaded {
    spec: OutputSpec,
    spawner: Spawner,
    /// `None` while the sink is dropped: then the thread writes what it accepted, and ends.
    commands: Option<mpsc::Sender<Command>>,
    thread: Option<WriterThread>,
}

/// Joins the thread when it is dropped, so that everything that the thread accepted is written first.
#[derive(Debug)]
struct WriterThread(Option<thread::JoinHandle<()>>);

impl WriterThread {
    fn join(&mut self) {
        if let Some(thread) = self.0.take() {
            // The panic hook printed its panic, and its unanswered writes failed.
            let _ = thread.join();
        }
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.join();
    }
}

impl Sink for Offloaded {
    async fn open(spec: OutputSpec, spawner: &Spawner) -> Result<(Offloaded, OpenedOutput), SinkError> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (ready, is_ready) = oneshot::channel();
        let started = {
            let (spec, starting) = (spec.clone(), spawner.clone());
            let start = move || starting.spawn_thread("pollscope-write", move || run(spec, queue, ready));
            spawner.spawn_blocking(move || start().map(|thread| WriterThread(Some(thread)))).await
        };
        let failed = |error| spec.failed("start a thread for", error);
        let thread =
            started.unwrap_or_else(|_| Err(io::Error::other("the runtime is shutting down"))).map_err(failed)?;
        // Complete before the next await: a cancellation there must close the queue before it joins the thread.
        let sink =
            Offloaded { spec: spec.clone(), spawner: spawner.clone(), commands: Some(commands), thread: Some(thread) };
        match is_ready.await {
            Ok(Ok(opened)) => Ok((sink, opened)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed(io::Error::other("the thread ended before it was ready"))),
        }
    }

    async fn write(&self, lines: LineBatch) -> Result<(), SinkError> {
        self.ask(|done| Command::Write { lines, done }).await
    }

    async fn close(mut self) -> Result<(), SinkError> {
        let closed = self.ask(|done| Command::Stop { done }).await;
        self.commands = None;
        if let Some(mut thread) = self.thread.take() {
            // An error means that the runtime is shutting down: the thread was joined when the closure was dropped.
            let _ = self.spawner.spawn_blocking(move || thread.join()).await;
        }
        closed
    }
}

impl Offloaded {
    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), SinkError>>) -> Command,
    ) -> Result<(), SinkError> {
        let (done, answer) = oneshot::channel();
        if let Some(commands) = &self.commands
            && commands.send(command(done)).await.is_ok()
            && let Ok(answer) = answer.await
        {
            return answer;
        }
        Err(self.spec.failed("write to", io::Error::other("the writer thread has ended")))
    }
}

impl Drop for Offloaded {
    /// Without [`Sink::close`], after an error or a cancellation, the thread still writes what it accepted.
    fn drop(&mut self) {
        self.commands = None;
        let Some(mut thread) = self.thread.take() else { return };
        // On a runtime, joins it off the loop; the runtime's shutdown waits for that.
        if let Ok(handle) = Handle::try_current() {
            drop(handle.spawn_blocking(move || thread.join()));
        }
    }
}

/// The writer thread: opens the output, reports that it is ready, writes what it gets, and ends on a stop or when the sink is dropped.
fn run(spec: OutputSpec, queue: mpsc::Receiver<Command>, ready: oneshot::Sender<Result<OpenedOutput, SinkError>>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(spec.failed("start an event loop for", error)));
            return;
        }
    };
    runtime.block_on(async {
        match Output::open(spec) {
            Ok(output) => {
                // An error means that the opening was cancelled; then the queue is closed, and the loop ends.
                let _ = ready.send(Ok(output.opened().clone()));
                serve(output, queue).await;
            }
            Err(error) => {
                let _ = ready.send(Err(error));
            }
        }
    });
}

async fn serve(mut output: Output, mut queue: mpsc::Receiver<Command>) {
    let mut stops = Vec::new();
    // After a stop the queue takes nothing new, and what it has is still written.
    while let Some(command) = queue.recv().await {
        match command {
            Command::Write { lines, done } => {
                // An error means that the caller was cancelled; its lines are written.
                let _ = done.send(output.write(&lines));
            }
            Command::Stop { done } => {
                queue.close();
                stops.push(done);
            }
        }
    }
    let closed = output.close();
    for done in stops {
        let _ = done.send(closed.clone());
    }
}
