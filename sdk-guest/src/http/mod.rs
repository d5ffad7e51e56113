//! A small HTTP client over `wasi:http`. A component that uses it asks for grants below `grants.http`.
//!
//! The host does the hard parts: it connects (TLS, proxies, pools), signs requests by the auth profile of the grant, paces them
//! when the storage system throttles, and refuses every destination that isn't granted. A backend never sees a key.
//!
//! | to | use |
//! |---|---|
//! | send a request and read the reply | [`Request`], [`Client::send`], [`Response`] |
//! | say what may be sent twice | [`Request::read_only`], [`Request::repeatable`] |
//! | try again, with back-off, within the call's deadline | [`Retry`] |
//! | turn a failure into an outcome | `?`: [`Failure`] converts into [`Error`](crate::types::Error) |
//! | walk pages | [`Pages`] |
//! | read times | [`time`] |
//! | test without a host | [`testing`] |
//!
//! ```
//! use bulkhead_sdk::http::{Client, Request, Response};
//! use bulkhead_sdk::prelude::*;
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Lun {
//!     id: String,
//!     bytes: u64,
//! }
//!
//! fn lun(array: &str, name: &str) -> Result<Volume> {
//!     let request = Request::get(format!("https://{array}/api/luns")).query("name", name);
//!     let reply: Response = Client::default().send(&request)?;
//!     if reply.status == 404 {
//!         return Err(Error::not_found(name));
//!     }
//!     let lun: Lun = reply.json()?;
//!     Ok(Volume::new(lun.id, lun.bytes))
//! }
//!
//! # use bulkhead_sdk::http::testing::{install, reply};
//! install(|request: &Request| {
//!     assert_eq!(request.url, "https://array.example.com/api/luns?name=vol%201");
//!     Ok(reply(200, r#"{"id":"lun-7","bytes":1024}"#))
//! });
//! assert_eq!(lun("array.example.com", "vol 1").unwrap().volume_id, "lun-7");
//! ```

mod failure;
mod paging;
mod request;
mod response;
mod retry;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;
#[cfg(target_family = "wasm")]
mod wasi;

pub use failure::{Failure, Kind};
pub use paging::{Page, Pages};
pub use request::{Method, Request, encode};
pub use response::Response;
pub use retry::{Client, Retry};

#[cfg(not(target_family = "wasm"))]
use testing as transport;
#[cfg(target_family = "wasm")]
use wasi as transport;
