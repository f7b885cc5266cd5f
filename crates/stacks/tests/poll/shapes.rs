//! The blocking line of a task, however its futures are composed.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use pollscope_stacks::poll::Kind;

use crate::capture::{Slow, Taken, runtimes, take};

/// Spawns the future on both flavours; all its stacks must be of a task, and of this root future.
#[track_caller]
fn check<F: Future<Output = ()> + Send + 'static>(future: impl Fn(Taken) -> F, stacks: usize, name: &str) {
    for (_, runtime) in runtimes() {
        let taken = Taken::default();
        runtime.block_on(async { tokio::spawn(future(taken.clone())).await.unwrap() });
        taken.check(stacks, Kind::Task, Some(name));
    }
}

async fn one(taken: Taken) {
    take(&taken, line!(), file!());
}

async fn two(taken: Taken) {
    take(&taken, line!(), file!());
    one(taken.clone()).await;
    take(&taken, line!(), file!());
}

async fn three(taken: Taken) {
    two(taken).await;
}

async fn four(taken: Taken) {
    tokio::task::yield_now().await;
    three(taken.clone()).await;
    take(&taken, line!(), file!());
}

async fn five<T: Send>(taken: Taken, value: T) -> T {
    four(taken).await;
    value
}

#[test]
fn nested_functions() {
    check(one, 1, "poll::shapes::one");
    check(two, 3, "poll::shapes::two");
    check(three, 3, "poll::shapes::three");
    check(four, 4, "poll::shapes::four");
    check(
        |taken| async { assert_eq!(five(taken, 1u8).await, 1) },
        4,
        "poll::shapes::nested_functions::{closure}::{async block}",
    );
}

/// With optimisation, the call is a jump, and this function has no frame.
#[inline(never)]
fn helper(taken: &Taken) {
    take(taken, line!(), file!());
}

#[inline(never)]
fn helped(taken: &Taken) {
    helper(taken);
}

#[inline(always)]
fn inlined_helper(taken: &Taken) {
    take(taken, line!(), file!());
    helper(taken);
    helped(taken);
}

async fn through_helpers(taken: Taken) {
    inlined_helper(&taken);
    let closure = |taken: &Taken| take(taken, line!(), file!());
    closure(&taken);
    [1, 2].iter().for_each(|_| take(&taken, line!(), file!()));
}

#[test]
fn functions_and_closures() {
    check(through_helpers, 6, "poll::shapes::through_helpers");
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What `#[async_trait]` makes of a trait.
trait Store: Send + Sync {
    fn get(&self, taken: Taken) -> Boxed<u32>;
}

struct Disk;

impl Store for Disk {
    fn get(&self, taken: Taken) -> Boxed<u32> {
        Box::pin(async move {
            take(&taken, line!(), file!());
            two(taken).await;
            7
        })
    }
}

fn recursive(taken: Taken, depth: u32) -> Boxed<()> {
    Box::pin(async move {
        match depth {
            0 => take(&taken, line!(), file!()),
            depth => recursive(taken, depth - 1).await,
        }
    })
}

async fn boxed(taken: Taken) {
    let store: Box<dyn Store> = Box::new(Disk);
    store.get(taken.clone()).await;
    recursive(taken.clone(), 4).await;
    Box::pin(one(taken)).await;
}

#[test]
fn boxed_futures_and_traits() {
    check(boxed, 6, "poll::shapes::boxed");
    check(|taken| recursive(taken, 3), 1, "poll::shapes::recursive::{async block}");
}

async fn selected(taken: Taken) {
    tokio::select! {
        _ = tokio::time::sleep(Duration::from_secs(60)) => {}
        _ = two(taken.clone()) => take(&taken, line!(), file!()),
    }
    tokio::select! {
        biased;
        _ = async { take(&taken, line!(), file!()); } => {}
        _ = std::future::pending::<()>() => {}
    }
}

async fn joined(taken: Taken) {
    tokio::join!(one(taken.clone()), async {
        tokio::task::yield_now().await;
        take(&taken, line!(), file!());
    });
    let _: Result<_, ()> = tokio::try_join!(
        async {
            one(taken.clone()).await;
            Ok(())
        },
        async { Ok(()) }
    );
}

async fn timed(taken: Taken) {
    let _ = tokio::time::timeout(Duration::from_secs(60), two(taken.clone())).await;
    let _ = tokio::time::timeout(Duration::from_secs(60), async {
        take(&taken, line!(), file!());
    })
    .await;
    tokio::task::unconstrained(one(taken)).await;
}

#[test]
fn combinators() {
    check(selected, 5, "poll::shapes::selected");
    check(joined, 3, "poll::shapes::joined");
    check(timed, 5, "poll::shapes::timed");
}

async fn standard_library(taken: Taken) {
    io::copy(&mut Slow(&taken, line!(), file!()), &mut io::sink()).unwrap();
    HashMap::new().insert(Slow(&taken, line!(), file!()), ());
    let _ = Slow(&taken, line!(), file!()).to_string();
}

#[test]
fn calls_through_the_standard_library() {
    check(standard_library, 3, "poll::shapes::standard_library");
}

/// A future written by hand, with a poll of its own.
struct ByHand(Taken);

impl Future for ByHand {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        take(&self.0, line!(), file!());
        std::task::Poll::Ready(())
    }
}

#[test]
fn a_future_written_by_hand() {
    check(ByHand, 1, "poll::shapes::ByHand");
}

#[test]
fn a_future_too_large_for_the_stack() {
    check(
        |taken| async move {
            let large = [1u8; 65536];
            tokio::task::yield_now().await;
            std::hint::black_box(&large);
            take(&taken, line!(), file!());
            std::hint::black_box(&large);
        },
        1,
        "poll::shapes::a_future_too_large_for_the_stack::{closure}::{async block}",
    );
}
