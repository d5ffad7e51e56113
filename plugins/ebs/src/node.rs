//! The node half, pure: how many volumes fit, where the node is, and how a volume is found there.

use crate::Ebs;
use crate::access::{Access as Wanted, DEFAULT_FS};
use crate::attachment::{DEVICE_PATH, SIZE};
use crate::cloud::is_id;
use crate::create::is_restored;
use crate::limits::{Limit, Sharing};
use crate::parameters::mkfs_options;
use crate::settings::Settings;
use bulkhead_sdk::prelude::*;

/// Key of the volume context, as with the public driver: which partition is used.
const PARTITION: &str = "partition";
/// How long a device may take to appear once EC2 says that it is attached.
const APPEARS_S: u32 = 60;

impl Node for Ebs {
    fn get_node_info(facts: NodeFacts) -> Result<NodeInfo> {
        let settings = Settings::configured()?;
        let cloud = facts.cloud.ok_or_else(|| {
            Error::precondition(format!(
                "node {}: nothing is known of its cloud, so neither of its zone",
                facts.node_id
            ))
        })?;
        if cloud.zone.is_empty() {
            return Err(Error::precondition(format!("node {}: its zone isn't known", facts.node_id)));
        }
        let room = settings.attach_limit.unwrap_or_else(|| room(&cloud, settings.reserved_attachments));
        // 0 would mean to the CO that there is no limit.
        Ok(NodeInfo { max_volumes: Some(room.max(1)), topology: Some(settings.place(&cloud.zone)) })
    }

    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let id = &request.volume_id;
        if !is_id(id, "vol-") {
            return Err(Error::not_found(format!("volume {id}")));
        }
        Wanted::of(std::slice::from_ref(&request.capability)).map_err(Error::precondition)?;
        let mut usage = Usage::of(&request.capability, DEFAULT_FS);
        if let Usage::Filesystem(filesystem) = &mut usage {
            filesystem.mkfs_options = mkfs_options(&request.context, &filesystem.fs_type)
                .map_err(|why| Error::precondition(format!("volume context: {why}")))?;
            if is_restored(&request.context) || filesystem.read_only {
                filesystem.format = FormatPolicy::Never;
            }
            // A restored file system has its source's UUID, and both may be on one node.
            if filesystem.fs_type == "xfs" {
                filesystem.mount_options.push("nouuid".to_owned());
            }
            filesystem.grow &= !filesystem.read_only;
        }
        let expected_size_bytes = lookup(&request.publish_context, SIZE).map(str::parse).transpose();
        let expected_size_bytes = expected_size_bytes.or_error(Error::invalid, "publish context: `sizeBytes`")?;
        let access = Access::LocalDevice(device(&request)?);
        Ok(Plan { expected_size_bytes, ..Plan::new(access, usage) })
    }
}

/// Volumes that can be attached beside what is there already.
fn room(cloud: &CloudFacts, reserved: Option<u32>) -> u32 {
    let limit = Limit::of(&cloud.instance_type);
    // The root disk; and a network interface, where they share the limit. What the node counts may be disks alone.
    let least = match limit.sharing {
        Sharing::Shared => 2,
        Sharing::Dedicated => 1,
    };
    let used = cloud.used_attachment_slots.map_or(least, |used| used.max(least));
    limit.volumes.saturating_sub(reserved.unwrap_or(used))
}

/// An NVMe disk whose serial is the volume's id. Older instances (Xen) have no serials: there the name that was asked for is all.
fn device(request: &PlanRequest) -> Result<LocalDevice> {
    let serial = request.volume_id.replacen('-', "", 1);
    let partition = lookup(&request.context, PARTITION).filter(|text| !text.is_empty());
    let partition = partition.map(str::parse).transpose().or_error(Error::invalid, "volume context: `partition`")?;
    let nvme = request.node.cloud.as_ref().is_none_or(|cloud| Limit::of(&cloud.instance_type).nvme);
    if nvme {
        let find = DeviceMatch::ById(format!("nvme-Amazon_Elastic_Block_Store_{serial}"));
        let device = Some(DeviceIdentity::serial(serial));
        return Ok(LocalDevice { find, device, partition, appear_timeout_s: APPEARS_S });
    }
    let path = lookup(&request.publish_context, DEVICE_PATH)
        .or_error(Error::precondition, "publish context: no `devicePath`")?;
    Ok(LocalDevice { find: DeviceMatch::Path(path.to_owned()), device: None, partition, appear_timeout_s: APPEARS_S })
}
