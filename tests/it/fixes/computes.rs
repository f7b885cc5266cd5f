//! Programs that compute, in their own code, in the kernel's or while they panic.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pollscope_base::Cause;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;

use super::program::BLOCK;
use super::{Around, Case};

const PARTS: u64 = 12;
/// The CPU time of a part.
const PART: Duration = Duration::from_millis(10);

pub(super) const CPU: Case = Case {
    says: "compute in `tokio::task::spawn_blocking`",
    before: |_| Box::pin(async { (0..PARTS).map(|_| compute(PART)).sum() }),
    afters: &[
        ("tokio::task::spawn_blocking", |_| {
            Box::pin(async {
                let parts = tokio::task::spawn_blocking(|| (0..PARTS).map(|_| compute(PART)).sum());
                parts.await.expect("no panic")
            })
        }),
        ("a pool of threads", |_| {
            let (send, parts) = mpsc::channel::<oneshot::Sender<u64>>();
            thread::spawn(move || parts.iter().try_for_each(|done| done.send(compute(PART))));
            Box::pin(async move {
                let mut sum = 0;
                for _ in 0..PARTS {
                    let (done, answer) = oneshot::channel();
                    send.send(done).expect("the pool is there");
                    sum += answer.await.expect("it computes");
                }
                sum
            })
        }),
        ("tokio::task::yield_now().await", |_| {
            Box::pin(async {
                let mut sum = 0;
                for _ in 0..PARTS {
                    sum += compute(PART);
                    tokio::task::yield_now().await;
                }
                sum
            })
        }),
    ],
    ..Case::of(Cause::Cpu)
};

/// Uses so much CPU time: one part of the work.
pub(super) fn compute(time: Duration) -> u64 {
    let end = used() + time;
    while used() < end {}
    1
}

/// The CPU time of this thread so far.
fn used() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).expect("less than a second"))
}

/// What giving back the buffer takes at least, in the kernel.
const GIVING_BACK: Duration = Duration::from_millis(90);
/// No more memory than that.
const MOST: usize = 1 << 30;

/// So many, one after the other.
const BUFFERS: u64 = 3;
const KERNEL_SLOW: Duration = Duration::from_millis(30);

pub(super) const KERNEL: Case = Case {
    says: "drop and allocate large buffers off the loop",
    threshold: KERNEL_SLOW,
    before: |_| {
        let size = large();
        Box::pin(async move {
            // Noticed, and not slow: what a look needs is read now, into memory that comes late while the kernel takes some back.
            thread::sleep(KERNEL_SLOW * 2 / 3);
            tokio::time::sleep(BLOCK).await;
            give_back(size).await
        })
    },
    afters: &[
        ("spawn_blocking(move || drop(buffer))", |_| {
            let size = large();
            Box::pin(async move {
                for _ in 0..BUFFERS {
                    let buffer = filled(size).await;
                    tokio::task::spawn_blocking(move || drop(buffer)).await.expect("no panic");
                }
                BUFFERS
            })
        }),
        ("keep and use them again", |_| {
            let size = large();
            Box::pin(async move {
                let mut buffer = filled(size).await;
                for _ in 1..BUFFERS {
                    buffer = filled_again(buffer).await;
                }
                // For as long as the program runs.
                std::mem::forget(buffer);
                BUFFERS
            })
        }),
    ],
    ..Case::of(Cause::Kernel)
};

/// The same in the first poll of all.
pub(super) const FIRST: Case = Case {
    threshold: KERNEL_SLOW,
    before: |_| {
        let buffer = vec![1u8; large()];
        Box::pin(async move {
            drop(buffer);
            1
        })
    },
    ..Case::of(Cause::Kernel)
};

async fn give_back(size: usize) -> u64 {
    for _ in 0..BUFFERS {
        let buffer = filled(size).await;
        drop(buffer);
        tokio::task::yield_now().await;
    }
    BUFFERS
}

/// A new buffer with something in it.
async fn filled(size: usize) -> Vec<u8> {
    tokio::task::spawn_blocking(move || vec![1; size]).await.expect("no panic")
}

async fn filled_again(mut buffer: Vec<u8>) -> Vec<u8> {
    let fill = move || {
        buffer.fill(2);
        buffer
    };
    tokio::task::spawn_blocking(fill).await.expect("no panic")
}

/// How much memory takes long to give back.
fn large() -> usize {
    const TRIED: usize = 64 << 20;
    let took = || {
        let tried = vec![1u8; TRIED];
        let before = used();
        drop(tried);
        used() - before
    };
    let each = took().min(took()).as_nanos().max(1);
    let times = usize::try_from(GIVING_BACK.as_nanos() / each + 1).unwrap_or(MOST);
    times.saturating_mul(TRIED).min(MOST)
}

pub(super) const PANIC: Case = Case {
    says: "mend what panics",
    around: Around::Variable("RUST_BACKTRACE", "1"),
    leaves: &["RUST_BACKTRACE"],
    before: |_| {
        Box::pin(async { refused(tokio::spawn(async { handle("").expect("a request says something") }).await) })
    },
    afters: &[("mend what panics", |_| {
        Box::pin(async { refused(tokio::spawn(async { handle("") }).await.expect("no panic")) })
    })],
    ..Case::of(Cause::Panic)
};

fn handle(request: &str) -> Result<usize, &'static str> {
    if request.is_empty() { Err("an empty request") } else { Ok(request.len()) }
}

/// Requests that were refused.
fn refused<T, E>(answer: Result<T, E>) -> u64 {
    u64::from(answer.is_err())
}
