//! Is it the disk that is meant? Names, links and numbers may lead to another one, from the beginning, in between, or after a reboot.

use crate::Test;
use crate::child::{Ended, operation_of};
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::health::VolumeHealth;
use bulkhead_domain::node::Stage;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("disk_identity::aws_ebs_1224_found_by_serial_whatever_a_link_says", by_serial),
    ("disk_identity::aws_ebs_1166_another_serial_is_not_touched", other_serial),
    ("disk_identity::a_name_that_leads_elsewhere_by_then", renamed),
    ("disk_identity::proxmox_601_truenas_55_a_stale_staging_mount_is_replaced", replaced),
    ("disk_identity::kubernetes_121937_a_disk_that_vanished_is_unstaged", vanished),
    ("disk_identity::trident_101_the_same_number_and_another_disk", renumbered),
    ("disk_identity::kubernetes_120853_a_rebooted_node", rebooted),
];

const TIMEOUT: Duration = Duration::from_secs(10);
const SERIAL: &str = "vol0123456789abcdef0";
const OTHER: &str = "vol0ffffffffffffffff";

fn by(env: &Env, serial: &str, kind: Kind) -> Stage {
    Stage { plan: env.plan_of_serial(serial, kind), ..env.stage("v", kind) }
}

/// aws-ebs-csi-driver #1224: a stale link in /dev/disk/by-id had another volume mounted.
fn by_serial() {
    let kind = Kind::DiskExt4;
    let env = Env::new();
    for (disk, serial) in [("mine", SERIAL), ("other", "vol0ffffffffffffffff")] {
        env.plug(disk, kind.size());
        env.say(disk, serial);
    }
    fs::create_dir(env.root().join("by-id")).unwrap();
    let link = env.root().join("by-id").join(format!("nvme-Amazon_Elastic_Block_Store_{SERIAL}"));
    symlink(env.device("other"), link).unwrap();
    let engine = env.engine();
    engine.stage(&by(&env, SERIAL, kind)).unwrap();
    write_data(&env.staging("v"), kind);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    assert!(fs::read(env.content("other")).unwrap().iter().all(|&byte| byte == 0), "the other disk was written");
    tool("e2fsck", &["-f", "-n", env.content("mine").to_str().unwrap()]);
}

/// aws-ebs-csi-driver #1166: the path leads to another volume's disk.
fn other_serial() {
    let kind = Kind::DiskExt4;
    let env = Env::new();
    env.plug("v", kind.size());
    env.say("v", "vol0ffffffffffffffff");
    let engine = env.engine();
    for stage in [by(&env, SERIAL, kind), {
        let mut stage = env.stage("v", kind);
        let bulkhead_domain::plan::Access::LocalDevice(device) = &mut stage.plan.access else { panic!() };
        device.device =
            Some(bulkhead_domain::plan::DeviceIdentity { serial: Some(SERIAL.into()), ..Default::default() });
        stage
    }] {
        let message = refused(engine.stage(&stage), ErrorKind::Unavailable);
        assert!(message.contains(SERIAL) && message.contains("vol0ffffffffffffffff"), "{message}");
    }
    assert!(fs::read(env.content("v")).unwrap().iter().all(|&byte| byte == 0), "it was written");
    env.assert_clean();
}

