//! Making volumes: one volume for one CSI name, whatever gets lost on the way.
//!
//! Two things see to that. The client token: EC2 makes one volume for a token, however often it is asked. And the tag with the
//! CSI name: whoever comes later finds the volume by it. Each alone has a hole. EC2 forgets tokens, and a token is burnt when its
//! volume is gone again (deleted, or given up by EC2 because of a bad KMS key); a new volume may be invisible for seconds. So each try looks for
//! the name first, then asks with the token, and takes the next token only when the last one is known to be burnt.

use crate::access;
use crate::cloud::{CONTENT, Cloud, RESTORED, format_tag, is_id};
use crate::ec2::Query;
use crate::host::call;
use crate::model::{SnapshotItem, VolumeItem, Zones};
use crate::parameters::Class;
use crate::tags::{self, DIGEST, VOLUME_NAME};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::{GIB, show};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// After this time a volume that was made is visible, or gone for good.
const VISIBLE: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(1);
/// More burnt tokens than this mean that EC2 gives up every volume of this request.
const MAX_TOKENS: u32 = 8;

/// What an earlier try of this request has left to know: which token is next, and which volume is awaited since when. Only ever a
/// hint: what it names is looked at before it is believed.
#[derive(Clone, Debug, PartialEq)]
struct Progress {
    token: u32,
    volume: String,
    since_ms: u64,
}

impl Progress {
    const START: Self = Self { token: 1, volume: String::new(), since_ms: 0 };

    fn resumed() -> Self {
        call::resume().as_deref().and_then(Self::parse).unwrap_or(Self::START)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let token = parts.next()?.parse().ok().filter(|token| (1..=MAX_TOKENS + 1).contains(token))?;
        let volume = parts.next().filter(|id| id.is_empty() || is_id(id, "vol-"))?.to_owned();
        let since_ms = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { token, volume, since_ms })
    }

    fn text(&self) -> String {
        format!("{} {} {}", self.token, self.volume, self.since_ms)
    }

    fn pending(&self, what: impl Into<String>) -> Error {
        Error::pending(what).retry_after(SOON).resume(self.text())
    }

    fn next_token(&self) -> Self {
        Self { token: self.token + 1, ..Self::START }
    }
}

/// CreateVolume, made empty or from a snapshot that is complete.
pub fn create(cloud: &Cloud, request: &CreateVolumeRequest, source: Option<&SnapshotItem>) -> Result<Volume> {
    let class = Class::of(&request.parameters, &request.mutable_parameters)?;
    let access = access::Access::of(&request.capabilities).map_err(Error::invalid)?;
    access.fits_class(&class).map_err(Error::invalid)?;
    let mut progress = Progress::resumed();
    if let Some(volume) = awaited(cloud, request, &mut progress)? {
        return settled(cloud, &volume, &progress);
    }
    let query = query(cloud, request, &class, &access, source)?;
    while progress.token <= MAX_TOKENS {
        let token = token(cloud, &request.name, progress.token);
        match cloud.ec2.ask::<VolumeItem>(query.clone().with("ClientToken", token)) {
            Ok(made) => {
                progress.since_ms = made.created_ms().max(progress.since_ms);
                progress.volume = made.volume_id;
                if made.status == "creating" && !is_past(cloud, &progress) {
                    info!("made {} for {}", progress.volume, request.name);
                    return Err(progress.pending(format!("volume {} is being created", progress.volume)));
                }
                // Ready at once, or an answer from long ago: the token has done its work before.
                if let Some(volume) = awaited(cloud, request, &mut progress)? {
                    return settled(cloud, &volume, &progress);
                }
            }
            Err(fault) => return after_fault(cloud, request, &progress, fault),
        }
    }
    Err(Error::precondition(format!(
        "EC2 gives up each volume made for {}: can the KMS key be used by the account that creates volumes?",
        request.name
    )))
}

/// The volume of this request, if it is there. If what an earlier try has made is gone for good, `progress` is at the next token.
fn awaited(cloud: &Cloud, request: &CreateVolumeRequest, progress: &mut Progress) -> Result<Option<VolumeItem>> {
    if !progress.volume.is_empty() {
        let found = cloud.volume(&progress.volume)?.filter(|volume| cloud.is_named(volume, &request.name));
        if found.is_some() {
            return Ok(found);
        }
    }
    let found = cloud.volume_named(&request.name)?;
    if found.is_none() && !progress.volume.is_empty() {
        if !is_past(cloud, progress) {
            return Err(progress.pending(format!("volume {} isn't visible yet", progress.volume)));
        }
        warn!("volume {}, made for {}, is gone; making another one", progress.volume, request.name);
        *progress = progress.next_token();
    }
    Ok(found)
}

/// What was made so long ago that it would be visible. Without a clock: not yet.
fn is_past(cloud: &Cloud, progress: &Progress) -> bool {
    let age = cloud.ec2.now_ms().saturating_sub(progress.since_ms);
    progress.since_ms > 0 && u128::from(age) > VISIBLE.as_millis()
}

