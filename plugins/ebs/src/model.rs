//! EC2's XML as far as this backend reads it. All values are text until they are used: what is missing or empty is the empty string, and
//! an answer with more in it than this is fine.

use bulkhead_sdk::http::time;
use bulkhead_sdk::size::GIB;
use serde::Deserialize;

/// Structures of elements, any of which may be missing.
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $visibility:vis $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name { $($(#[$field_doc])* $visibility $field: $type,)+ }
    )+};
}

/// `<set><item>…</item>…</set>`, which may be missing.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Set<T> {
    #[serde(rename = "item", default = "Vec::new")]
    pub items: Vec<T>,
}

shapes! {
    Tag {
        pub key: String,
        pub value: String,
    }

    /// Of a volume, seen from its side.
    Attachment {
        pub instance_id: String,
        pub device: String,
        /// `attaching`, `attached`, `busy`, `detaching` or `detached`.
        pub status: String,
    }

    /// In answers to CreateVolume and DescribeVolumes.
    VolumeItem {
        pub volume_id: String,
        /// GiB.
        size: String,
        pub snapshot_id: String,
        pub availability_zone: String,
        /// `creating`, `available`, `in-use`, `deleting`, `deleted` or `error`.
        pub status: String,
        create_time: String,
        pub volume_type: String,
        pub iops: String,
        pub throughput: String,
        pub multi_attach_enabled: String,
        pub attachment_set: Set<Attachment>,
        pub tag_set: Set<Tag>,
    }

    Volumes {
        pub volume_set: Set<VolumeItem>,
        pub next_token: String,
    }

    /// In answers to CreateSnapshot and DescribeSnapshots.
    SnapshotItem {
        pub snapshot_id: String,
        pub volume_id: String,
        /// `pending`, `completed` or `error`; `recoverable` and `recovering` in the recycle bin.
        pub status: String,
        pub status_message: String,
        start_time: String,
        /// GiB of the source.
        volume_size: String,
        pub tag_set: Set<Tag>,
    }

    Snapshots {
        pub snapshot_set: Set<SnapshotItem>,
        pub next_token: String,
    }

    /// A change of a volume that was asked for.
    Change {
        /// `modifying`, `optimizing`, `completed` or `failed`.
        pub modification_state: String,
        pub status_message: String,
        pub target_size: String,
        pub target_volume_type: String,
        pub target_iops: String,
        pub target_throughput: String,
    }

    Changes {
        pub volume_modification_set: Set<Change>,
    }

    Changed {
        pub volume_modification: Change,
    }

    Mapping {
        pub device_name: String,
    }

    InstanceState {
        pub name: String,
    }

    Instance {
        pub instance_id: String,
        pub instance_state: InstanceState,
        pub block_device_mapping: Set<Mapping>,
    }

    Reservation {
        pub instances_set: Set<Instance>,
    }

    Instances {
        pub reservation_set: Set<Reservation>,
    }

    Zone {
        pub zone_name: String,
        pub zone_state: String,
        /// `availability-zone`, `local-zone` or `wavelength-zone`.
        pub zone_type: String,
    }

    Zones {
        pub availability_zone_info: Set<Zone>,
    }

    /// Answer to EnableFastSnapshotRestores: what didn't work is in an answer with status 200.
    FastRestores {
        pub unsuccessful: Set<Done>,
    }
}

impl Set<Tag> {
    pub fn of(tags: &[(String, String)]) -> Self {
        let tag = |(key, value): &(String, String)| Tag { key: key.clone(), value: value.clone() };
        Self { items: tags.iter().map(tag).collect() }
    }

    /// The value of the tag `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.items.iter().find(|tag| tag.key == key).map(|tag| tag.value.as_str())
    }
}

impl VolumeItem {
    pub fn gib(&self) -> u64 {
        self.size.parse().unwrap_or_default()
    }

    pub fn bytes(&self) -> u64 {
        self.gib().saturating_mul(GIB)
    }

    /// When it was made; 0 if EC2 doesn't say it in a way that can be read.
    pub fn created_ms(&self) -> u64 {
        time::iso8601(&self.create_time).unwrap_or_default()
    }

    pub fn is_going(&self) -> bool {
        matches!(self.status.as_str(), "deleting" | "deleted")
    }

    /// Where it is attached, or about to be or to be no more.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.attachment_set.items.iter().filter(|attachment| attachment.status != "detached")
    }
}

impl SnapshotItem {
    pub fn bytes(&self) -> u64 {
        self.volume_size.parse::<u64>().unwrap_or_default().saturating_mul(GIB)
    }

    pub fn cut_at_ms(&self) -> u64 {
        time::iso8601(&self.start_time).unwrap_or_default()
    }
}

/// Of answers in which nothing matters but that they are there.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Done {}

/// EC2 says no.
#[derive(Debug, Deserialize)]
pub struct Refusal {
    #[serde(rename = "Errors")]
    pub errors: Refusals,
}

#[derive(Debug, Deserialize)]
pub struct Refusals {
    #[serde(rename = "Error")]
    pub error: OneRefusal,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OneRefusal {
    pub code: String,
    #[serde(default)]
    pub message: String,
}
