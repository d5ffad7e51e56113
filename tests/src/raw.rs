//! gRPC calls with any bytes as the message: what a hostile client sends, and what a test makes from descriptors.

use crate::Channel;
use prost_reflect::bytes::{Buf, BufMut};
use tonic::{
    Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http,
};

struct Bytes;

impl Codec for Bytes {
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

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// Calls `path`, like `/csi.v1.Identity/Probe`, with `message`: the encoded answer. Of a stream its first message, or
/// nothing if it has none.
///
/// # Errors
/// The server's.
///
/// # Panics
/// The connection is gone.
pub async fn call(channel: &Channel, path: &str, message: Vec<u8>) -> Result<Vec<u8>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("a connection");
    let path = http::uri::PathAndQuery::try_from(path).expect("a path");
    let mut stream = client.server_streaming(Request::new(message), path, Bytes).await?.into_inner();
    Ok(stream.message().await?.unwrap_or_default())
}

/// Posts `body` as it is, without a frame around it: the status that the server ends the call with.
///
/// # Panics
/// The connection is gone, or the answer has no status.
pub async fn post(channel: &Channel, path: &str, body: &str) -> Status {
    use tower::{Service, ServiceExt};
    let request = http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(body.to_owned()))
        .expect("a request");
    let mut channel = channel.clone();
    let response = channel.ready().await.expect("a connection").call(request).await.expect("an answer");
    Status::from_header_map(response.headers()).expect("a status without a body")
}
