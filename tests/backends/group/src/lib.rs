//! A backend whose volumes are mounted for a group (VOLUME_MOUNT_GROUP), which those of the local backend can't be: directories
//! of one pool, whose plan asks for the group that the client names. They grow only while no node has them.
use bulkhead_sdk::pools::{self, ObjectKind, ObjectSpec, PoolError, Provisioning};
use bulkhead_sdk::prelude::*;

struct Grouped;

const POOL: &str = "fast";

impl Identity for Grouped {
    fn get_info() -> Result<Info> {
        Ok(Info { promises: Promises::VOLUME_MOUNT_GROUP, ..Info::new(env!("CARGO_PKG_VERSION")) })
    }
    fn probe() -> Result<bool> {
        Ok(true)
    }
}

impl Volumes for Grouped {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        if request.capabilities.iter().any(VolumeCapability::is_block) {
            return Err(Error::invalid("a directory can't be a block device"));
        }
        let size_bytes = choose_size(request.capacity.as_ref(), &SizeRules::ANY)?;
        let key = bulkhead_sdk::call::idempotency_key().or_error(Error::internal, "no create request")?;
        let spec = ObjectSpec {
            name: key.clone(),
            kind: ObjectKind::Directory,
            size_bytes,
            provisioning: Provisioning::Thin,
            metadata: vec![],
        };
        pools::create_object(POOL, &spec)?;
        Ok(Volume::new(key, size_bytes))
    }
    fn delete_volume(volume_id: String) -> Result<()> {
        match pools::delete_object(POOL, &volume_id) {
            // Not a name that an object could have: never made.
            Err(PoolError::Invalid(_)) => Ok(()),
            other => Ok(other?),
        }
    }
    fn validate_volume_capabilities(request: ValidateRequest) -> Result<Option<String>> {
        let block = request.capabilities.iter().any(VolumeCapability::is_block);
        Ok(block.then(|| "a directory can't be a block device".to_owned()))
    }
}

impl Node for Grouped {
    fn get_node_info(_facts: NodeFacts) -> Result<NodeInfo> {
        Ok(NodeInfo::default())
    }
    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let mut usage = Usage::directory(&request.capability)?;
        if let (Usage::Directory(directory), Some(group)) = (&mut usage, request.capability.mount_group()) {
            directory.mount_options.push(format!("gid={group}"));
        }
        let object = PoolObject { pool: POOL.to_owned(), name: request.volume_id };
        Ok(Plan::new(Access::PoolDirectory(object), usage))
    }
}

impl Expansion for Grouped {
    fn expand_volume(request: ExpandRequest) -> Result<Expanded> {
        let unknown = || Error::not_found(format!("volume {}", request.volume_id));
        let now = pools::stat_object(POOL, &request.volume_id)?.ok_or_else(unknown)?.spec.size_bytes;
        let wanted = CapacityRange { required: request.capacity.required.or(Some(now)), ..request.capacity };
        let size = choose_size(Some(&wanted), &SizeRules { min: now, ..SizeRules::ANY })?;
        let grown = pools::resize_object(POOL, &request.volume_id, size)?;
        Ok(Expanded { capacity_bytes: grown.spec.size_bytes, node_expansion_required: false })
    }
}

bulkhead_sdk::backend!(Grouped: identity, volumes, expansion, node);
