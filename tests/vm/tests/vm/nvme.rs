use crate::holds_a_file_system;
use bulkhead_vm::{
    MIB, NvmeTarget,
    disk::size,
    machine::{self, get, set, wait},
};
use std::{fs, path::Path};

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn an_ebs_volume_is_a_disk_of_its_serial() {
    let target = NvmeTarget::ebs("vol-0123456789abcdef0", 320 * MIB);
    let controller = target.connect();
    let disk = controller.disk(1);
    assert_eq!(size(&disk), 320 * MIB);
    assert_eq!(get(controller.sysfs().join("serial")), "vol0123456789abcdef0");
    assert_eq!(get(controller.sysfs().join("model")), "Amazon Elastic Block Store");
    // The way from a disk to its controller, as with one in a PCI slot.
    let name = disk.file_name().expect("a name");
    assert_eq!(get(Path::new("/sys/block").join(name).join("device/serial")), "vol0123456789abcdef0");
    holds_a_file_system("ext4", &disk);
    drop(controller);
    assert!(!disk.exists(), "{} is still there", disk.display());
    // What was written stays with the target, and mkfs.xfs makes nothing smaller than 300 MB.
    let again = target.connect();
    assert_eq!(
        machine::run("blkid", ["-o".as_ref(), "value".as_ref(), "-s".as_ref(), "TYPE".as_ref(), disk.as_os_str()])
            .trim(),
        "ext4"
    );
    holds_a_file_system("xfs", &again.disk(1));
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn namespaces_come_grow_and_go_while_connected() {
    let uuid = "1f0ab3c2-6d5e-4f00-8a11-223344556677";
    let mut target = NvmeTarget::start("SER1", "Test Model");
    target.add(1, 32 * MIB, Some(uuid));
    let controller = target.connect();
    let first = controller.disk(1);
    let sysfs = Path::new("/sys/block").join(first.file_name().expect("a name"));
    assert_eq!((get(sysfs.join("uuid")), get(sysfs.join("wwid"))), (uuid.to_owned(), format!("uuid.{uuid}")));
    target.add(7, 16 * MIB, None);
    let second = controller.disk(7);
    assert_eq!(size(&second), 16 * MIB);
    assert_ne!(first, second);
    target.resize(1, 48 * MIB);
    set(&controller.sysfs().join("rescan_controller"), "1");
    assert!(wait(|| (size(&first) == 48 * MIB).then_some(())).is_some(), "{} stays {}", first.display(), size(&first));
    target.remove(7);
    controller.wait_gone(7);
    assert!(first.exists() && !second.exists());
    // What reaches the disk is what was written.
    fs::write(&first, b"through the fabric").expect("written");
    fs::File::open(&first).and_then(|file| file.sync_all()).expect("synced");
    assert!(fs::read(target.behind(1)).expect("read").starts_with(b"through the fabric"));
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn two_targets_are_two_controllers() {
    let (one, two) = (NvmeTarget::ebs("vol-0aaa", 16 * MIB), NvmeTarget::ebs("vol-0bbb", 16 * MIB));
    let (first, second) = (one.connect(), two.connect());
    assert_eq!(
        (get(first.sysfs().join("serial")), get(second.sysfs().join("serial"))),
        ("vol0aaa".into(), "vol0bbb".into())
    );
    assert_ne!(first.disk(1), second.disk(1));
}
