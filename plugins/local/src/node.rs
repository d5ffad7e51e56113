//! How a volume reaches a node: from its id and context alone, no pool is asked.

use crate::Local;
use crate::access::{Access as Wanted, FsType};
use crate::attachment::READ_ONLY;
use crate::names::Place;
use crate::parameters::KINDS;
use crate::records::{COPIED, context};
use crate::settings::Settings;
use bulkhead_sdk::pools::ObjectKind;
use bulkhead_sdk::prelude::*;

impl Node for Local {
    fn get_node_info(facts: NodeFacts) -> Result<NodeInfo> {
        let settings = Settings::configured()?;
        let topology = topology(&settings, &facts)?;
        Ok(NodeInfo { max_volumes: settings.max_volumes_per_node, topology })
    }

    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let settings = Settings::configured()?;
        let place = Place::parse(&request.volume_id)?
            .ok_or_else(|| Error::not_found(format!("volume {}", request.volume_id)))?;
        let kind = kind(&request)?;
        let made_for = lookup(&request.context, context::FS_TYPE).and_then(FsType::parse);
        let wanted = Wanted::served(&request.capability, kind, made_for, settings.is_shared(&place.pool))
            .map_err(Error::precondition)?;
        let fs_type = wanted.fs_type(made_for).unwrap_or(FsType::DEFAULT);
        let mut usage = match kind {
            ObjectKind::Directory => Usage::directory(&request.capability)?,
            ObjectKind::Image => Usage::of(&request.capability, fs_type.name()),
        };
        let read_only = read_only(&request)?;
        match &mut usage {
            Usage::Block(block) => block.read_only |= read_only,
            Usage::Directory(directory) => directory.read_only |= read_only,
            Usage::Filesystem(filesystem) => {
                filesystem.read_only |= read_only;
                settle(filesystem, &request);
            }
        }
        let object = PoolObject { pool: place.pool, name: place.object };
        let access = match kind {
            ObjectKind::Directory => Access::PoolDirectory(object),
            ObjectKind::Image => Access::PoolImage(object),
        };
        // No expected size: the volume may have grown since, and a pool's object is found by its name anyway.
        Ok(Plan::new(access, usage))
    }
}

/// What depends on where the content comes from.
fn settle(filesystem: &mut Filesystem, request: &PlanRequest) {
    let copied = lookup(&request.context, context::CONTENT) == Some(COPIED);
    if copied || filesystem.read_only {
        filesystem.format = FormatPolicy::Never;
    }
    // xfs refuses a second file system of the same UUID on one node: that of the source.
    if copied && filesystem.fs_type == FsType::Xfs.name() {
        filesystem.mount_options.push("nouuid".to_owned());
    }
    if filesystem.read_only {
        filesystem.grow = false;
    }
}

/// Where the node is: what the operator says of it under each of the topology keys.
fn topology(settings: &Settings, facts: &NodeFacts) -> Result<Option<Topology>> {
    let segments = settings.topology_keys.iter().map(|key| {
        let value = lookup(&facts.labels, key).filter(|value| !value.is_empty());
        let missing = || {
            let node = &facts.node_id;
            Error::precondition(format!(
                "node {node} has no label `{key}`; set it among the node's labels in the host's config"
            ))
        };
        value.map(|value| (key.clone(), value.to_owned())).ok_or_else(missing)
    });
    let segments: StringMap = segments.collect::<Result<_>>()?;
    Ok(Some(Topology { segments }).filter(|place| !place.segments.is_empty()))
}

/// Attached for reading only. Without a publish context nothing was attached.
fn read_only(request: &PlanRequest) -> Result<bool> {
    match lookup(&request.publish_context, READ_ONLY) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::invalid(format!("the publish context's `{READ_ONLY}` is neither true nor false"))),
    }
}

fn kind(request: &PlanRequest) -> Result<ObjectKind> {
    let name = lookup(&request.context, context::TYPE);
    KINDS.into_iter().find(|(known, _)| name == Some(known)).map(|(_, kind)| kind).ok_or_else(|| {
        Error::invalid(format!("the volume context lacks `{}`, or it isn't this backend's", context::TYPE))
    })
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
        let usage = Usage::Directory(Directory { mount_options: Vec::new(), read_only: false });
        assert_eq!(bound, Ok(Plan::new(Access::PoolDirectory(object()), usage)));
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
