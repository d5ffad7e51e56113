//! Image volumes with a file system.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::capability::{AccessMode, AccessType};
use bulkhead_domain::node::UsageUnit;
use bulkhead_domain::plan::{Encryption, FsckPolicy, SecretRef, Usage};
use std::fs;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("filesystem::a_whole_life_on_ext4", || whole_life(Kind::Ext4)),
    ("filesystem::a_whole_life_on_xfs", || whole_life(Kind::Xfs)),
    ("filesystem::flags_and_options_reach_the_kernel", flags_reach_the_kernel),
    ("filesystem::sensitive_flags_show_nowhere", sensitive_flags_show_nowhere),
    ("filesystem::what_is_not_supported_is_said", unsupported),
    ("filesystem::reader_only_and_read_only_plans", read_only),
    ("filesystem::a_damaged_one_is_not_mounted", damaged),
    ("filesystem::what_is_not_mounted_is_not_found", not_mounted_not_found),
];

fn whole_life(kind: Kind) {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", kind);
    engine.stage(&env.stage("v", kind)).unwrap();
    engine.stage(&env.stage("v", kind)).unwrap();
    assert_eq!(env.mounts(), [env.staging("v")]);
    assert_eq!(env.loops().len(), 1);
    let found = tool("findmnt", &["-no", "FSTYPE", env.staging("v").to_str().unwrap()]);
    assert_eq!(found.trim(), kind.name());

    let writer = env.publish("v", kind, "a", false);
    let reader = env.publish("v", kind, "b", true);
    for _ in 0..2 {
        engine.publish(&writer).unwrap();
        engine.publish(&reader).unwrap();
    }
    assert_eq!(env.mounts().len(), 3);
    write_data(&writer.target_path, kind);
    assert_data(&reader.target_path, kind);
    let error = fs::write(reader.target_path.join("x"), "x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    fs::write(writer.target_path.join("y"), "still writable").unwrap();

    let usage = engine.stats(&env.stats("v", writer.target_path.clone()), Duration::from_secs(5)).unwrap();
    assert_eq!(usage.iter().map(|line| line.unit).collect::<Vec<_>>(), [UsageUnit::Bytes, UsageUnit::Inodes]);
    assert!(usage[0].total > kind.size() / 2 && usage[0].total <= kind.size(), "{usage:?}");
    assert!(usage.iter().all(|line| line.used.is_some_and(|used| used > 0) && line.available < Some(line.total)));

    let message = refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
    assert!(message.contains("published"), "{message}");
    refused(engine.pools().delete_object(POOL, "v"), ErrorKind::FailedPrecondition);
    assert!(engine.pools().stat_object(POOL, "v").unwrap().unwrap().in_use);
    assert_eq!(engine.volumes().unwrap()[0].targets.len(), 2);

    for pod in ["a", "b", "a"] {
        engine.unpublish(&env.unpublish("v", pod)).unwrap();
        assert!(!env.target(pod).exists());
    }
    engine.unstage(&env.unstage("v")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();

    engine.stage(&env.stage("v", kind)).unwrap();
    assert_data(&env.staging("v"), kind);
    engine.unstage(&env.unstage("v")).unwrap();
    engine.pools().delete_object(POOL, "v").unwrap();
    env.assert_clean();
}

fn flags_reach_the_kernel() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    let mut stage = env.stage("v", Kind::Ext4);
    let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
    plan.mount_options = vec!["nodev".into(), "commit=17".into()];
    plan.mkfs_options = vec!["-m 0".into(), "-I 512".into()];
    stage.capability =
        capability_with(Kind::Ext4, AccessMode::SingleNodeWriter, &["noatime", "nosuid", "errors=remount-ro"]);
    engine.stage(&stage).unwrap();
    let options = tool("findmnt", &["-no", "OPTIONS", env.staging("v").to_str().unwrap()]);
    for expected in ["nodev", "nosuid", "noatime", "commit=17", "errors=remount-ro"] {
        assert!(options.contains(expected), "{expected} in {options}");
    }
    let about = tool("dumpe2fs", &["-h", &env.loops()[0]]);
    let reserved = about.lines().find(|line| line.starts_with("Reserved block count")).unwrap();
    assert!(reserved.ends_with(" 0"), "{reserved}");
    assert!(about.lines().any(|line| line.starts_with("Inode size") && line.ends_with("512")));

    let mut publish = env.publish("v", Kind::Ext4, "a", false);
    publish.capability = capability_with(Kind::Ext4, AccessMode::SingleNodeWriter, &["noexec", "suid", "rw"]);
    engine.publish(&publish).unwrap();
    let options = tool("findmnt", &["-no", "VFS-OPTIONS", publish.target_path.to_str().unwrap()]);
    for expected in ["noexec", "nosuid", "nodev", "noatime"] {
        assert!(options.contains(expected), "{expected} in {options}");
    }
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn sensitive_flags_show_nowhere() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    let mut stage = env.stage("v", Kind::Ext4);
    for flags in [&["hunter2=hunter2"][..], &["ro,hunter2"], &["context=hunter2"], &["commit=hunter2"], &["hunter2"]] {
        stage.capability = capability_with(Kind::Ext4, AccessMode::SingleNodeWriter, flags);
        let error = engine.stage(&stage).unwrap_err();
        assert!(!error.message().contains("hunter2"), "{error}");
        env.assert_clean();
    }
    // A flag that the kernel takes goes into the journal as a salted digest only.
    stage.capability = capability_with(Kind::Ext4, AccessMode::SingleNodeWriter, &["commit=7531"]);
    engine.stage(&stage).unwrap();
    let record = fs::read_to_string(&env.records()[0]).unwrap();
    assert!(!record.contains("7531") && !record.contains("commit"), "{record}");
    // The digest tells a repeat from another request.
    engine.stage(&stage).unwrap();
    stage.capability = capability_with(Kind::Ext4, AccessMode::SingleNodeWriter, &["commit=7532"]);
    refused(engine.stage(&stage), ErrorKind::AlreadyExists);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn unsupported() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    let good = env.stage("v", Kind::Ext4);
    let with = |change: &dyn Fn(&mut bulkhead_domain::node::Stage)| {
        let mut stage = good.clone();
        change(&mut stage);
        let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
        env.assert_clean();
        message
    };
    fn fs_of(stage: &mut bulkhead_domain::node::Stage) -> &mut bulkhead_domain::plan::Filesystem {
        match &mut stage.plan.usage {
            Usage::Filesystem(plan) => plan,
            Usage::Directory(_) | Usage::Block(_) => panic!(),
        }
    }
    let message = with(&|stage| {
        stage.plan.encryption = Some(Encryption { passphrase: SecretRef { key: "k".into() }, cipher: None });
    });
    assert!(message.contains("encryption is not supported by this host yet"), "{message}");
    assert!(with(&|stage| fs_of(stage).fs_type = "btrfs".into()).contains("not supported by this host yet"));
    assert!(with(&|stage| fs_of(stage).mkfs_options = vec!["-E discard".into()]).contains("-E"));
    assert!(with(&|stage| fs_of(stage).mount_options = vec!["journal_path=/dev/sda".into()]).contains("journal_path"));
    let message = with(&|stage| {
        stage.plan.access = bulkhead_domain::plan::Access::Lvm(bulkhead_domain::plan::Lvm {
            volume_group: "a".into(),
            logical_volume: "b".into(),
        });
    });
    assert!(message.contains("lvm is not supported by this host yet"), "{message}");
    assert!(with(&|stage| stage.plan.expected_size_bytes = Some(65 * MIB)).contains("expects"));
    assert!(with(&|stage| stage.capability = capability(Kind::Block)).contains("differ"));
    let message = with(&|stage| stage.plan.usage = Usage::Directory(directory(&[])));
    assert!(message.contains("can't be used as a directory"), "{message}");
    let message = with(&|stage| {
        let AccessType::Mount(mount) = &mut stage.capability.access_type else { panic!() };
        mount.fs_type = "xfs".into();
    });
    assert!(message.contains("xfs") && message.contains("ext4"), "{message}");
    assert_eq!(fs::metadata(env.image("v")).map(|found| std::os::unix::fs::MetadataExt::blocks(&found)).unwrap(), 0);
    let mut stage = good.clone();
    stage.plan = plan("missing", Kind::Ext4);
    refused(engine.stage(&stage), ErrorKind::NotFound);
    env.assert_clean();
}

fn read_only() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    // Empty, and not to be written.
    let mut stage = env.stage("v", Kind::Ext4);
    let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
    plan.read_only = true;
    refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    env.assert_clean();
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    write_data(&env.staging("v"), Kind::Ext4);
    engine.unstage(&env.unstage("v")).unwrap();
    // With data: everything is read-only, the device too.
    engine.stage(&stage).unwrap();
    assert!(fs::write(env.staging("v").join("x"), "x").is_err());
    let device = env.loops()[0].clone();
    let read_only = fs::read_to_string(format!("/sys/block/{}/ro", &device[5..])).unwrap();
    assert_eq!(read_only.trim(), "1");
    engine.publish(&env.publish("v", Kind::Ext4, "a", false)).unwrap();
    assert_data(&env.target("a"), Kind::Ext4);
    assert!(fs::write(env.target("a").join("x"), "x").is_err());
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    // A reader-only mode makes every target read-only.
    let mut stage = env.stage("v", Kind::Ext4);
    stage.capability = capability_with(Kind::Ext4, AccessMode::MultiNodeReaderOnly, &[]);
    engine.stage(&stage).unwrap();
    let mut publish = env.publish("v", Kind::Ext4, "a", false);
    publish.capability = stage.capability.clone();
    engine.publish(&publish).unwrap();
    assert!(fs::write(env.target("a").join("x"), "x").is_err());
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn damaged() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    // Group descriptors gone; the superblock still says ext4.
    let image = fs::File::options().write(true).open(env.image("v")).unwrap();
    for block in [1024u64, 4096] {
        std::os::unix::fs::FileExt::write_all_at(&image, &[0xff; 1024], block + 1024).unwrap();
    }
    let mut stage = env.stage("v", Kind::Ext4);
    refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    env.assert_clean();
    let Usage::Filesystem(plan) = &mut stage.plan.usage else { panic!() };
    plan.fsck = FsckPolicy::CheckOnly;
    let message = refused(engine.stage(&stage), ErrorKind::FailedPrecondition);
    assert!(message.contains("e2fsck"), "{message}");
    env.assert_clean();
}

fn not_mounted_not_found() {
    let env = Env::new();
    let engine = env.engine();
    let ask = |name: &str, path: &str| engine.stats(&env.stats(name, path.into()), Duration::from_secs(5));
    refused(ask("v", "some/path"), ErrorKind::NotFound);
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    for path in ["some/path", "", "/", "/etc", env.target("a").to_str().unwrap()] {
        refused(ask("v", path), ErrorKind::NotFound);
        refused(engine.expand(&env.expand("v", path.into(), 1)), ErrorKind::NotFound);
    }
    refused(ask("w", env.staging("v").to_str().unwrap()), ErrorKind::NotFound);
    tool("umount", &[env.staging("v").to_str().unwrap()]);
    refused(ask("v", env.staging("v").to_str().unwrap()), ErrorKind::NotFound);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
