use super::{made, request, with};
use crate::fake::{Fault, asked_again, calls, fail, map, start, world};
use crate::{Ebs, refused};
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

fn expand(id: &str, required: Option<u64>, limit: Option<u64>) -> Result<Expanded> {
    let (volume_id, capacity) = (id.to_owned(), CapacityRange { required, limit });
    Ebs::expand_volume(ExpandRequest { volume_id, capacity, capability: None })
}

fn modify(id: &str, parameters: &[(&str, &str)]) -> Result<()> {
    Ebs::modify_volume(id.to_owned(), map(parameters))
}

fn field(id: &str, name: &str) -> String {
    world(|world| world.volumes[id].fields[name].clone())
}

#[test]
fn volumes_grow_once_and_never_shrink() {
    for fault in [Fault::LostAfter, Fault::LostBefore, Fault::NotSent, Fault::Proxy(502)] {
        start();
        let id = made(&request("pvc-1")).volume_id;
        assert_eq!(expand(&id, Some(GIB), None).unwrap().capacity_bytes, 4 * GIB);
        assert_eq!(calls("ModifyVolume"), 0);
        fail("ModifyVolume", fault);
        fail("DescribeVolumesModifications", fault);
        let grown = asked_again(|| expand(&id, Some(7 * GIB + 1), None)).unwrap();
        assert_eq!((grown.capacity_bytes, grown.node_expansion_required), (8 * GIB, true));
        assert_eq!((field(&id, "size"), expand(&id, Some(8 * GIB), None)), ("8".to_owned(), Ok(grown)));
        refused!(expand(&id, Some(GIB), Some(7 * GIB)), OutOfRange);
        refused!(expand(&id, Some(100_000 * GIB), None), OutOfRange);
        refused!(expand("vol-dead", Some(GIB), None), NotFound);
    }
}

#[test]
fn a_change_is_pending_until_ec2_optimizes() {
    start();
    let id = made(&request("pvc-1")).volume_id;
    let wanted = [("type", "io2"), ("iops", "500"), ("tagSpecification_1", "a=b"), ("tagDeletion_1", "Name")];
    refused!(modify(&id, &wanted), Pending);
    refused!(modify(&id, &wanted), Pending);
    // Something else meanwhile waits.
    world(|world| world.changes.get_mut(&id).unwrap()[0] = "modifying".to_owned());
    assert!(refused!(modify(&id, &[("type", "st1")]), Pending).contains("another change"));
    asked_again(|| modify(&id, &wanted)).unwrap();
    assert_eq!((field(&id, "volumeType"), field(&id, "iops"), calls("ModifyVolume")), ("io2".into(), "500".into(), 1));
    let tags = world(|world| world.volumes[&id].tags.clone());
    assert_eq!((tags.get("a").map(String::as_str), tags.get("Name")), (Some("b"), None));
    // Already so: nothing is asked of EC2, so its cool-down doesn't matter.
    let before = calls("CreateTags");
    modify(&id, &wanted).unwrap();
    assert_eq!((calls("ModifyVolume"), calls("CreateTags")), (1, before));
    let text = refused!(modify(&id, &[("iops", "600")]), Pending);
    assert!(text.contains("VolumeModificationRateExceeded"), "{text}");
}

#[test]
fn tags_alone_change_no_volume() {
    start();
    let id = made(&request("pvc-1")).volume_id;
    modify(&id, &[("tagSpecification_1", "a=b")]).unwrap();
    assert_eq!((calls("ModifyVolume"), calls("CreateTags")), (0, 1));
    assert_eq!(calls("DescribeVolumesModifications"), 1);
}

#[test]
fn bad_changes_are_refused_before_anything_is_done() {
    start();
    let id = made(&with("pvc-1", &[("type", "gp3")])).volume_id;
    for bad in [
        [("type", "gp9")],
        [("iops", "many")],
        [("encrypted", "true")],
        [("tagSpecification_1", "aws:x=y")],
        [("tagDeletion_1", "CSIVolumeName")],
        [("iops", "0")],
    ] {
        let text = refused!(modify(&id, &bad), InvalidArgument);
        assert!(text.contains(bad[0].0), "{text}");
    }
    refused!(modify(&id, &[("iops", "4000"), ("iopsPerGB", "3")]), InvalidArgument);
    assert_eq!(calls("ModifyVolume") + calls("CreateTags"), 0);
    refused!(modify("vol-dead", &[("iops", "4000")]), NotFound);
}
