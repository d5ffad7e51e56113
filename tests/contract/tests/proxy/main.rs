//! The proxy without a fault is not noticed.
#![allow(missing_docs, clippy::unwrap_used)]

mod raw;

use bulkhead_contract::fault::Proxy;
use hyper_util::rt::TokioIo;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use raw::{Raw, Script, Shared, full, rpcs, serve, sockets};
use std::{path::PathBuf, time::Duration};
use tokio::net::UnixStream;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    metadata::MetadataMap,
    transport::{Channel, Endpoint},
};

struct Ground {
    _dir: tempfile::TempDir,
    driver: Shared,
    client: Grpc<Channel>,
    // Serves until it is dropped.
    _proxy: Proxy,
}

async fn ground() -> Ground {
    let (_dir, driver, proxy) = sockets();
    let served = serve(&driver);
    let _proxy = Proxy::start(driver.to_str().unwrap(), &proxy, None).unwrap();
    Ground { _dir, driver: served, client: client(proxy).await, _proxy }
}

async fn client(socket: PathBuf) -> Grpc<Channel> {
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(UnixStream::connect(socket).await?)) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap();
    Grpc::new(channel)
}

impl Ground {
    async fn call(&mut self, rpc: &MethodDescriptor, request: Request<Vec<u8>>) -> Result<Streaming<Vec<u8>>, Status> {
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        self.client.ready().await.unwrap();
        let answer = self.client.server_streaming(request, PathAndQuery::try_from(path).unwrap(), Raw).await?;
        Ok(answer.into_inner())
    }
}

/// As the message that it is: the proxy may write maps in another order.
fn read(message: &prost_reflect::MessageDescriptor, bytes: &[u8]) -> DynamicMessage {
    DynamicMessage::decode(message.clone(), bytes).unwrap()
}

#[tokio::test]
async fn every_rpc_goes_through_whole() {
    let mut ground = ground().await;
    let rpcs = rpcs();
    assert!(rpcs.len() >= 36, "only {} RPCs", rpcs.len());
    for (seed, rpc) in (0..).zip(&rpcs) {
        let count = if rpc.is_server_streaming() { 4 } else { 1 };
        let messages: Vec<_> = (0..count).map(|n| full(&rpc.output(), seed + n)).collect();
        let mut metadata = MetadataMap::new();
        metadata.insert("x-answer", "beside".parse().unwrap());
        ground.driver.lock().unwrap().script = Script { messages: messages.clone(), metadata, ..Default::default() };
        let sent = full(&rpc.input(), seed);
        let mut request = Request::new(sent.clone());
        request.set_timeout(Duration::from_secs(77));
        request.metadata_mut().insert("x-request", "of the client".parse().unwrap());
        request.metadata_mut().insert_bin("x-bytes-bin", tonic::metadata::MetadataValue::from_bytes(b"\x00\xff"));
        let path = format!("/{}/{}", rpc.parent_service().full_name(), rpc.name());
        ground.client.ready().await.unwrap();
        let uri = PathAndQuery::try_from(path.clone()).unwrap();
        let answer = ground.client.server_streaming(request, uri, Raw).await.unwrap();
        assert_eq!(answer.metadata().get("x-answer").unwrap(), "beside", "{path}");
        let mut answer = answer.into_inner();
        let mut told = vec![];
        while let Some(message) = answer.message().await.unwrap() {
            told.push(read(&rpc.output(), &message));
        }
        let must: Vec<_> = messages.iter().map(|message| read(&rpc.output(), message)).collect();
        assert_eq!(told, must, "{path}");
        let got = ground.driver.lock().unwrap().got.pop().unwrap();
        assert_eq!(got.path, path);
        assert_eq!(read(&rpc.input(), &got.message), read(&rpc.input(), &sent), "{path}");
        // The unit is the sender's: microseconds, as the client wrote it.
        assert_eq!(got.metadata.get("grpc-timeout").unwrap(), "77000000u", "{path}");
        assert_eq!(got.metadata.get("x-request").unwrap(), "of the client", "{path}");
        assert_eq!(got.metadata.get_bin("x-bytes-bin").unwrap().to_bytes().unwrap().as_ref(), b"\x00\xff", "{path}");
    }
}

