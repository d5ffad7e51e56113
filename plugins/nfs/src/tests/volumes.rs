//! Making, choosing shares, growing, removing and listing volumes.

use super::{DIGEST, ONE, TWO, gib, made, mount, publish, request, with};
use crate::Share;
use crate::fake::{map, names, start, world};
use crate::refused;
use bulkhead_sdk::pools::PoolError;
use bulkhead_sdk::prelude::*;

fn validate(volume_id: &str, change: impl FnOnce(&mut ValidateRequest)) -> Result<Option<String>> {
    let mut request = ValidateRequest {
        volume_id: volume_id.to_owned(),
        context: Vec::new(),
        capabilities: vec![mount(AccessMode::MultiNodeMultiWriter)],
        parameters: Vec::new(),
        mutable_parameters: Vec::new(),
    };
    change(&mut request);
    Share::validate_volume_capabilities(request)
}

#[test]
fn the_same_name_is_the_same_volume_on_whichever_share() {
    start(&["a", "b"], &TWO);
    let first = Share::create_volume(with("v", &[("share", "a")])).expect("made");
    assert_eq!((first.volume_id.as_str(), first.capacity_bytes), ("a/v", gib(1)));
    assert_eq!((first.source.clone(), first.request_digest.as_deref()), (None, Some(DIGEST)));
    assert_eq!(Share::create_volume(with("v", &[("share", "b")])), Ok(first));
    assert!(names("b").is_empty());
    refused!(Share::create_volume(with("w", &[("share", "c")])), InvalidArgument);
    refused!(Share::create_volume(with("w", &[("server", "x")])), InvalidArgument);
    assert!(refused!(Share::create_volume(request("w")), InvalidArgument).contains("one of a, b"));
    world(|world| world.config.extend(map(&[("defaultShare", "b")])));
    assert_eq!(made(request("w")), "b/w");
}

#[test]
fn devices_and_other_file_systems_are_refused() {
    start(&["a"], &ONE);
    for capability in [
        VolumeCapability::block(AccessMode::SingleNodeWriter),
        VolumeCapability::mount(AccessMode::SingleNodeWriter, "ext4"),
    ] {
        let request = CreateVolumeRequest { capabilities: vec![capability.clone()], ..request("v") };
        refused!(Share::create_volume(request), InvalidArgument);
        let id = made(super::request("w"));
        assert!(validate(&id, |request| request.capabilities = vec![capability.clone()]).unwrap().is_some());
        let capacity = CapacityRequest { capabilities: vec![capability], parameters: Vec::new(), topology: None };
        assert_eq!(Share::get_capacity(capacity).unwrap().available_bytes, 0);
    }
    assert_eq!(names("a"), ["w"]);
}

#[test]
fn what_a_volume_is_can_be_asked() {
    start(&["a", "b"], &TWO);
    let id = made(with("v", &[("share", "a"), ("provisioning", "thick")]));
    assert_eq!(validate(&id, |_| ()), Ok(None));
    assert_eq!(validate(&id, |request| request.parameters = map(&[("provisioning", "thick")])), Ok(None));
    for parameters in [[("provisioning", "thin")], [("share", "b")], [("shape", "round")]] {
        assert!(validate(&id, |request| request.parameters = map(&parameters)).unwrap().is_some(), "{parameters:?}");
    }
    assert!(validate(&id, |request| request.context = map(&[("directory", "x")])).unwrap().is_some());
    refused!(validate("a/none", |_| ()), NotFound);
    refused!(validate("none", |_| ()), NotFound);
}

#[test]
fn thick_volumes_are_kept_room_for() {
    start(&["a"], &ONE);
    let thick = |name: &str, bytes| CreateVolumeRequest {
        capacity: Some(CapacityRange { required: Some(bytes), limit: None }),
        ..with(name, &[("provisioning", "thick")])
    };
    made(thick("v", gib(60)));
    refused!(Share::create_volume(thick("w", gib(60))), ResourceExhausted);
    let capacity = |parameters: &[(&str, &str)]| {
        let request = CapacityRequest { capabilities: Vec::new(), parameters: map(parameters), topology: None };
        Share::get_capacity(request)
    };
    let free = capacity(&[("provisioning", "thick")]).unwrap();
    assert_eq!((free.available_bytes, free.maximum_volume_bytes), (gib(40), Some(gib(40))));
    assert_eq!(capacity(&[]).unwrap().maximum_volume_bytes, None);
    refused!(capacity(&[("share", "c")]), InvalidArgument);
}

