//! A layer of `tower` that tells the probe which request each thread is at, where a service has no spans. With the cargo feature
//! `tower`.

use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use http::Request;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::spans::{self, Keeper, Known, Visited};

/// Has slow polls say at which request they were, where the service has no spans of `tracing`: [`SpanLayer`](crate::SpanLayer) is for
/// one that has.
///
/// A slow poll then has an [`Evidence::span`](crate::Evidence::span) of the name `GET /items/{id}`, with the fields `method` and, where
/// the route is known, `route`. Of which span it is when several requests are polled in one poll, as of one connection of HTTP/2, the
/// same holds as for a [`SpanLayer`](crate::SpanLayer)'s. A service that has both layers tells spans, and not requests.
///
/// The route of a request is what you make of it. A path is none: it holds ids and names, and there are as many as requests.
///
/// ```rust,ignore
/// // axum's: with `route_layer`, or `layer` of a `MethodRouter`, the route is known by then; with `Router::layer` it is not.
/// let route = |request: &axum::extract::Request| {
///     request.extensions().get::<axum::extract::MatchedPath>().map(|path| path.as_str().to_owned())
/// };
/// let app = axum::Router::new().route("/items/{id}", axum::routing::get(item)).route_layer(RequestLayer::new(route));
/// ```
///
/// It adds two allocations or so and two short locks to a request, and to each of its polls some nanoseconds.
///
/// ```
/// use pollscope_probe::RequestLayer;
/// use tower_layer::Layer;
/// use tower_service::Service;
///
/// struct Hello;
/// impl Service<http::Request<()>> for Hello {
///     type Response = &'static str;
///     type Error = std::convert::Infallible;
///     type Future = std::future::Ready<Result<&'static str, Self::Error>>;
///     fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
///         std::task::Poll::Ready(Ok(()))
///     }
///     fn call(&mut self, _: http::Request<()>) -> Self::Future {
///         std::future::ready(Ok("hello"))
///     }
/// }
///
/// let layer = RequestLayer::new(|request: &http::Request<()>| Some(format!("route of {}", request.uri().path())));
/// let mut service = layer.layer(Hello);
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// assert_eq!(runtime.block_on(service.call(http::Request::new(()))), Ok("hello"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "a layer does nothing until it is added to a service"]
pub struct RequestLayer<R> {
    requests: Arc<Requests>,
    route: R,
}

/// The numbers of requests.
#[derive(Debug)]
struct Requests {
    keeper: Arc<Keeper>,
    next: AtomicU64,
}

impl<R> Debug for RequestLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLayer").finish_non_exhaustive()
    }
}

impl<R: Clone> Clone for RequestLayer<R> {
    fn clone(&self) -> RequestLayer<R> {
        RequestLayer { requests: Arc::clone(&self.requests), route: self.route.clone() }
    }
}

impl<R> RequestLayer<R> {
    /// A layer for requests whose route `route` knows.
    pub fn new<B>(route: R) -> RequestLayer<R>
    where
        R: Fn(&Request<B>) -> Option<String>,
    {
        RequestLayer {
            requests: Arc::new(Requests { keeper: Arc::new(Keeper::new()), next: AtomicU64::new(1) }),
            route,
        }
    }
}

impl<R: Clone, S> Layer<S> for RequestLayer<R> {
    type Service = Requested<S, R>;

    fn layer(&self, inner: S) -> Requested<S, R> {
        Requested { inner, requests: Arc::clone(&self.requests), route: self.route.clone() }
    }
}

/// A service whose requests are told. Made by a [`RequestLayer`].
#[derive(Clone)]
pub struct Requested<S, R> {
    inner: S,
    requests: Arc<Requests>,
    route: R,
}

impl<S: Debug, R> Debug for Requested<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requested").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, R, B> Service<Request<B>> for Requested<S, R>
where
    S: Service<Request<B>>,
    R: Fn(&Request<B>) -> Option<String>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RequestFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> RequestFuture<S::Future> {
        let open = self.requests.open(request.method().as_str(), (self.route)(&request));
        // Much of a service can run here already.
        let inside = open.enter();
        let future = self.inner.call(request);
        drop(inside);
        RequestFuture { future, open }
    }
}

impl Requests {
    fn open(&self, method: &str, route: Option<String>) -> Open {
        let mut fields = Visited::default();
        fields.take("method", format_args!("{method}"));
        if let Some(route) = &route {
            fields.take("route", format_args!("{route}"));
        }
        let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
        let id = self.next.fetch_add(1, Relaxed);
        self.keeper.open(id, Known { name: name.into(), parent: 0, fields });
        Open { keeper: Arc::clone(&self.keeper), id }
    }
}

/// A request that is not answered yet.
#[derive(Debug)]
struct Open {
    keeper: Arc<Keeper>,
    id: u64,
}

impl Open {
    fn enter(&self) -> Inside<'_> {
        spans::enter(&self.keeper, self.id);
        Inside(self)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.keeper.close(self.id);
    }
}

/// Left on the way out, by a panic as well.
struct Inside<'a>(&'a Open);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        spans::exit(&self.0.keeper, self.0.id);
    }
}

pin_project! {
    /// The answer to come of a [`Requested`] service.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct RequestFuture<F> {
        #[pin]
        future: F,
        open: Open,
    }
}

impl<F: Future> Future for RequestFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _inside = this.open.enter();
        this.future.poll(cx)
    }
}
