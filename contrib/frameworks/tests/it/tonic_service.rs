//! A service of tonic's that blocks, in all places where the user's code runs. It is written by hand, without protoc, and a real
//! client calls it.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _};
use http::uri::PathAndQuery;
use pollscope_frameworks::{Expected, Place, block, check, served};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_stream::StreamExt as _;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};
use tower::{Service, service_fn};

static HANDLER: Place = Place::new();
static STREAM: Place = Place::new();
static DECODER: Place = Place::new();
static INTERCEPTOR: Place = Place::new();
static LAYER: Place = Place::new();

/// Messages are bytes; it may block when it decodes one.
#[derive(Debug, Clone, Copy, Default)]
struct Plain {
    blocks: bool,
}

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Plain;
    type Decoder = Plain;

    fn encoder(&mut self) -> Plain {
        *self
    }

    fn decoder(&mut self) -> Plain {
        *self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        if self.blocks {
            block!(DECODER);
        }
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

async fn handler_that_blocks(request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Status> {
    block!(HANDLER);
    Ok(Response::new(request.into_inner()))
}

async fn handler(request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Status> {
    Ok(Response::new(request.into_inner()))
}

fn item_that_blocks(item: u8) -> Result<Vec<u8>, Status> {
    if item == 1 {
        block!(STREAM);
    }
    Ok(vec![item])
}

fn interceptor_that_blocks(request: Request<()>) -> Result<Request<()>, Status> {
    if request.metadata().contains_key("blocks") {
        block!(INTERCEPTOR);
    }
    Ok(request)
}

/// As generated code does it.
#[derive(Debug, Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let grpc = |blocks| tonic::server::Grpc::new(Plain { blocks });
        Box::pin(async move {
            Ok(match path.as_str() {
                "/test.Echo/Blocks" => grpc(false).unary(service_fn(handler_that_blocks), request).await,
                "/test.Echo/Decodes" => grpc(true).unary(service_fn(handler), request).await,
                "/test.Echo/Streams" => {
                    let stream =
                        async |_: Request<Vec<u8>>| Ok(Response::new(tokio_stream::iter(0..3).map(item_that_blocks)));
                    grpc(false).server_streaming(service_fn(stream), request).await
                }
                _ => grpc(false).unary(service_fn(handler), request).await,
            })
        })
    }
}

/// A layer around all services, whose `call` blocks where a header asks for that.
fn layer_that_blocks(request: http::Request<Body>) -> http::Request<Body> {
    if request.headers().contains_key("layer-blocks") {
        block!(LAYER);
    }
    request
}

async fn serve(listener: TcpListener, stopped: oneshot::Receiver<()>) {
    let service = InterceptedService::new(Echo, interceptor_that_blocks);
    let layers = tower::ServiceBuilder::new().map_request(layer_that_blocks);
    let server = Server::builder().layer(layers).add_service(service);
    server.serve_with_incoming_shutdown(TcpIncoming::from(listener), async { _ = stopped.await }).await.unwrap();
}

async fn ask(address: SocketAddr, method: &str, header: Option<&'static str>) -> Vec<u8> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    let path: PathAndQuery = format!("/test.Echo/{method}").parse().unwrap();
    let mut request = Request::new(vec![7]);
    if let Some(header) = header {
        request.metadata_mut().insert(header, "yes".parse().unwrap());
    }
    client.ready().await.unwrap();
    let mut stream = client.server_streaming(request, path, Plain::default()).await.unwrap().into_inner();
    let mut all = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        all.extend(message);
    }
    all
}

#[test]
fn the_line_is_the_services_own() {
    for (method, header, answer, place, function) in [
        ("Blocks", None, vec![7], &HANDLER, "handler_that_blocks"),
        ("Streams", None, vec![0, 1, 2], &STREAM, "item_that_blocks"),
        ("Decodes", None, vec![7], &DECODER, "decode"),
        ("Echoes", Some("blocks"), vec![7], &INTERCEPTOR, "interceptor_that_blocks"),
        ("Echoes", Some("layer-blocks"), vec![7], &LAYER, "layer_that_blocks"),
    ] {
        check(&Expected { place, spawned_in: "hyper-util", function }, |builder| {
            let (probe, answered) = served(builder, serve, |address| ask(address, method, header));
            assert_eq!(answered, answer);
            (probe, answered)
        });
    }
}
