//! Parameters of a StorageClass, VolumeAttributesClass and VolumeSnapshotClass, with the names that the public EBS driver
//! has for them, in whatever case. Messages name keys, never values.

use crate::kinds::Kind;
use crate::tags;
use crate::template::{self, Fields};
use bulkhead_sdk::prelude::*;
use std::str::FromStr;

/// Keys whose values may be logged.
pub const LOGGABLE: [&str; 10] = [
    "type",
    "volumeType",
    "iops",
    "iopsPerGB",
    "throughput",
    "encrypted",
    "blockSize",
    "inodeSize",
    "bytesPerInode",
    "numberOfInodes",
];

/// Options of mkfs: key, whether ext4 only, and how it is asked for on ext4 and xfs.
const FORMAT: [(&str, bool, &str, &str); 4] = [
    ("blocksize", false, "-b ", "-b size="),
    ("inodesize", false, "-I ", "-i size="),
    ("bytesperinode", true, "-i ", ""),
    ("numberofinodes", true, "-N ", ""),
];

/// Keys that the public driver knows and that can't be had here.
const REFUSED: [(&str, &str); 4] = [
    ("ext4bigalloc", "the host's mkfs takes no feature flags"),
    ("ext4clustersize", "the host's mkfs takes no feature flags"),
    ("ext4encryptionsupport", "the host's mkfs takes no feature flags"),
    ("outpostarn", "volumes on Outposts are not supported"),
];

/// What a class asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Class {
    pub kind: Option<&'static Kind>,
    pub iops: Option<u64>,
    pub iops_per_gib: Option<u64>,
    pub raise_iops: Option<bool>,
    /// MiB/s.
    pub throughput: Option<u64>,
    pub encrypted: bool,
    pub kms_key: Option<String>,
    /// MiB/s; of volumes from snapshots only.
    pub initialization_rate: Option<u64>,
    /// Keys of [`FORMAT`] and numbers.
    pub format: StringMap,
    /// Filled in.
    pub tags: StringMap,
    /// Keys.
    pub deleted_tags: Vec<String>,
}

/// Reads parameters one by one, each key once.
struct Reader<'a> {
    given: &'a StringMap,
    fields: Vec<(&'static str, &'a str)>,
}

const VOLUME_FIELDS: [(&str, &str); 3] = [
    ("PVCName", "csi.storage.k8s.io/pvc/name"),
    ("PVCNamespace", "csi.storage.k8s.io/pvc/namespace"),
    ("PVName", "csi.storage.k8s.io/pv/name"),
];
const SNAPSHOT_FIELDS: [(&str, &str); 3] = [
    ("VolumeSnapshotName", "csi.storage.k8s.io/volumesnapshot/name"),
    ("VolumeSnapshotNamespace", "csi.storage.k8s.io/volumesnapshot/namespace"),
    ("VolumeSnapshotContentName", "csi.storage.k8s.io/volumesnapshotcontent/name"),
];

impl<'a> Reader<'a> {
    fn new(given: &'a StringMap, fields: [(&'static str, &str); 3]) -> Self {
        let value = |key: &str| lookup(given, key).unwrap_or_default();
        Self { given, fields: fields.into_iter().map(|(name, key)| (name, value(key))).collect() }
    }

    /// Gives `read` each key, in lower case and as it stands, with its value. It says whether it knows it.
    fn each(&self, mut read: impl FnMut(&str, &str, &str) -> Result<bool>) -> Result<()> {
        let (mut seen, mut unknown): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
        for (key, value) in self.given.iter().filter(|(key, _)| !key.starts_with("csi.storage.k8s.io/")) {
            let lower = key.to_ascii_lowercase();
            if seen.contains(&lower) {
                return Err(Error::invalid(format!("parameter `{key}` is there twice, in another case")));
            }
            if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == lower && !self.is_snapshot()) {
                return Err(Error::invalid(format!("parameter `{key}`: {why}")));
            }
            if !read(&lower, key, value)? {
                unknown.push(key);
            }
            seen.push(lower);
        }
        match unknown.as_slice() {
            [] => Ok(()),
            unknown => Err(Error::invalid(format!("unknown parameters: `{}`", unknown.join("`, `")))),
        }
    }

    fn is_snapshot(&self) -> bool {
        self.fields.iter().any(|(name, _)| name.starts_with("VolumeSnapshot"))
    }

    /// `KEY=VALUE`, the value with placeholders.
    fn tag(&self, key: &str, text: &str) -> Result<(String, String)> {
        let bad = |why: &str| Error::invalid(format!("parameter `{key}` {why}"));
        let (tag, value) = text.split_once('=').ok_or_else(|| bad("must be of the form `KEY=VALUE`"))?;
        let fields: Fields<'_> = &self.fields;
        let value = template::fill(value, fields).map_err(|why| bad(&why))?;
        tags::check(tag, &value).map_err(|why| bad(&why))?;
        Ok((tag.to_owned(), value))
    }
}

