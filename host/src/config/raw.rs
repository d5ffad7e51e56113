//! The file's shape, as serde reads it. The JSON schema is made from these types, so their docs are what an editor shows.
//!
//! Every scalar is read as text with its place: `${ENV}` may stand for any of them, and units and ranges are judged in
//! `lower`, where all errors are collected.

pub(super) mod auth;
pub(super) mod facts;
mod http;

use self::auth::{RawAuth, RawSecret};
use self::facts::RawFacts;
pub(super) use http::{RawHttp, RawHttpSettings};

use super::error::Place;
use super::tree::{Node, Tree};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

/// A scalar as the file has it, before `${ENV}` is expanded.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub text: String,
    pub at: Place,
}

/// A scalar that may be left out; but where its key is there, so must be its value: `digest:` alone is a mistake, not "none".
#[derive(Debug, Clone, Default)]
pub(super) struct Maybe(pub Option<Text>);

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub value: T,
    pub at: Place,
}

/// A map with free keys, in the file's order.
#[derive(Debug, Clone)]
pub(super) struct Entries<T>(pub Vec<(Text, T)>);

/// Configuration of `bulkhead`. Unknown keys are refused. `${NAME}` in a value stands for an environment variable, `$${` for
/// a literal `${`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Config")]
pub(super) struct RawConfig {
    /// Version of this format: 1.
    #[schemars(with = "super::schema::Version")]
    pub version: Text,
    /// Directory of journal, state and compile cache; created with mode 0700. Relative paths begin at this file. Default:
    /// /var/lib/bulkhead.
    #[serde(default)]
    #[schemars(with = "String")]
    pub state_dir: Maybe,
    /// Who this host is.
    pub node: Option<RawNode>,
    /// Limits over all backends together.
    pub limits: Option<RawTotals>,
    /// Whether the host lives and is ready, over HTTP.
    pub health: Option<RawHealth>,
    /// The CSI drivers that this host serves, at least one.
    #[schemars(length(min = 1))]
    pub drivers: Placed<Vec<Placed<RawDriver>>>,
}

/// Who this host is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Node")]
pub(super) struct RawNode {
    /// CSI node id, 1 to 256 bytes (Kubernetes takes at most 192). Default: the environment variable NODE_NAME, then the host
    /// name.
    #[serde(default)]
    #[schemars(with = "String")]
    pub id: Maybe,
    /// Absolute directory; staging and target paths must lie beneath it. Default: /var/lib/kubelet.
    #[serde(default)]
    #[schemars(with = "String")]
    pub kubelet_root: Maybe,
    /// Directory in which the nodes of a driver make themselves known to its controller, shared between them (a network file
    /// system, or one machine). Relative paths begin at this file. Default: none; a controller knows the node of its own
    /// process only.
    #[serde(default)]
    #[schemars(with = "String")]
    pub directory: Maybe,
    /// Register each driver with kubelet, in modes that serve the node: sockets in plugins_registry beneath kubeletRoot.
    /// Default: false.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub registration: Maybe,
    /// Labels that backends see among the node's facts.
    #[schemars(with = "Option<std::collections::BTreeMap<String, super::schema::Scalar>>")]
    pub labels: Option<Entries<Text>>,
    /// What is known of this node, in place of what the host finds out by itself.
    pub facts: Option<RawFacts>,
}

/// Limits over all backends together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Totals")]
pub(super) struct RawTotals {
    /// Linear memory of all running calls of all backends, at least that of each backend. Default: 1GiB.
    #[serde(default)]
    #[schemars(with = "super::schema::Size")]
    pub memory: Maybe,
}

/// Whether the host lives and is ready, over HTTP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Health")]
pub(super) struct RawHealth {
    /// ADDRESS:PORT to serve /livez, /readyz and /healthz on, like 0.0.0.0:9808 or [::]:9808. Default: none are served.
    #[serde(default)]
    #[schemars(with = "String")]
    pub endpoint: Maybe,
}

/// One CSI driver: a name, a socket, a backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Driver")]
pub(super) struct RawDriver {
    /// What the orchestrator calls the driver: at most 63 letters, digits, dashes and dots, beginning and ending with a letter or
    /// digit.
    #[schemars(with = "String")]
    pub name: Text,
    /// Unix socket to serve on: unix:///PATH or an absolute path, at most 107 bytes. Default, with a single driver: the
    /// environment variable CSI_ENDPOINT.
    #[serde(default)]
    #[schemars(with = "String")]
    pub endpoint: Maybe,
    /// Generation of CSI that is spoken. Default: 1.12.
    #[serde(default)]
    #[schemars(with = "super::schema::Csi")]
    pub csi: Maybe,
    /// Offer less than the backend exports; the same on all instances of the driver.
    pub offer: Option<RawOffer>,
    /// The component that serves the driver.
    pub backend: Placed<RawBackend>,
    /// How much one call and all calls of this backend may take.
    pub limits: Option<RawLimits>,
}