/// After the disk was opened and asked, its name leads to another one: nothing of that is read or written, formatted or mounted.
fn renamed() {
    let kind = Kind::DiskExt4;
    for formatted in [false, true] {
        let env = Env::new();
        for (disk, serial) in [("mine", SERIAL), ("other", OTHER)] {
            env.plug(disk, kind.size());
            env.say(disk, serial);
        }
        tool("mkfs.ext4", &["-q", env.device("other").to_str().unwrap()]);
        tool("blockdev", &["--flushbufs", env.device("other").to_str().unwrap()]);
        let engine = env.engine();
        let stage = by(&env, SERIAL, kind);
        if formatted {
            engine.stage(&stage).unwrap();
            engine.unstage(&env.unstage("v")).unwrap();
        }
        let before = fs::read(env.content("other")).unwrap();
        let (hold, reached) = (env.root().join("hold"), env.root().join("hold.reached"));
        let failpoints = format!("stage.claimed=hold:{}", hold.display());
        let (device, other) = (env.device("mine"), env.device("other"));
        std::thread::scope(|scope| {
            let child = scope.spawn(|| operation_of(&env, "stage", kind, &stage.plan, &failpoints));
            while !reached.exists() && !child.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            // In this mount namespace only.
            tool("mount", &["--bind", other.to_str().unwrap(), device.to_str().unwrap()]);
            fs::remove_file(&hold).unwrap();
            let ended = child.join().unwrap();
            tool("umount", &[device.to_str().unwrap()]);
            let Ended::Failed(why) = ended else { panic!("{ended:?}") };
            assert!(why.contains("Unavailable") && why.contains("became another disk"), "{why}");
        });
        env.assert_clean();
        assert!(before == fs::read(env.content("other")).unwrap(), "the other disk was written");
        engine.stage(&stage).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// proxmox-csi-plugin #601, truenas-csi #55: a stale staging mount was used again, of a disk that was gone. democratic-csi #559: the
/// disk that came back was mounted on top of it.
fn replaced() {
    for kind in Kind::DISKS {
        let env = Env::new();
        env.plug("old", kind.size());
        env.say("old", SERIAL);
        let engine = env.engine();
        engine.stage(&by(&env, SERIAL, kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        write_data(&env.target("a"), kind);
        tool("sync", &[]);
        // It comes back as another device, with what was on it.
        env.vanish("old");
        let busy = (!kind.is_block()).then(|| File::open(env.target("a").join("data")).unwrap());
        fs::copy(env.content("old"), env.content("new")).unwrap();
        env.plug("new", kind.size());
        env.say("new", SERIAL);
        refused(engine.publish(&env.publish("v", kind, "b", false)), ErrorKind::FailedPrecondition);
        let ill = engine.health(&env.health("v", None), TIMEOUT).unwrap();
        assert!(ill.iter().any(|p| p.reason == "DeviceGone" && p.status == VolumeHealth::Inaccessible), "{ill:?}");
        engine.stage(&by(&env, SERIAL, kind)).unwrap();
        engine.publish(&env.publish("v", kind, "b", false)).unwrap();
        assert_data(&env.target("b"), kind);
        let staged = env.mounts().iter().filter(|mount| **mount == env.staging("v")).count();
        assert_eq!(staged, usize::from(!kind.is_block()), "the dead mount stays beneath");
        if !kind.is_block() {
            let source = tool("findmnt", &["-n", "-o", "SOURCE", env.target("b").to_str().unwrap()]);
            assert_eq!(Path::new(source.trim()), env.device("new"));
        }
        drop(busy);
        engine.unpublish(&env.unpublish("v", "b")).unwrap();
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// kubernetes #121937: the disk was detached while it was staged. What is left of it can be taken down.
fn vanished() {
    for kind in Kind::DISKS {
        let env = Env::new();
        env.plug("disk", kind.size());
        env.say("disk", SERIAL);
        let engine = env.engine();
        engine.stage(&by(&env, SERIAL, kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        engine.publish(&env.publish("v", kind, "b", true)).unwrap();
        let busy = (!kind.is_block()).then(|| File::create(env.target("a").join("open")).unwrap());
        env.vanish("disk");
        refused(engine.stats(&env.stats("v", env.target("a")), TIMEOUT), ErrorKind::NotFound);
        refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
        for pod in ["a", "b"] {
            engine.unpublish(&env.unpublish("v", pod)).unwrap();
        }
        engine.unstage(&env.unstage("v")).unwrap();
        drop(busy);
        env.assert_clean();
    }
}

/// trident #101, seagate-exos-x-csi PR #138: a LUN was given to another volume, and the node took it for the one of before. The
/// device's number belongs to another disk by now: nothing of that is touched.
fn renumbered() {
    for kind in Kind::DISKS {
        let env = Env::new();
        env.plug("disk", kind.size());
        env.say("disk", SERIAL);
        let engine = env.engine();
        engine.stage(&by(&env, SERIAL, kind)).unwrap();
        env.say("disk", "vol0ffffffffffffffff");
        refused(engine.publish(&env.publish("v", kind, "a", false)), ErrorKind::FailedPrecondition);
        refused(engine.stage(&by(&env, SERIAL, kind)), ErrorKind::Unavailable);
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// kubernetes #120853: after a reboot a volume was published before it was staged, and a pod saw another volume, or none. Device
/// numbers of the boot before mean nothing: the old one belongs to another disk, which somebody has mounted just there.
fn rebooted() {
    for kind in Kind::DISKS {
        let env = Env::new();
        env.plug("old", kind.size());
        env.say("old", SERIAL);
        let engine = env.engine();
        engine.stage(&by(&env, SERIAL, kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        write_data(&env.target("a"), kind);
        drop(engine);
        env.reboot();
        env.another_boot();
        fs::copy(env.content("old"), env.content("new")).unwrap();
        env.say("old", OTHER);
        let engine = env.engine();
        assert_eq!(engine.disagreement().unwrap().lost, [volume("v")]);
        refused(engine.publish(&env.publish("v", kind, "a", false)), ErrorKind::FailedPrecondition);
        if !kind.is_block() {
            let staging = env.staging("v");
            tool("mount", &[env.device("old").to_str().unwrap(), staging.to_str().unwrap()]);
            refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
            assert_eq!(env.mounts(), std::slice::from_ref(&staging), "another disk was unmounted");
            tool("umount", &[staging.to_str().unwrap()]);
        }
        env.plug("new", kind.size());
        env.say("new", SERIAL);
        for _ in 0..2 {
            engine.stage(&by(&env, SERIAL, kind)).unwrap();
            engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        }
        assert_data(&env.target("a"), kind);
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}