fn parsed<T: FromStr>(key: &str, value: &str, what: &str) -> Result<Option<T>> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| Error::invalid(format!("parameter `{key}` must be {what}")))
}

fn flag(key: &str, value: &str) -> Result<Option<bool>> {
    parsed(key, &value.to_ascii_lowercase(), "true or false")
}

fn count(key: &str, value: &str) -> Result<Option<u64>> {
    parsed(key, value, "a number").and_then(|number| match number {
        Some(0) => Err(Error::invalid(format!("parameter `{key}` must be a number from 1 on"))),
        number => Ok(number.filter(|number| *number <= u64::from(u32::MAX))),
    })
}

impl Class {
    /// Of a StorageClass, overridden by those of a VolumeAttributesClass, together sound.
    pub fn of(parameters: &StringMap, mutable_parameters: &StringMap) -> Result<Self> {
        let mut class = Self::default();
        class.read(parameters)?;
        let mut mutable = Self::mutable(mutable_parameters)?;
        class.kind = mutable.kind.or(class.kind);
        class.throughput = mutable.throughput.or(class.throughput);
        class.raise_iops = mutable.raise_iops.or(class.raise_iops);
        if mutable.iops.is_some() || mutable.iops_per_gib.is_some() {
            (class.iops, class.iops_per_gib) = (mutable.iops, mutable.iops_per_gib);
        }
        class.tags.retain(|(key, _)| !mutable.deleted_tags.contains(key));
        class.tags.append(&mut mutable.tags);
        class.tags.extend(created_for(parameters));
        class.sound()?;
        Ok(class)
    }

    /// Of a VolumeAttributesClass alone.
    pub fn mutable(given: &StringMap) -> Result<Self> {
        let mut class = Self::default();
        let reader = Reader::new(given, VOLUME_FIELDS);
        reader.each(|key, name, value| class.change(&reader, key, name, value))?;
        class.one_iops()?;
        Ok(class)
    }

    fn read(&mut self, given: &StringMap) -> Result<()> {
        let reader = Reader::new(given, VOLUME_FIELDS);
        reader.each(|key, name, value| {
            match key {
                "encrypted" => self.encrypted = flag(name, value)?.unwrap_or_default(),
                "kmskeyid" => self.kms_key = Some(value.to_owned()).filter(|key| !key.is_empty()),
                "volumeinitializationrate" => self.initialization_rate = count(name, value)?,
                // io2 has had these limits everywhere for years; the file system is the capability's.
                "blockexpress" => drop(flag(name, value)?),
                "fstype" => {}
                _ if FORMAT.iter().any(|(known, ..)| *known == key) => {
                    self.format.extend(count(name, value)?.map(|number| (key.to_owned(), number.to_string())));
                }
                _ if key.starts_with("tagdeletion") || key == "volumetype" => return Ok(false),
                _ => return self.change(&reader, key, name, value),
            }
            Ok(true)
        })
    }