/// Offer less than the backend exports: `false` withholds, `true` (the default) leaves it to the backend.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Offer")]
pub(super) struct RawOffer {
    /// ControllerPublishVolume and ControllerUnpublishVolume.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub attachment: Maybe,
    /// GetCapacity.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub capacity: Maybe,
    /// SnapshotMetadata.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub changed_blocks: Maybe,
    /// Volumes made from volumes.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub cloning: Maybe,
    /// Inline ephemeral volumes.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub ephemeral: Maybe,
    /// Growing of volumes: by the controller, by the node, or both (`true`).
    #[serde(default)]
    #[schemars(with = "super::schema::OfferedExpansion")]
    pub expansion: Maybe,
    /// The group controller service.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub group_snapshots: Maybe,
    /// Health of volumes and storage.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub health: Maybe,
    /// ControllerGetVolume.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub inspection: Maybe,
    /// ListVolumes.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub listing: Maybe,
    /// ControllerModifyVolume.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub modification: Maybe,
    /// Mounting with the pod's group (VOLUME_MOUNT_GROUP).
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub mount_group: Maybe,
    /// Snapshots, and volumes made from them.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub snapshots: Maybe,
    /// ListSnapshots and GetSnapshot.
    #[serde(default)]
    #[schemars(with = "super::schema::Flag")]
    pub snapshot_listing: Maybe,
}

/// The component that serves a driver.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Backend")]
pub(super) struct RawBackend {
    /// Path of the component; relative paths begin at this file.
    #[schemars(with = "String")]
    pub source: Text,
    /// SHA-256 that the component must have: sha256: and 64 hexadecimal digits.
    #[serde(default)]
    #[schemars(with = "super::schema::Digest")]
    pub digest: Maybe,
    /// Settings of the backend, handed to it as they are: nested keys joined by dots, list items by index, all values as text.
    pub config: Option<Tree>,
    /// How the requests of the backend travel.
    pub http: Option<Placed<RawHttpSettings>>,
    /// Secrets of the backend and of its auth profiles, by name. A call has those of its CSI request besides.
    pub secrets: Option<Entries<RawSecret>>,
    /// Auth profiles, by name: how requests are signed, so that the backend never sees a key.
    pub auth: Option<Entries<Placed<RawAuth>>>,
    /// What the backend may use. Nothing is granted that isn't listed.
    pub grants: Option<Placed<RawGrants>>,
}

/// What a backend may use. Nothing is granted that isn't listed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Grants")]
pub(super) struct RawGrants {
    /// Directories of this host in which the backend may keep objects, by the name that it knows them by.
    pub pools: Option<Entries<RawPool>>,
    /// A small durable key-value store: `true`, or `{ quota: SIZE }` for how much may be in it, 64KiB to 256MiB. Default: false; 16MiB.
    #[serde(default)]
    #[schemars(with = "super::schema::State")]
    pub state: MaybeNode,
    /// Secrets of a call as handles; `sign` allows HMAC with them, `reveal` shows their values.
    #[schemars(with = "Option<Vec<super::schema::SecretUse>>")]
    pub secrets: Option<Vec<Text>>,
    /// Where the backend may send requests to.
    pub http: Option<Vec<Placed<RawHttp>>>,
    /// Kinds of access that the backend's mount plans may use.
    #[schemars(with = "Option<Vec<super::schema::AccessName>>")]
    pub access: Option<Vec<Text>>,
    /// What the path of a device in a mount plan (`local-device`) must begin with, beneath /dev: `/dev/pxd/`, `/dev/xvd`.
    #[schemars(with = "Option<Vec<String>>")]
    pub devices: Option<Vec<Text>>,
}

/// What stands at a key that may be left out: a scalar or a map.
#[derive(Debug, Default)]
pub(super) struct MaybeNode(pub Option<Node>);

/// A directory of this host in which a backend may keep objects.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Pool")]
pub(super) struct RawPool {
    /// An existing directory; relative paths begin at this file. No two pools may lie in one another.
    #[schemars(with = "String")]
    pub path: Text,
    /// Most bytes that are copied while a file system in use is frozen, on a pool whose file system can't share extents: a
    /// snapshot of more is refused. Default: 256MiB.
    #[serde(default)]
    #[schemars(with = "super::schema::Size")]
    pub copy_limit: Maybe,
    /// Permission bits of new directories for volumes, in octal and in quotes, like "0777": for a pool on a network file system
    /// whose directories nodes mount by themselves. Default: 0755 beneath directories that only the pool's owner can enter.
    #[serde(default)]
    #[schemars(with = "String")]
    pub directory_mode: Maybe,
}

/// How much one call and all calls of a backend may take.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "Limits")]
pub(super) struct RawLimits {
    /// Linear memory of one call, 1MiB to 4GiB. Default: 64MiB.
    #[serde(default)]
    #[schemars(with = "super::schema::Size")]
    pub memory: Maybe,
    /// Longest that a call may take, 100ms to 10min. Default: 30s.
    #[serde(default)]
    #[schemars(with = "super::schema::Time")]
    pub call_timeout: Maybe,
    /// Calls in flight, 1 to 1000. Default: 64.
    #[serde(default)]
    #[schemars(with = "super::schema::Count")]
    pub concurrency: Maybe,
    /// Lines that one call may log, 0 to 200. Default: 200.
    #[serde(default)]
    #[schemars(with = "super::schema::Count")]
    pub log_lines: Maybe,
}

/// The YAML library's location of the value itself: for an alias, of what it stands for.
pub(super) fn place_of(location: serde_saphyr::Location) -> Place {
    Place {
        line: u32::try_from(location.line()).unwrap_or(u32::MAX),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX),
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<String>::deserialize(deserializer)?;
        Ok(Self { text: spanned.value, at: place_of(spanned.defined) })
    }
}

impl<'de> Deserialize<'de> for MaybeNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Node::deserialize(deserializer).map(|node| Self(Some(node)))
    }
}

impl<'de> Deserialize<'de> for Maybe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::deserialize(deserializer).map(|text| Self(Some(text)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { value: spanned.value, at: place_of(spanned.defined) })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        std::collections::BTreeMap::<String, T>::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        std::collections::BTreeMap::<String, T>::json_schema(generator)
    }
}
