//! Inline ephemeral volumes.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::capability::AccessMode;
use bulkhead_domain::node::PublishEphemeral;
use bulkhead_domain::plan::{FormatPolicy, Scratch};
use bulkhead_node::Engine;
use bulkhead_node::pool::{ObjectKind, ObjectSpec, Provisioning};
use std::fs;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("ephemeral::a_whole_life", whole_life),
    ("ephemeral::repeats_and_conflicts", repeats_and_conflicts),
    ("ephemeral::what_is_refused_leaves_nothing", refusals),
    ("ephemeral::read_only_and_mount_flags", flags),
    ("ephemeral::data_outlives_a_reboot_and_a_lost_mount", mounted_again),
    ("ephemeral::removed_without_the_pools_configuration", without_configuration),
    ("ephemeral::removed_without_the_pool", without_pool),
    ("ephemeral::a_name_that_is_taken", name_taken),
    ("ephemeral::foreign_things_are_left_alone", foreign),
];

const KINDS: [Kind; 3] = [Kind::Ext4, Kind::Xfs, Kind::Directory];
/// Kinds that differ in what the engine does; xfs and ext4 do not, but for their tools.
pub const TWO: [Kind; 2] = [Kind::Ext4, Kind::Directory];

/// Nothing is left, not even the object.
#[track_caller]
pub fn gone(env: &Env) {
    env.assert_clean();
    assert_eq!(env.objects(), Vec::<String>::new());
}

fn whole_life() {
    for kind in KINDS {
        let env = Env::new();
        let engine = env.engine();
        let publish = env.ephemeral("csi-0123", kind, "pod");
        for _ in 0..2 {
            engine.publish_ephemeral(&publish).unwrap();
        }
        let target = publish.target_path.clone();
        assert_eq!((env.mounts(), env.records().len()), (vec![target.clone()], 1));
        assert_eq!(env.loops().len(), usize::from(kind != Kind::Directory));
        write_data(&target, kind);

        let objects = engine.pools().list_objects(POOL, "e-", None).unwrap().objects;
        let [object] = objects.as_slice() else { panic!("{objects:?}") };
        assert!(object.in_use && object.spec.name.len() == 34 && object.spec.provisioning == Provisioning::Thin);
        assert_eq!(object.spec.size_bytes, kind.size());
        for (key, value) in [
            ("ephemeral", "true"),
            ("volume-id", "csi-0123"),
            ("node-id", "node-1"),
            ("driver", "test.csi.bulkhead.dev"),
        ] {
            assert_eq!(object.spec.metadata.get(key).map(String::as_str), Some(value));
        }
        let volumes = engine.volumes().unwrap();
        assert!(volumes[0].ephemeral && !volumes[0].unfinished && volumes[0].state == "published", "{volumes:?}");
        assert_eq!(volumes[0].targets, std::slice::from_ref(&target));
        assert!(engine.is_published(&publish.volume_id).unwrap());

        let usage = engine.stats(&env.stats("csi-0123", target.clone()), Duration::from_secs(5)).unwrap();
        assert!(usage.len() == 2 && usage[0].total > 0);
        assert_eq!(engine.health(&env.health("csi-0123", None), Duration::from_secs(5)).unwrap(), []);
        let message = refused(engine.expand(&env.expand("csi-0123", target.clone(), 1)), ErrorKind::FailedPrecondition);
        assert!(message.contains("ephemeral"), "{message}");
        refused(engine.expand(&env.expand("csi-0123", env.staging("x"), 1)), ErrorKind::NotFound);
        // It is nothing that can be staged, or published once more, as an ordinary volume.
        refused(engine.stage(&env.stage("csi-0123", kind)), ErrorKind::FailedPrecondition);
        refused(engine.publish(&env.publish("csi-0123", kind, "b", false)), ErrorKind::FailedPrecondition);
        engine.unstage(&env.unstage("csi-0123")).unwrap();
        engine.unpublish(&env.unpublish("csi-0123", "elsewhere")).unwrap();
        assert_data(&target, kind);
        for _ in 0..2 {
            engine.unpublish(&env.unpublish("csi-0123", "pod")).unwrap();
        }
        assert!(!engine.is_published(&publish.volume_id).unwrap());
        gone(&env);
        // The next one of that id begins empty.
        engine.publish_ephemeral(&publish).unwrap();
        assert!(!target.join("data").exists());
        engine.unpublish(&env.unpublish("csi-0123", "pod")).unwrap();
        gone(&env);
    }
}