/// The volume as it is, if CSI may have it already.
fn settled(cloud: &Cloud, volume: &VolumeItem, progress: &Progress) -> Result<Volume> {
    let id = &volume.volume_id;
    match volume.status.as_str() {
        "available" | "in-use" => Ok(cloud.csi(volume)),
        "error" => {
            Err(Error::precondition(format!("volume {id} has failed in EC2; delete it there to have another one")))
        }
        _ => {
            let known = Progress { volume: id.clone(), since_ms: volume.created_ms(), ..progress.clone() };
            Err(known.pending(format!("volume {id} is being created")))
        }
    }
}

/// EC2 didn't say yes. Whether there is a volume all the same, the tag knows.
fn after_fault(
    cloud: &Cloud,
    request: &CreateVolumeRequest,
    progress: &Progress,
    fault: crate::errors::Fault,
) -> Result<Volume> {
    let mismatch = fault.is("IdempotentParameterMismatch");
    // At the limit EC2 doesn't look at tokens: the volume may be there and would be lost.
    if !mismatch && !fault.is("VolumeLimitExceeded") && !fault.is_uncertain() {
        return Err(fault.error);
    }
    if let Some(volume) = cloud.volume_named(&request.name)? {
        return settled(cloud, &volume, progress);
    }
    match mismatch {
        // Made with other parameters a moment ago, and invisible, or long ago and gone. The next try knows: by then it is visible.
        true => Err(progress.next_token().pending(fault.error.message()).retry_after(VISIBLE)),
        false if fault.is_uncertain() => Err(progress.pending(fault.error.message())),
        false => Err(fault.error),
    }
}

/// All but the token.
fn query(
    cloud: &Cloud,
    request: &CreateVolumeRequest,
    class: &Class,
    access: &access::Access,
    source: Option<&SnapshotItem>,
) -> Result<Query> {
    let kind = class.kind();
    let least = source.map(SnapshotItem::bytes).unwrap_or_default();
    let size = choose_size(request.capacity.as_ref(), &kind.sizes(least))?;
    let gib = size / GIB;
    let mut own = vec![
        (VOLUME_NAME.to_owned(), request.name.clone()),
        ("Name".to_owned(), format!("{}-dynamic-{}", cloud.settings.cluster, request.name)),
        (DIGEST.to_owned(), request.request_digest.clone()),
    ];
    own.extend(format_tag(&class.format));
    let tags = tags::all(&cloud.settings, own, &class.tags)?;
    let rate = class.initialization_rate.filter(|_| source.is_some());
    let encrypted = (class.encrypted || class.kms_key.is_some()).then_some(true);
    let several = access.several_nodes.then_some(true);
    let zone = zone(cloud, request)?;
    debug!("creating {} of {} in {zone} for {}", kind.name, show(size), request.name);
    Ok(Query::make("CreateVolume")
        .with("AvailabilityZone", zone)
        .with("Size", gib.to_string())
        .with("VolumeType", kind.name)
        .with_some("Iops", class.iops_for(kind, gib)?)
        .with_some("Throughput", class.throughput_for(kind))
        .with_some("Encrypted", encrypted)
        .with_some("KmsKeyId", class.kms_key.as_deref())
        .with_some("MultiAttachEnabled", several)
        .with_some("SnapshotId", source.map(|snapshot| &snapshot.snapshot_id))
        .with_some("VolumeInitializationRate", rate)
        .tags("volume", &tags))
}

/// The same for each try of one request, another one for each cluster and for each number.
fn token(cloud: &Cloud, name: &str, number: u32) -> String {
    let key = call::idempotency_key().unwrap_or_else(|| name.to_owned());
    let digest = Sha256::digest(format!("{}\0{key}\0{name}\0{number}", cloud.settings.cluster).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the volume goes: as the request wants, or the same zone for each try.
fn zone(cloud: &Cloud, request: &CreateVolumeRequest) -> Result<String> {
    if let Some(requirement) = &request.topology {
        let places = requirement.preferred.iter().chain(&requirement.requisite);
        let mut zones = places.filter_map(|place| lookup(&place.segments, &cloud.settings.topology_key));
        if let Some(zone) = zones.next() {
            return Ok(zone.to_owned());
        }
        if !requirement.requisite.is_empty() {
            let key = &cloud.settings.topology_key;
            return Err(Error::exhausted(format!("no place of the request has `{key}`")));
        }
    }
    let zones = if cloud.settings.zones.is_empty() { all_zones(cloud)? } else { cloud.settings.zones.clone() };
    let digest = Sha256::digest(request.name.as_bytes());
    let index =
        digest.iter().fold(0, |sum, byte| usize::wrapping_add(usize::wrapping_mul(sum, 31), usize::from(*byte)))
            % zones.len().max(1);
    zones.into_iter().nth(index).ok_or_else(|| Error::exhausted("the region has no available zone"))
}

/// Available zones of the region proper, sorted.
pub fn all_zones(cloud: &Cloud) -> Result<Vec<String>> {
    let answer: Zones = cloud.ec2.ask(Query::read("DescribeAvailabilityZones"))?;
    let zones = answer.availability_zone_info.items.into_iter();
    let usable = zones
        .filter(|zone| zone.zone_state == "available" && matches!(zone.zone_type.as_str(), "" | "availability-zone"));
    let mut names: Vec<String> = usable.map(|zone| zone.zone_name).collect();
    names.sort();
    Ok(names)
}

/// The context says that there is content, so nothing may be formatted.
pub fn is_restored(context: &StringMap) -> bool {
    lookup(context, CONTENT) == Some(RESTORED)
}
