//! Clones and restored volumes.

use super::{ZONES, block, cut, gib, made, mount, request, sized, with, zones};
use crate::Local;
use crate::fake::{map, start, world, write};
use crate::refused;
use bulkhead_sdk::prelude::*;

fn clone(request: CreateVolumeRequest, source: &str) -> Result<Volume> {
    Local::create_volume_from_volume(request, source.to_owned())
}

fn restore(request: CreateVolumeRequest, snapshot: &str) -> Result<Volume> {
    Local::create_volume_from_snapshot(request, snapshot.to_owned())
}

fn xfs(name: &str) -> CreateVolumeRequest {
    CreateVolumeRequest { capabilities: vec![mount("xfs")], ..request(name) }
}

#[test]
fn copies_are_like_their_sources() {
    start(&["a", "b"], &[("defaultPool", "b")]);
    let source = made(CreateVolumeRequest { parameters: map(&[("pool", "a")]), ..xfs("v") });
    write("a", "v", 7, 1);
    let copy = clone(request("c"), &source).expect("a clone");
    assert_eq!((copy.volume_id.as_str(), copy.capacity_bytes), ("a/c", gib(1)));
    assert_eq!(copy.source, Some(ContentSource::Volume("a/v".to_owned())));
    assert_eq!(copy.context, map(&[("type", "image"), ("fsType", "xfs"), ("content", "copied")]));
    assert_eq!(copy.request_digest.as_deref(), Some(super::DIGEST));
    assert_eq!(world(|world| world.pools["a"].objects["c"].data.clone()), [(7, 1)].into());
    assert!(!world(|world| world.pools["a"].objects["c"].object.read_only));

    let snapshot = cut("s", &source);
    let restored = restore(sized("r", Some(gib(2)), None), &snapshot).expect("restored");
    assert_eq!((restored.volume_id.as_str(), restored.capacity_bytes), ("a/r", gib(2)));
    assert_eq!(restored.source, Some(ContentSource::Snapshot(snapshot.clone())));
    assert_eq!(lookup(&restored.context, "fsType"), Some("xfs"));

    // Neither needs what it was made from any more, and repeating the request finds it.
    Local::delete_volume(source.clone()).expect("deleted");
    assert_eq!(clone(request("c"), &source), Ok(copy));
    Local::delete_snapshot(snapshot.clone()).expect("deleted");
    assert_eq!(restore(sized("r", Some(gib(2)), None), &snapshot), Ok(restored));
    refused!(clone(request("d"), &source), NotFound);
    refused!(restore(request("d"), &snapshot), NotFound);
}

#[test]
fn sizes_are_at_least_the_source_s() {
    start(&["a"], &[]);
    let source = made(sized("v", Some(gib(4)), None));
    refused!(clone(sized("c", Some(gib(1)), Some(gib(2))), &source), OutOfRange);
    refused!(clone(sized("c", None, Some(gib(2))), &source), OutOfRange);
    assert_eq!(clone(sized("1", Some(gib(1)), None), &source).expect("made").capacity_bytes, gib(4));
    assert_eq!(clone(sized("2", None, Some(gib(9))), &source).expect("made").capacity_bytes, gib(4));
    assert_eq!(clone(sized("3", Some(gib(8)), Some(gib(9))), &source).expect("made").capacity_bytes, gib(8));
}

#[test]
fn what_copying_can_not_change_is_refused() {
    start(&["a", "b"], &[("defaultPool", "a")]);
    let image = made(request("image"));
    let directory = made(with("directory", &[("type", "directory")]));
    refused!(clone(with("c", &[("pool", "b")]), &image), InvalidArgument);
    refused!(clone(with("c", &[("type", "directory")]), &image), InvalidArgument);
    refused!(clone(with("c", &[("type", "image")]), &directory), InvalidArgument);
    refused!(clone(with("c", &[("kind", "image")]), &image), InvalidArgument);
    refused!(clone(xfs("c"), &image), InvalidArgument);
    let raw = CreateVolumeRequest { capabilities: vec![block()], ..request("c") };
    refused!(clone(raw.clone(), &directory), InvalidArgument);
    assert_eq!(lookup(&clone(raw, &image).expect("block of mount").context, "fsType"), Some("ext4"));
    let copy = clone(request("d"), &directory).expect("kind is inherited");
    assert_eq!(lookup(&copy.context, "type"), Some("directory"));
    let validate = ValidateRequest {
        volume_id: copy.volume_id,
        context: copy.context,
        capabilities: vec![mount("")],
        parameters: map(&[("provisioning", "thin")]),
        mutable_parameters: Vec::new(),
    };
    assert_eq!(Local::validate_volume_capabilities(validate), Ok(None));
    refused!(clone(request("e"), "a/_s_x"), NotFound);
    refused!(restore(request("e"), &image), NotFound);
}

