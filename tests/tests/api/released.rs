//! Components that were built against each version of the WIT and are kept as they were (`tests/golden/components`). Whatever becomes
//! of host and SDK, they load, and answer as they did.

use crate::sandboxed;
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, HostBuilder, Places, Sandbox,
    client::{Use, capability, create_request},
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tonic::Code;

const MIB: i64 = 1 << 20;

fn kept() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/components");
    let mut kept: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    kept.sort();
    kept
}

/// A host of the component, over a pool if it wants one.
fn host_of(sandbox: &Sandbox, component: &Path, pool: bool) -> HostBuilder {
    let driver = if pool { Driver::local(sandbox) } else { Driver::plain("example") };
    HostBuilder::new(sandbox, [Driver { name: "kept.csi.bulkhead.dev".into(), source: component.into(), ..driver }])
}

#[test]
fn each_is_checked_served_and_answers() {
    let kept = kept();
    assert!(kept.len() >= 2, "{kept:?}");
    for component in kept {
        let name = component.file_stem().unwrap().to_str().unwrap().to_owned();
        sandboxed(async |s| {
            let builder = host_of(&s, &component, name.ends_with("-pool"));
            let (status, _, stderr) = builder.run(&["check"]);
            assert!(status.success(), "{name}: {stderr}");
            let host = builder.start();
            let client = host.client().await;
            let request = v1::GetPluginInfoRequest {};
            let info = client.identity.clone().get_plugin_info(request).await.unwrap().into_inner();
            assert_eq!(
                (info.name.as_str(), info.vendor_version.as_str()),
                ("kept.csi.bulkhead.dev", "0.1.0"),
                "{name}"
            );
            let ready = client.identity.clone().probe(v1::ProbeRequest {}).await.unwrap().into_inner().ready;
            assert_eq!(ready, Some(true), "{name}");
            match name.as_str() {
                "v0.1-empty" => nothing_more(&client).await,
                "v0.1-pool" => {
                    for usage in [Use::Mount("ext4"), Use::Block] {
                        life(&client, usage, "image").await;
                    }
                    life(&client, Use::Mount(""), "directory").await;
                    Places::of(&s).assert_empty(&s);
                }
                _ => panic!("{name}: say here what it answers"),
            }
            assert!(host.stop().success());
        });
    }
}

async fn nothing_more(client: &Client) {
    let refused = client.delete("v").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused}");
}

/// Every function that the component exports, and a volume's whole way to a pod and back.
async fn life(client: &Client, usage: Use, kind: &'static str) {
    let request = create_request("pvc-1", 16 * MIB, usage, &[("type", kind)]);
    let volume = client.create(request.clone()).await.unwrap();
    assert_eq!((client.create(request).await.unwrap(), volume.capacity_bytes), (volume.clone(), 16 * MIB));
    let id = volume.volume_id.as_str();
    let mut controller = client.controller.clone();
    let request = v1::ValidateVolumeCapabilitiesRequest {
        volume_id: id.into(),
        volume_context: volume.volume_context.clone(),
        volume_capabilities: vec![capability(usage)],
        ..Default::default()
    };
    let answer = controller.validate_volume_capabilities(request).await.unwrap().into_inner();
    assert!(answer.confirmed.is_some(), "{}", answer.message);
    let listed = controller.list_volumes(v1::ListVolumesRequest::default()).await.unwrap().into_inner().entries;
    assert_eq!(
        listed.into_iter().map(|entry| entry.volume.unwrap()).collect::<Vec<_>>(),
        std::slice::from_ref(&volume)
    );
    let request = v1::ControllerGetVolumeRequest { volume_id: id.into() };
    let got = controller.controller_get_volume(request).await.unwrap().into_inner().volume.unwrap();
    assert_eq!(got.volume_id, id);
    let room = controller.get_capacity(v1::GetCapacityRequest::default()).await.unwrap().into_inner();
    assert!(room.available_capacity > 16 * MIB, "{room:?}");

    client.stage(&volume, capability(usage)).await.unwrap();
    client.publish(&volume, capability(usage), "pod", false).await.unwrap();
    client.unpublish(id, "pod").await.unwrap();
    client.unstage(id).await.unwrap();
    let grown = client.expand(id, 32 * MIB, capability(usage)).await.unwrap();
    assert_eq!(grown.capacity_bytes, 32 * MIB);
    assert_eq!(grown.node_expansion_required, usage == Use::Mount("ext4"), "{usage:?}");
    client.delete(id).await.unwrap();
    client.delete(id).await.unwrap();
    assert!(controller.list_volumes(v1::ListVolumesRequest::default()).await.unwrap().into_inner().entries.is_empty());
}
