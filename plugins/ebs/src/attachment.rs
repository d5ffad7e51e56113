//! Attaching volumes to instances. EC2 takes a request and works on it for seconds: until it is done the answer is `pending`, and the next try looks
//! at what has become of it.

use crate::Ebs;
use crate::access::Access;
use crate::cloud::{Cloud, is_id, node_of};
use crate::devices;
use crate::ec2::Query;
use crate::errors::Fault;
use crate::model::{Attachment as Attached, Done, Instance, Instances, VolumeItem};
use crate::tags::{NODE, Owner};
use bulkhead_sdk::prelude::*;
use std::time::Duration;

/// Keys of the publish context. The first is the public driver's.
pub const DEVICE_PATH: &str = "devicePath";
pub const SIZE: &str = "sizeBytes";

const SOON: Duration = Duration::from_secs(1);
/// Looks at the volume and attaches it; twice more if somebody else was quicker or an answer was lost.
const TRIES: usize = 3;

impl Attachment for Ebs {
    fn controller_publish_volume(request: PublishRequest) -> Result<StringMap> {
        let cloud = Cloud::open()?;
        let access = Access::of(std::slice::from_ref(&request.capability)).map_err(Error::invalid)?;
        for _ in 0..TRIES {
            let volume = cloud.usable(&request.volume_id)?;
            let instance = instance_of(&request.node)?;
            access.fits_volume(&volume).map_err(Error::invalid)?;
            if let Some(here) = volume.attachments().find(|attached| attached.instance_id == instance) {
                return published(&volume, here);
            }
            in_the_way(&volume, &access)?;
            note_node(&cloud, &volume, &instance, &request.node.node_id)?;
            match attach(&cloud, &volume, &instance) {
                Ok(attached) => return published(&volume, &attached),
                Err(fault) if fault.is_uncertain() || fault.is("VolumeInUse") => {}
                Err(fault) => return Err(fault.error),
            }
        }
        Err(Error::pending(format!("volume {} is on its way to somewhere", request.volume_id)).retry_after(SOON))
    }

    fn controller_unpublish_volume(volume_id: String, node_id: Option<String>) -> Result<()> {
        let cloud = Cloud::open()?;
        let volume = cloud.volume(&volume_id)?.filter(|volume| cloud.owner(&volume.tag_set) != Owner::Theirs);
        let Some(volume) = volume else {
            return Ok(());
        };
        let meant = |attached: &&Attached| match &node_id {
            Some(node) => attached.instance_id == *node || node_of(&volume, &attached.instance_id) == *node,
            None => true,
        };
        let instances: Vec<&Attached> = volume.attachments().filter(meant).collect();
        for attached in &instances {
            detach(&cloud, &volume, attached)?;
        }
        if !instances.is_empty() {
            return Err(Error::pending(format!("volume {volume_id} is being detached")).retry_after(SOON));
        }
        let gone =
            |key: &str| key.strip_prefix(NODE).is_some_and(|id| !volume.attachments().any(|at| at.instance_id == id));
        let notes: Vec<String> =
            volume.tag_set.items.iter().map(|tag| tag.key.clone()).filter(|key| gone(key)).collect();
        cloud.untag(&volume_id, &notes)
    }
}

/// By which EC2 knows the node.
fn instance_of(node: &NodeFacts) -> Result<String> {
    let told = node.cloud.as_ref().map(|cloud| cloud.instance_id.as_str()).filter(|id| is_id(id, "i-"));
    let id = told.or_else(|| Some(node.node_id.as_str()).filter(|id| is_id(id, "i-")));
    id.map(str::to_owned).ok_or_else(|| {
        Error::not_found(format!("an instance for node {}: it isn't known by which id EC2 knows it", node.node_id))
    })
}

/// The answer for a volume that is attached, once it is.
fn published(volume: &VolumeItem, attached: &Attached) -> Result<StringMap> {
    let (id, instance) = (&volume.volume_id, &attached.instance_id);
    match attached.status.as_str() {
        // The size may grow; the node checks that there is at least so much.
        "attached" => {
            Ok(vec![(DEVICE_PATH.to_owned(), attached.device.clone()), (SIZE.to_owned(), volume.bytes().to_string())])
        }
        "attaching" => Err(Error::pending(format!("volume {id} is being attached to {instance}")).retry_after(SOON)),
        other => Err(Error::pending(format!("volume {id} is {other} on {instance}")).retry_after(SOON)),
    }
}

