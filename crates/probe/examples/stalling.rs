//! A service of eight workers of which several block, again and again, for `pollscope top`:
//! `pollscope top -- cargo run --release -p pollscope-probe --features record --example stalling`.
//!
//! One task writes to a pipe whose reader is slow, one holds a lock while it sleeps and another waits for that lock, one computes. Others
//! do what they should, and tell nothing. Ends after ten minutes, or so many seconds as its argument says.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::ProbeBuilder;
use tokio::time::sleep;

/// What a reader leaves a writer to wait for.
const PAUSE: Duration = Duration::from_millis(700);

/// Writes more than the pipe has room for.
async fn writes(mut pipe: std::io::PipeWriter) {
    loop {
        let _ = pipe.write_all(&[b'.'; 96 * 1024]);
        sleep(Duration::from_millis(30)).await;
    }
}

/// Keeps others waiting while it sleeps.
async fn holds(lock: Arc<Mutex<()>>) {
    loop {
        {
            let _held = lock.lock();
            thread::sleep(Duration::from_millis(1_300));
        }
        sleep(Duration::from_millis(150)).await;
    }
}

async fn waits(lock: Arc<Mutex<()>>) {
    loop {
        drop(lock.lock());
        sleep(Duration::from_millis(50)).await;
    }
}

async fn computes() {
    loop {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            std::hint::spin_loop();
        }
        sleep(Duration::from_millis(2_500)).await;
    }
}

async fn behaves() {
    loop {
        sleep(Duration::from_millis(20)).await;
    }
}

async fn serve(lasts: Duration) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while reader.read(&mut bytes).is_ok_and(|count| count > 0) {
            thread::sleep(PAUSE);
        }
    });
    let lock = Arc::new(Mutex::new(()));
    tokio::spawn(writes(writer));
    tokio::spawn(holds(Arc::clone(&lock)));
    tokio::spawn(waits(lock));
    tokio::spawn(computes());
    (0..20).for_each(|_| drop(tokio::spawn(behaves())));
    sleep(lasts).await;
}

fn main() -> std::io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(600);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    ProbeBuilder::from_env().run(runtime.worker_threads(8).enable_time(), serve(Duration::from_secs(seconds)))
}
