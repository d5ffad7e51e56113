//! Nodes are let in and shut out.

use super::{Branch, SLOTS, Way, World, access::Access, pool_of, want};
use crate::{calls::Cap, client::Reply};
use tonic::Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted};

impl Way {
    fn writes(self) -> bool {
        !self.read_only && !self.cap.is_reader_only()
    }

    /// Two nodes may use a volume in these ways at once.
    fn beside(self, other: Self) -> bool {
        use crate::calls::Mode::MultiNodeSingleWriter;
        let one_writer = [self.cap.mode, other.cap.mode].contains(&MultiNodeSingleWriter);
        self.cap.is_multi_node() && other.cap.is_multi_node() && !(one_writer && self.writes() && other.writes())
    }
}

impl World {
    pub(super) fn attach(&self, id: &str, node: &'static str, cap: Cap, read_only: bool) -> Vec<Branch> {
        let known = ["node-1", "node-2"].contains(&node);
        let Some(volume) = self.volumes.get(id).filter(|_| known) else { return self.refuse(NotFound) };
        let served = Access::of(&[cap]).is_some_and(|access| access.served_by(volume.image, volume.pool, volume.fs));
        if !served {
            return self.refuse(InvalidArgument);
        }
        let way = Way { read_only, cap };
        let answer = move |reply: &Reply| match reply {
            Reply::Context(context) => {
                let right = context.len() == 1 && context.get("readOnly") == Some(&read_only.to_string());
                want(right, || format!("readOnly: {read_only}"))
            }
            other => Err(format!("a publish context, not {other:?}")),
        };
        match volume.nodes.get(node) {
            Some(present) if *present == way => return self.ok(answer),
            Some(_) => return self.refuse(AlreadyExists),
            None => {}
        }
        if !volume.nodes.values().all(|other| other.beside(way)) {
            return self.refuse(FailedPrecondition);
        }
        if self.volumes.values().filter(|volume| volume.nodes.contains_key(node)).count() >= SLOTS {
            return self.refuse(ResourceExhausted);
        }
        self.with_volume(id, |volume| {
            volume.nodes.insert(node, way);
        })
        .ok(answer)
    }

    /// An empty node means all of them.
    pub(super) fn detach(&self, id: &str, node: &str) -> Vec<Branch> {
        if !self.volumes.contains_key(id) && pool_of(id).is_none() && id.contains('/') && !id.contains("/_") {
            return self.refuse(FailedPrecondition);
        }
        self.with_volume(id, |volume| volume.nodes.retain(|other, _| !node.is_empty() && *other != node)).ok(|_| Ok(()))
    }
}
