//! A backend for the host's tests that answers ControllerPublishVolume with what it was told of the node. Volumes whose id begins with
//! `refused` can't be attached.
use bulkhead_sdk::prelude::*;

struct Facts;

impl Identity for Facts {
    fn get_info() -> Result<Info> {
        Ok(Info::new("1.0.0"))
    }
    fn probe() -> Result<bool> {
        Ok(true)
    }
}

impl Volumes for Facts {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        Ok(Volume::new(request.name, 1 << 20))
    }
    fn delete_volume(_volume_id: String) -> Result<()> {
        Ok(())
    }
    fn validate_volume_capabilities(_request: ValidateRequest) -> Result<Option<String>> {
        Ok(None)
    }
}

impl Attachment for Facts {
    fn controller_publish_volume(request: PublishRequest) -> Result<StringMap> {
        if request.volume_id.starts_with("refused") {
            return Err(Error::precondition("the array knows no such initiator"));
        }
        let node = request.node;
        let mut told: StringMap = vec![
            ("nodeId".to_owned(), node.node_id),
            ("addresses".to_owned(), node.addresses.join(",")),
            ("iscsi".to_owned(), node.iscsi_initiators.join(",")),
            ("nqn".to_owned(), node.nvme_host_nqn.unwrap_or_default()),
            ("hostId".to_owned(), node.nvme_host_id.unwrap_or_default()),
            ("wwpns".to_owned(), node.fc_wwpns.join(",")),
            ("transports".to_owned(), node.transports.join(",")),
        ];
        if let Some(cloud) = node.cloud {
            let slots = cloud.used_attachment_slots.map(|slots| slots.to_string()).unwrap_or_default();
            let place = [cloud.provider, cloud.instance_id, cloud.instance_type, cloud.region, cloud.zone, slots];
            told.push(("cloud".to_owned(), place.join(",")));
        }
        Ok(told)
    }
    fn controller_unpublish_volume(_volume_id: String, _node_id: Option<String>) -> Result<()> {
        Ok(())
    }
}

impl Node for Facts {
    fn get_node_info(facts: NodeFacts) -> Result<NodeInfo> {
        // So that a test sees what the node's own half is told.
        let slots = facts.cloud.and_then(|cloud| cloud.used_attachment_slots);
        Ok(NodeInfo { max_volumes: slots.map(|slots| 100 - slots), topology: None })
    }
    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let usage = Usage::directory(&request.capability)?;
        Ok(Plan::new(Access::Nfs(Nfs::new("192.0.2.1", "/x")), usage))
    }
}

bulkhead_sdk::backend!(Facts: identity, volumes, attachment, node);
