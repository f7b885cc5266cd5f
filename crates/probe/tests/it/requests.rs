//! At which request a slow poll was, where the service has no spans.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use pollscope_probe::{Probe, RequestLayer, SlowPoll};
use tokio::task::yield_now;
use tower_layer::Layer;
use tower_service::Service;

use crate::support::{block, current_thread, slow_polls, spawn, without_capture};

/// Blocks for as many milliseconds as its request says, in its third poll; or, where it says `now`, in the call.
#[derive(Clone)]
struct Blocks;

impl Service<Request<u64>> for Blocks {
    type Response = ();
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<(), Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<u64>) -> Self::Future {
        if request.uri().path() == "/now" {
            block(*request.body());
            return Box::pin(async { Ok(()) });
        }
        assert_ne!(request.uri().path(), "/panics", "on purpose");
        Box::pin(async move {
            yield_now().await;
            yield_now().await;
            block(*request.body());
            Ok(())
        })
    }
}

fn route(request: &Request<u64>) -> Option<String> {
    request.headers().get("route").map(|route| route.to_str().unwrap().to_owned())
}

fn request(method: &str, path: &str, route: Option<&str>, ms: u64) -> Request<u64> {
    let request = Request::builder().method(method).uri(path);
    let request = route.into_iter().fold(request, |request, route| request.header("route", route));
    request.body(ms).unwrap()
}

/// The slow polls of a service whose requests are tasks of one thread.
fn asked(requests: Vec<Request<u64>>) -> Vec<SlowPoll> {
    let (runtime, probe) =
        current_thread(without_capture(Probe::builder().slow_poll_threshold(Duration::from_millis(20))));
    let service = RequestLayer::new(route).layer(Blocks);
    runtime.block_on(async {
        let tasks = requests.into_iter().map(|request| {
            let mut service = service.clone();
            spawn(&probe, async move {
                poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
                service.call(request).await.unwrap();
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            let _ = task.await;
        }
    });
    slow_polls(&probe)
}

fn spans(polls: &[SlowPoll]) -> Vec<String> {
    polls.iter().map(|poll| poll.evidence.span.as_ref().map_or("none".to_owned(), |span| span.to_string())).collect()
}

#[test]
fn a_slow_poll_is_told_with_its_method_and_route() {
    let polls = asked(vec![
        request("GET", "/items/7", Some("/items/{id}"), 1),
        request("PUT", "/items/8", Some("/items/{id}"), 30),
        request("GET", "/health", None, 1),
    ]);
    assert_eq!(spans(&polls), ["`PUT /items/{id}` (method PUT, route /items/{id})"]);
}

#[test]
fn without_a_route_it_is_the_method_alone_and_no_path() {
    let polls = asked(vec![request("DELETE", "/user/ann", None, 30)]);
    assert_eq!(spans(&polls), ["`DELETE` (method DELETE)"]);
}

#[test]
fn what_a_service_does_when_it_is_called_is_of_the_request() {
    let polls = asked(vec![request("GET", "/now", Some("/now"), 30)]);
    assert_eq!(spans(&polls), ["`GET /now` (method GET, route /now)"]);
}

#[test]
fn a_request_that_panics_is_left() {
    let polls = asked(vec![request("GET", "/panics", Some("/panics"), 0), request("GET", "/", Some("/"), 30)]);
    assert_eq!(spans(&polls).last().unwrap(), "`GET /` (method GET, route /)");
}

#[test]
fn long_and_hostile_routes_are_cut_and_shown_safely() {
    let long = "x".repeat(10_000);
    let [poll] = &asked(vec![request("GET", "/a", Some(&long), 30)])[..] else { panic!("one blocked") };
    let span = poll.evidence.span.as_ref().unwrap();
    assert!(span.name.len() <= 256 && span.name.ends_with('…'), "{}", span.name.len());
    assert!(span.fields.iter().all(|(_, value)| value.len() <= 128), "{span:?}");
}