/// The volume can't be attached now.
fn in_the_way(volume: &VolumeItem, access: &Access) -> Result<()> {
    let id = &volume.volume_id;
    if !access.several_nodes
        && let Some(other) = volume.attachments().next()
    {
        let node = node_of(volume, &other.instance_id);
        if other.status == "detaching" {
            return Err(Error::pending(format!("volume {id} is being detached from node {node}")).retry_after(SOON));
        }
        return Err(Error::precondition(format!("volume {id} is attached to node {node}")));
    }
    match volume.status.as_str() {
        "creating" => Err(Error::pending(format!("volume {id} is being created")).retry_after(SOON)),
        "error" => Err(Error::precondition(format!("volume {id} has failed in EC2"))),
        _ => Ok(()),
    }
}

/// Detaching knows the CSI node id only, and so does listing: where it isn't the instance's, the volume remembers it.
fn note_node(cloud: &Cloud, volume: &VolumeItem, instance: &str, node: &str) -> Result<()> {
    let note = (format!("{NODE}{instance}"), node.to_owned());
    if node_of(volume, instance) == node { Ok(()) } else { cloud.tag(&volume.volume_id, &vec![note]) }
}

fn attach(cloud: &Cloud, volume: &VolumeItem, id: &str) -> Result<Attached, Fault> {
    let instance = instance(cloud, id)?;
    let mut taken: Vec<String> =
        instance.block_device_mapping.items.into_iter().map(|mapping| mapping.device_name).collect();
    loop {
        let device = devices::free(&taken).ok_or_else(|| Error::exhausted(format!("{id} has no free device name")))?;
        let query = Query::write("AttachVolume")
            .with("VolumeId", &volume.volume_id)
            .with("InstanceId", id)
            .with("Device", &device);
        match cloud.ec2.ask::<Attached>(query) {
            Ok(attached) => {
                info!("attaching {} to {id} as {device}", volume.volume_id);
                return Ok(Attached { instance_id: id.to_owned(), device, ..attached });
            }
            // EC2 keeps names that its list of devices doesn't show, of volumes that are on their way.
            Err(fault) if fault.is("InvalidParameterValue") && fault.error.message().contains(&device) => {
                taken.push(device)
            }
            Err(fault) => return Err(fault),
        }
        if taken.len() > devices::MAX_TRIED {
            return Err(Error::pending(format!("{id} says that all device names are taken")).retry_after(SOON).into());
        }
    }
}

fn instance(cloud: &Cloud, id: &str) -> Result<Instance> {
    let answer: Instances = cloud.ec2.ask(Query::read("DescribeInstances").with("InstanceId.1", id))?;
    let found = answer.reservation_set.items.into_iter().flat_map(|reservation| reservation.instances_set.items);
    let alive = |instance: &Instance| {
        instance.instance_id == id && !matches!(instance.instance_state.name.as_str(), "terminated" | "shutting-down")
    };
    let mut found = found.filter(alive);
    found.next().ok_or_else(|| Error::not_found(format!("instance {id}")))
}

/// Asks EC2 to detach, unless it is at it. One instance at a time: there is no other way to be sure which.
fn detach(cloud: &Cloud, volume: &VolumeItem, attached: &Attached) -> Result<()> {
    if attached.status == "detaching" {
        return Ok(());
    }
    let query =
        Query::write("DetachVolume").with("VolumeId", &volume.volume_id).with("InstanceId", &attached.instance_id);
    match cloud.ec2.ask::<Done>(query) {
        // Detached meanwhile, or the volume or instance is gone; the next look tells.
        Err(fault) if fault.is("IncorrectState") || fault.is_not_found() => Ok(()),
        Err(fault) => Err(fault.error),
        Ok(_) => {
            info!("detaching {} from {}", volume.volume_id, attached.instance_id);
            Ok(())
        }
    }
}
