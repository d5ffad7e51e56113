//! Letting nodes in. The server lets in whom its exports name; what counts here is the record of who may use a volume how, kept in
//! the volume's own metadata and changed by compare-and-swap.

use crate::Share;
use crate::access::refused;
use crate::names::{Place, static_parts};
use crate::node::directory;
use crate::records::{change, find, key, nodes};
use crate::settings::Settings;
use bulkhead_sdk::pools::Object;
use bulkhead_sdk::prelude::*;

/// Key of the publish context: `true` or `false`.
pub const READ_ONLY: &str = "readOnly";

/// How a volume is attached to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    read_only: bool,
    mode: AccessMode,
}

impl Way {
    /// `rw SINGLE_NODE_WRITER`: the value beside a node's id.
    fn text(self) -> String {
        format!("{} {}", if self.read_only { "ro" } else { "rw" }, self.mode.name())
    }

    /// `None`: written by somebody else, so nothing is known of it.
    fn parse(text: &str) -> Option<Self> {
        let (access, mode) = text.split_once(' ')?;
        let read_only = match access {
            "ro" => true,
            "rw" => false,
            _ => return None,
        };
        Some(Self { read_only, mode: AccessMode::parse(mode)? })
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

/// Nodes that may be writing to a volume.
pub fn writers(object: &Object) -> impl Iterator<Item = &str> {
    nodes(object).filter(|(_, text)| Way::parse(text).is_none_or(Way::writes)).map(|(node, _)| node)
}

impl Attachment for Share {
    fn controller_publish_volume(request: PublishRequest) -> Result<StringMap> {
        let capability = &request.capability;
        refused(std::slice::from_ref(capability)).map_or(Ok(()), |reason| Err(Error::invalid(reason)))?;
        let answer = vec![(READ_ONLY.to_owned(), request.read_only.to_string())];
        if static_parts(&request.volume_id).is_some() {
            // There is nothing of ours to note it in.
            directory(&Settings::configured()?, &request.volume_id, &request.context)?;
            return Ok(answer);
        }
        let (place, _) = find(&request.volume_id)?;
        let way = Way { read_only: request.read_only, mode: capability.access_mode };
        let node = request.node.node_id.as_str();
        let there = change(&place, |object| {
            if attached(object, node, way)? {
                return Ok(None);
            }
            let mut metadata = object.spec.metadata.clone();
            metadata.push((format!("{}{node}", key::NODE), way.text()));
            Ok(Some(metadata))
        })?;
        if there { Ok(answer) } else { Err(Error::not_found(format!("volume {}", request.volume_id))) }
    }

    /// Nothing is read from the config: a node must be let go even if that is wrong.
    fn controller_unpublish_volume(volume_id: String, node_id: Option<String>) -> Result<()> {
        let Some(place) = Place::parse_volume(&volume_id) else {
            return Ok(());
        };
        let gone = |name: &str| match (name.strip_prefix(key::NODE), &node_id) {
            (Some(node), Some(wanted)) => node == wanted,
            (node, _) => node.is_some(),
        };
        change(&place, |object| {
            let mut metadata = object.spec.metadata.clone();
            metadata.retain(|(name, _)| !gone(name));
            Ok((metadata.len() != object.spec.metadata.len()).then_some(metadata))
        })
        .map(drop)
    }
}

/// True: already, and just so. False: not yet, and nothing is in the way.
fn attached(object: &Object, node: &str, way: Way) -> Result<bool> {
    if let Some((_, text)) = nodes(object).find(|(other, _)| *other == node) {
        if Way::parse(text) == Some(way) {
            return Ok(true);
        }
        let message = format!("the volume is attached to node {node} as `{text}`, not as `{}`", way.text());
        return Err(Error::already_exists(message));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_kept_as_text() {
        for mode in AccessMode::ALL {
            for read_only in [false, true] {
                let way = Way { read_only, mode };
                assert_eq!(Way::parse(&way.text()), Some(way), "{}", way.text());
            }
        }
        for text in ["", "rw", "rw X", "xx SINGLE_NODE_WRITER", "rw SINGLE_NODE_WRITER mount"] {
            assert_eq!(Way::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_writer_is_one() {
        use AccessMode::{MultiNodeMultiWriter, MultiNodeReaderOnly, MultiNodeSingleWriter, SingleNodeWriter};
        let way = |mode| Way { read_only: false, mode };
        assert!(way(MultiNodeMultiWriter).beside(way(MultiNodeMultiWriter)));
        assert!(way(MultiNodeReaderOnly).beside(way(MultiNodeSingleWriter)));
        assert!(!way(MultiNodeSingleWriter).beside(way(MultiNodeSingleWriter)));
        assert!(way(MultiNodeSingleWriter).beside(Way { read_only: true, mode: MultiNodeSingleWriter }));
        assert!(!way(SingleNodeWriter).beside(way(MultiNodeMultiWriter)));
    }
}
