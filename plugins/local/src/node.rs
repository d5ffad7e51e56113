//! How a volume reaches a node: from its id and context alone, no pool is asked.

use crate::Local;
use crate::access::{Access as Wanted, FsType};
use crate::names::Place;
use crate::volumes::{context, kind_name};
use bulkhead_sdk::pools::ObjectKind;
use bulkhead_sdk::prelude::*;

impl Node for Local {
    fn get_node_info(_facts: NodeFacts) -> Result<NodeInfo> {
        Ok(NodeInfo::default())
    }

    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let place = Place::parse(&request.volume_id)
            .ok_or_else(|| Error::not_found(format!("volume {}", request.volume_id)))?;
        let kind = kind(&request)?;
        let wanted = Wanted::of(std::slice::from_ref(&request.capability)).map_err(Error::precondition)?;
        if let Some(reason) = wanted.refused_by(kind) {
            return Err(Error::precondition(reason));
        }
        let object = PoolObject { pool: place.pool, name: place.object };
        let access = match kind {
            ObjectKind::Directory => Access::PoolDirectory(object),
            ObjectKind::Image => Access::PoolImage(object),
        };
        // No expected size: the volume may have grown since, and a pool's object is found by its name anyway.
        Ok(Plan::new(access, Usage::of(&request.capability, fs_type(&request)?.name())))
    }
}

fn kind(request: &PlanRequest) -> Result<ObjectKind> {
    let name = lookup(&request.context, context::TYPE);
    let kind = [ObjectKind::Image, ObjectKind::Directory].into_iter().find(|kind| name == Some(kind_name(*kind)));
    kind.ok_or_else(|| {
        Error::invalid(format!("the volume context lacks `{}`, or it isn't this backend's", context::TYPE))
    })
}

/// What the volume was made for; the client's choice or the default, if that was block access only.
fn fs_type(request: &PlanRequest) -> Result<FsType> {
    let wanted = request.capability.fs_type().and_then(FsType::parse);
    match (lookup(&request.context, context::FS_TYPE).and_then(FsType::parse), wanted) {
        (Some(made_for), Some(wanted)) if made_for != wanted => {
            Err(Error::precondition(format!("the volume was made for {}, not {}", made_for.name(), wanted.name())))
        }
        (made_for, wanted) => Ok(made_for.or(wanted).unwrap_or(FsType::DEFAULT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> NodeFacts {
        NodeFacts {
            node_id: "node-1".to_owned(),
            name: "node-1".to_owned(),
            addresses: Vec::new(),
            iscsi_initiators: Vec::new(),
            nvme_host_nqn: None,
            nvme_host_id: None,
            fc_wwpns: Vec::new(),
            cloud: None,
            transports: vec!["loop".to_owned()],
            labels: Vec::new(),
        }
    }

    fn plan(context: &[(&str, &str)], capability: VolumeCapability) -> Result<Plan> {
        let context = context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let volume_id = "fast/pvc-1".to_owned();
        Local::plan_volume(PlanRequest { volume_id, context, publish_context: Vec::new(), capability, node: facts() })
    }

    fn object() -> PoolObject {
        PoolObject { pool: "fast".to_owned(), name: "pvc-1".to_owned() }
    }

    #[test]
    fn images_are_mounted_or_handed_on() {
        let made = [("type", "image"), ("fsType", "xfs")];
        let mounted = plan(&made, VolumeCapability::mount(AccessMode::SingleNodeWriter, ""));
        assert_eq!(mounted, Ok(Plan::new(Access::PoolImage(object()), Usage::Filesystem(Filesystem::new("xfs")))));
        let raw = plan(&made[..1], VolumeCapability::block(AccessMode::SingleNodeReaderOnly));
        assert_eq!(raw, Ok(Plan::new(Access::PoolImage(object()), Usage::Block(BlockUsage { read_only: true }))));
    }

    #[test]
    fn directories_are_bound() {
        let made = [("type", "directory"), ("fsType", "ext4")];
        let bound = plan(&made, VolumeCapability::mount(AccessMode::SingleNodeSingleWriter, ""));
        assert_eq!(bound, Ok(Plan::new(Access::PoolDirectory(object()), Usage::Filesystem(Filesystem::new("ext4")))));
        let raw = plan(&made, VolumeCapability::block(AccessMode::SingleNodeWriter));
        assert!(matches!(raw, Err(Error::FailedPrecondition(_))), "{raw:?}");
    }

    #[test]
    fn impossible_uses_and_foreign_contexts_are_refused() {
        let made = [("type", "image"), ("fsType", "xfs")];
        for capability in [
            VolumeCapability::mount(AccessMode::SingleNodeWriter, "ext4"),
            VolumeCapability::mount(AccessMode::SingleNodeWriter, "ntfs"),
            VolumeCapability::mount(AccessMode::MultiNodeMultiWriter, ""),
        ] {
            let refused = plan(&made, capability);
            assert!(matches!(refused, Err(Error::FailedPrecondition(_))), "{refused:?}");
        }
        let refused = plan(&[("type", "tape")], VolumeCapability::block(AccessMode::SingleNodeWriter));
        assert!(matches!(refused, Err(Error::InvalidArgument(_))), "{refused:?}");
    }
}
