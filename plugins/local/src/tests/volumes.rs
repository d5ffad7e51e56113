//! Making, choosing pools, changing, growing, removing and listing volumes.

use super::{ZONES, block, gib, made, mount, node, publish, request, sized, with, zones};
use crate::Local;
use crate::fake::{map, names, start, world};
use crate::refused;
use bulkhead_sdk::pools::Provisioning;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::MIB;

fn provisioning(pool: &str, name: &str) -> Provisioning {
    world(|world| world.pools[pool].objects[name].object.spec.provisioning)
}

fn validate(volume_id: &str, capability: VolumeCapability, mutable: &[(&str, &str)]) -> Option<String> {
    let request = ValidateRequest {
        volume_id: volume_id.to_owned(),
        context: Vec::new(),
        capabilities: vec![capability],
        parameters: Vec::new(),
        mutable_parameters: map(mutable),
    };
    Local::validate_volume_capabilities(request).expect("an answer")
}

#[test]
fn the_same_name_is_the_same_volume_in_whichever_pool() {
    start(&["a", "b"], &[]);
    let first = Local::create_volume(with("v", &[("pool", "a")])).expect("made");
    assert_eq!(first.volume_id, "a/v");
    assert_eq!((first.capacity_bytes, first.source.clone()), (gib(1), None));
    assert_eq!(Local::create_volume(with("v", &[("pool", "a")])), Ok(first.clone()));
    assert_eq!(Local::create_volume(with("v", &[("pool", "b")])), Ok(first));
    assert!(names("b").is_empty());
    refused!(Local::create_volume(with("w", &[("pool", "c")])), InvalidArgument);
    refused!(Local::create_volume(with("w", &[("pooool", "a")])), InvalidArgument);
    refused!(Local::create_volume(request("w")), InvalidArgument);
}

#[test]
fn a_name_with_an_underscore_is_no_snapshot() {
    start(&["a"], &[]);
    let id = made(request("_s_x"));
    assert!(id.starts_with("a/-s_x_"), "{id}");
    assert_eq!(Local::list_volumes(PageRequest { max_entries: 0, token: None }).expect("a page").entries.len(), 1);
    refused!(Local::get_volume("a/_s_x".to_owned()), NotFound);
}

#[test]
fn smallest_sizes_are_rounded_up_within_the_limit() {
    start(&["a"], &[]);
    let xfs = |name, required, limit| CreateVolumeRequest {
        capabilities: vec![mount("xfs")],
        ..sized(name, Some(required), limit)
    };
    let made = Local::create_volume(xfs("x", MIB, None)).expect("made");
    assert_eq!(made.capacity_bytes, 300 * MIB);
    refused!(Local::create_volume(xfs("y", MIB, Some(299 * MIB))), OutOfRange);
    assert_eq!(Local::create_volume(sized("e", Some(1), None)).expect("made").capacity_bytes, 16 * MIB);
    let raw = CreateVolumeRequest { capabilities: vec![block()], ..sized("raw", Some(1), None) };
    assert_eq!(Local::create_volume(raw).expect("made").capacity_bytes, 4096);
    assert_eq!(names("a"), ["e", "raw", "x"]);
}

#[test]
fn places_choose_the_pool_and_a_full_one_is_passed_over() {
    start(&["a", "b", "c"], &ZONES);
    let at = |name: &str, terms: &[&str], preferred| CreateVolumeRequest {
        topology: Some(zones(terms, preferred)),
        parameters: map(&[("provisioning", "thick")]),
        ..sized(name, Some(gib(60)), None)
    };
    let first = Local::create_volume(at("1", &["2", "1"], true)).expect("made");
    assert_eq!(first.volume_id, "b/1");
    assert_eq!(first.accessible_topology, zones(&["2"], false).requisite);
    assert_eq!(made(at("2", &["2", "1"], true)), "c/2", "b is full, and c is everywhere");
    assert_eq!(made(at("3", &["2", "1"], true)), "a/3");
    refused!(Local::create_volume(at("4", &["2", "1"], true)), ResourceExhausted);
    let named = CreateVolumeRequest { parameters: map(&[("pool", "a")]), ..at("5", &["2"], false) };
    refused!(Local::create_volume(named), ResourceExhausted);
    // A volume that is there is returned, wherever it is asked for.
    assert_eq!(made(at("1", &["9"], false)), "b/1");
    refused!(Local::create_volume(request("6")), InvalidArgument);
}

