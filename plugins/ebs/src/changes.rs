//! Growing volumes and changing their type, IOPS and throughput: one action of EC2, which goes on in the background. A volume counts as
//! changed when EC2 says `optimizing`: it has its new size and works, and gets its full speed within hours.

use crate::Ebs;
use crate::access::Access;
use crate::cloud::Cloud;
use crate::ec2::Query;
use crate::kinds::Kind;
use crate::model::{Change, Changed, Changes, VolumeItem};
use crate::parameters::Class;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);

/// What a volume is to be; `None`: as it is.
#[derive(Clone, Debug, Default, PartialEq)]
struct Target {
    gib: Option<u64>,
    kind: Option<&'static str>,
    iops: Option<u64>,
    throughput: Option<u64>,
}

impl Target {
    /// What `size`, `kind`, `iops` and `throughput` say is as wanted.
    fn is_met(&self, size: &str, kind: &str, iops: &str, throughput: &str) -> bool {
        let same = |wanted: Option<u64>, has: &str| wanted.is_none_or(|wanted| has.parse() == Ok(wanted));
        let enough = self.gib.is_none_or(|gib| size.parse::<u64>().is_ok_and(|has| has >= gib));
        enough
            && self.kind.is_none_or(|wanted| wanted == kind)
            && same(self.iops, iops)
            && same(self.throughput, throughput)
    }

    fn is_met_by(&self, volume: &VolumeItem) -> bool {
        self.is_met(&volume.gib().to_string(), &volume.volume_type, &volume.iops, &volume.throughput)
    }

    fn is_aim_of(&self, change: &Change) -> bool {
        self.is_met(&change.target_size, &change.target_volume_type, &change.target_iops, &change.target_throughput)
    }
}

/// Sees to it that the volume is as wanted. `pending` until it is.
fn change(cloud: &Cloud, volume: &VolumeItem, target: &Target) -> Result<()> {
    let id = &volume.volume_id;
    let going_on = latest(cloud, id)?;
    let state = going_on.as_ref().map(|change| change.modification_state.as_str()).unwrap_or_default();
    match (state, &going_on) {
        ("modifying", Some(change)) if target.is_aim_of(change) => return Err(under_way(id)),
        ("modifying", _) if target.is_met_by(volume) => return Ok(()),
        ("modifying", _) => {
            return Err(Error::pending(format!("volume {id}: another change goes on")).retry_after(SOON));
        }
        // Until the volume itself says so too.
        ("optimizing", Some(change)) if target.is_aim_of(change) => return Ok(()),
        _ if target.is_met_by(volume) => return Ok(()),
        _ => {}
    }
    let query = Query::write("ModifyVolume")
        .with("VolumeId", id)
        .with_some("Size", target.gib.filter(|gib| *gib > volume.gib()))
        .with_some("VolumeType", target.kind.filter(|kind| *kind != volume.volume_type))
        .with_some("Iops", target.iops)
        .with_some("Throughput", target.throughput);
    let changed: Changed = cloud.ec2.ask(query)?;
    info!("changing {id} to {target:?}");
    match changed.volume_modification.modification_state.as_str() {
        "optimizing" | "completed" => Ok(()),
        "failed" => Err(failed(id, &changed.volume_modification)),
        _ => Err(under_way(id)),
    }
}

fn under_way(id: &str) -> Error {
    Error::pending(format!("volume {id} is being changed")).retry_after(SOON)
}

fn failed(id: &str, change: &Change) -> Error {
    Error::precondition(format!("changing {id} failed in EC2: {}", change.status_message))
}

/// The change that was asked for last, if EC2 remembers one.
fn latest(cloud: &Cloud, id: &str) -> Result<Option<Change>> {
    match cloud.ec2.ask::<Changes>(Query::read("DescribeVolumesModifications").with("VolumeId.1", id)) {
        Ok(changes) => Ok(changes.volume_modification_set.first()),
        Err(fault) if fault.is_not_found() => Ok(None),
        Err(fault) => Err(fault.error),
    }
}

impl Expansion for Ebs {
    fn expand_volume(request: ExpandRequest) -> Result<Expanded> {
        Access::of(request.capability.as_slice()).map_err(Error::invalid)?;
        let cloud = Cloud::open()?;
        let volume = cloud.usable(&request.volume_id)?;
        let now = volume.bytes();
        let kind = Kind::parse(&volume.volume_type).unwrap_or(Kind::DEFAULT);
        let required = Some(request.capacity.required.unwrap_or_default().max(now));
        let size = choose_size(Some(&CapacityRange { required, ..request.capacity }), &kind.sizes(now))?;
        change(&cloud, &volume, &Target { gib: Some(size / GIB), ..Target::default() })?;
        let node_expansion_required = !request.capability.is_some_and(|capability| capability.is_block());
        Ok(Expanded { capacity_bytes: size, node_expansion_required })
    }
}

impl Modification for Ebs {
    fn modify_volume(volume_id: String, mutable_parameters: StringMap) -> Result<()> {
        let class = Class::mutable(&mutable_parameters)?;
        let cloud = Cloud::open()?;
        let volume = cloud.usable(&volume_id)?;
        let kind = class.kind.or_else(|| Kind::parse(&volume.volume_type)).unwrap_or(Kind::DEFAULT);
        let target = Target {
            gib: None,
            kind: class.kind.map(|kind| kind.name),
            iops: class.iops_for(kind, volume.gib())?,
            throughput: class.throughput_for(kind),
        };
        change(&cloud, &volume, &target)?;
        let missing = |(key, value): &&(String, String)| volume.tag_set.get(key) != Some(value.as_str());
        let new: StringMap = class.tags.iter().filter(missing).cloned().collect();
        cloud.tag(&volume_id, &new)?;
        let old: Vec<String> = class.deleted_tags.into_iter().filter(|key| volume.tag_set.get(key).is_some()).collect();
        cloud.untag(&volume_id, &old)
    }
}
