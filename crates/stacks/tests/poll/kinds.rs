//! What a thread was doing, wherever in a runtime its code is called.

use pollscope_stacks::poll::{self, Kind};
use tokio::runtime::{Builder, Handle};
use tokio::task::LocalSet;

use crate::capture::{Taken, rules, runtimes, take};

async fn root(taken: Taken) {
    take(&taken, line!(), file!());
    tokio::task::yield_now().await;
    take(&taken, line!(), file!());
}

#[test]
fn a_root_future() {
    for (_, runtime) in runtimes() {
        let taken = Taken::default();
        runtime.block_on(root(taken.clone()));
        taken.check(2, Kind::Root, Some("poll::kinds::root"));
        runtime.block_on(async { take(&taken, line!(), file!()) });
        taken.check(1, Kind::Root, Some("poll::kinds::a_root_future::{async block}"));
        runtime.handle().block_on(root(taken.clone()));
        taken.check(2, Kind::Root, Some("poll::kinds::root"));
    }
}

#[test]
fn local_tasks() {
    for (_, runtime) in runtimes() {
        let taken = Taken::default();
        let local = LocalSet::new();
        local.spawn_local(root(taken.clone()));
        runtime.block_on(local);
        taken.check(2, Kind::Local, Some("poll::kinds::root"));
        LocalSet::new().block_on(&runtime, async {
            tokio::task::spawn_local(root(taken.clone())).await.unwrap();
        });
        taken.check(2, Kind::Local, Some("poll::kinds::root"));
        runtime.block_on(LocalSet::new().run_until(async {
            take(&taken, line!(), file!());
        }));
        taken.check(1, Kind::Root, None);
    }
}

#[test]
fn blocking_in_place() {
    let (_, runtime) = runtimes().into_iter().nth(1).unwrap();
    let taken = Taken::default();
    let inner = taken.clone();
    let future = async move { tokio::task::block_in_place(|| take(&inner, line!(), file!())) };
    runtime.block_on(async { tokio::spawn(future).await.unwrap() });
    taken.check(1, Kind::BlockInPlace, Some("poll::kinds::blocking_in_place::{async block}"));

    let inner = taken.clone();
    let future = async move { tokio::task::block_in_place(|| Handle::current().block_on(root(inner))) };
    runtime.block_on(async { tokio::spawn(future).await.unwrap() });
    taken.check(2, Kind::BlockInPlace, None);

    let inner = taken.clone();
    runtime.block_on(async move { tokio::task::block_in_place(|| take(&inner, line!(), file!())) });
    taken.check(1, Kind::BlockInPlace, None);
}

#[test]
fn the_blocking_pool() {
    for (_, runtime) in runtimes() {
        let taken = Taken::default();
        let inner = taken.clone();
        runtime.block_on(async { tokio::task::spawn_blocking(move || take(&inner, line!(), file!())).await.unwrap() });
        taken.check(1, Kind::BlockingPool, Some("poll::kinds::the_blocking_pool::{async block}::{closure}"));

        let (inner, handle) = (taken.clone(), runtime.handle().clone());
        runtime.block_on(async { tokio::task::spawn_blocking(move || handle.block_on(root(inner))).await.unwrap() });
        taken.check(2, Kind::BlockingPool, None);
    }
}

#[test]
fn a_runtime_within_the_blocking_pool() {
    let (_, outer) = runtimes().into_iter().nth(1).unwrap();
    let taken = Taken::default();
    let inner = taken.clone();
    let job = move || {
        let runtime = Builder::new_current_thread().build().unwrap();
        runtime.block_on(root(inner.clone()));
        inner.check(2, Kind::Root, Some("poll::kinds::root"));
        runtime.block_on(async { tokio::spawn(root(inner)).await.unwrap() });
    };
    outer.block_on(async { tokio::task::spawn_blocking(job).await.unwrap() });
    taken.check(2, Kind::Task, Some("poll::kinds::root"));
}

/// What is called from within the runtime, at work or at rest, in no poll.
#[test]
fn hooks_and_destructors() {
    let taken = Taken::default();
    let build = |build: &mut Builder| {
        let (park, unpark) = (taken.clone(), taken.clone());
        let unpark = move || {
            take(&unpark, line!(), file!());
            std::hint::black_box(());
        };
        let park = move || {
            take(&park, line!(), file!());
            std::hint::black_box(());
        };
        build.on_thread_park(park).on_thread_unpark(unpark).build().unwrap()
    };
    let runtime = build(&mut Builder::new_current_thread());
    runtime.block_on(async { tokio::task::spawn_blocking(|| ()).await.unwrap() });
    drop(runtime);
    let runtime = build(Builder::new_multi_thread().worker_threads(1));
    runtime.block_on(async { tokio::spawn(tokio::task::yield_now()).await.unwrap() });
    drop(runtime);
    taken.check_each(4.., Kind::Scheduler, None);
}

#[test]
fn no_runtime() {
    let taken = Taken::default();
    take(&taken, line!(), file!());
    let (_, found) = taken.found().pop().unwrap();
    assert_eq!((found.kind, found.poll, found.root_future), (Kind::NotTokio, None, None));
    assert_eq!(poll::find(&[], &rules()).kind, Kind::NotTokio);
}