#[test]
fn capacity_is_that_of_the_place() {
    start(&["a", "b", "c"], &ZONES);
    world(|world| world.pools.get_mut("b").expect("b").available = gib(7));
    let ask = |parameters: &[(&str, &str)], zone: Option<&str>, capabilities: &[VolumeCapability]| {
        Local::get_capacity(CapacityRequest {
            capabilities: capabilities.to_vec(),
            parameters: map(parameters),
            topology: zone.map(|zone| Topology { segments: map(&[("x/zone", zone)]) }),
        })
        .expect("an answer")
    };
    let thick = [("provisioning", "thick")];
    assert_eq!(ask(&[], Some("2"), &[]).available_bytes, gib(107));
    assert_eq!(ask(&[], None, &[]).available_bytes, gib(207));
    assert_eq!(ask(&thick, Some("2"), &[]).maximum_volume_bytes, Some(gib(100)));
    assert_eq!(ask(&[], Some("2"), &[]).maximum_volume_bytes, None);
    assert_eq!(ask(&[("pool", "b")], Some("2"), &[mount("xfs")]).minimum_volume_bytes, Some(300 * MIB));
    let elsewhere = ask(&[("pool", "b")], Some("1"), &[]);
    assert_eq!((elsewhere.available_bytes, elsewhere.maximum_volume_bytes), (0, Some(0)));
    let shared = VolumeCapability::mount(AccessMode::MultiNodeMultiWriter, "");
    assert_eq!(ask(&[], Some("1"), &[shared]).available_bytes, 0);
    world(|world| world.pools.get_mut("b").expect("b").available = 299 * MIB);
    let parameters = [("provisioning", "thick"), ("pool", "b")];
    assert_eq!(ask(&parameters, None, &[mount("xfs")]).available_bytes, 0);
}

#[test]
fn shared_pools_serve_several_nodes() {
    start(&["a", "s"], &[("pools.s.shared", "true")]);
    let of = |name: &str, pool: &str, kind: &str, mode| CreateVolumeRequest {
        capabilities: vec![VolumeCapability::mount(mode, "")],
        parameters: map(&[("pool", pool), ("type", kind)]),
        ..request(name)
    };
    use AccessMode::{MultiNodeMultiWriter, MultiNodeReaderOnly};
    let id = made(of("v", "s", "directory", MultiNodeMultiWriter));
    refused!(Local::create_volume(of("w", "a", "directory", MultiNodeMultiWriter)), InvalidArgument);
    refused!(Local::create_volume(of("w", "s", "image", MultiNodeMultiWriter)), InvalidArgument);
    let image = made(of("i", "s", "image", MultiNodeReaderOnly));
    assert_eq!(validate(&id, VolumeCapability::mount(MultiNodeMultiWriter, ""), &[]), None);
    assert!(validate(&image, VolumeCapability::mount(MultiNodeMultiWriter, ""), &[]).is_some());
    assert_eq!(validate(&image, VolumeCapability::block(MultiNodeReaderOnly), &[]), None);
}

#[test]
fn provisioning_can_be_changed() {
    start(&["a"], &[]);
    let created = CreateVolumeRequest {
        parameters: map(&[("provisioning", "thick")]),
        mutable_parameters: map(&[("provisioning", "thin"), ("csi.storage.k8s.io/pvc/name", "claim")]),
        ..request("v")
    };
    let id = made(created);
    assert_eq!(provisioning("a", "v"), Provisioning::Thin, "the attributes class wins");
    let bad = CreateVolumeRequest { mutable_parameters: map(&[("pool", "a")]), ..request("w") };
    refused!(Local::create_volume(bad), InvalidArgument);

    let modify = |parameters: &[(&str, &str)]| Local::modify_volume(id.clone(), map(parameters));
    refused!(modify(&[("provisioning", "thick"), ("speed", "high")]), InvalidArgument);
    refused!(modify(&[("provisioning", "lazy")]), InvalidArgument);
    assert_eq!(provisioning("a", "v"), Provisioning::Thin, "nothing was applied");
    world(|world| world.conflicts = 3);
    assert_eq!(modify(&[("provisioning", "thick")]), Ok(()));
    assert_eq!(provisioning("a", "v"), Provisioning::Thick);
    assert_eq!(modify(&[("provisioning", "thick")]), Ok(()));
    assert_eq!(validate(&id, mount(""), &[("provisioning", "thick")]), None);
    assert!(validate(&id, mount(""), &[("provisioning", "thin")]).is_some());
    assert!(validate(&id, mount(""), &[("speed", "high")]).is_some());
    let before = world(|world| world.pools["a"].objects["v"].object.spec.metadata.clone());
    assert_eq!(lookup(&before, "csi-name"), Some("v"));

    world(|world| world.conflicts = 1000);
    refused!(modify(&[("provisioning", "thin")]), Pending);
    world(|world| world.conflicts = 0);
    refused!(Local::modify_volume("a/none".to_owned(), map(&[])), NotFound);
    refused!(Local::modify_volume("none".to_owned(), map(&[])), NotFound);
    refused!(Local::modify_volume("elsewhere/v".to_owned(), map(&[])), NotFound);
}

