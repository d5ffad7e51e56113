//! Between the WIT and the domain. Whatever a guest says is untrusted: every id, name, map, size and list that comes in is
//! checked here and nowhere else.

mod attach;
mod health;
mod node;
mod plan;
mod pools;
mod snapshots;
mod volumes;

pub use attach::attach_request;
pub use health::{health_page, storage_problems, volume_problems};
pub use node::{facts_to_wit, node_info, plan_request};
pub use plan::{ephemeral_plan, plan};
pub use pools::{
    copy_order, created_to_wit, extent_page_to_wit, object_page_to_wit, object_spec, object_to_wit, pool_error,
    pool_info_to_wit, pool_metadata, provisioning, updated_to_wit,
};
pub use snapshots::{
    block_page, group_members, group_request, group_snapshot, snapshot, snapshot_filter, snapshot_page,
    snapshot_request,
};
pub use volumes::{
    available, capability_to_wit, capacity_request, create_request, expand_request, expanded, listed_volume,
    page_request, validate_request, volume, volume_page,
};

use super::bindings::{
    imports::types::{Error as WitError, Pending, Unavailable},
    offered,
};
use crate::ops::ports::Effect;
use bulkhead_domain::{
    Error, ErrorKind, StringMap,
    error::{Again, Resume},
    limits::{self, Violation},
    offer::{Info, Promises},
    topology::Topology,
};
use std::time::Duration;

/// Most entries that a backend is asked for at once.
pub const MOST_ENTRIES: u32 = limits::LIST_ENTRIES as u32;
/// Longest that a backend may ask the client to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The error table: what each case of the WIT means. Values of secrets are masked in what the backend says.
pub fn error(error: WitError, effect: Effect, mask: impl FnOnce(&str) -> String) -> Error {
    let hint = |ms: Option<u32>| ms.filter(|ms| Duration::from_millis(u64::from(*ms)) <= MAX_RETRY_AFTER);
    let mut again = Again::No;
    let (kind, message, retry_after_ms) = match error {
        WitError::InvalidArgument(m) => (ErrorKind::InvalidArgument, m, None),
        WitError::NotFound(m) => (ErrorKind::NotFound, m, None),
        WitError::AlreadyExists(m) => (ErrorKind::AlreadyExists, m, None),
        WitError::ResourceExhausted(m) => (ErrorKind::ResourceExhausted, m, None),
        WitError::FailedPrecondition(m) => (ErrorKind::FailedPrecondition, m, None),
        WitError::OutOfRange(m) => (ErrorKind::OutOfRange, m, None),
        WitError::PermissionDenied(m) => (ErrorKind::PermissionDenied, m, None),
        WitError::Unauthenticated(m) => (ErrorKind::Unauthenticated, m, None),
        WitError::Pending(Pending { message, retry_after_ms, resume }) => {
            // A text beyond the limits is dropped: it is a hint, and what is pending is pending without it.
            again = Again::Pending(resume.and_then(Resume::parse));
            (ErrorKind::Aborted, message, hint(retry_after_ms))
        }
        WitError::Unavailable(Unavailable { message, retry_after_ms }) => {
            let retry_after_ms = hint(retry_after_ms);
            if retry_after_ms.is_some() {
                again = Again::Unchanged;
            }
            (ErrorKind::Unavailable, message, retry_after_ms)
        }
        WitError::UnknownOutcome(m) => (ErrorKind::Unavailable, m, None),
        WitError::Internal(m) => match effect {
            Effect::None => (ErrorKind::Internal, m, None),
            Effect::Possible => (ErrorKind::Unavailable, m, None),
        },
    };
    Error::new(kind, mask(&message)).with_retry_after_ms(retry_after_ms).with_again(again)
}

/// What the backend says about itself. Checked by [`Info::check`].
pub fn info(info: offered::identity::Info) -> Info {
    use offered::identity::Promises as P;
    let has = |flag: P| info.promises.contains(flag);
    Info {
        promises: Promises {
            publish_readonly: has(P::PUBLISH_READONLY),
            single_node_multi_writer: has(P::SINGLE_NODE_MULTI_WRITER),
            expand_online: has(P::EXPAND_ONLINE),
            published_nodes: has(P::PUBLISHED_NODES),
            volume_mount_group: has(P::VOLUME_MOUNT_GROUP),
            attach_one_at_a_time_per_node: has(P::ATTACH_ONE_AT_A_TIME_PER_NODE),
            snapshot_topology: has(P::SNAPSHOT_TOPOLOGY),
        },
        vendor_version: info.vendor_version,
        manifest: info.manifest.into_iter().collect(),
        topology_keys: info.topology_keys,
        loggable_parameters: info.loggable_parameters,
    }
}

