//! Snapshots and volumes made from them. EC2 has no client token for snapshots: the tag with the CSI name is all there is, so a try whose
//! end nobody knows waits until a snapshot would be visible before it makes another one.

use crate::Ebs;
use crate::cloud::{Cloud, is_id};
use crate::create::create;
use crate::ec2::Query;
use crate::model::{Done, FastRestores, Set, SnapshotItem, Snapshots as Answer};
use crate::parameters::SnapshotClass;
use crate::tags::{self, DIGEST, Owner, SNAPSHOT_NAME};
use bulkhead_sdk::http::{Page, Pages};
use bulkhead_sdk::prelude::*;
use std::time::Duration;

/// After this time a snapshot that was made can be found by its tag.
const VISIBLE: Duration = Duration::from_secs(5);

impl Snapshots for Ebs {
    fn create_snapshot(request: CreateSnapshotRequest) -> Result<Snapshot> {
        let class = SnapshotClass::parse(&request.parameters)?;
        let cloud = Cloud::open()?;
        let snapshot = match named(&cloud, &request.name)? {
            Some(snapshot) => snapshot,
            None => cut(&cloud, &request, &class)?,
        };
        if snapshot.volume_id != request.source_volume_id {
            return Err(Error::already_exists(format!("{} is of volume {}", snapshot.snapshot_id, snapshot.volume_id)));
        }
        if snapshot.status == "error" {
            // Nobody else knows its id, and its name is wanted.
            remove(&cloud, &snapshot.snapshot_id)?;
            let why = &snapshot.status_message;
            return Err(Error::pending(format!("{} failed in EC2 and is removed: {why}", snapshot.snapshot_id)));
        }
        fast_restore(&cloud, &snapshot, &class)?;
        Ok(csi(&snapshot))
    }

