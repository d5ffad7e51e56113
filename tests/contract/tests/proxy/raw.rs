//! A driver that knows no message: it takes any bytes for any RPC and answers as it was told, so that nothing of the proxy's own
//! ideas of CSI is in the test of it.

use bulkhead_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::{
    DescriptorPool, DynamicMessage, Kind, MapKey, MessageDescriptor, MethodDescriptor, Value,
    prost::{
        Message,
        bytes::{Buf, BufMut},
    },
};
use std::{
    collections::HashMap,
    convert::Infallible,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::UnixListener;
use tokio_stream::{StreamExt, wrappers::UnixListenerStream};
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http,
    metadata::MetadataMap,
    server::{Grpc, NamedService, ServerStreamingService},
    transport::Server,
};
use tower::Service;

/// Messages as they are on the wire.
#[derive(Debug, Clone, Copy, Default)]
pub struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// What the driver does when it is called.
#[derive(Debug, Clone)]
pub struct Script {
    /// Messages of the answer.
    pub messages: Vec<Vec<u8>>,
    /// Between two messages.
    pub pause: Duration,
    /// After the messages.
    pub end: Result<(), Status>,
    /// Beside the answer.
    pub metadata: MetadataMap,
}

impl Default for Script {
    fn default() -> Self {
        Self { messages: vec![], pause: Duration::ZERO, end: Ok(()), metadata: MetadataMap::new() }
    }
}

/// A call that the driver got.
#[derive(Debug, Clone)]
pub struct Got {
    pub path: String,
    pub metadata: MetadataMap,
    pub message: Vec<u8>,
}

#[derive(Debug, Default)]
pub struct State {
    pub script: Script,
    pub got: Vec<Got>,
    /// How many answers were dropped before their end.
    pub given_up: usize,
}

pub type Shared = Arc<Mutex<State>>;

/// Serves all services of `csi.v1` until the test ends.
pub fn serve(socket: &Path) -> Shared {
    let state = Shared::default();
    let listener = UnixListener::bind(socket).unwrap();
    let server = Server::builder()
        .add_service(Fake::<0>(state.clone()))
        .add_service(Fake::<1>(state.clone()))
        .add_service(Fake::<2>(state.clone()))
        .add_service(Fake::<3>(state.clone()))
        .add_service(Fake::<4>(state.clone()));
    tokio::spawn(server.serve_with_incoming(UnixListenerStream::new(listener)));
    state
}

const SERVICES: [&str; 5] =
    ["csi.v1.Identity", "csi.v1.Controller", "csi.v1.GroupController", "csi.v1.SnapshotMetadata", "csi.v1.Node"];

#[derive(Debug, Clone)]
struct Fake<const SERVICE: usize>(Shared);

impl<const SERVICE: usize> NamedService for Fake<SERVICE> {
    const NAME: &'static str = SERVICES[SERVICE];
}

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<const SERVICE: usize> Service<http::Request<Body>> for Fake<SERVICE> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let one = One { state: self.0.clone(), path: request.uri().path().to_owned() };
        Box::pin(async move { Ok(Grpc::new(Raw).server_streaming(one, request).await) })
    }
}

/// One call.
struct One {
    state: Shared,
    path: String,
}

/// Counts an answer that nobody reads to its end.
struct Watch(Shared, bool);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.lock().unwrap().given_up += usize::from(!self.1);
    }
}

impl ServerStreamingService<Vec<u8>> for One {
    type Response = Vec<u8>;
    type ResponseStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<Vec<u8>, Status>> + Send>>;
    type Future = Answer<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Vec<u8>>) -> Self::Future {
        let (metadata, _, message) = request.into_parts();
        let script = {
            let mut state = self.state.lock().unwrap();
            state.got.push(Got { path: self.path.clone(), metadata, message });
            state.script.clone()
        };
        let state = self.state.clone();
        Box::pin(async move {
            if script.messages.is_empty() {
                script.end?;
                return Ok(Response::new(Box::pin(tokio_stream::empty()) as Self::ResponseStream));
            }
            let (send, receive) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                let mut watch = Watch(state, false);
                for message in script.messages {
                    if send.send(Ok(message)).await.is_err() {
                        return;
                    }
                    // Whoever hangs up in the pause is noticed at once.
                    if !script.pause.is_zero() && tokio::time::timeout(script.pause, send.closed()).await.is_ok() {
                        return;
                    }
                }
                if let Err(status) = script.end {
                    _ = send.send(Err(status)).await;
                }
                watch.1 = true;
            });
            let stream = tokio_stream::wrappers::ReceiverStream::new(receive);
            let mut response = Response::new(Box::pin(stream.fuse()) as Self::ResponseStream);
            *response.metadata_mut() = script.metadata;
            Ok(response)
        })
    }
}

/// All RPCs of `csi.v1`.
pub fn rpcs() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mine: Vec<_> = pool.services().filter(|service| SERVICES.contains(&service.full_name())).collect();
    assert_eq!(mine.len(), SERVICES.len());
    mine.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// A message with something in every field, different for each seed.
pub fn full(message: &MessageDescriptor, seed: i32) -> Vec<u8> {
    filled(message, seed).encode_to_vec()
}

fn filled(message: &MessageDescriptor, seed: i32) -> DynamicMessage {
    let mut filled = DynamicMessage::new(message.clone());
    for field in message.fields() {
        let value = if field.is_map() {
            let pair = |n: i32| (MapKey::String(format!("key-{seed}-{n}")), Value::String(format!("value-{n}")));
            Value::Map((0..3).map(pair).collect::<HashMap<_, _>>())
        } else if field.is_list() {
            Value::List((0..2).map(|n| value(&field.kind(), seed + n)).collect())
        } else {
            value(&field.kind(), seed)
        };
        filled.set_field(&field, value);
    }
    filled
}

fn value(kind: &Kind, seed: i32) -> Value {
    match kind {
        Kind::String => Value::String(format!("text {seed} äöü")),
        Kind::Bool => Value::Bool(true),
        Kind::Int32 => Value::I32(seed + 7),
        Kind::Int64 => Value::I64(i64::from(seed) + (1 << 40)),
        // Also values that nobody knows.
        Kind::Enum(_) => Value::EnumNumber(seed + 1),
        Kind::Message(message) => Value::Message(filled(message, seed)),
        other => panic!("csi.v1 has a field of the kind {other:?}"),
    }
}

/// A socket in a directory of its own.
pub fn sockets() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (driver, proxy) = (dir.path().join("driver.sock"), dir.path().join("proxy.sock"));
    (dir, driver, proxy)
}