    /// What may also change later.
    fn change(&mut self, reader: &Reader<'_>, key: &str, name: &str, value: &str) -> Result<bool> {
        match key {
            "type" | "volumetype" if !value.is_empty() => {
                let refuse = || Error::invalid(format!("parameter `{name}` must be one of {}", Kind::names()));
                self.kind = Some(Kind::parse(value).ok_or_else(refuse)?);
            }
            "type" | "volumetype" => {}
            "iops" => self.iops = count(name, value)?,
            "iopspergb" => self.iops_per_gib = count(name, value)?,
            "allowautoiopspergbincrease" => self.raise_iops = flag(name, value)?,
            "throughput" => self.throughput = count(name, value)?,
            _ if key.starts_with("tagspecification") => self.tags.push(reader.tag(name, value)?),
            _ if key.starts_with("tagdeletion") => {
                tags::check(value, "").map_err(|why| Error::invalid(format!("parameter `{name}` {why}")))?;
                self.deleted_tags.push(value.to_owned());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn one_iops(&self) -> Result<()> {
        match (self.iops, self.iops_per_gib) {
            (Some(_), Some(_)) => Err(Error::invalid("parameters `iops` and `iopsPerGB` exclude each other")),
            _ => Ok(()),
        }
    }

    fn sound(&self) -> Result<()> {
        self.one_iops()?;
        let missing = self.iops.is_none() && self.iops_per_gib.is_none();
        if missing && self.kind().iops.as_ref().is_some_and(|iops| iops.required) {
            return Err(Error::invalid(format!("type {} needs the parameter `iops` or `iopsPerGB`", self.kind().name)));
        }
        Ok(())
    }

    pub fn kind(&self) -> &'static Kind {
        self.kind.unwrap_or(Kind::DEFAULT)
    }

    /// IOPS of a volume of that type and size, if any are asked for. Types that have no choice ignore it, as the public driver does.
    pub fn iops_for(&self, kind: &Kind, gib: u64) -> Result<Option<u64>> {
        let Some(limits) = &kind.iops else { return Ok(None) };
        match self.iops_per_gib {
            Some(per_gib) => limits.scaled(per_gib, gib, self.raise_iops.unwrap_or_default()).map(Some),
            None => Ok(self.iops),
        }
    }

    pub fn throughput_for(&self, kind: &Kind) -> Option<u64> {
        self.throughput.filter(|_| kind.throughput)
    }
}

/// Who the volume is for, where the CO says so: the public driver's tags for it.
fn created_for(given: &StringMap) -> StringMap {
    let of = |(_, key): (&str, &'static str)| {
        let value = lookup(given, key)?;
        let short = key.strip_prefix("csi.storage.k8s.io/")?;
        Some((format!("kubernetes.io/created-for/{short}"), value.to_owned()))
    };
    VOLUME_FIELDS.into_iter().filter_map(of).collect()
}

/// How mkfs is to be asked, on `fs_type`, for what a volume's context holds of [`FORMAT`].
///
/// # Errors
/// Why it can't be had, for people.
pub fn mkfs_options(context: &StringMap, fs_type: &str) -> std::result::Result<Vec<String>, String> {
    let wanted = FORMAT.into_iter().filter_map(|known| Some((known, lookup(context, known.0)?)));
    let option = |((key, ext4_only, ext4, xfs), value): ((&str, bool, &str, &str), &str)| match fs_type {
        _ if value.parse::<u32>().is_err() => Err(format!("`{key}` isn't a number")),
        "xfs" if ext4_only => Err(format!("`{key}` is for ext4, not for xfs")),
        "xfs" => Ok(format!("{xfs}{value}")),
        _ => Ok(format!("{ext4}{value}")),
    };
    wanted.map(option).collect()
}

/// What a VolumeSnapshotClass asks for.
#[derive(Debug, Default, PartialEq)]
pub struct SnapshotClass {
    /// Zones in which volumes made from it are fast at once.
    pub fast_restore_zones: Vec<String>,
    pub outpost: Option<String>,
    pub tags: StringMap,
}

impl SnapshotClass {
    pub fn parse(given: &StringMap) -> Result<Self> {
        let mut class = Self::default();
        let reader = Reader::new(given, SNAPSHOT_FIELDS);
        reader.each(|key, name, value| {
            match key {
                "fastsnapshotrestoreavailabilityzones" => {
                    let zones = value.split(',').map(str::trim).filter(|zone| !zone.is_empty());
                    class.fast_restore_zones = zones.map(str::to_owned).collect();
                }
                "outpostarn" => class.outpost = Some(value.to_owned()).filter(|arn| !arn.is_empty()),
                _ if key.starts_with("tagspecification") => class.tags.push(reader.tag(name, value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(class)
    }
}
