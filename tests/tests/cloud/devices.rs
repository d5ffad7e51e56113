//! Disks that are another volume's, that come late and that vanish.

use crate::{rig::Rig, steps::PATIENCE};
use bulkhead_tests::client::Use;
use bulkhead_vm::{MIB, NvmeTarget, by_id};
use std::{fs, path::Path, time::Duration};
use tonic::Code;

/// A volume that isn't ours.
const OTHER: &str = "vol-0fffffffffffffff0";
/// How long a stage may wait for a disk that doesn't come.
const SOON: Duration = Duration::from_secs(8);

fn is_empty(device: &Path) -> bool {
    fs::read(device).unwrap() == vec![0; 16 * MIB as usize]
}

/// aws-ebs-csi-driver #1224 and #1166: a link of udev's was stale, or a name had gone to another volume, and that one was formatted or
/// mounted.
pub async fn another_under_the_name(rig: &Rig) {
    let other = NvmeTarget::ebs(OTHER, 16 * MIB);
    let initiator = other.connect();
    let name = initiator.disk(1);
    let mut used = rig.attached("pvc-1", Use::Mount("ext4"), None).await;
    let link = by_id(&format!("nvme-Amazon_Elastic_Block_Store_{}", used.id().replace('-', "")), &name);
    let device = rig.disks.device(used.id()).unwrap();
    assert_ne!(device, name);
    let target = rig.mount(&used).await;
    fs::write(Path::new(&target).join("file"), "text").unwrap();
    rig.unmount(&used).await;
    rig.detach(&used).await;

    // Kubernetes believes that it is attached, and it is not, or not yet.
    let late = rig.stage(&used, PATIENCE).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "{late}");
    for id in [used.id(), OTHER] {
        assert!(late.message().contains(&format!("serial {}", id.replace('-', ""))), "{late}");
    }
    assert!(is_empty(other.behind(1)), "{OTHER} was written to");

    // The name becomes the volume's own.
    drop((initiator, other));
    rig.attach(&mut used).await;
    assert_eq!(rig.disks.device(used.id()).unwrap(), name);
    let target = rig.mount(&used).await;
    assert_eq!(fs::read_to_string(Path::new(&target).join("file")).unwrap(), "text");
    rig.unmount(&used).await;
    // And then another's, while the link still says that it is this volume's.
    rig.detach(&used).await;
    let other = NvmeTarget::ebs(OTHER, 16 * MIB);
    let initiator = other.connect();
    assert_eq!(initiator.disk(1), name);
    rig.stage(&used, SOON).await.unwrap_err();
    assert!(is_empty(other.behind(1)), "{OTHER} was written to");
    drop((initiator, other, link));
    rig.unmount(&used).await;
    rig.delete(&used).await;
}

/// EC2 detaches by force what is still mounted (an operator, or a controller that gives the node up).
pub async fn detached_while_staged(rig: &Rig) {
    for (name, usage) in [("pvc-ext4", Use::Mount("ext4")), ("pvc-xfs", Use::Mount("xfs"))] {
        let mut used = rig.attached(name, usage, None).await;
        let target = rig.mount(&used).await;
        let file = Path::new(&target).join("file");
        fs::write(&file, "synced").unwrap();
        let open = fs::File::open(&file).unwrap();
        open.sync_all().unwrap();
        rig.detach(&used).await;
        rig.unmount(&used).await;
        assert_eq!(rig.sandbox.mounts(), vec![]);

        rig.attach(&mut used).await;
        let target = rig.mount(&used).await;
        assert_eq!(fs::read_to_string(Path::new(&target).join("file")).unwrap(), "synced");
        drop(open);
        rig.unmount(&used).await;
        rig.detach(&used).await;
        rig.delete(&used).await;
    }
}