#[test]
fn a_copy_stays_in_its_source_s_place() {
    start(&["a", "b", "c"], &ZONES);
    let source = made(with("v", &[("pool", "a")]));
    let at = |name, zone| CreateVolumeRequest { topology: Some(zones(&[zone], true)), ..request(name) };
    refused!(clone(at("c", "2"), &source), ResourceExhausted);
    assert_eq!(clone(at("c", "1"), &source).expect("made").accessible_topology, zones(&["1"], false).requisite);
}

#[test]
fn a_copy_of_nothing_may_be_formatted() {
    start(&["a"], &[]);
    let source = made(request("v"));
    let content = |volume: Volume| lookup(&volume.context, "content").map(str::to_owned);
    let empty = cut("empty", &source);
    assert_eq!(content(clone(request("1"), &source).expect("made")), None);
    write("a", "v", 0, 1);
    assert_eq!(content(clone(request("2"), &source).expect("made")).as_deref(), Some("copied"));
    let full = cut("full", &source);
    assert_eq!(content(restore(request("3"), &empty).expect("made")), None);
    assert_eq!(content(restore(request("4"), &full).expect("made")).as_deref(), Some("copied"));
}

#[test]
fn a_source_that_grows_meanwhile_is_copied_as_it_is() {
    start(&["a"], &[]);
    made(request("v"));
    let object = crate::fake::pools::stat_object("a", "v").expect("a pool").expect("an object");
    crate::fake::pools::resize_object("a", "v", gib(3)).expect("grown");
    let sizes = std::cell::RefCell::new(Vec::new());
    let copied = crate::copies::copy("a", vec![object], |_, object| {
        sizes.borrow_mut().push(object.spec.size_bytes);
        let place = crate::names::Place::of_snapshot("a", "s").expect("a place");
        Ok(crate::snapshots::order(object, &place, Vec::new()))
    });
    assert_eq!(copied.expect("copied")[0].spec.size_bytes, gib(3));
    assert_eq!(sizes.into_inner(), [gib(1), gib(3)]);
}

#[test]
fn plans_of_copies_never_format() {
    start(&["a"], &[]);
    let source = made(xfs("v"));
    write("a", "v", 0, 1);
    let copy = clone(request("c"), &source).expect("made");
    let plan = |volume: &Volume, publish: &[(&str, &str)]| {
        Local::plan_volume(PlanRequest {
            volume_id: volume.volume_id.clone(),
            context: volume.context.clone(),
            publish_context: map(publish),
            capability: mount(""),
            node: super::node("n", &[]),
        })
        .expect("a plan")
    };
    let Usage::Filesystem(fs) = plan(&copy, &[]).usage else { panic!("no file system") };
    assert_eq!((fs.fs_type.as_str(), fs.format, fs.grow, fs.read_only), ("xfs", FormatPolicy::Never, true, false));
    assert_eq!(fs.mount_options, ["nouuid"]);
    let original = Local::get_volume(source).expect("a volume").volume;
    let Usage::Filesystem(fs) = plan(&original, &[("readOnly", "false")]).usage else { panic!("no file system") };
    assert_eq!((fs.format, fs.mount_options.len()), (FormatPolicy::IfEmpty, 0));
    let Usage::Filesystem(fs) = plan(&original, &[("readOnly", "true")]).usage else { panic!("no file system") };
    assert_eq!((fs.format, fs.grow, fs.read_only), (FormatPolicy::Never, false, true));
}
