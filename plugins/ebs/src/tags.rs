//! Tags: what a volume or snapshot is and whose. Those that the public EBS driver sets have its names, so that volumes move between
//! the two; ours say in addition what EC2 has no field for.

use crate::model::{Set, Tag};
use crate::settings::Settings;
use bulkhead_sdk::prelude::*;

/// The CSI name of a volume.
pub const VOLUME_NAME: &str = "CSIVolumeName";
/// The CSI name of a snapshot.
pub const SNAPSHOT_NAME: &str = "CSIVolumeSnapshotName";
/// Made by a CSI driver for EBS.
pub const DRIVER: &str = "ebs.csi.aws.com/cluster";
/// Followed by the cluster's id.
const CLUSTER: &str = "kubernetes.io/cluster/";
const OWNED: &str = "owned";
/// The digest of the request that made it.
pub const DIGEST: &str = "bulkhead.dev/request-digest";
/// Options by which the volume's file system is made, as `key=value` with spaces between.
pub const FORMAT: &str = "bulkhead.dev/format";
/// Followed by an instance's id: the CSI node id under which the volume is attached to it, where that isn't the instance's id.
pub const NODE: &str = "bulkhead.dev/node/";

/// Most tags of a volume or snapshot.
const MAX: usize = 50;

/// Whose a volume or snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// This driver's, in this cluster.
    Ours,
    /// Some other cluster's: it doesn't exist for us.
    Theirs,
    /// Made by hand. It may be used, and is neither listed nor deleted.
    Nobody,
}

impl Owner {
    pub fn of(tags: &Set<Tag>, settings: &Settings) -> Self {
        let of_driver = tags.get(DRIVER) == Some("true");
        let cluster = cluster_key(settings);
        if of_driver && tags.get(&cluster) == Some(OWNED) {
            return Self::Ours;
        }
        let others =
            tags.items.iter().any(|tag| tag.key.starts_with(CLUSTER) && tag.value == OWNED && tag.key != cluster);
        if of_driver || others { Self::Theirs } else { Self::Nobody }
    }
}

fn cluster_key(settings: &Settings) -> String {
    format!("{CLUSTER}{}", settings.cluster)
}

/// What makes a thing ours: also the filters by which such things are listed.
pub fn ours(settings: &Settings) -> [(String, String); 2] {
    [(DRIVER.to_owned(), "true".to_owned()), (cluster_key(settings), OWNED.to_owned())]
}

/// All tags of something new: first what a class asks for, so that none of it replaces what we rely on.
pub fn all(settings: &Settings, own: StringMap, class: &StringMap) -> Result<StringMap> {
    let mut tags: StringMap = Vec::new();
    let layers = settings.extra_tags.iter().chain(class).cloned().chain(own).chain(ours(settings));
    for (key, value) in layers {
        tags.retain(|(other, _)| *other != key);
        tags.push((key, value));
    }
    if tags.len() > MAX {
        return Err(Error::invalid(format!("{} tags: EC2 takes at most {MAX}", tags.len())));
    }
    Ok(tags)
}

/// Why nobody may set this tag by a class or the config.
pub fn check(key: &str, value: &str) -> Result<(), String> {
    let reserved = [VOLUME_NAME, SNAPSHOT_NAME, DRIVER].contains(&key)
        || ["aws:", "kubernetes.io", "bulkhead.dev/"].iter().any(|prefix| key.starts_with(prefix));
    match (key.chars().count(), value.chars().count()) {
        (0, _) | (129.., _) => Err("has a tag key that isn't 1 to 128 characters long".to_owned()),
        (_, 257..) => Err("has a tag value of more than 256 characters".to_owned()),
        _ if reserved => Err(format!("sets the tag `{key}`, which is reserved")),
        _ if key.chars().chain(value.chars()).any(char::is_control) => {
            Err("has control characters in a tag".to_owned())
        }
        _ => Ok(()),
    }
}
