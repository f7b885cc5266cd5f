//! What people's own tests call.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use pollscope_probe::testing::{assert_responsive, responsive};
use pollscope_probe::{CAPTURE, TOKIO_UNSTABLE};

use crate::support::{LONG, block, eventually};

const SHORT: Duration = Duration::from_millis(20);

/// What it panics with.
fn failure<R>(run: impl FnOnce() -> R) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(run)).err()?;
    Some(
        panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()))
            .unwrap(),
    )
}

/// Blocks far beyond the threshold, without a CPU.
async fn blocks() -> u32 {
    block(200);
    7
}

fn in_runtimes(run: impl Fn() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> Vec<Option<String>> {
    let builders = [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()];
    let runtimes = builders.into_iter().map(|mut builder| builder.worker_threads(2).enable_all().build().unwrap());
    // As the root, and as a task: within a runtime both can be.
    runtimes
        .flat_map(|runtime| {
            let task = || {
                if let Err(error) = runtime.block_on(runtime.spawn(run())) {
                    std::panic::resume_unwind(error.into_panic());
                }
            };
            [failure(|| runtime.block_on(run())), failure(task)]
        })
        .collect()
}

#[test]
fn a_blocking_root_fails_with_the_line() {
    let fail = || failure(|| assert_responsive(SHORT, blocks())).expect("it blocks");
    let text = fail();
    assert!(text.contains("slow poll of 20ms or more in the future at ") && text.contains("testing.rs"), "{text}");
    assert!(text.contains("\nExecuting <Task root, spawned at "), "{text}");
    // A machine that is busy can let the watchdog come too late.
    if CAPTURE {
        eventually(|| {
            let text = fail();
            if text.contains("tests/it/support.rs:") { Ok(()) } else { Err(text) }
        });
    }
}

#[test]
fn a_blocking_task_fails_where_tasks_are_seen() {
    let text = failure(|| assert_responsive(SHORT, async { tokio::spawn(blocks()).await.unwrap() }));
    assert_eq!(text.is_some(), TOKIO_UNSTABLE, "{text:?}");
}

#[test]
fn waiting_is_not_blocking_and_the_output_comes_back() {
    let waits = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let value = 7;
        tokio::task::spawn_blocking(move || block(30).min(value)).await.unwrap()
    };
    assert_eq!(assert_responsive(LONG, waits), 7);
}

#[test]
fn within_a_runtime_only_that_future_is_watched() {
    let blocking = in_runtimes(|| Box::pin(async { assert_eq!(responsive(SHORT, blocks()).await, 7) }));
    for text in &blocking {
        let text = text.as_ref().expect("it blocks");
        assert!(text.contains("Executing <") && text.contains("testing.rs"), "{text}");
    }
    let beside = in_runtimes(|| {
        Box::pin(async {
            let other = tokio::spawn(blocks());
            responsive(LONG, tokio::task::yield_now()).await;
            assert_eq!(other.await.unwrap(), 7);
        })
    });
    assert_eq!((blocking.len(), beside), (4, vec![None; 4]));
}

#[test]
fn within_a_runtime_a_runtime_is_refused_with_the_way_out() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let text = failure(|| runtime.block_on(async { assert_responsive(LONG, async {}) }));
    assert!(text.unwrap().contains("await `testing::responsive` here"));
}

#[test]
fn a_threshold_of_nothing_is_refused() {
    assert!(failure(|| assert_responsive(Duration::ZERO, async {})).unwrap().contains("give at least 1 ns"));
}

#[test]
fn a_panic_of_the_future_is_its_own() {
    let text = failure(|| assert_responsive(LONG, async { panic!("on purpose") }));
    assert_eq!(text.as_deref(), Some("on purpose"));
}
