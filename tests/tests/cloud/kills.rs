//! Hosts that are killed between the calls of a volume's life, and in them.

use crate::{rig::Rig, steps::publish_request};
use bulkhead_proto::v1;
use bulkhead_tests::client::Use;
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// A state of EC2's that does not end until the settings say otherwise.
const LONG: u64 = 3_600_000;
const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not happen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub async fn controller_in_mid_attach(rig: &mut Rig) {
    let mut used = rig.attached("pvc-1", Use::Mount("ext4"), None).await;
    rig.detach(&used).await;
    rig.proxy.reset_stats();
    rig.proxy.set(|settings| settings.rules.attaching_ms = LONG);
    let client = rig.controller().await;
    let request = publish_request(&used);
    let call = tokio::spawn(async move { client.controller.clone().controller_publish_volume(request).await });
    until("attaching", || rig.disks.device(used.id()).is_some()).await;
    drop(rig.controller.take());
    call.await.unwrap().unwrap_err();
    rig.start_controller();
    rig.proxy.set(|settings| settings.rules.attaching_ms = 0);
    rig.attach(&mut used).await;
    assert_eq!(rig.proxy.stats().of("AttachVolume"), 1, "it is attached once");
    let target = rig.mount(&used).await;
    fs::write(Path::new(&target).join("file"), "text").unwrap();
    rig.unmount(&used).await;

    rig.proxy.set(|settings| settings.rules.detaching_ms = LONG);
    let client = rig.controller().await;
    let request = v1::ControllerUnpublishVolumeRequest { volume_id: used.id().into(), ..Default::default() };
    let call = tokio::spawn(async move { client.controller.clone().controller_unpublish_volume(request).await });
    until("detaching", || rig.disks.device(used.id()).is_none()).await;
    drop(rig.controller.take());
    call.await.unwrap().unwrap_err();
    rig.start_controller();
    rig.proxy.set(|settings| settings.rules.detaching_ms = 0);
    rig.detach(&used).await;
    assert_eq!(rig.proxy.stats().of("DetachVolume"), 1, "and detached once");
    rig.delete(&used).await;
}

pub async fn node_between_calls(rig: &mut Rig) {
    let used = rig.attached("pvc-1", Use::Mount("ext4"), None).await;
    // Between attaching and staging; what was known of it is gone too.
    drop(rig.node.take());
    rig.forget_node();
    rig.start_node();
    let target = rig.mount(&used).await;
    fs::write(Path::new(&target).join("file"), "text").unwrap();
    // While it is used: the pod goes on.
    drop(rig.node.take());
    assert_eq!(fs::read_to_string(Path::new(&target).join("file")).unwrap(), "text");
    rig.start_node();
    assert_eq!(rig.mount(&used).await, target);
    assert_eq!(fs::read_to_string(Path::new(&target).join("file")).unwrap(), "text");
    rig.unmount(&used).await;
    rig.detach(&used).await;
    rig.delete(&used).await;
}
