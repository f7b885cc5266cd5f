//! A loopback echo service on one worker, the main thread. Its client is another process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::{Done, Instrument};

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    reads: AtomicU64,
}

/// Prints the address, and serves until stdin ends.
pub(crate) fn serve<I: Instrument>(runtime: &Runtime, instrument: &I) -> Done {
    let counts = Arc::new(Counts::default());
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = stop.send(());
    });
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        println!("listening address={}", listener.local_addr().expect("a bound socket has an address"));
        let accepts = instrument.spawn(accept(listener, instrument.clone(), Arc::clone(&counts)));
        let _ = stopped.await;
        accepts.abort();
        let _ = accepts.await;
    });
    let tasks = 1 + counts.connections.load(Relaxed);
    // More than one read can be in a poll, but not often so: a client waits for answers, or sends at half load.
    Done { tasks, polls: counts.reads.load(Relaxed) / 2 + tasks, is_exact: false }
}

async fn accept<I: Instrument>(listener: TcpListener, instrument: I, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        counts.connections.fetch_add(1, Relaxed);
        let counts = Arc::clone(&counts);
        instrument.spawn(async move {
            let _ = echo(stream, &counts).await;
        });
    }
}

async fn echo(mut stream: TcpStream, counts: &Counts) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        counts.reads.fetch_add(1, Relaxed);
        stream.write_all(&buffer[..length]).await?;
    }
}