fn repeats_and_conflicts() {
    for kind in TWO {
        let env = Env::new();
        let engine = env.engine();
        let publish = env.ephemeral("v", kind, "pod");
        engine.publish_ephemeral(&publish).unwrap();
        write_data(&publish.target_path, kind);
        let before = fs::read_to_string(&env.records()[0]).unwrap();
        let changes: [fn(&mut PublishEphemeral); 4] = [
            |other| other.read_only = true,
            |other| other.plan.size_bytes += MIB,
            |other| change_scratch(&mut other.plan.scratch, |usage| options_of(usage).push("noexec".into())),
            |other| other.capability.access_mode = AccessMode::SingleNodeMultiWriter,
        ];
        for change in changes {
            let mut other = publish.clone();
            change(&mut other);
            refused(engine.publish_ephemeral(&other), ErrorKind::AlreadyExists);
        }
        let mut other = publish.clone();
        other.capability = capability_with(kind, AccessMode::SingleNodeWriter, &["noatime"]);
        refused(engine.publish_ephemeral(&other), ErrorKind::AlreadyExists);
        other = publish.clone();
        other.target_path = env.target("other");
        let message = refused(engine.publish_ephemeral(&other), ErrorKind::FailedPrecondition);
        assert!(message.contains("one target"), "{message}");
        engine.publish_ephemeral(&publish).unwrap();
        assert_eq!(fs::read_to_string(&env.records()[0]).unwrap(), before, "refusals and repeats write nothing");
        assert_data(&publish.target_path, kind);
        engine.unpublish(&env.unpublish("v", "pod")).unwrap();
        gone(&env);
        // One that is staged is no ephemeral volume.
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        refused(engine.publish_ephemeral(&publish), ErrorKind::FailedPrecondition);
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

fn refusals() {
    let env = Env::new();
    let engine = env.engine();
    let with = |kind: Kind, expected: ErrorKind, change: fn(&mut PublishEphemeral)| {
        let mut publish = env.ephemeral("v", kind, "pod");
        change(&mut publish);
        let message = refused(engine.publish_ephemeral(&publish), expected);
        gone(&env);
        message
    };
    use ErrorKind::{FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted};
    let message = with(Kind::Ext4, FailedPrecondition, |p| p.capability = capability(Kind::Block));
    assert!(message.contains("raw block"), "{message}");
    with(Kind::Ext4, FailedPrecondition, |p| p.plan.size_bytes = 0);
    with(Kind::Ext4, FailedPrecondition, |p| p.plan.size_bytes = u64::MAX);
    with(Kind::Ext4, ResourceExhausted, |p| p.plan.size_bytes = i64::MAX as u64);
    with(Kind::Ext4, FailedPrecondition, |p| image_of(&mut p.plan.scratch).fs_type = "btrfs".into());
    with(Kind::Ext4, FailedPrecondition, |p| image_of(&mut p.plan.scratch).format = FormatPolicy::Never);
    with(Kind::Ext4, FailedPrecondition, |p| {
        image_of(&mut p.plan.scratch).mount_options = vec!["journal_path=/dev/sda".into()];
    });
    with(Kind::Directory, FailedPrecondition, |p| p.plan.scratch = Scratch::Directory(directory(&["discard"])));
    // mkfs.xfs refuses so small a device: found out only when the object is made.
    let message = with(Kind::Xfs, FailedPrecondition, |p| p.plan.size_bytes = 16 * MIB);
    assert!(message.contains("mkfs.xfs"), "{message}");
    // The kernel refuses the option.
    with(Kind::Ext4, FailedPrecondition, |p| {
        p.capability = capability_with(Kind::Ext4, AccessMode::SingleNodeWriter, &["hunter2"]);
    });
    with(Kind::Ext4, NotFound, |p| p.plan.pool = "other".into());
    with(Kind::Directory, InvalidArgument, |p| p.target_path = "/etc/x".into());
    with(Kind::Directory, InvalidArgument, |p| {
        p.capability = capability_with(Kind::Directory, AccessMode::SingleNodeWriter, &["a,b"]);
    });
    let mut publish = env.ephemeral("v", Kind::Directory, "pod");
    publish.target_path = env.kubelet().join("pods/missing/mount");
    refused(engine.publish_ephemeral(&publish), FailedPrecondition);
    gone(&env);
    engine.unpublish(&env.unpublish("v", "pod")).unwrap();
}

fn flags() {
    for kind in KINDS {
        let env = Env::new();
        let engine = env.engine();
        let options = |target: &std::path::Path| tool("findmnt", &["-no", "VFS-OPTIONS", target.to_str().unwrap()]);
        let mut publish = env.ephemeral("v", kind, "pod");
        change_scratch(&mut publish.plan.scratch, |usage| *options_of(usage) = vec!["nodev".into()]);
        publish.capability = capability_with(kind, AccessMode::SingleNodeWriter, &["noexec", "noatime"]);
        engine.publish_ephemeral(&publish).unwrap();
        let found = options(&publish.target_path);
        assert!(["noexec", "noatime", "nodev"].iter().all(|flag| found.contains(flag)), "{found}");
        write_data(&publish.target_path, kind);
        engine.unpublish(&env.unpublish("v", "pod")).unwrap();
        gone(&env);
        let read_only: [fn(&mut PublishEphemeral); 3] = [
            |p| p.read_only = true,
            |p| change_scratch(&mut p.plan.scratch, only_read),
            |p| p.capability.access_mode = AccessMode::SingleNodeReaderOnly,
        ];
        for change in read_only {
            let mut publish = env.ephemeral("v", kind, "pod");
            change(&mut publish);
            for _ in 0..2 {
                engine.publish_ephemeral(&publish).unwrap();
            }
            let error = fs::write(publish.target_path.join("x"), "x").unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
            engine.unpublish(&env.unpublish("v", "pod")).unwrap();
            gone(&env);
        }
    }
}

fn mounted_again() {
    for kind in KINDS {
        let env = Env::new();
        let engine = env.engine();
        let publish = env.ephemeral("v", kind, "pod");
        engine.publish_ephemeral(&publish).unwrap();
        write_data(&publish.target_path, kind);
        tool("umount", &[publish.target_path.to_str().unwrap()]);
        engine.publish_ephemeral(&publish).unwrap();
        assert_data(&publish.target_path, kind);
        env.reboot();
        let engine = env.engine();
        // Whatever is asked for, data is not thrown away for it.
        let mut other = publish.clone();
        other.plan.size_bytes += MIB;
        refused(engine.publish_ephemeral(&other), ErrorKind::AlreadyExists);
        for _ in 0..2 {
            engine.publish_ephemeral(&publish).unwrap();
            assert_data(&publish.target_path, kind);
        }
        assert_eq!((env.mounts().len(), env.loops().len()), (1, usize::from(kind != Kind::Directory)));
        // Its object is gone: scratch space is made anew.
        env.reboot();
        fs::remove_dir_all(env.pool().join("objects").join(&env.objects()[0])).unwrap();
        engine.publish_ephemeral(&publish).unwrap();
        assert!(!publish.target_path.join("data").exists());
        env.reboot();
        engine.unpublish(&env.unpublish("v", "pod")).unwrap();
        gone(&env);
    }
}

fn without_configuration() {
    for kind in TWO {
        let env = Env::new();
        env.engine().publish_ephemeral(&env.ephemeral("v", kind, "pod")).unwrap();
        let mut config = env.config();
        config.pools.clear();
        Engine::open(config).unwrap().unpublish(&env.unpublish("v", "pod")).unwrap();
        gone(&env);
    }
}

fn without_pool() {
    for kind in TWO {
        let env = Env::new();
        let engine = env.engine();
        engine.publish_ephemeral(&env.ephemeral("v", kind, "pod")).unwrap();
        fs::remove_dir_all(env.pool()).unwrap();
        let mut config = env.config();
        config.pools.clear();
        Engine::open(config).unwrap().unpublish(&env.unpublish("v", "pod")).unwrap();
        fs::create_dir_all(env.pool().join("objects")).unwrap();
        gone(&env);
    }
}

fn name_taken() {
    for kind in TWO {
        let env = Env::new();
        let engine = env.engine();
        let publish = env.ephemeral("v", kind, "pod");
        engine.publish_ephemeral(&publish).unwrap();
        let name = env.objects()[0].clone();
        // The journal is lost: what is there under the name is this volume's, and goes.
        write_data(&publish.target_path, kind);
        env.reboot();
        fs::remove_file(&env.records()[0]).unwrap();
        engine.publish_ephemeral(&publish).unwrap();
        assert!(!publish.target_path.join("data").exists());
        engine.unpublish(&env.unpublish("v", "pod")).unwrap();
        gone(&env);
        // Somebody else's stays.
        let spec = ObjectSpec {
            name: name.clone(),
            kind: ObjectKind::Directory,
            size_bytes: 1,
            provisioning: Provisioning::Thin,
            metadata: Default::default(),
        };
        engine.pools().create_object(POOL, &spec).unwrap();
        let message = refused(engine.publish_ephemeral(&publish), ErrorKind::FailedPrecondition);
        assert!(message.contains(&name) && message.contains("in the way"), "{message}");
        engine.unpublish(&env.unpublish("v", "pod")).unwrap();
        assert_eq!(env.objects(), [name]);
        env.assert_clean();
    }
}

fn foreign() {
    let env = Env::new();
    let engine = env.engine();
    let publish = env.ephemeral("v", Kind::Ext4, "pod");
    let target = publish.target_path.to_str().unwrap().to_owned();
    fs::create_dir(&target).unwrap();
    tool("mount", &["-t", "tmpfs", "none", &target]);
    refused(engine.publish_ephemeral(&publish), ErrorKind::FailedPrecondition);
    assert_eq!((env.records().len(), env.objects().len()), (0, 0));
    tool("umount", &[&target]);
    // An empty directory that the CO made is fine.
    engine.publish_ephemeral(&publish).unwrap();
    write_data(&publish.target_path, Kind::Ext4);
    tool("mount", &["-t", "tmpfs", "none", &target]);
    refused(engine.publish_ephemeral(&publish), ErrorKind::FailedPrecondition);
    refused(engine.unpublish(&env.unpublish("v", "pod")), ErrorKind::FailedPrecondition);
    tool("umount", &[&target]);
    // Refused, it is as usable as it was.
    engine.publish_ephemeral(&publish).unwrap();
    assert_data(&publish.target_path, Kind::Ext4);
    engine.unpublish(&env.unpublish("v", "pod")).unwrap();
    gone(&env);
}
