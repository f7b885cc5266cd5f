//! Tasks that become ready at the same moment and each block the thread that they are on.

use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};

use crate::pipeline::sink::Mode;
use crate::scenario::{BlockKind, BlockSettings};
use crate::spawner::Spawner;

/// Waits, lets every task block as the settings say, and waits again until the run's time is over or `closed` turns true.
pub(crate) async fn run(spawner: &Spawner, mode: Mode, settings: BlockSettings, mut closed: watch::Receiver<bool>) {
    let end = Instant::now() + settings.run_for;
    // An error means that the closing end is gone: that is a close.
    if timeout(settings.after, closed.wait_for(|&closed| closed)).await.is_ok() {
        return;
    }
    let blockers: Vec<_> = (0..settings.tasks)
        .map(|index| {
            let blocker = blocker(spawner.clone(), mode, settings.how, settings.duration);
            spawner.spawn(&format!("blocker {index}"), blocker)
        })
        .collect();
    for blocker in blockers {
        if let Err(error) = blocker.await {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    let _ = timeout(end - Instant::now(), closed.wait_for(|&closed| closed)).await;
}

async fn blocker(spawner: Spawner, mode: Mode, how: BlockKind, duration: Duration) {
    match mode {
        Mode::Naive => block_thread(how, duration),
        Mode::BlockInPlace => block_in_place(|| block_thread(how, duration)),
        // Nothing is written here, so these three do the same.
        Mode::Offloaded | Mode::SpawnBlocking | Mode::TokioFs => {
            // An error means that the runtime is shutting down.
            let _ = spawner.spawn_blocking(move || block_thread(how, duration)).await;
        }
    }
}

fn block_thread(how: BlockKind, duration: Duration) {
    match how {
        BlockKind::Sleep => thread::sleep(duration),
        BlockKind::Spin => {
            let end = Instant::now() + duration;
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
    }
}
