//! What EC2 does.

use super::{Snap, Vol, World, iso};
use std::collections::BTreeMap;

type Outcome = Result<String, (&'static str, String)>;

/// A decoded form.
pub struct Form(BTreeMap<String, String>);

impl Form {
    pub fn parse(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap();
        let pair = |pair: &str| pair.split_once('=').map(|(k, v)| (decoded(k), decoded(v))).unwrap();
        let pairs: Vec<_> = text.split('&').map(pair).collect();
        let count = pairs.len();
        let form: BTreeMap<_, _> = pairs.into_iter().collect();
        assert_eq!(form.len(), count, "a key stands twice: {text}");
        Self(form)
    }

    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    fn list(&self, prefix: &str) -> Vec<String> {
        (1..).map(|n| self.get(&format!("{prefix}.{n}")).to_owned()).take_while(|value| !value.is_empty()).collect()
    }

    fn pairs(&self, prefix: &str, key: &str, value: &str) -> Vec<(String, String)> {
        let at = |n: u32, what: &str| self.get(&format!("{prefix}.{n}.{what}")).to_owned();
        (1..).map(|n| (at(n, key), at(n, value))).take_while(|(key, _)| !key.is_empty()).collect()
    }

    fn tags(&self) -> BTreeMap<String, String> {
        self.pairs("TagSpecification.1.Tag", "Key", "Value").into_iter().collect()
    }

    fn fits(&self, fields: &dyn Fn(&str) -> String, tags: &BTreeMap<String, String>) -> bool {
        self.pairs("Filter", "Name", "Value.1").iter().all(|(name, wanted)| {
            let has = match name.strip_prefix("tag:") {
                Some(tag) => tags.get(tag).cloned().unwrap_or_default(),
                None => fields(name),
            };
            has.chars().count() == wanted.chars().count()
                && has.chars().zip(wanted.chars()).all(|(a, b)| b == '?' || a == b)
        })
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            bytes.push(u8::from_str_radix(std::str::from_utf8(&rest[..2]).unwrap(), 16).unwrap());
            rest = &rest[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn element(name: &str, value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;");
    format!("<{name}>{value}</{name}>")
}

fn set(name: &str, items: impl Iterator<Item = String>) -> String {
    format!("<{name}>{}</{name}>", items.map(|item| format!("<item>{item}</item>")).collect::<String>())
}

fn tag_set(tags: &BTreeMap<String, String>) -> String {
    set("tagSet", tags.iter().map(|(k, v)| element("key", k) + &element("value", v)))
}

fn volume_xml(id: &str, volume: &Vol) -> String {
    let attachments = volume.attachments.iter().map(|(instance, device, status)| {
        element("volumeId", id)
            + &element("instanceId", instance)
            + &element("device", device)
            + &element("status", status)
    });
    let fields: String = volume.fields.iter().map(|(name, value)| element(name, value)).collect();
    element("volumeId", id) + &fields + &set("attachmentSet", attachments) + &tag_set(&volume.tags)
}

fn snapshot_xml(id: &str, snap: &Snap) -> String {
    [("snapshotId", id), ("volumeId", &snap.volume), ("status", snap.status), ("volumeSize", &snap.size)]
        .map(|(k, v)| element(k, v))
        .concat()
        + &element("startTime", &iso(snap.cut_at))
        + &tag_set(&snap.tags)
}

fn no(code: &'static str) -> (&'static str, String) {
    (code, format!("{code}, says the fake"))
}

pub fn perform(world: &mut World, action: &str, form: &Form) -> Outcome {
    let done = || Ok("<return>true</return>".to_owned());
    match action {
        "DescribeAvailabilityZones" => {
            let zones = ["eu-central-1c", "eu-central-1a", "eu-central-1b"];
            Ok(set(
                "availabilityZoneInfo",
                zones.iter().map(|z| element("zoneName", z) + &element("zoneState", "available")),
            ))
        }
        "CreateVolume" => create_volume(world, form),
        "DescribeVolumes" => describe_volumes(world, form),
        "DeleteVolume" => match world.volumes.get(form.get("VolumeId")) {
            None => Err(no("InvalidVolume.NotFound")),
            Some(volume) if !volume.attachments.is_empty() => Err(no("VolumeInUse")),
            Some(_) => {
                world.volumes.remove(form.get("VolumeId"));
                done()
            }
        },
        "CreateTags" | "DeleteTags" => {
            let id = form.get("ResourceId.1");
            let volume = world.volumes.get_mut(id).ok_or_else(|| no("InvalidVolume.NotFound"))?;
            for (key, value) in form.pairs("Tag", "Key", "Value") {
                if action == "CreateTags" {
                    volume.tags.insert(key, value)
                } else {
                    volume.tags.remove(&key)
                };
            }
            done()
        }
        "ModifyVolume" => modify(world, form),
        "DescribeVolumesModifications" => changes(world, form),
        "CreateSnapshot" => create_snapshot(world, form),
        "DescribeSnapshots" => describe_snapshots(world, form),
        "DeleteSnapshot" => {
            world.snapshots.remove(form.get("SnapshotId")).map_or(Err(no("InvalidSnapshot.NotFound")), |_| done())
        }
        "EnableFastSnapshotRestores" => {
            let bad = form.list("AvailabilityZone").into_iter().filter(|zone| !zone.starts_with("eu-central-1"));
            let states = set("fastSnapshotRestoreStateErrorSet", bad.map(|zone| element("availabilityZone", &zone)));
            Ok(if states.contains("item") {
                set("unsuccessful", [states].into_iter())
            } else {
                "<unsuccessful/>".to_owned()
            })
        }
        "DescribeInstances" => describe_instances(world, form),
        "AttachVolume" => attach(world, form),
        "DetachVolume" => {
            let volume = world.volumes.get_mut(form.get("VolumeId")).ok_or_else(|| no("InvalidVolume.NotFound"))?;
            let instance = form.get("InstanceId");
            let found = volume.attachments.iter_mut().find(|(id, _, status)| id == instance && *status != "detaching");
            found.ok_or_else(|| no("IncorrectState"))?.2 = "detaching";
            done()
        }
        other => panic!("no such action here: {other}"),
    }
}

fn create_volume(world: &mut World, form: &Form) -> Outcome {
    let token = form.get("ClientToken").to_owned();
    let asked = format!("{:?}", form.0);
    assert!(token.len() == 64, "{token}");
    if let Some((before, id)) = world.tokens.get(&token) {
        if *before != asked {
            return Err(no("IdempotentParameterMismatch"));
        }
        let gone = Vol { fields: [("createTime", iso(0)), ("status", "creating".to_owned())].into(), ..Vol::default() };
        return Ok(volume_xml(id, world.volumes.get(id).unwrap_or(&gone)));
    }
    if world.volumes.len() >= world.quota {
        return Err(no("VolumeLimitExceeded"));
    }
    world.made += 1;
    let id = format!("vol-{:08x}", world.made);
    let kind = form.get("VolumeType");
    let or = |value: &str, default: &str| if value.is_empty() { default.to_owned() } else { value.to_owned() };
    let fields = [
        ("size", form.get("Size").to_owned()),
        ("snapshotId", form.get("SnapshotId").to_owned()),
        ("availabilityZone", form.get("AvailabilityZone").to_owned()),
        ("status", "creating".to_owned()),
        ("createTime", iso(world.now)),
        ("volumeType", kind.to_owned()),
        ("iops", or(form.get("Iops"), if kind == "gp3" { "3000" } else { "" })),
        ("throughput", or(form.get("Throughput"), if kind == "gp3" { "125" } else { "" })),
        ("encrypted", or(form.get("Encrypted"), "false")),
        ("kmsKeyId", form.get("KmsKeyId").to_owned()),
        ("multiAttachEnabled", or(form.get("MultiAttachEnabled"), "false")),
    ];
    let volume =
        Vol { fields: fields.into(), tags: form.tags(), visible_at: world.now + world.hidden, attachments: Vec::new() };
    let xml = volume_xml(&id, &volume);
    world.volumes.insert(id.clone(), volume);
    world.tokens.insert(token, (asked, id));
    Ok(xml)
}

fn describe_volumes(world: &mut World, form: &Form) -> Outcome {
    let ids = form.list("VolumeId");
    let (now, slow) = (world.now, world.slow);
    let mut found = Vec::new();
    if world.blind > 0 {
        world.blind -= 1;
        return Ok("<volumeSet/>".to_owned());
    }
    for (id, volume) in &mut world.volumes {
        let field = |name: &str| if name == "volume-id" { id.clone() } else { String::new() };
        if volume.visible_at > now || !(ids.is_empty() || ids.contains(id)) || !form.fits(&field, &volume.tags) {
            continue;
        }
        found.push(volume_xml(id, volume));
        settle(volume);
        if !slow {
            found.pop();
            found.push(volume_xml(id, volume));
        }
    }
    if found.is_empty() && !ids.is_empty() {
        return Err(no("InvalidVolume.NotFound"));
    }
    let start: usize = form.get("NextToken").parse().unwrap_or_default();
    let most = form.get("MaxResults").parse().unwrap_or(3);
    let next = if start + most < found.len() {
        element("nextToken", &(start + most).to_string())
    } else {
        "<nextToken/>".into()
    };
    Ok(set("volumeSet", found.into_iter().skip(start).take(most)) + &next)
}

/// What goes on in the background comes to its end.
fn settle(volume: &mut Vol) {
    volume.attachments.retain(|(.., status)| *status != "detaching");
    volume.attachments.iter_mut().for_each(|attachment| attachment.2 = "attached");
    let status = if volume.attachments.is_empty() { "available" } else { "in-use" };
    if volume.fields["status"] != "error" {
        volume.fields.insert("status", status.to_owned());
    }
}

fn modify(world: &mut World, form: &Form) -> Outcome {
    let id = form.get("VolumeId").to_owned();
    let volume = world.volumes.get_mut(&id).ok_or_else(|| no("InvalidVolume.NotFound"))?;
    match world.changes.get(&id).map(|change| change[0].as_str()) {
        Some("modifying") => return Err(no("IncorrectModificationState")),
        Some(_) => return Err(no("VolumeModificationRateExceeded")),
        None => {}
    }
    let field = |key: &str, now: &str| Some(form.get(key)).filter(|v| !v.is_empty()).unwrap_or(now).to_owned();
    let wanted = [("Size", "size"), ("VolumeType", "volumeType"), ("Iops", "iops"), ("Throughput", "throughput")]
        .map(|(key, name)| field(key, &volume.fields[name]));
    let [size, kind, iops, throughput] = wanted;
    world.changes.insert(id, ["modifying".to_owned(), size, kind, iops, throughput]);
    Ok(format!("<volumeModification>{}</volumeModification>", element("modificationState", "modifying")))
}

fn changes(world: &mut World, form: &Form) -> Outcome {
    let id = form.get("VolumeId.1");
    let Some(change) = world.changes.get_mut(id) else { return Err(no("InvalidVolumeModification.NotFound")) };
    let names = ["modificationState", "targetSize", "targetVolumeType", "targetIops", "targetThroughput"];
    let xml: String = names.iter().zip(change.iter()).map(|(name, value)| element(name, value)).collect();
    if change[0] == "modifying" {
        change[0] = "optimizing".to_owned();
        let volume = world.volumes.get_mut(id).unwrap();
        for (name, value) in ["size", "volumeType", "iops", "throughput"].into_iter().zip(&change[1..]) {
            volume.fields.insert(name, value.clone());
        }
    }
    Ok(set("volumeModificationSet", [xml].into_iter()))
}

fn create_snapshot(world: &mut World, form: &Form) -> Outcome {
    let source = form.get("VolumeId");
    let volume = world.volumes.get(source).ok_or_else(|| no("InvalidVolume.NotFound"))?;
    world.made += 1;
    let id = format!("snap-{:08x}", world.made);
    let (size, status) = (volume.fields["size"].clone(), if world.slow { "pending" } else { "completed" });
    let snap = Snap { volume: source.to_owned(), size, status, cut_at: world.now, tags: form.tags() };
    let xml = snapshot_xml(&id, &snap);
    world.snapshots.insert(id, snap);
    Ok(xml)
}

fn describe_snapshots(world: &mut World, form: &Form) -> Outcome {
    assert_eq!(form.get("Owner.1"), "self");
    let mut found = Vec::new();
    for (id, snap) in &mut world.snapshots {
        let field = |name: &str| match name {
            "snapshot-id" => id.clone(),
            "volume-id" => snap.volume.clone(),
            other => panic!("no such filter: {other}"),
        };
        if form.fits(&field, &snap.tags) {
            found.push(snapshot_xml(id, snap));
            snap.status = if snap.status == "pending" { "completed" } else { snap.status };
        }
    }
    Ok(set("snapshotSet", found.into_iter()))
}

fn describe_instances(world: &mut World, form: &Form) -> Outcome {
    let id = form.get("InstanceId.1");
    let (shown, _) = world.instances.get(id).ok_or_else(|| no("InvalidInstanceID.NotFound"))?;
    let attached = world.volumes.values().flat_map(|volume| &volume.attachments).filter(|(on, ..)| on == id);
    let devices = attached.map(|(_, device, _)| device).chain(shown);
    let mapping = set("blockDeviceMapping", devices.map(|device| element("deviceName", device)));
    let instance = element("instanceId", id) + "<instanceState><name>running</name></instanceState>" + &mapping;
    Ok(set("reservationSet", [set("instancesSet", [instance].into_iter())].into_iter()))
}

fn attach(world: &mut World, form: &Form) -> Outcome {
    let (id, instance, device) =
        (form.get("VolumeId"), form.get("InstanceId").to_owned(), form.get("Device").to_owned());
    let (_, hidden) = world.instances.get(&instance).ok_or_else(|| no("InvalidInstanceID.NotFound"))?;
    let taken = world
        .volumes
        .values()
        .flat_map(|volume| &volume.attachments)
        .any(|(on, name, _)| *on == instance && *name == device);
    if hidden.contains(&device) || taken {
        return Err(("InvalidParameterValue", format!("Attachment point {device} is already in use")));
    }
    let volume = world.volumes.get_mut(id).ok_or_else(|| no("InvalidVolume.NotFound"))?;
    let several = volume.fields["multiAttachEnabled"] == "true";
    if volume.attachments.iter().any(|(on, ..)| !several || *on == instance) {
        return Err(no("VolumeInUse"));
    }
    let fields = element("instanceId", &instance) + &element("device", &device) + &element("status", "attaching");
    volume.attachments.push((instance, device, "attaching"));
    Ok(fields)
}
