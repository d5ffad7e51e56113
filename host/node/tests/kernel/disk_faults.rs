//! Disks that must not be formatted, and those that may be again.

use crate::Test;
use crate::child::{Ended, operation};
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::plan::{FormatPolicy, Usage};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

pub const TESTS: &[Test] = &[
    ("disk_faults::hetzner_1346_kubernetes_142243_data_is_never_formatted", data_is_never_formatted),
    ("disk_faults::azuredisk_3711_an_unreadable_disk_is_not_formatted", unreadable),
    ("disk_faults::the_policy_never_holds", policy_never),
    ("disk_faults::a_disk_that_was_formatted_and_is_empty", emptied),
    ("disk_faults::a_killed_mkfs_is_done_again", killed_mkfs),
    ("disk_faults::a_killed_mkfs_and_a_disk_that_is_gone", killed_and_gone),
    ("disk_faults::kubernetes_140376_half_a_file_system_is_not_formatted", half),
    ("disk_faults::openstack_861_a_disk_that_is_too_small", too_small),
    ("disk_faults::a_disk_without_writes", no_writes),
    ("disk_faults::damage_is_told_and_left", damaged),
];

const KIND: Kind = Kind::DiskExt4;

fn content(env: &Env) -> File {
    File::options().read(true).write(true).open(env.content("v")).unwrap()
}

/// hetzner csi-driver #1346, kubernetes #142243 and #95183, trident #418: live data was formatted because blkid saw nothing.
fn data_is_never_formatted() {
    for (offset, bytes, name) in [
        (0u64, &b"x"[..], "no known file system"),
        (64 * MIB - 1, b"x", "no known file system"),
        // The file system's beginning was lost; a copy of its superblock was not.
        (8193 << 10, b"\x00\x00\x53\xef", "no known file system"),
        (0, b"LUKS\xba\xbe", "LUKS"),
        (0, b"XFSB", "xfs"),
        (510, b"\x55\xaa", "MBR"),
        (64 * MIB - 512, b"EFI PART", "GPT"),
    ] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", KIND);
        File::options().write(true).open(env.device("v")).unwrap().write_all_at(bytes, offset).unwrap();
        tool("blockdev", &["--flushbufs", env.device("v").to_str().unwrap()]);
        let before = fs::read(env.content("v")).unwrap();
        let message = refused(engine.stage(&env.stage("v", KIND)), ErrorKind::FailedPrecondition);
        assert!(message.contains(name), "{message}");
        assert!(before == fs::read(env.content("v")).unwrap(), "the disk changed");
        env.assert_clean();
    }
}

/// azuredisk-csi-driver PR #3711: a read error is not "empty". Either end can't be read.
fn unreadable() {
    for (size, readable) in [(64 * MIB, 32 * MIB), (64 * MIB, 0)] {
        let env = Env::new();
        let engine = env.engine();
        env.plug("v", size);
        // The loop device keeps its size, and gives EIO where its file has nothing.
        content(&env).set_len(readable).unwrap();
        let message = refused(engine.stage(&env.stage("v", KIND)), ErrorKind::Unavailable);
        assert!(message.contains("not formatted"), "{message}");
        assert_eq!(content(&env).metadata().unwrap().len(), readable, "it was written");
        env.assert_clean();
    }
}

fn policy_never() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", KIND);
    let mut stage = env.stage("v", KIND);
    let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
    plan.format = FormatPolicy::Never;
    let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    assert!(message.contains("forbids"), "{message}");
    refused(engine.stage(&read_only(env.stage("v", KIND))), ErrorKind::FailedPrecondition);
    assert!(fs::read(env.content("v")).unwrap().iter().all(|&byte| byte == 0), "it was written");
    env.assert_clean();
}

/// The journal knows of a format: what reads as empty now has lost its data.
fn emptied() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", KIND);
    engine.stage(&env.stage("v", KIND)).unwrap();
    tool("umount", &[env.staging("v").to_str().unwrap()]);
    let device = File::options().write(true).open(env.device("v")).unwrap();
    for at in (0..64).map(|mib| mib * MIB) {
        device.write_all_at(&vec![0; MIB as usize], at).unwrap();
    }
    device.sync_all().unwrap();
    drop(device);
    let message = refused(engine.stage(&env.stage("v", KIND)), ErrorKind::FailedPrecondition);
    assert!(message.contains("lost"), "{message}");
    assert!(fs::read(env.content("v")).unwrap().iter().all(|&byte| byte == 0), "it was formatted");
}

