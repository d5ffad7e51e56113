//! The Container Storage Interface as Rust types, gRPC clients and gRPC servers.
//!
//! [`v1`] holds the protobuf package `csi.v1`: wire-exact for CSI 1.13, with what 1.12 had and 1.13
//! retired (`VolumeCondition` and its capabilities), so that orchestrators of both generations can
//! be served. `proto/README.md` tells how it is made.
//!
//! **Invariant: formatting a message never shows a secret.** Fields marked `csi_secret` and
//! `mount_flags` print as `<redacted: N entries>`, service account tokens in any map as
//! `<redacted>`, at every depth, in `{:?}` and `{:#?}`. The tests walk all messages to keep it so.
//! The wire form of a message (`encode`) and its fields are of course whole.
//!
//! [`registration`] is how kubelet is told of a CSI driver.
//!
//! Maps are `BTreeMap`, so that encodings and Debug output are repeatable.

mod redact;

/// Seconds and nanoseconds since 1970-01-01 UTC.
pub use prost_types::Timestamp;

pub use redact::SERVICE_ACCOUNT_TOKENS_KEY;

/// The protobuf package `csi.v1`.
///
/// Clients and servers are in one module for each service, like [`node_client`](v1::node_client) and
/// [`node_server`](v1::node_server). Wrapped numbers are `Option`: `ProbeResponse.ready` is an
/// `Option<bool>`. An enum field is an `i32`, because a peer may send a number that we don't know.
#[allow(missing_docs, unused_qualifications, reason = "generated code")]
#[allow(clippy::all, clippy::unwrap_used, reason = "generated code")]
pub mod v1 {
    tonic::include_proto!("csi.v1");
    include!(concat!(env!("OUT_DIR"), "/csi.v1.debug.rs"));
}

/// Version v1 of kubelet's plugin registration: the protobuf package `pluginregistration`. It carries no secrets.
#[allow(missing_docs, unused_qualifications, reason = "generated code")]
#[allow(clippy::all, clippy::unwrap_used, reason = "generated code")]
pub mod registration {
    tonic::include_proto!("pluginregistration");

    /// `PluginInfo.type` of a CSI driver.
    pub const CSI_PLUGIN: &str = "CSIPlugin";
    /// What kubelet wants in `PluginInfo.supported_versions` of a CSI driver of any 1.x version.
    pub const CSI_VERSION: &str = "1.0.0";
    /// The encoded `google.protobuf.FileDescriptorSet` of `pluginregistration`, without comments.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pluginregistration.bin"));
}

/// The encoded `google.protobuf.FileDescriptorSet` of `csi.v1` and its imports, without comments.
///
/// It holds the CSI field options (`csi_secret` 1059, alpha markers 1060), which a reader sees only if it
/// decodes extensions; `prost_types` drops them.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/csi.v1.bin"));

/// Decodes a message of the protobuf type `full_name`, like `csi.v1.Volume`, and formats it with `{:?}`.
///
/// `None` if there is no such message in `csi.v1` or `bytes` isn't a valid encoding of one. For tests
/// that go through all messages.
pub fn debug_by_name(full_name: &str, bytes: &[u8]) -> Option<String> {
    v1::decode_by_name(full_name, bytes).map(|message| format!("{message:?}"))
}

/// Like [`debug_by_name`], with `{:#?}`.
pub fn pretty_debug_by_name(full_name: &str, bytes: &[u8]) -> Option<String> {
    v1::decode_by_name(full_name, bytes).map(|message| format!("{message:#?}"))
}
