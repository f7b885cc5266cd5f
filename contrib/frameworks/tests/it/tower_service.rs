//! Services of tower's that block: in `poll_ready`, in `call`, in their future; behind middleware that has tasks of its own.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pollscope_frameworks::{Expected, Place, block, check, probed};
use pollscope_probe::Probe;
use tokio::runtime::Builder;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _};

static CALL: Place = Place::new();
static FUTURE: Place = Place::new();
static READY: Place = Place::new();

/// Blocks in `call`.
#[derive(Debug, Clone)]
struct BlocksInCall;

impl Service<u8> for BlocksInCall {
    type Response = u8;
    type Error = Infallible;
    type Future = Ready<Result<u8, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u8) -> Self::Future {
        block!(CALL);
        ready(Ok(request))
    }
}

/// Blocks in the future that `call` gives.
#[derive(Debug, Clone)]
struct BlocksInFuture;

async fn future_that_blocks(request: u8) -> Result<u8, Infallible> {
    tokio::task::yield_now().await;
    block!(FUTURE);
    Ok(request)
}

impl Service<u8> for BlocksInFuture {
    type Response = u8;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<u8, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u8) -> Self::Future {
        Box::pin(future_that_blocks(request))
    }
}

/// Blocks once before it is ready, not when it is asked first.
#[derive(Debug, Clone, Default)]
struct BlocksBefore {
    asked: u32,
}

impl Service<u8> for BlocksBefore {
    type Response = u8;
    type Error = Infallible;
    type Future = Ready<Result<u8, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        match self.asked {
            // That is when middleware starts a task for it.
            1 => {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            2 => block!(READY),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u8) -> Self::Future {
        ready(Ok(request))
    }
}

/// Calls a service, once, from a task that the test spawns.
fn called<S>(builder: &mut Builder, make: impl FnOnce() -> S + Send + 'static) -> (Probe, u8)
where
    S: Service<u8, Response = u8> + Send + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
{
    let (runtime, probe) = probed(builder);
    // Made in the runtime, as middleware spawns its tasks when it is made.
    let calls = async move { make().oneshot(7).await.map_err(Into::into).unwrap() };
    let answer = runtime.block_on(async { tokio::spawn(calls).await.unwrap() });
    assert_eq!(answer, 7);
    drop(runtime);
    (probe, answer)
}

const OWN: &str = "tower_service.rs";
const LONG: Duration = Duration::from_secs(60);

fn in_call(spawned_in: &'static str) -> Expected {
    Expected { place: &CALL, spawned_in, function: "BlocksInCall" }
}

fn in_future() -> Expected {
    Expected { place: &FUTURE, spawned_in: OWN, function: "future_that_blocks" }
}

#[test]
fn in_call_it_is_the_services_line() {
    check(&in_call(OWN), |builder| called(builder, || BlocksInCall));
    check(&in_call(OWN), |builder| {
        called(builder, || ServiceBuilder::new().load_shed().concurrency_limit(1).timeout(LONG).service(BlocksInCall))
    });
    check(&in_call(OWN), |builder| called(builder, || BlocksInCall.boxed()));
}

#[test]
fn in_a_future_it_is_the_services_line() {
    check(&in_future(), |builder| called(builder, || BlocksInFuture));
    check(&in_future(), |builder| {
        called(builder, || ServiceBuilder::new().concurrency_limit(1).timeout(LONG).service(BlocksInFuture))
    });
    // The worker of a buffer calls, and who asked polls the future.
    check(&in_future(), |builder| called(builder, || ServiceBuilder::new().buffer(4).service(BlocksInFuture)));
}

#[test]
fn in_a_buffers_worker_it_is_the_services_line() {
    check(&in_call("/tower-"), |builder| called(builder, || ServiceBuilder::new().buffer(4).service(BlocksInCall)));
    check(&in_call("/tower-"), |builder| {
        called(builder, || ServiceBuilder::new().buffer(4).concurrency_limit(1).service(BlocksInCall))
    });
}

#[test]
fn in_a_task_that_waits_until_it_is_ready_it_is_the_services_line() {
    let expected = |spawned_in| Expected { place: &READY, spawned_in, function: "BlocksBefore" };
    check(&expected(OWN), |builder| called(builder, BlocksBefore::default));
    check(&expected("/tower-"), |builder| {
        called(builder, || tower::spawn_ready::SpawnReady::new(BlocksBefore::default()))
    });
    check(&expected("/tower-"), |builder| {
        called(builder, || ServiceBuilder::new().buffer(4).service(BlocksBefore::default()))
    });
}

/// Around the buffer it is who asks that is held up, within it is the worker.
#[test]
fn in_a_closure_of_a_layer_it_is_its_line() {
    static LAYER: Place = Place::new();
    fn maps(request: u8) -> u8 {
        block!(LAYER);
        request
    }
    let inner = || tower::service_fn(async |request: u8| Ok::<u8, Infallible>(request));
    let expected = |spawned_in| Expected { place: &LAYER, spawned_in, function: "maps" };
    check(&expected(OWN), |builder| {
        called(builder, move || ServiceBuilder::new().map_request(maps).buffer(4).service(inner()))
    });
    check(&expected("/tower-"), |builder| {
        called(builder, move || ServiceBuilder::new().buffer(4).map_request(maps).service(inner()))
    });
}