    fn delete_snapshot(snapshot_id: String) -> Result<()> {
        let cloud = Cloud::open()?;
        match by_id(&cloud, &snapshot_id)? {
            Some(snapshot) if Owner::of(&snapshot.tag_set, &cloud.settings) == Owner::Ours => {
                remove(&cloud, &snapshot_id)
            }
            Some(_) => {
                warn!("snapshot {snapshot_id} lacks the tags of this driver and cluster, so it is left alone");
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn create_volume_from_snapshot(request: CreateVolumeRequest, snapshot_id: String) -> Result<Volume> {
        let cloud = Cloud::open()?;
        let Some(snapshot) = by_id(&cloud, &snapshot_id)?.filter(|snapshot| is_ours(&cloud, snapshot)) else {
            // Made before the snapshot went, and the answer was lost: it must not be forgotten.
            let made = cloud.volume_named(&request.name)?.map(|volume| cloud.csi(&volume));
            let none = || Error::not_found(format!("snapshot {snapshot_id} with the tags of this driver and cluster"));
            return made.ok_or_else(none);
        };
        match snapshot.status.as_str() {
            "completed" => create(&cloud, &request, Some(&snapshot)),
            "error" => Err(Error::precondition(format!("snapshot {snapshot_id} has failed in EC2"))),
            _ => Err(Error::pending(format!("snapshot {snapshot_id} isn't complete yet")).retry_after(VISIBLE)),
        }
    }
}

/// Makes the snapshot.
fn cut(cloud: &Cloud, request: &CreateSnapshotRequest, class: &SnapshotClass) -> Result<SnapshotItem> {
    // Somebody else's volume isn't there for us; EC2 would cut it.
    let source = cloud.usable(&request.source_volume_id)?;
    let own = vec![
        (SNAPSHOT_NAME.to_owned(), request.name.clone()),
        ("Name".to_owned(), format!("{}-dynamic-{}", cloud.settings.cluster, request.name)),
        (DIGEST.to_owned(), request.request_digest.clone()),
    ];
    let tags = tags::all(&cloud.settings, own, &class.tags)?;
    let query = Query::make("CreateSnapshot")
        .with("VolumeId", &source.volume_id)
        .with("Description", format!("Made by a CSI driver for volume {}", source.volume_id))
        .with_some("OutpostArn", class.outpost.as_deref())
        .tags("snapshot", &tags);
    match cloud.ec2.ask::<SnapshotItem>(query) {
        Ok(mut made) => {
            info!("cut {} of {}", made.snapshot_id, source.volume_id);
            made.tag_set = Set::of(&tags);
            Ok(made)
        }
        Err(fault) if fault.is_uncertain() => {
            named(cloud, &request.name)?.ok_or_else(|| Error::pending(fault.error.message()).retry_after(VISIBLE))
        }
        Err(fault) => Err(fault.error),
    }
}

/// Has EC2 keep the snapshot at hand in these zones. All or none: what can't be had costs the snapshot.
fn fast_restore(cloud: &Cloud, snapshot: &SnapshotItem, class: &SnapshotClass) -> Result<()> {
    if class.fast_restore_zones.is_empty() {
        return Ok(());
    }
    let start = Query::write("EnableFastSnapshotRestores").with("SourceSnapshotId.1", &snapshot.snapshot_id);
    let zones = class.fast_restore_zones.iter().enumerate();
    let query = zones.fold(start, |query, (index, zone)| query.with(format!("AvailabilityZone.{}", index + 1), zone));
    let refused = match cloud.ec2.ask::<FastRestores>(query) {
        Ok(answer) if answer.unsuccessful.items.is_empty() => return Ok(()),
        Ok(_) => {
            Error::invalid(format!("no fast restore of snapshots in all of {}", class.fast_restore_zones.join(", ")))
        }
        Err(fault) => fault.error,
    };
    if matches!(refused, Error::InvalidArgument(_) | Error::PermissionDenied(_) | Error::FailedPrecondition(_)) {
        remove(cloud, &snapshot.snapshot_id)?;
    }
    Err(refused)
}

fn remove(cloud: &Cloud, id: &str) -> Result<()> {
    match cloud.ec2.ask::<Done>(Query::write("DeleteSnapshot").with("SnapshotId", id)) {
        Err(fault) if !fault.is_not_found() => Err(fault.error),
        _ => {
            info!("deleted {id}");
            Ok(())
        }
    }
}

/// The snapshot that has this CSI name: the oldest, if a try that nobody knew the end of has made another one.
fn named(cloud: &Cloud, name: &str) -> Result<Option<SnapshotItem>> {
    let query = own(cloud).filter(format!("tag:{SNAPSHOT_NAME}"), name);
    let fetch = |token: Option<&str>| {
        let page: Answer = cloud.ec2.ask(query.clone().with_some("NextToken", token))?;
        Ok(Page { items: page.snapshot_set.items, next: Some(page.next_token) })
    };
    let found: Vec<SnapshotItem> = Pages::new(fetch).collect::<Result<_>>()?;
    let is_it = |snapshot: &SnapshotItem| snapshot.tag_set.get(SNAPSHOT_NAME) == Some(name) && is_ours(cloud, snapshot);
    let mut found: Vec<SnapshotItem> = found.into_iter().filter(is_it).collect();
    found.sort_by(|a, b| (a.cut_at_ms(), &a.snapshot_id).cmp(&(b.cut_at_ms(), &b.snapshot_id)));
    if found.len() > 1 {
        let others: Vec<&str> = found[1..].iter().map(|snapshot| snapshot.snapshot_id.as_str()).collect();
        warn!("{} is used; {} have the same name and can be deleted", found[0].snapshot_id, others.join(", "));
    }
    Ok(found.into_iter().next())
}

/// The snapshot of that id, whoever's. A filter, since asking by id would be an error where there is none.
pub fn by_id(cloud: &Cloud, id: &str) -> Result<Option<SnapshotItem>> {
    if !is_id(id, "snap-") {
        return Ok(None);
    }
    let query = Query::read("DescribeSnapshots").with("Owner.1", "self").filter("snapshot-id", id);
    let found: Answer = cloud.ec2.ask(query)?;
    Ok(found.snapshot_set.first().filter(|snapshot| snapshot.snapshot_id == id))
}

/// Asks for snapshots of this driver and cluster.
pub fn own(cloud: &Cloud) -> Query {
    cloud.only_ours(Query::read("DescribeSnapshots").with("Owner.1", "self"))
}

pub fn is_ours(cloud: &Cloud, snapshot: &SnapshotItem) -> bool {
    Owner::of(&snapshot.tag_set, &cloud.settings) == Owner::Ours
}

/// As CSI sees it.
pub fn csi(item: &SnapshotItem) -> Snapshot {
    Snapshot {
        ready_to_use: item.status == "completed",
        request_digest: item.tag_set.get(DIGEST).map(str::to_owned),
        ..Snapshot::new(&item.snapshot_id, &item.volume_id, item.bytes(), item.cut_at_ms())
    }
}