#[test]
fn growing_is_noted_and_never_undone() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    let expand = |required, limit| {
        let capacity = CapacityRange { required, limit };
        Share::expand_volume(ExpandRequest { volume_id: id.clone(), capacity, capability: None })
    };
    let grown = expand(Some(gib(2) + 1), None).expect("grown");
    assert_eq!((grown.capacity_bytes, grown.node_expansion_required), (gib(2) + 1, false));
    assert_eq!(expand(Some(gib(1)), None).expect("as it is").capacity_bytes, gib(2) + 1);
    refused!(expand(None, Some(gib(1))), OutOfRange);
    let block = Some(VolumeCapability::block(AccessMode::SingleNodeWriter));
    let capacity = CapacityRange { required: Some(gib(3)), limit: None };
    let as_device = ExpandRequest { volume_id: id.clone(), capacity, capability: block };
    refused!(Share::expand_volume(as_device), InvalidArgument);
}

#[test]
fn deletion_spares_what_is_attached_and_what_is_out_of_sight() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    publish(&id, "node-1", AccessMode::MultiNodeMultiWriter, false).expect("attached");
    assert!(refused!(Share::delete_volume(id.clone()), FailedPrecondition).contains("node-1"));
    Share::controller_unpublish_volume(id.clone(), None).expect("detached");
    assert_eq!(Share::delete_volume(id.clone()), Ok(()));
    assert_eq!(Share::delete_volume(id), Ok(()));
    assert_eq!(Share::delete_volume("nonsense".to_owned()), Ok(()));
    refused!(Share::delete_volume("elsewhere/v".to_owned()), FailedPrecondition);
}

#[test]
fn pages_hold_what_is_ours() {
    start(&["a", "b"], &TWO);
    for number in 0..1500 {
        made(with(&format!("v{number:04}"), &[("share", if number % 2 == 0 { "a" } else { "b" })]));
    }
    let foreign = crate::records::spec(
        &crate::names::Place { share: "a".to_owned(), object: "foreign".to_owned() },
        1,
        bulkhead_sdk::pools::Provisioning::Thin,
        Vec::new(),
    );
    crate::fake::pools::create_object("a", &foreign).expect("made");
    let (mut seen, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = Share::list_volumes(PageRequest { max_entries: 400, token }).expect("a page");
        seen.extend(page.entries.into_iter().map(|entry| entry.volume.volume_id));
        pages += 1;
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), pages), (1500, 4));
    assert!(seen.is_sorted() && !seen.contains(&"a/foreign".to_owned()));
    for token in ["", "x", "a/_s_1", "a/dir:x"] {
        let request = PageRequest { max_entries: 0, token: Some(token.to_owned()) };
        refused!(Share::list_volumes(request), InvalidArgument);
    }
}

#[test]
fn the_config_is_checked_before_anything_is_served() {
    start(&["a"], &ONE);
    assert_eq!(Share::probe(), Ok(true));
    start(&["a", "c"], &ONE);
    assert!(refused!(Share::probe(), FailedPrecondition).contains("shares.c"));
    start(&["a"], &TWO);
    assert_eq!(Share::probe(), Ok(true), "a share without a pool has only volumes that were there before");
    world(|world| world.config.extend(map(&[("defaultShare", "b")])));
    refused!(Share::probe(), FailedPrecondition);
    start(&[], &TWO);
    assert_eq!(Share::probe(), Ok(true));
    refused!(Share::create_volume(request("v")), FailedPrecondition);
    start(&["a"], &ONE);
    world(|world| world.pools.get_mut("a").unwrap().broken = Some(PoolError::Unavailable("stale".to_owned())));
    refused!(Share::probe(), UnknownOutcome);
}

#[test]
fn a_volume_that_can_not_be_read_is_ill_and_one_that_is_gone_is_unknown() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    assert_eq!(Share::get_volume_health(id.clone()), Ok(Vec::new()));
    refused!(Share::get_volume_health("a/none".to_owned()), NotFound);
    world(|world| world.pools.get_mut("a").unwrap().broken = Some(PoolError::Unavailable("stale".to_owned())));
    let problems = Share::get_volume_health(id).expect("an answer");
    assert_eq!((problems[0].reason.as_str(), problems[0].message.as_str()), ("ShareUnreachable", "stale"));
}
