//! Volumes as EC2 has them, found by id or by CSI name, and turned into CSI's.

use crate::ec2::{Ec2, Query};
use crate::model::{Done, Set, Tag, VolumeItem, Volumes};
use crate::settings::Settings;
use crate::tags::{DIGEST, FORMAT, NODE, Owner, VOLUME_NAME, ours};
use bulkhead_sdk::http::{Page, Pages};
use bulkhead_sdk::prelude::*;

/// Key of the volume context, and its value where the content comes from a snapshot.
pub const CONTENT: &str = "content";
pub const RESTORED: &str = "snapshot";

/// EC2 with the operator's settings: where each call begins.
pub struct Cloud {
    pub settings: Settings,
    pub ec2: Ec2,
}

impl Cloud {
    pub fn open() -> Result<Self> {
        let settings = Settings::configured()?;
        let ec2 = Ec2::new(&settings);
        Ok(Self { settings, ec2 })
    }

    /// The volume of that id, whoever's it is. Volumes that are being deleted are gone.
    pub fn volume(&self, id: &str) -> Result<Option<VolumeItem>> {
        if !is_id(id, "vol-") {
            return Ok(None);
        }
        let query = Query::read("DescribeVolumes").with("VolumeId.1", id);
        match self.ec2.ask::<Volumes>(query) {
            Ok(found) => Ok(found.volume_set.first().filter(|volume| volume.volume_id == id && !volume.is_going())),
            Err(fault) if fault.is_not_found() => Ok(None),
            Err(fault) => Err(fault.error),
        }
    }

    /// A volume that may be used here: ours, or nobody's.
    pub fn usable(&self, id: &str) -> Result<VolumeItem> {
        let volume = self.volume(id)?.filter(|volume| self.owner(&volume.tag_set) != Owner::Theirs);
        volume.ok_or_else(|| Error::not_found(format!("volume {id}")))
    }

    pub fn owner(&self, tags: &Set<Tag>) -> Owner {
        Owner::of(tags, &self.settings)
    }

    /// The volume that has this CSI name. Several can only come of a create request that nobody could know the end of; the
    /// oldest counts, always, so that all who ask get the same one.
    pub fn volume_named(&self, name: &str) -> Result<Option<VolumeItem>> {
        let query = self.only_ours(Query::read("DescribeVolumes").filter(format!("tag:{VOLUME_NAME}"), name));
        let fetch = |token: Option<&str>| {
            let page: Volumes = self.ec2.ask(query.clone().with_some("NextToken", token))?;
            Ok(Page { items: page.volume_set.items, next: Some(page.next_token) })
        };
        let found: Vec<VolumeItem> = Pages::new(fetch).collect::<Result<_>>()?;
        let mut found: Vec<VolumeItem> = found.into_iter().filter(|volume| self.is_named(volume, name)).collect();
        found.sort_by(|a, b| (a.created_ms(), &a.volume_id).cmp(&(b.created_ms(), &b.volume_id)));
        if let [oldest, others @ ..] = found.as_slice()
            && !others.is_empty()
        {
            let others: Vec<&str> = others.iter().map(|volume| volume.volume_id.as_str()).collect();
            warn!(
                "{} is used; {} have the same name: look at what is on them and delete them",
                oldest.volume_id,
                others.join(", ")
            );
        }
        Ok(found.into_iter().next())
    }

    /// It is ours, is of that CSI name and isn't going. Filters of EC2 are coarser than that.
    pub fn is_named(&self, volume: &VolumeItem, name: &str) -> bool {
        let named = volume.tag_set.get(VOLUME_NAME) == Some(name);
        named && !volume.is_going() && self.owner(&volume.tag_set) == Owner::Ours
    }

    /// Adds filters for what is ours.
    pub fn only_ours(&self, query: Query) -> Query {
        ours(&self.settings).iter().fold(query, |query, (key, value)| query.filter(format!("tag:{key}"), value))
    }

    /// As CSI sees it.
    pub fn csi(&self, volume: &VolumeItem) -> Volume {
        let mut context: StringMap = volume.tag_set.get(FORMAT).map(format_of).unwrap_or_default();
        let restored = is_id(&volume.snapshot_id, "snap-");
        if restored {
            context.push((CONTENT.to_owned(), RESTORED.to_owned()));
        }
        Volume {
            context,
            accessible_topology: vec![self.settings.place(&volume.availability_zone)],
            source: restored.then(|| ContentSource::Snapshot(volume.snapshot_id.clone())),
            request_digest: volume.tag_set.get(DIGEST).map(str::to_owned),
            ..Volume::new(&volume.volume_id, volume.bytes())
        }
    }

    /// As CSI sees it, with the nodes that it is attached to.
    pub fn listed(&self, volume: &VolumeItem) -> ListedVolume {
        let attached = volume.attachments().filter(|attachment| attachment.status != "detaching");
        let published_node_ids = attached.map(|attachment| node_of(volume, &attachment.instance_id)).collect();
        ListedVolume { volume: self.csi(volume), published_node_ids }
    }

    /// Sets tags of a volume or snapshot.
    pub fn tag(&self, id: &str, tags: &StringMap) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        let query = Query::write("CreateTags").with("ResourceId.1", id).pairs("Tag", tags);
        Ok(self.ec2.ask::<Done>(query).map(drop)?)
    }

    /// Removes tags; those that aren't there are no error.
    pub fn untag(&self, id: &str, keys: &[String]) -> Result<()> {
        let number = |(index, key): (usize, &String)| (format!("Tag.{}.Key", index + 1), key.clone());
        let query = Query::write("DeleteTags").with("ResourceId.1", id);
        let query = keys.iter().enumerate().map(number).fold(query, |query, (key, value)| query.with(key, value));
        if keys.is_empty() { Ok(()) } else { Ok(self.ec2.ask::<Done>(query).map(drop)?) }
    }
}

/// The CSI node id under which the volume is attached to that instance.
pub fn node_of(volume: &VolumeItem, instance: &str) -> String {
    volume.tag_set.get(&format!("{NODE}{instance}")).unwrap_or(instance).to_owned()
}

/// The options of mkfs as the tag [`FORMAT`] has them.
pub fn format_tag(format: &StringMap) -> Option<(String, String)> {
    let words: Vec<String> = format.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (!words.is_empty()).then(|| (FORMAT.to_owned(), words.join(" ")))
}

fn format_of(tag: &str) -> StringMap {
    let pairs = tag.split(' ').filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An id of EC2: a prefix and hexadecimal digits. Nothing else is worth asking for.
pub fn is_id(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    (1..=32).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
