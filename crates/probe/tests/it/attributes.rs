//! The attributes `main` and `test`, as people write them.

use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};

fn flavor() -> (RuntimeFlavor, usize) {
    let handle = Handle::current();
    (handle.runtime_flavor(), handle.metrics().num_workers())
}

#[pollscope_probe::test]
async fn a_test_has_one_thread_unless_told_otherwise() {
    assert_eq!(flavor(), (RuntimeFlavor::CurrentThread, 1));
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[pollscope_probe::test(flavor = "multi_thread", worker_threads = 3, threshold = "10s")]
async fn a_test_has_as_many_workers_as_told() {
    assert_eq!(flavor(), (RuntimeFlavor::MultiThread, 3));
}

#[pollscope_probe::test(worker_threads = 1_0)]
async fn workers_alone_make_it_multi_thread() {
    assert_eq!(flavor(), (RuntimeFlavor::MultiThread, 10));
}

#[pollscope_probe::test(threshold = "20ms")]
#[should_panic(expected = "slow poll of 20ms or more in the future at crates/probe/tests/it/attributes.rs:")]
async fn a_test_that_blocks_fails() {
    crate::support::block(100);
}

#[pollscope_probe::test(threshold = "10s")]
async fn a_test_below_its_threshold_passes() {
    crate::support::block(30);
}

/// A result is what it gives, and `?` works in it.
#[pollscope_probe::test]
pub(crate) async fn a_test_can_fail_by_its_result() -> Result<(), Box<dyn std::error::Error>> {
    let number: u8 = "7".parse()?;
    assert_eq!(number, 7);
    Ok(())
}

#[pollscope_probe::test]
#[should_panic(expected = "on purpose")]
async fn a_panic_is_its_own() {
    panic!("on purpose");
}

mod a_main {
    #[pollscope_probe::main(flavor = "current_thread", threshold = "1s")]
    /// It can be documented, and be called.
    pub(super) async fn main() -> Result<u8, std::num::ParseIntError> {
        assert_eq!(super::flavor().1, 1);
        let parsed = "x".parse::<u8>();
        if std::hint::black_box(true) {
            return "7".parse();
        }
        parsed
    }

    #[pollscope_probe::main(worker_threads = 2)]
    pub(super) async fn with_workers() -> (tokio::runtime::RuntimeFlavor, usize) {
        super::flavor()
    }
}

#[test]
fn main_gives_what_its_body_does() {
    assert_eq!(a_main::main(), Ok(7));
    assert_eq!(a_main::with_workers(), (RuntimeFlavor::MultiThread, 2));
}
