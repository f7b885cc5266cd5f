//! Blocks an event loop in three ways while a probe watches: `cargo run --release -p pollscope-probe --example blocking`.
//!
//! On stderr: for each the slow poll, where it blocked, in what, and who waited.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use pollscope_probe::Probe;

const BLOCK: Duration = Duration::from_millis(300);

async fn sleeps() {
    thread::sleep(BLOCK);
}

async fn computes() {
    let start = Instant::now();
    while start.elapsed() < BLOCK {
        std::hint::spin_loop();
    }
}

async fn locks(mutex: Arc<Mutex<()>>) {
    drop(mutex.lock());
}

/// A mutex that another thread holds for a while.
fn held() -> Arc<Mutex<()>> {
    let mutex = Arc::new(Mutex::new(()));
    let (tell, told) = std::sync::mpsc::channel();
    let theirs = Arc::clone(&mutex);
    thread::spawn(move || {
        let _guard = theirs.lock();
        let _ = tell.send(());
        thread::sleep(BLOCK);
    });
    let _ = told.recv();
    mutex
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let probe = Probe::builder()
        .slow_poll_threshold(Duration::from_millis(20))
        .log_to(std::io::stderr())
        .install(&mut runtime)?;
    let runtime = runtime.enable_time().build()?;
    runtime.block_on(probe.watch(async {
        // Ready all along, they wait behind each of the others.
        for name in ["bystander 1", "bystander 2"] {
            probe.spawn(name, async {
                loop {
                    tokio::task::yield_now().await;
                }
            });
        }
        probe.spawn("sleeps", sleeps()).await?;
        probe.spawn("computes", computes()).await?;
        probe.spawn("locks", locks(held())).await
    }))?;
    drop(runtime);
    // In a debug build the first names take a while.
    probe.flush(Duration::from_secs(10));
    println!("{} slow polls", probe.snapshot().slow_polls_total);
    Ok(())
}
