//! Storage on each node, a controller beside it, and nobody above them: what is offered, ids of other nodes, and expansion.

use crate::sandboxed;
use bulkhead_proto::v1::{
    self, controller_service_capability as controller, node_service_capability as node, plugin_capability as plugin,
};
use bulkhead_tests::{
    Client, Host, Sandbox,
    client::{Use, capability, create_request},
    pernode::{NODE_KEY, per_node},
};
use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};
use tonic::Code;

const MIB: i64 = 1 << 20;
const POD: &str = "pod";

async fn start(sandbox: &Sandbox, node: &str) -> (Host, Client) {
    let host = per_node(sandbox, node).start();
    let client = host.client().await;
    (host, client)
}

/// What external-resizer and kubelet look at before they leave expansion to the node.
#[test]
fn only_the_node_says_that_it_expands() {
    sandboxed(async |s| {
        let (_host, client) = start(&s, "node-1").await;
        let of_plugin = client.identity.clone().get_plugin_capabilities(v1::GetPluginCapabilitiesRequest {}).await;
        let of_plugin = of_plugin.unwrap().into_inner().capabilities;
        let has =
            |wanted: &dyn Fn(&plugin::Type) -> bool| of_plugin.iter().any(|c| c.r#type.as_ref().is_some_and(wanted));
        assert!(has(
            &|c| matches!(c, plugin::Type::Service(s) if s.r#type() == plugin::service::Type::ControllerService)
        ));
        let online = plugin::volume_expansion::Type::Online;
        assert!(has(&|c| matches!(c, plugin::Type::VolumeExpansion(e) if e.r#type() == online)));
        let of_node = client.node.clone().node_get_capabilities(v1::NodeGetCapabilitiesRequest {}).await;
        let of_node: Vec<_> =
            of_node.unwrap().into_inner().capabilities.into_iter().map(|c| c.r#type.unwrap()).collect();
        assert!(of_node.iter().any(|node::Type::Rpc(rpc)| rpc.r#type() == node::rpc::Type::ExpandVolume));
        let request = v1::ControllerGetCapabilitiesRequest {};
        let of_controller = client.controller.clone().controller_get_capabilities(request).await.unwrap().into_inner();
        let rpcs: Vec<_> = of_controller.capabilities.into_iter().map(|c| c.r#type.unwrap()).collect();
        for withheld in [controller::rpc::Type::ExpandVolume, controller::rpc::Type::PublishUnpublishVolume] {
            assert!(!rpcs.iter().any(|controller::Type::Rpc(rpc)| rpc.r#type() == withheld), "{withheld:?}");
        }
        let refused = client.expand("node-1/fast/v", 64 * MIB, capability(Use::Block)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
    });
}

fn total(stats: &[v1::VolumeUsage]) -> i64 {
    stats.iter().find(|usage| usage.unit == 1).expect("a line about bytes").total
}

#[test]
fn an_xfs_volume_grows_while_a_pod_uses_it() {
    sandboxed(async |s| {
        let (_host, client) = start(&s, "node-1").await;
        let cap = || capability(Use::Mount("xfs"));
        let volume = client.create(create_request("v", 320 * MIB, Use::Mount("xfs"), &[])).await.unwrap();
        let id = volume.volume_id.as_str();
        assert_eq!(id, "node-1/fast/v");
        // No attacher, so no publish context.
        client.stage(&volume, cap()).await.unwrap();
        let target = client.publish(&volume, cap(), POD, false).await.unwrap();
        let before = total(&client.stats(id, &target).await.unwrap());
        for _ in 0..2 {
            assert_eq!(client.node_expand(id, &target, 640 * MIB).await.unwrap(), 640 * MIB);
            assert!(total(&client.stats(id, &target).await.unwrap()) > before + 250 * MIB);
        }
        // By the path at which it is staged, as kubelet does before a pod has it.
        assert_eq!(client.node_expand(id, &client.staging(id), 700 * MIB).await.unwrap(), 700 * MIB);
        let listed =
            client.controller.clone().list_volumes(v1::ListVolumesRequest::default()).await.unwrap().into_inner();
        let listed = listed.entries[0].volume.clone().expect("a volume");
        assert_eq!((listed.volume_id.as_str(), listed.capacity_bytes), (id, 700 * MIB));
        client.unpublish(id, POD).await.unwrap();
        client.unstage(id).await.unwrap();
        client.delete(id).await.unwrap();
        s.assert_clean();
    });
}

#[test]
fn an_ext4_volume_that_the_node_grew_has_its_room_after_the_next_stage() {
    sandboxed(async |s| {
        let (_host, client) = start(&s, "node-1").await;
        let cap = || capability(Use::Mount("ext4"));
        let volume = client.create(create_request("v", 64 * MIB, Use::Mount("ext4"), &[])).await.unwrap();
        let id = volume.volume_id.as_str();
        client.stage(&volume, cap()).await.unwrap();
        let target = client.publish(&volume, cap(), POD, false).await.unwrap();
        if let Err(e) = client.node_expand(id, &target, 256 * MIB).await {
            assert_eq!(e.code(), Code::FailedPrecondition, "{e}");
            assert!(e.message().contains("grows when the volume is staged the next time"), "{e}");
        }
        client.unpublish(id, POD).await.unwrap();
        client.unstage(id).await.unwrap();
        client.stage(&volume, cap()).await.unwrap();
        let target = client.publish(&volume, cap(), POD, false).await.unwrap();
        assert_eq!(client.node_expand(id, &target, 256 * MIB).await.unwrap(), 256 * MIB);
        assert!(total(&client.stats(id, &target).await.unwrap()) > 200 * MIB);
        client.unpublish(id, POD).await.unwrap();
        client.unstage(id).await.unwrap();
        client.delete(id).await.unwrap();
        s.assert_clean();
    });
}

/// Kubelet takes OUT_OF_RANGE for the last word, and then the claim can ask for less.
#[test]
fn what_the_pool_has_no_room_for_is_out_of_range_and_changes_nothing() {
    sandboxed(async |s| {
        let builder = per_node(&s, "node-1");
        let pool = builder.drivers[0].pools[0].1.clone();
        let image = s.path().join("pool.img");
        fs::File::create(&image).unwrap().set_len(1 << 30).unwrap();
        for command in [
            Command::new("mkfs.ext4").arg("-q").arg(&image),
            Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&pool),
        ] {
            assert!(command.status().unwrap().success(), "{command:?}");
        }
        let host = builder.start();
        let client = host.client().await;
        for (n, (usage, parameters, asked)) in [
            (Use::Block, &[][..], 2048 * MIB),
            (Use::Block, &[("provisioning", "thick")][..], 960 * MIB),
            (Use::Mount(""), &[("type", "directory")][..], 2048 * MIB),
            (Use::Mount(""), &[("type", "directory"), ("provisioning", "thick")][..], 960 * MIB),
        ]
        .into_iter()
        .enumerate()
        {
            let volume = client.create(create_request(&format!("v-{n}"), 256 * MIB, usage, parameters)).await.unwrap();
            let id = volume.volume_id.as_str();
            client.stage(&volume, capability(usage)).await.unwrap();
            let target = client.publish(&volume, capability(usage), POD, false).await.unwrap();
            let object = pool.join("objects").join(format!("v-{n}"));
            let look = || {
                let image = fs::metadata(object.join("image")).ok().map(|found| (found.len(), found.blocks()));
                (fs::read_to_string(object.join("meta.json")).unwrap(), image)
            };
            let before = look();
            for _ in 0..2 {
                let refused = client.node_expand(id, &target, asked).await.unwrap_err();
                assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
                assert!(refused.message().contains("pool fast has") && refused.message().contains("free"), "{refused}");
                assert_eq!(look(), before, "{refused}");
            }
            assert_eq!(client.node_expand(id, &target, 300 * MIB).await.unwrap(), 300 * MIB);
            client.unpublish(id, POD).await.unwrap();
            client.unstage(id).await.unwrap();
            client.delete(id).await.unwrap();
            // More than any volume here can have. The scheduler may find another node.
            let refused = client.create(create_request("w", 2048 * MIB, usage, parameters)).await.unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        }
        assert!(host.stop().success());
        assert_eq!(fs::read_dir(pool.join("objects")).unwrap().count(), 0);
    });
}

#[test]
fn what_comes_to_the_wrong_node_is_told_where_it_is() {
    sandboxed(async |s| {
        let (_one, there) = start(&s, "node-1").await;
        let (_two, here) = start(&s, "node-2").await;
        let cap = || capability(Use::Mount("ext4"));
        let request = |name: &str| create_request(name, 64 * MIB, Use::Mount("ext4"), &[]);
        let volume = there.create(request("v")).await.unwrap();
        let place = v1::Topology { segments: [(NODE_KEY.to_owned(), "node-1".to_owned())].into() };
        assert_eq!(volume.accessible_topology, [place]);
        let id = volume.volume_id.as_str();
        let snapshot = there.create_snapshot("s", id).await.unwrap().snapshot_id;
        let refused = [
            ("delete", here.delete(id).await.unwrap_err(), Code::FailedPrecondition),
            ("delete the snapshot", here.delete_snapshot(&snapshot).await.unwrap_err(), Code::FailedPrecondition),
            ("snapshot", here.create_snapshot("t", id).await.unwrap_err(), Code::FailedPrecondition),
            ("stage", here.stage(&volume, cap()).await.unwrap_err(), Code::FailedPrecondition),
            ("restore", here.restore(request("r"), &snapshot).await.unwrap_err(), Code::ResourceExhausted),
        ];
        for (what, refused, code) in refused {
            assert_eq!(refused.code(), code, "{what}: {refused}");
            assert!(refused.message().contains("on node node-1"), "{what}: {refused}");
        }
        there.restore(request("r"), &snapshot).await.unwrap();
        for id in [id, "node-1/fast/r"] {
            there.delete(id).await.unwrap();
        }
        there.delete_snapshot(&snapshot).await.unwrap();
        for node in ["node-1", "node-2"] {
            let objects = s.path().join(format!("pool-{node}")).join("objects");
            assert_eq!(fs::read_dir(&objects).unwrap().count(), 0, "{}", objects.display());
        }
        assert!(!Path::new(&here.staging(id)).join("lost+found").exists());
    });
}

/// As external-provisioner asks for each StorageClass on each node.
#[test]
fn each_node_knows_its_own_room_and_place() {
    sandboxed(async |s| {
        let (_host, client) = start(&s, "node-1").await;
        let info = client.node.clone().node_get_info(v1::NodeGetInfoRequest {}).await.unwrap().into_inner();
        let here = v1::Topology { segments: [(NODE_KEY.to_owned(), "node-1".to_owned())].into() };
        assert_eq!((info.node_id.as_str(), info.accessible_topology), ("node-1", Some(here.clone())));
        let there = v1::Topology { segments: [(NODE_KEY.to_owned(), "node-2".to_owned())].into() };
        let capacity = async |place: &v1::Topology| {
            let parameters = [("csi.storage.k8s.io/fstype".to_owned(), "xfs".to_owned())].into();
            let request =
                v1::GetCapacityRequest { accessible_topology: Some(place.clone()), parameters, ..Default::default() };
            client.controller.clone().get_capacity(request).await.unwrap().into_inner()
        };
        let found = capacity(&here).await;
        assert!(found.available_capacity > 0);
        // Without it the scheduler compares a claim with what is available.
        assert_eq!(found.maximum_volume_size, None);
        assert_eq!(capacity(&there).await.available_capacity, 0);
        let requirement = |place: &v1::Topology| {
            let terms = vec![place.clone()];
            Some(v1::TopologyRequirement { requisite: terms.clone(), preferred: terms })
        };
        let elsewhere = v1::CreateVolumeRequest {
            accessibility_requirements: requirement(&there),
            ..create_request("w", 64 * MIB, Use::Block, &[])
        };
        assert_eq!(client.create(elsewhere).await.unwrap_err().code(), Code::ResourceExhausted);
        let request = v1::CreateVolumeRequest {
            accessibility_requirements: requirement(&here),
            ..create_request("v", 64 * MIB, Use::Block, &[])
        };
        let volume = client.create(request).await.unwrap();
        assert_eq!(volume.accessible_topology, [here]);
        client.delete(&volume.volume_id).await.unwrap();
    });
}