#[tokio::test]
async fn errors_keep_code_message_details_and_metadata() {
    let mut ground = ground().await;
    for rpc in rpcs() {
        for code in (1..=16).map(Code::from) {
            let mut metadata = MetadataMap::new();
            metadata.insert("x-error", "why".parse().unwrap());
            let message = format!("{code:?}: 100 % ä\nsecond line");
            let status = Status::with_details_and_metadata(code, message.clone(), vec![1, 0, 255].into(), metadata);
            ground.driver.lock().unwrap().script = Script { end: Err(status), ..Default::default() };
            let answer = ground.call(&rpc, Request::new(vec![])).await.unwrap_err();
            assert_eq!((answer.code(), answer.message()), (code, message.as_str()), "{}", rpc.full_name());
            assert_eq!(answer.details(), [1, 0, 255], "{}", rpc.full_name());
            assert_eq!(answer.metadata().get("x-error").unwrap(), "why", "{}", rpc.full_name());
        }
    }
}

fn delta() -> MethodDescriptor {
    rpcs().into_iter().find(|rpc| rpc.name() == "GetMetadataDelta").unwrap()
}

#[tokio::test]
async fn streams_come_piece_by_piece_and_may_end_badly() {
    let mut ground = ground().await;
    let rpc = delta();
    let status = Status::with_details(Code::Aborted, "in the midst", vec![9].into());
    let messages: Vec<_> = (0..3).map(|n| full(&rpc.output(), n)).collect();
    let pause = Duration::from_millis(200);
    ground.driver.lock().unwrap().script =
        Script { messages: messages.clone(), pause, end: Err(status), ..Default::default() };
    let start = tokio::time::Instant::now();
    let mut stream = ground.call(&rpc, Request::new(vec![])).await.unwrap();
    for (n, must) in (0..).zip(&messages) {
        let message = stream.message().await.unwrap().unwrap();
        assert_eq!(read(&rpc.output(), &message), read(&rpc.output(), must));
        // A proxy that gathers the stream would have the first after the last pause.
        assert!(start.elapsed() < pause * (n + 1), "message {n} after {:?}", start.elapsed());
    }
    let end = stream.message().await.unwrap_err();
    assert_eq!((end.code(), end.message(), end.details()), (Code::Aborted, "in the midst", [9].as_slice()));
}

async fn given_up(driver: &Shared) {
    let start = tokio::time::Instant::now();
    while driver.lock().unwrap().given_up == 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "the driver does not hear that the client has gone");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_given_up_is_given_up_at_the_driver() {
    let mut ground = ground().await;
    let rpc = delta();
    let messages = vec![full(&rpc.output(), 1); 2];
    ground.driver.lock().unwrap().script = Script { messages, pause: Duration::from_secs(60), ..Default::default() };
    let mut stream = ground.call(&rpc, Request::new(vec![])).await.unwrap();
    stream.message().await.unwrap();
    drop(stream);
    given_up(&ground.driver).await;
}

#[tokio::test]
async fn a_call_that_is_given_up_is_given_up_at_the_driver() {
    let mut ground = ground().await;
    let rpc = rpcs().into_iter().find(|rpc| rpc.name() == "CreateVolume").unwrap();
    // A unary answer is whole when its stream ends: until then the client waits.
    let script =
        Script { messages: vec![full(&rpc.output(), 1)], pause: Duration::from_secs(60), ..Default::default() };
    ground.driver.lock().unwrap().script = script;
    let mut request = Request::new(vec![]);
    request.set_timeout(Duration::from_secs(50));
    let driver = ground.driver.clone();
    let call = ground.call(&rpc, request);
    assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err(), "there was an answer");
    assert_eq!(driver.lock().unwrap().got.len(), 1);
    given_up(&driver).await;
}

#[tokio::test]
async fn a_dropped_proxy_is_gone() {
    let (_dir, driver, socket) = sockets();
    let _served = serve(&driver);
    let proxy = Proxy::start(driver.to_str().unwrap(), &socket, None).unwrap();
    assert!(Proxy::start(driver.to_str().unwrap(), &socket, None).is_err(), "two proxies on one socket");
    UnixStream::connect(&socket).await.unwrap();
    drop(proxy);
    assert!(!socket.exists());
    assert!(UnixStream::connect(&socket).await.is_err());
}
