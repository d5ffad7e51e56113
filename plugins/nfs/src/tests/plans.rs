//! What nodes are told, and volumes that were there before.

use super::{ONE, TWO, made, mount, node, request};
use crate::Share;
use crate::fake::{map, start};
use crate::refused;
use AccessMode::{MultiNodeMultiWriter, MultiNodeReaderOnly, SingleNodeWriter};
use bulkhead_sdk::prelude::*;

fn plan(volume_id: &str, context: &[(&str, &str)], publish: &[(&str, &str)], mode: AccessMode) -> Result<Plan> {
    Share::plan_volume(PlanRequest {
        volume_id: volume_id.to_owned(),
        context: map(context),
        publish_context: map(publish),
        capability: mount(mode),
        node: node("n1"),
    })
}

/// Servers and path, and whether it is for reading only.
fn parts(plan: Result<Plan>) -> (Vec<String>, String, bool) {
    let plan = plan.expect("a plan");
    let (Access::Nfs(nfs), Usage::Directory(usage)) = (plan.access, plan.usage) else { panic!("no share") };
    (nfs.servers, nfs.export_path, usage.read_only)
}

#[test]
fn each_node_mounts_the_volume_by_itself() {
    start(&["a"], &ONE);
    let id = made(request("v"));
    let servers = vec!["one.example".to_owned(), "two.example".to_owned()];
    let path = "/srv/a/objects/v/data".to_owned();
    assert_eq!(parts(plan(&id, &[], &[], SingleNodeWriter)), (servers.clone(), path.clone(), false));
    assert_eq!(parts(plan(&id, &[], &[("readOnly", "true")], SingleNodeWriter)), (servers.clone(), path.clone(), true));
    assert_eq!(parts(plan(&id, &[], &[("readOnly", "false")], MultiNodeReaderOnly)), (servers, path, true));
    refused!(plan(&id, &[], &[("readOnly", "maybe")], SingleNodeWriter), InvalidArgument);
    refused!(plan("c/v", &[], &[], SingleNodeWriter), FailedPrecondition);
    refused!(plan("v", &[], &[], SingleNodeWriter), NotFound);
    assert_eq!(Share::get_node_info(node("n1")), Ok(NodeInfo { max_volumes: None, topology: None }));
    // What kubelet and others add to a context does no harm.
    let context = [("csi.storage.k8s.io/pod.name", "web-0"), ("storage.kubernetes.io/csiProvisionerIdentity", "1-2")];
    assert!(plan(&id, &context, &[], SingleNodeWriter).is_ok());
}

#[test]
fn versions_and_options_are_the_operator_s() {
    start(&["a"], &[&ONE[..], &[("shares.a.version", "4.1"), ("shares.a.options.0", "nconnect=4")]].concat());
    let plan = plan("a/v", &[], &[], SingleNodeWriter).expect("a plan");
    let (Access::Nfs(nfs), Usage::Directory(usage)) = (plan.access, plan.usage) else { panic!("no share") };
    assert_eq!((nfs.version.as_deref(), usage.mount_options), (Some("4.1"), vec!["nconnect=4".to_owned()]));
}

#[test]
fn devices_are_refused_on_the_node_too() {
    start(&["a"], &ONE);
    let refused = Share::plan_volume(PlanRequest {
        volume_id: "a/v".to_owned(),
        context: Vec::new(),
        publish_context: Vec::new(),
        capability: VolumeCapability::block(SingleNodeWriter),
        node: node("n1"),
    });
    refused!(refused, FailedPrecondition);
}

#[test]
fn directories_that_were_there_before_are_mounted_and_never_touched() {
    start(&["a"], &TWO);
    let id = "b/dir:projects/alpha";
    assert_eq!(parts(plan(id, &[], &[], MultiNodeMultiWriter)).1, "/projects/alpha");
    let named = [("directory", "Projekte/Größe 1")];
    assert_eq!(parts(plan("a/dir:x", &named, &[], MultiNodeMultiWriter)).1, "/srv/a/Projekte/Größe 1");
    let validate = |volume_id: &str, capability| {
        Share::validate_volume_capabilities(ValidateRequest {
            volume_id: volume_id.to_owned(),
            context: Vec::new(),
            capabilities: vec![capability],
            parameters: Vec::new(),
            mutable_parameters: Vec::new(),
        })
    };
    assert_eq!(validate(id, mount(MultiNodeMultiWriter)), Ok(None));
    assert!(validate(id, VolumeCapability::block(SingleNodeWriter)).unwrap().is_some());
    super::publish(id, "n1", SingleNodeWriter, false).expect("attached");
    Share::controller_unpublish_volume(id.to_owned(), None).expect("detached");
    assert_eq!(Share::get_volume(id.to_owned()).unwrap().volume.capacity_bytes, 0);
    assert_eq!(Share::get_volume_health(id.to_owned()), Ok(Vec::new()));
    assert!(refused!(Share::delete_volume(id.to_owned()), FailedPrecondition).contains("Retain"));
    let capacity = CapacityRange { required: Some(1), limit: None };
    refused!(Share::expand_volume(ExpandRequest { volume_id: id.to_owned(), capacity, capability: None }), OutOfRange);
    refused!(Share::create_snapshot(super::shot("s", id)), InvalidArgument);
    refused!(Share::create_volume_from_volume(request("c"), id.to_owned()), InvalidArgument);
    refused!(validate("c/dir:x", mount(SingleNodeWriter)), FailedPrecondition);
    let last = "x".repeat(1100);
    for path in ["", "/x", "x/", "x//y", "../x", "x/..", ".", "objects/v/data", "trash", "names.lock", "x\ny", &last] {
        refused!(plan("a/dir:x", &[("directory", path)], &[], SingleNodeWriter), InvalidArgument);
    }
}