/// A publish context from the guest.
pub fn publish_context(pairs: Vec<(String, String)>) -> Result<StringMap, Violation> {
    map("publish-context", pairs)
}

/// A map from a guest: keys unique, within CSI's limits.
fn map(what: &str, pairs: Vec<(String, String)>) -> Result<StringMap, Violation> {
    limits::map_pairs(what, pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())))?;
    let count = pairs.len();
    let map: StringMap = pairs.into_iter().collect();
    if map.len() == count { Ok(map) } else { Err(format!("{what} has a key twice")) }
}

/// A map, for the guest.
pub fn map_to_wit(map: StringMap) -> Vec<(String, String)> {
    map.into_iter().collect()
}

fn list<T, U>(what: &str, items: Vec<T>, convert: impl FnMut(T) -> Result<U, Violation>) -> Result<Vec<U>, Violation> {
    if items.len() > limits::LIST_ENTRIES {
        return Err(format!("{what} has {} entries, at most {} are allowed", items.len(), limits::LIST_ENTRIES));
    }
    items.into_iter().map(convert).collect()
}

/// A place from a guest: every key must be among those that the backend has named at load.
fn topology(place: super::bindings::imports::types::Topology, keys: &[String]) -> Result<Topology, Violation> {
    let place = Topology { segments: map("topology", place.segments)? };
    place.check()?;
    match place.segments.keys().find(|key| !keys.contains(*key)) {
        Some(key) => Err(format!("topology key {key:?} is not in identity.info.topology-keys")),
        None => Ok(place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::request::Secrets;

    #[test]
    fn the_error_table() {
        let secrets = Secrets::new([("password".to_owned(), "hunter2".to_owned())].into());
        let kind = |e: WitError, effect| error(e, effect, |text| secrets.mask(text)).kind();
        let text = || "x".to_owned();
        for (wit, expected) in [
            (WitError::InvalidArgument(text()), ErrorKind::InvalidArgument),
            (WitError::NotFound(text()), ErrorKind::NotFound),
            (WitError::AlreadyExists(text()), ErrorKind::AlreadyExists),
            (WitError::ResourceExhausted(text()), ErrorKind::ResourceExhausted),
            (WitError::FailedPrecondition(text()), ErrorKind::FailedPrecondition),
            (WitError::OutOfRange(text()), ErrorKind::OutOfRange),
            (WitError::PermissionDenied(text()), ErrorKind::PermissionDenied),
            (WitError::Unauthenticated(text()), ErrorKind::Unauthenticated),
            (WitError::UnknownOutcome(text()), ErrorKind::Unavailable),
            (WitError::Internal(text()), ErrorKind::Unavailable),
        ] {
            assert_eq!(kind(wit.clone(), Effect::Possible), expected, "{wit:?}");
        }
        assert_eq!(kind(WitError::Internal(text()), Effect::None), ErrorKind::Internal);
        let said = error(WitError::NotFound("no hunter2\nhere".into()), Effect::None, |text| secrets.mask(text));
        assert_eq!(said.message(), "no <redacted>\\nhere");
        let pending = |resume: &str| {
            let pending = Pending { message: text(), retry_after_ms: Some(5), resume: Some(resume.to_owned()) };
            error(WitError::Pending(pending), Effect::Possible, |text| secrets.mask(text))
        };
        assert_eq!((pending("r").kind(), pending("r").retry_after_ms()), (ErrorKind::Aborted, Some(5)));
        assert_eq!(*pending("r").again(), Again::Pending(Resume::parse("r".into())));
        assert_eq!(*pending(&"r".repeat(1025)).again(), Again::Pending(None));
        let unavailable = |retry_after_ms| {
            error(WitError::Unavailable(Unavailable { message: text(), retry_after_ms }), Effect::None, |text| {
                secrets.mask(text)
            })
        };
        assert_eq!(*unavailable(Some(5)).again(), Again::Unchanged);
        assert_eq!(*unavailable(None).again(), Again::No, "nobody has said when to come again");
        assert_eq!(*unavailable(Some(u32::MAX)).again(), Again::No, "nor is that a time");
    }

    #[test]
    fn maps_and_topologies() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert!(map("m", vec![pair("a", "1"), pair("a", "2")]).is_err());
        assert!(map("m", vec![pair("a", &"x".repeat(5000))]).is_err());
        let place = |k: &str| super::super::bindings::imports::types::Topology { segments: vec![pair(k, "v")] };
        assert!(topology(place("p/zone"), &["p/zone".into()]).is_ok());
        assert!(topology(place("p/other"), &["p/zone".into()]).is_err());
    }
}
