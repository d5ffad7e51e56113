//! A whole backend: every volume is the same directory of an NFS server, shared by all claims.
use bulkhead_sdk::{call, prelude::*};

struct Shared;

fn export() -> Result<Nfs> {
    let server = config::required("server")?;
    Ok(Nfs::new(server, config::required("export")?))
}

impl Identity for Shared {
    fn get_info() -> Result<Info> {
        Ok(Info::new(env!("CARGO_PKG_VERSION")))
    }
    fn probe() -> Result<bool> {
        export().map(|_| true)
    }
}

impl Volumes for Shared {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        Parameters::new(&request.parameters).finish()?;
        if request.capabilities.iter().any(VolumeCapability::is_block) {
            return Err(Error::invalid("an NFS directory can't be a block device"));
        }
        let size = choose_size(request.capacity.as_ref(), &SizeRules::ANY)?;
        let id = call::idempotency_key().or_error(Error::internal, "no create request")?;
        Ok(Volume::new(id, size))
    }
    fn delete_volume(_volume_id: String) -> Result<()> {
        Ok(())
    }
    fn validate_volume_capabilities(request: ValidateRequest) -> Result<Option<String>> {
        let block = request.capabilities.iter().any(VolumeCapability::is_block);
        Ok(block.then(|| "an NFS directory can't be a block device".to_owned()))
    }
}

impl Node for Shared {
    fn get_node_info(_facts: NodeFacts) -> Result<NodeInfo> {
        Ok(NodeInfo::default())
    }
    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let usage = Usage::directory(&request.capability)?;
        Ok(Plan::new(Access::Nfs(export()?), usage))
    }
}

bulkhead_sdk::backend!(Shared: identity, volumes, node);
