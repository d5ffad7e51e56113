//! Disks of NVMe and SCSI, by what they say about themselves in the real sysfs. In the test VM only: `make test-vm`.

use crate::Test;
use crate::env::*;
use crate::vm_platform::{engine, stage_disk as stage};
use bulkhead_domain::ErrorKind;
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::{Access, DeviceIdentity, DeviceMatch};
use bulkhead_vm::{LunTarget, NvmeTarget, ScsiDebug, by_id};
use std::fs;
use std::path::Path;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("vm_disks::aws_ebs_1224_nvme_by_serial_whatever_a_link_says", nvme),
    ("vm_disks::nvme_by_uuid_and_taken_away", nvme_gone),
    ("vm_disks::nvme_larger_while_mounted", nvme_larger),
    ("vm_disks::a_disk_that_comes_later", later),
    ("vm_disks::scsi_by_serial_and_wwid", scsi),
    ("vm_disks::scsi_by_lun", by_lun),
    ("vm_disks::trident_101_a_lun_that_is_another_disk_by_now", reused),
    ("vm_disks::azuredisk_3711_an_unreadable_disk", unreadable),
];

const TIMEOUT: Duration = Duration::from_secs(10);

fn serial(text: &str) -> Option<DeviceIdentity> {
    Some(DeviceIdentity { serial: Some(text.to_owned()), ..Default::default() })
}

fn mounted_from(env: &Env) -> String {
    tool("findmnt", &["-n", "-o", "SOURCE", "-M", env.staging("v").to_str().unwrap()]).trim().to_owned()
}

