use crate::holds_a_file_system;
use bulkhead_vm::{
    LunTarget, MIB, Mounted, ScsiDebug, by_id,
    disk::{size, sysfs},
    machine::{get, set, wait},
};
use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
};

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_lun_is_a_disk_of_its_serial_and_wwid() {
    let mut target = LunTarget::start();
    let disk = target.add(3, 64 * MIB, "00c0ffee-0000-4000-8000-000000000001");
    let dir = sysfs(&disk).join("device");
    assert_eq!(size(&disk), 64 * MIB);
    assert_eq!(get(dir.join("vendor")), "LIO-ORG");
    // VPD page 0x80: four bytes before the serial, and LIO puts a zero byte behind it.
    let page = fs::read(dir.join("vpd_pg80")).expect("VPD page 0x80");
    assert_eq!(page[4..].trim_ascii_end().strip_suffix(b"\0"), Some(&b"00c0ffee-0000-4000-8000-000000000001"[..]));
    let wwid = get(dir.join("wwid"));
    assert_eq!(wwid, "naa.600140500c0ffee00004000800000000");
    assert_eq!(fs::read(dir.join("vpd_pg83")).expect("VPD page 0x83")[1], 0x83);
    holds_a_file_system("ext4", &disk);
    let link = by_id("wwn-0x6001405", &disk);
    assert_eq!(fs::canonicalize(link.path()).expect("a link"), disk);
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn luns_come_grow_go_and_are_unplugged() {
    let mut target = LunTarget::start();
    let first = target.add(0, 32 * MIB, "one");
    let second = target.add(1, 16 * MIB, "two");
    assert_ne!(first, second);
    target.resize(0, 48 * MIB);
    assert_eq!(size(&first), 32 * MIB, "without a rescan nobody knows");
    set(&sysfs(&first).join("device/rescan"), "1");
    assert!(wait(|| (size(&first) == 48 * MIB).then_some(())).is_some(), "{}", size(&first));
    target.remove(1);
    assert!(first.exists() && !second.exists());
    let mounted = Mounted::fresh("ext4", &first);
    target.unplug(0);
    assert_eq!(target.find(0), None);
    assert!(
        fs::write(mounted.path().join("file"), "text")
            .and_then(|()| fs::File::open(mounted.path().join("file"))?.sync_all())
            .is_err()
    );
    drop(mounted);
    target.scan();
    target.disk(0);
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_disk_with_an_unreadable_first_mebibyte() {
    let disk = ScsiDebug::load(64, Some(0..2048));
    let mut file = fs::File::open(disk.path()).expect("opened");
    let mut byte = [1];
    let error = file.read_exact(&mut byte).expect_err("a medium error");
    assert!(matches!(error.raw_os_error(), Some(5 | 61)), "{error}");
    file.seek(SeekFrom::Start(2 * MIB)).expect("sought");
    file.read_exact(&mut byte).expect("read");
    assert_eq!(byte, [0]);
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_simulated_disk_is_used_and_unplugged() {
    let disk = ScsiDebug::load(64, None);
    assert_eq!(size(disk.path()), 64 * MIB);
    assert_eq!(get(sysfs(disk.path()).join("device/model")), "scsi_debug");
    holds_a_file_system("ext4", disk.path());
    let node = disk.path().to_owned();
    disk.unplug();
    assert!(wait(|| (!node.exists()).then_some(())).is_some());
}
