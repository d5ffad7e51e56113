//! Letting nodes in. Nothing has to be attached: what counts is the record of who may use a volume how, kept in the volume's
//! own metadata and changed by compare-and-swap.

use crate::Local;
use crate::access::{Access, FsType};
use crate::names::Place;
use crate::placement::Pools;
use crate::records::{Change, change, find, key, made_for, nodes};
use crate::walk::{Kind, all};
use bulkhead_sdk::pools::Object;
use bulkhead_sdk::prelude::*;

/// Key of the publish context: `true` or `false`.
pub const READ_ONLY: &str = "readOnly";

/// How a volume is attached to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    read_only: bool,
    mode: AccessMode,
    /// None: as a block device.
    mounted: Option<Option<FsType>>,
}

impl Way {
    fn of(request: &PublishRequest) -> Self {
        let capability = &request.capability;
        let mounted = (!capability.is_block()).then(|| capability.fs_type().and_then(FsType::parse));
        Self { read_only: request.read_only, mode: capability.access_mode, mounted }
    }

    /// `rw SINGLE_NODE_WRITER mount ext4`: the value beside a node's id.
    fn text(self) -> String {
        let access = if self.read_only { "ro" } else { "rw" };
        let usage = match self.mounted {
            None => "block".to_owned(),
            Some(None) => "mount".to_owned(),
            Some(Some(fs_type)) => format!("mount {}", fs_type.name()),
        };
        format!("{access} {} {usage}", self.mode.name())
    }

    /// `None`: written by somebody else, so nothing is known of it.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let read_only = match words.next()? {
            "ro" => true,
            "rw" => false,
            _ => return None,
        };
        let mode = AccessMode::parse(words.next()?)?;
        let mounted = match (words.next()?, words.next()) {
            ("block", None) => None,
            ("mount", None) => Some(None),
            ("mount", Some(name)) => Some(Some(FsType::parse(name)?)),
            _ => return None,
        };
        Some(Self { read_only, mode, mounted })
    }

    fn writes(self) -> bool {
        !self.read_only && !self.mode.is_reader_only()
    }

    /// Two nodes can use the volume in these ways at the same time.
    fn beside(self, other: Self) -> bool {
        let one_writer = [self.mode, other.mode].contains(&AccessMode::MultiNodeSingleWriter);
        let both_write = self.writes() && other.writes();
        self.mode.is_multi_node() && other.mode.is_multi_node() && !(one_writer && both_write)
    }
}

impl Attachment for Local {
    fn controller_publish_volume(request: PublishRequest) -> Result<StringMap> {
        let pools = Pools::configured()?;
        let (place, object) = find(&request.volume_id)?;
        let shared = pools.settings.is_shared(&place.pool);
        Access::served(&request.capability, object.spec.kind, made_for(&object), shared).map_err(Error::invalid)?;
        let (node, way) = (request.node.node_id.as_str(), Way::of(&request));
        let answer = vec![(READ_ONLY.to_owned(), request.read_only.to_string())];
        if attached(&object, node, way)? {
            return Ok(answer);
        }
        slots(&pools, node)?;
        let attach = |object: &Object| {
            if attached(object, node, way)? {
                return Ok(Change::None(()));
            }
            let mut metadata = object.spec.metadata.clone();
            metadata.push((format!("{}{node}", key::NODE), way.text()));
            Ok(Change::To(object.spec.provisioning, metadata, ()))
        };
        change(&place, attach)?.ok_or_else(|| Error::not_found(format!("volume {}", request.volume_id)))?;
        Ok(answer)
    }

    fn controller_unpublish_volume(volume_id: String, node_id: Option<String>) -> Result<()> {
        let Some(place) = Place::parse(&volume_id)? else {
            return Ok(());
        };
        let gone = |name: &str| match (name.strip_prefix(key::NODE), &node_id) {
            (Some(node), Some(wanted)) => node == wanted,
            (node, _) => node.is_some(),
        };
        // Nothing is read from the config: a node must be let go even if that is wrong.
        let detach = |object: &Object| {
            let mut metadata = object.spec.metadata.clone();
            metadata.retain(|(name, _)| !gone(name));
            if metadata.len() == object.spec.metadata.len() {
                return Ok(Change::None(()));
            }
            Ok(Change::To(object.spec.provisioning, metadata, ()))
        };
        change(&place, detach).map(drop)
    }
}

/// True: already, and just so. False: not yet, and nothing is in the way.
fn attached(object: &Object, node: &str, way: Way) -> Result<bool> {
    for (other, text) in nodes(object) {
        let present = Way::parse(text);
        if other == node {
            if present == Some(way) {
                return Ok(true);
            }
            let message = format!("the volume is attached to node {node} as `{text}`, not as `{}`", way.text());
            return Err(Error::already_exists(message));
        }
    }
    let in_the_way = nodes(object).find(|(_, text)| !Way::parse(text).is_some_and(|present| present.beside(way)));
    match in_the_way {
        Some((other, text)) => Err(Error::precondition(format!(
            "the volume is attached to node {other} as `{text}`, so it can't be attached to node {node} as `{}`",
            way.text()
        ))),
        None => Ok(false),
    }
}

/// Whether the node has room for one more volume. A walk over all volumes, so only where there is a limit.
fn slots(pools: &Pools, node: &str) -> Result<()> {
    let Some(limit) = pools.settings.max_volumes_per_node else {
        return Ok(());
    };
    let mut taken = 0;
    for found in all(pools.all().iter().map(String::as_str), Kind::Volumes, None) {
        taken += u32::from(nodes(&found?.1).any(|(attached, _)| attached == node));
        if taken >= limit {
            return Err(Error::exhausted(format!("node {node} has {limit} volumes, as many as it may have")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use AccessMode::{
        MultiNodeMultiWriter, MultiNodeReaderOnly, MultiNodeSingleWriter, SingleNodeMultiWriter, SingleNodeWriter,
    };

    #[test]
    fn ways_are_kept_as_text() {
        let mounted = [None, Some(None), Some(Some(FsType::Ext4)), Some(Some(FsType::Xfs))];
        for mode in AccessMode::ALL {
            for mounted in mounted {
                for read_only in [false, true] {
                    let way = Way { read_only, mode, mounted };
                    assert_eq!(Way::parse(&way.text()), Some(way), "{}", way.text());
                }
            }
        }
        for text in ["", "rw", "rw SINGLE_NODE_WRITER", "rw SINGLE_NODE_WRITER mount btrfs", "xx UNKNOWN block"] {
            assert_eq!(Way::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_modes_for_several_nodes_go_together_and_one_writer_means_one() {
        let way = |mode, read_only| Way { read_only, mode, mounted: Some(None) };
        let beside = |a: Way, b: Way| {
            assert_eq!(a.beside(b), b.beside(a));
            a.beside(b)
        };
        assert!(!beside(way(SingleNodeWriter, false), way(SingleNodeWriter, false)));
        assert!(!beside(way(SingleNodeMultiWriter, true), way(MultiNodeReaderOnly, true)));
        assert!(beside(way(MultiNodeMultiWriter, false), way(MultiNodeMultiWriter, false)));
        assert!(beside(way(MultiNodeSingleWriter, false), way(MultiNodeSingleWriter, true)));
        assert!(beside(way(MultiNodeSingleWriter, false), way(MultiNodeReaderOnly, false)));
        assert!(!beside(way(MultiNodeSingleWriter, false), way(MultiNodeSingleWriter, false)));
        assert!(!beside(way(MultiNodeSingleWriter, false), way(MultiNodeMultiWriter, false)));
    }
}