#[test]
fn a_volume_that_can_not_be_made_thick_stays_thin() {
    start(&["a"], &[]);
    let id = made(sized("v", Some(gib(200)), None));
    refused!(Local::modify_volume(id, map(&[("provisioning", "thick")])), ResourceExhausted);
    assert_eq!(provisioning("a", "v"), Provisioning::Thin);
}

#[test]
fn expansion_grows_and_never_shrinks() {
    start(&["a"], &[]);
    let id = made(request("v"));
    let expand = |required, limit, capability| {
        let capacity = CapacityRange { required, limit };
        Local::expand_volume(ExpandRequest { volume_id: id.clone(), capacity, capability })
    };
    let grown = expand(Some(gib(2)), None, Some(mount(""))).expect("grown");
    assert_eq!((grown.capacity_bytes, grown.node_expansion_required), (gib(2), true));
    assert_eq!(expand(Some(gib(1)), None, None).expect("as it is").capacity_bytes, gib(2));
    refused!(expand(None, Some(gib(1)), None), OutOfRange);
    refused!(expand(Some(gib(3)), None, Some(mount("xfs"))), InvalidArgument);
    let shared = VolumeCapability::mount(AccessMode::MultiNodeMultiWriter, "");
    refused!(expand(Some(gib(3)), None, Some(shared)), InvalidArgument);
}

#[test]
fn deletion_spares_what_is_attached_and_what_is_out_of_sight() {
    start(&["a"], &[]);
    let id = made(request("v"));
    publish(&id, "node-1", mount(""), false).expect("attached");
    assert!(refused!(Local::delete_volume(id.clone()), FailedPrecondition).contains("node-1"));
    Local::controller_unpublish_volume(id.clone(), None).expect("detached");
    assert_eq!(Local::delete_volume(id.clone()), Ok(()));
    assert_eq!(Local::delete_volume(id), Ok(()));
    assert_eq!(Local::delete_volume("nonsense".to_owned()), Ok(()));
    refused!(Local::delete_volume("elsewhere/v".to_owned()), FailedPrecondition);
    refused!(Local::controller_unpublish_volume("elsewhere/v".to_owned(), None), FailedPrecondition);
}

fn has(promises: Promises, wanted: Promises) -> bool {
    promises & wanted == wanted
}

#[test]
fn config_makes_promises_and_limits() {
    start(&["a"], &[]);
    let plain = Local::get_info().expect("a good config");
    assert!(plain.topology_keys.is_empty() && !has(plain.promises, Promises::SNAPSHOT_TOPOLOGY));
    assert!(!has(plain.promises, Promises::ATTACH_ONE_AT_A_TIME_PER_NODE));
    assert!(has(plain.promises, Promises::PUBLISH_READONLY | Promises::PUBLISHED_NODES | Promises::EXPAND_ONLINE));
    assert!(!has(plain.promises, Promises::VOLUME_MOUNT_GROUP));
    assert_eq!(Local::get_node_info(node("n", &[])), Ok(NodeInfo { max_volumes: None, topology: None }));

    start(&["a"], &[("maxVolumesPerNode", "4"), ("topologyKeys.0", "x/zone")]);
    let info = Local::get_info().expect("a good config");
    assert_eq!(info.topology_keys, ["x/zone"]);
    assert!(has(info.promises, Promises::ATTACH_ONE_AT_A_TIME_PER_NODE | Promises::SNAPSHOT_TOPOLOGY));
    let place = Some(Topology { segments: map(&[("x/zone", "1")]) });
    let facts = node("n", &[("other", "2"), ("x/zone", "1")]);
    assert_eq!(Local::get_node_info(facts), Ok(NodeInfo { max_volumes: Some(4), topology: place }));
    assert!(refused!(Local::get_node_info(node("n", &[])), FailedPrecondition).contains("x/zone"));
    assert_eq!(Local::probe(), Ok(true));
    start(&["a"], &[("maxVolumes", "4")]);
    assert!(refused!(Local::get_info(), FailedPrecondition).contains("`maxVolumes`"));
    start(&["a"], &[("pools.b.shared", "true")]);
    refused!(Local::probe(), FailedPrecondition);
}