/// aws-ebs-csi-driver #1224, with the real thing.
fn nvme() {
    let (mine, other) =
        (NvmeTarget::ebs("vol-0123456789abcdef0", 64 * MIB), NvmeTarget::ebs("vol-0ffffffffffffffff", 64 * MIB));
    let (wrong, right) = (other.connect(), mine.connect());
    let link = "nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0";
    let _stale = by_id(link, &wrong.disk(1));
    for kind in [Kind::DiskExt4, Kind::DiskBlock] {
        let env = Env::new();
        let engine = engine(&env);
        let stage = stage(&env, DeviceMatch::ById(link.into()), serial("vol0123456789abcdef0"), kind);
        engine.stage(&stage).unwrap();
        if kind == Kind::DiskExt4 {
            assert_eq!(Path::new(&mounted_from(&env)), right.disk(1));
        }
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        write_data(&env.target("a"), kind);
        assert_data(&env.target("a"), kind);
        assert_eq!(engine.health(&env.health("v", None), TIMEOUT).unwrap(), []);
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
    assert!(fs::read(other.behind(1)).unwrap().iter().all(|&byte| byte == 0), "the other disk was written");
}

fn nvme_gone() {
    let uuid = "1b4e28ba-2fa1-41d2-883f-0016d3cca427";
    let mut target = NvmeTarget::start("shared", "Any");
    target.add(1, 64 * MIB, None);
    target.add(2, 64 * MIB, Some(uuid));
    let _controller = target.connect();
    let env = Env::new();
    let engine = engine(&env);
    let by_uuid = Some(DeviceIdentity { uuid: Some(uuid.into()), ..Default::default() });
    let stage = stage(&env, DeviceMatch::Identity, by_uuid, Kind::DiskExt4);
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", Kind::DiskExt4, "a", false)).unwrap();
    let open = fs::File::create(env.target("a").join("open")).unwrap();
    target.remove(2);
    let gone = bulkhead_vm::machine::wait(|| {
        engine.health(&env.health("v", None), TIMEOUT).unwrap().iter().any(|p| p.reason == "DeviceGone").then_some(())
    });
    assert!(gone.is_some(), "the disk is still there");
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    // Another disk of that UUID, while the dead file system is still in somebody's hands.
    target.add(3, 64 * MIB, Some(uuid));
    let again = bulkhead_vm::machine::wait(|| engine.stage(&stage).ok());
    assert!(again.is_some(), "{:?}", engine.stage(&stage));
    drop(open);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn nvme_larger() {
    let target = NvmeTarget::ebs("vol-0123456789abcdef0", 64 * MIB);
    let _controller = target.connect();
    let env = Env::new();
    let engine = engine(&env);
    let stage = stage(&env, DeviceMatch::Identity, serial("vol0123456789abcdef0"), Kind::DiskExt4);
    engine.stage(&stage).unwrap();
    let total = || engine.stats(&env.stats("v", env.staging("v")), TIMEOUT).unwrap()[0].total;
    let before = total();
    target.resize(1, 128 * MIB);
    assert_eq!(engine.expand(&env.expand("v", env.staging("v"), 128 * MIB)).unwrap(), 128 * MIB);
    assert!(total() > before * 3 / 2, "ext4 has not grown");
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn later() {
    let target = NvmeTarget::ebs("vol-0123456789abcdef0", 64 * MIB);
    let env = Env::new();
    let engine = engine(&env);
    let mut stage = stage(&env, DeviceMatch::Identity, serial("vol0123456789abcdef0"), Kind::DiskBlock);
    refused(engine.stage(&stage), ErrorKind::Unavailable);
    let Access::LocalDevice(device) = &mut stage.plan.access else { panic!() };
    device.appear_timeout_s = 30;
    let late =
        refused(engine.stage(&Stage { timeout: Duration::from_secs(1), ..stage.clone() }), ErrorKind::DeadlineExceeded);
    assert!(late.contains("vol0123456789abcdef0"), "{late}");
    std::thread::scope(|scope| {
        let staging = scope.spawn(|| engine.stage(&Stage { timeout: Duration::from_secs(30), ..stage.clone() }));
        std::thread::sleep(Duration::from_secs(1));
        let controller = target.connect();
        staging.join().unwrap().unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        drop(controller);
    });
    env.assert_clean();
}

fn scsi() {
    let mut target = LunTarget::start();
    target.add(1, 64 * MIB, "beaf11");
    let disk = target.add(2, 64 * MIB, "beaf22");
    let sysfs = bulkhead_vm::disk::sysfs(&disk);
    let wwid = fs::read_to_string(sysfs.join("device/wwid")).unwrap().trim().trim_start_matches("naa.").to_owned();
    let by_wwid = Some(DeviceIdentity { wwid: Some(wwid), ..Default::default() });
    for device in [serial("beaf22"), by_wwid] {
        let env = Env::new();
        let engine = engine(&env);
        engine.stage(&stage(&env, DeviceMatch::Identity, device, Kind::DiskExt4)).unwrap();
        assert_eq!(Path::new(&mounted_from(&env)), disk);
        target.resize(2, 128 * MIB);
        assert_eq!(engine.expand(&env.expand("v", env.staging("v"), 128 * MIB)).unwrap(), 128 * MIB);
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

fn by_lun() {
    let mut target = LunTarget::start();
    let system = target.add(3, 64 * MIB, "system");
    tool("mkfs.ext4", &["-q", system.to_str().unwrap()]);
    let env = Env::new();
    let engine = engine(&env);
    let elsewhere = env.root().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    tool("mount", &[system.to_str().unwrap(), elsewhere.to_str().unwrap()]);
    let stage = stage(&env, DeviceMatch::ScsiLun(3), None, Kind::DiskExt4);
    let message = refused(engine.stage(&stage), ErrorKind::Unavailable);
    assert!(message.contains(elsewhere.to_str().unwrap()), "{message}");
    let mut data = LunTarget::start();
    let disk = data.add(3, 64 * MIB, "data");
    engine.stage(&stage).unwrap();
    assert_eq!(Path::new(&mounted_from(&env)), disk);
    engine.unstage(&env.unstage("v")).unwrap();
    tool("umount", &[elsewhere.to_str().unwrap()]);
    env.assert_clean();
}

/// trident #101, seagate-exos-x-csi PR #138: a LUN was unmapped and given to another volume, behind the same address.
fn reused() {
    let mut target = LunTarget::start();
    target.add(3, 64 * MIB, "beaf11");
    let env = Env::new();
    let engine = engine(&env);
    let stage = stage(&env, DeviceMatch::ScsiLun(3), serial("beaf11"), Kind::DiskExt4);
    engine.stage(&stage).unwrap();
    engine.publish(&env.publish("v", Kind::DiskExt4, "a", false)).unwrap();
    write_data(&env.target("a"), Kind::DiskExt4);
    target.remove(3);
    target.add(3, 64 * MIB, "beaf22");
    refused(engine.publish(&env.publish("v", Kind::DiskExt4, "b", false)), ErrorKind::FailedPrecondition);
    let message = refused(engine.stage(&stage), ErrorKind::Unavailable);
    assert!(message.contains("beaf11") && message.contains("beaf22"), "{message}");
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    assert!(fs::read(target.behind(3)).unwrap().iter().all(|&byte| byte == 0), "the other disk was written");
}

/// azuredisk-csi-driver PR #3711, with a real medium error in the first MiB.
fn unreadable() {
    let disk = ScsiDebug::load(64, Some(256..264));
    let sysfs = bulkhead_vm::disk::sysfs(disk.path());
    let page = fs::read(sysfs.join("device/vpd_pg80")).unwrap();
    let env = Env::new();
    let engine = engine(&env);
    let who = serial(std::str::from_utf8(&page[4..]).unwrap().trim());
    let message =
        refused(engine.stage(&stage(&env, DeviceMatch::Identity, who, Kind::DiskExt4)), ErrorKind::Unavailable);
    assert!(message.contains("not formatted"), "{message}");
    env.assert_clean();
}