/// What mkfs alone has written is no data, as long as it is known that nobody else wrote.
fn killed_mkfs() {
    for unstage in [false, true] {
        for failpoint in ["stage.format-intent", "stage.formatted"] {
            let env = Env::new();
            let engine = env.engine();
            env.create(&engine, "v", KIND);
            assert_eq!(operation(&env, "stage", KIND, &format!("{failpoint}=kill")), Ended::Killed);
            let device = File::options().write(true).open(env.device("v")).unwrap();
            // A mkfs that got half way: a part of its data.
            device.write_all_at(&[7; 4096], 32 * MIB).unwrap();
            device.sync_all().unwrap();
            drop(device);
            if unstage {
                engine.unstage(&env.unstage("v")).unwrap();
                env.assert_clean();
            }
            engine.stage(&env.stage("v", KIND)).unwrap();
            write_data(&env.staging("v"), KIND);
            engine.unstage(&env.unstage("v")).unwrap();
            env.assert_clean();
            tool("e2fsck", &["-f", "-n", env.content("v").to_str().unwrap()]);
        }
    }
}

/// Nothing can be given back, and on another disk nothing is blanked.
fn killed_and_gone() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", KIND);
    assert_eq!(operation(&env, "stage", KIND, "stage.formatted=kill"), Ended::Killed);
    env.unplug("v");
    fs::write(env.content("v"), vec![5; 64 * MIB as usize]).unwrap();
    env.plug("v", 64 * MIB);
    engine.unstage(&env.unstage("v")).unwrap();
    assert!(fs::read(env.content("v")).unwrap().iter().all(|&byte| byte == 5), "another disk was blanked");
    env.assert_clean();
}

/// kubernetes #140376: what a crash had left of a file system was taken for an empty disk, and formatted. It has data, and its
/// beginning is gone.
fn half() {
    for kind in [Kind::DiskExt4, Kind::DiskXfs] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        write_data(&env.staging("v"), kind);
        engine.unstage(&env.unstage("v")).unwrap();
        content(&env).write_all_at(&vec![0; MIB as usize], 0).unwrap();
        tool("blockdev", &["--flushbufs", env.device("v").to_str().unwrap()]);
        let before = fs::read(env.content("v")).unwrap();
        let message = refused(engine.stage(&env.stage("v", kind)), ErrorKind::FailedPrecondition);
        assert!(message.contains("left as it is"), "{message}");
        assert!(before == fs::read(env.content("v")).unwrap(), "the disk changed");
        env.assert_clean();
    }
}

/// cloud-provider-openstack PR #861: the size that a disk was given elsewhere had not come through to the node.
fn too_small() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", KIND);
    let mut stage = env.stage("v", KIND);
    stage.plan.expected_size_bytes = Some(KIND.size() + 1);
    let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    assert!(message.contains("expects at least"), "{message}");
    assert!(fs::read(env.content("v")).unwrap().iter().all(|&byte| byte == 0), "it was written");
    env.assert_clean();
    // It comes through while the call waits.
    std::thread::scope(|scope| {
        let staging = scope.spawn(|| engine.stage(&stage));
        std::thread::sleep(std::time::Duration::from_millis(300));
        env.enlarge("v", 2 * KIND.size());
        staging.join().unwrap().unwrap();
    });
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn no_writes() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", KIND);
    tool("blockdev", &["--setro", env.device("v").to_str().unwrap()]);
    let message = refused(engine.stage(&env.stage("v", KIND)), ErrorKind::FailedPrecondition);
    assert!(message.contains("takes no writes"), "{message}");
    assert!(fs::read(env.content("v")).unwrap().iter().all(|&byte| byte == 0), "it was written");
    tool("blockdev", &["--setrw", env.device("v").to_str().unwrap()]);
    engine.stage(&env.stage("v", KIND)).unwrap();
    write_data(&env.staging("v"), KIND);
    engine.unstage(&env.unstage("v")).unwrap();
    tool("blockdev", &["--setro", env.device("v").to_str().unwrap()]);
    engine.stage(&read_only(env.stage("v", KIND))).unwrap();
    assert_data(&env.staging("v"), KIND);
    assert!(fs::write(env.staging("v").join("x"), "x").is_err());
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

/// A check that only looks leaves a damaged file system as it is.
fn damaged() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", KIND);
    engine.stage(&env.stage("v", KIND)).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    tool("debugfs", &["-w", "-R", "clri <2>", env.device("v").to_str().unwrap()]);
    tool("blockdev", &["--flushbufs", env.device("v").to_str().unwrap()]);
    let mut stage = env.stage("v", KIND);
    let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
    plan.fsck = bulkhead_domain::plan::FsckPolicy::CheckOnly;
    // mke2fs leaves a clean flag, which e2fsck believes: have it look.
    tool("tune2fs", &["-C", "99", "-c", "1", env.device("v").to_str().unwrap()]);
    let before = fs::read(env.content("v")).unwrap();
    let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    assert!(message.contains("repair"), "{message}");
    assert!(before == fs::read(env.content("v")).unwrap(), "the disk changed");
    env.assert_clean();
}
