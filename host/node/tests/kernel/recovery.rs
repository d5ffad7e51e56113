//! What is left of a volume after a reboot, and after people.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_node::Engine;
use std::fs;

pub const TESTS: &[Test] = &[
    ("recovery::kubernetes_120853_stage_after_a_reboot", || reboot(true)),
    ("recovery::unstage_after_a_reboot", || reboot(false)),
    ("recovery::teardown_without_the_pool", without_pool),
    ("recovery::teardown_without_the_pools_configuration", without_configuration),
    ("recovery::a_number_that_is_somebody_elses_by_now", number_taken),
    ("recovery::bad_records_are_kept", bad_records),
    ("recovery::another_object_of_the_same_name", another_object),
    ("recovery::a_dead_file_system_is_taken_down", dead_filesystem),
    ("recovery::kubernetes_106729_a_busy_volume_is_unstaged_later", busy),
    ("recovery::the_journal_is_private", private),
    ("recovery::a_full_state_disk", full_state_disk),
];

/// kubernetes #120853: published before it was staged again, a volume would show an empty directory, or another volume.
fn reboot(stage: bool) {
    for kind in Kind::ALL {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        write_data(&env.target("a"), kind);
        drop(engine);
        env.reboot();
        let engine = env.engine();
        refused(engine.publish(&env.publish("v", kind, "a", false)), ErrorKind::FailedPrecondition);
        if stage {
            for _ in 0..2 {
                engine.stage(&env.stage("v", kind)).unwrap();
                engine.publish(&env.publish("v", kind, "a", false)).unwrap();
            }
            assert_data(&env.target("a"), kind);
            engine.unpublish(&env.unpublish("v", "a")).unwrap();
        }
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

fn without_pool() {
    for kind in [Kind::Ext4, Kind::Block, Kind::Directory] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        fs::remove_dir_all(env.pool()).unwrap();
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        fs::create_dir_all(env.pool().join("objects")).unwrap();
        env.assert_clean();
    }
}

fn without_configuration() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    engine.publish(&env.publish("v", Kind::Ext4, "a", false)).unwrap();
    let mut config = env.config();
    config.pools.clear();
    let engine = Engine::open(config).unwrap();
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

/// The recorded loop number belongs to something else after a reboot; that is not touched.
fn number_taken() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    let device = env.loops()[0].clone();
    env.reboot();
    let foreign = env.root().join("foreign");
    fs::File::create(&foreign).unwrap().set_len(MIB).unwrap();
    // Another test on this machine may take the number first; then the file gets any number, and this shows less.
    let attached = std::process::Command::new("losetup").args([&device, foreign.to_str().unwrap()]).status().unwrap();
    if !attached.success() {
        tool("losetup", &["-f", foreign.to_str().unwrap()]);
    }
    let before = env.loops();
    engine.unstage(&env.unstage("v")).unwrap();
    assert_eq!(env.loops(), before);
    env.reboot();
    env.assert_clean();
}

fn bad_records() {
    for (content, why) in [
        (&b"not json"[..], "cannot be used"),
        (b"{\"format\": 2, \"whatever\": true}", "format 2"),
        (b"{\"format\": 1}", "cannot be used"),
        (b"", "cannot be used"),
    ] {
        let env = Env::new();
        let engine = env.engine();
        env.create(&engine, "v", Kind::Directory);
        engine.stage(&env.stage("v", Kind::Directory)).unwrap();
        let file = env.records()[0].clone();
        let good = fs::read(&file).unwrap();
        fs::write(&file, content).unwrap();
        let engine = env.engine();
        for outcome in [
            engine.stage(&env.stage("v", Kind::Directory)),
            engine.unstage(&env.unstage("v")),
            engine.publish(&env.publish("v", Kind::Directory, "a", false)),
            engine.unpublish(&env.unpublish("v", "a")),
            engine.expand(&env.expand("v", env.staging("v"), 1)).map(drop),
        ] {
            let message = refused(outcome, ErrorKind::Unavailable);
            assert!(message.contains(why) && message.contains(file.to_str().unwrap()), "{message}");
        }
        assert_eq!(fs::read(&file).unwrap(), content, "a record was overwritten");
        assert_eq!(env.mounts().len(), 1);
        let volumes = engine.volumes().unwrap();
        assert!(volumes.len() == 1 && volumes[0].unfinished && volumes[0].volume_id.is_none(), "{volumes:?}");
        // Another volume is not held up.
        env.create(&engine, "w", Kind::Directory);
        engine.stage(&env.stage("w", Kind::Directory)).unwrap();
        engine.unstage(&env.unstage("w")).unwrap();
        // A record of another driver's is no better.
        let foreign =
            String::from_utf8(good.clone()).unwrap().replace("test.csi.bulkhead.dev", "other.csi.bulkhead.dev");
        fs::write(&file, foreign).unwrap();
        let message = refused(engine.unstage(&env.unstage("v")), ErrorKind::Unavailable);
        assert!(message.contains("belongs to"), "{message}");
        fs::write(&file, good).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        env.assert_clean();
    }
}

/// A format that was cut short is never undone on an object that only has the same name.
fn another_object() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    let ended = crate::child::operation(&env, "stage", Kind::Ext4, "stage.formatted=kill");
    assert_eq!(ended, crate::child::Ended::Killed);
    env.reboot();
    // Somebody removes the object by force, and a new one gets data.
    fs::remove_dir_all(env.pool().join("objects/v")).unwrap();
    env.create(&engine, "v", Kind::Ext4);
    fs::write(env.image("v"), vec![5; 64 * MIB as usize]).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    assert!(fs::read(env.image("v")).unwrap().iter().all(|&byte| byte == 5), "data was blanked");
    env.assert_clean();
}

fn dead_filesystem() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Xfs);
    engine.stage(&env.stage("v", Kind::Xfs)).unwrap();
    engine.publish(&env.publish("v", Kind::Xfs, "a", false)).unwrap();
    let (unpublish, unstage) = (env.unpublish("v", "a"), env.unstage("v"));
    tool("xfs_io", &["-x", "-c", "shutdown", env.staging("v").to_str().unwrap()]);
    assert!(fs::write(env.target("a").join("x"), "x").is_err());
    engine.unpublish(&unpublish).unwrap();
    engine.unstage(&unstage).unwrap();
    env.assert_clean();
    engine.stage(&env.stage("v", Kind::Xfs)).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

/// kubernetes #106729: an unstage failed, and the volume was published without being staged again.
fn busy() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    write_data(&env.staging("v"), Kind::Ext4);
    let open = fs::File::open(env.staging("v").join("data")).unwrap();
    let message = refused(engine.unstage(&env.unstage("v")), ErrorKind::Unavailable);
    assert!(message.contains("unmount"), "{message}");
    assert_eq!((env.mounts().len(), env.loops().len(), env.records().len()), (1, 1, 1));
    // Half undone: publishing is refused, staging begins anew once nobody is in the way.
    refused(engine.publish(&env.publish("v", Kind::Ext4, "a", false)), ErrorKind::FailedPrecondition);
    drop(open);
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    assert_data(&env.staging("v"), Kind::Ext4);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn private() {
    use std::os::unix::fs::PermissionsExt;
    let env = Env::new();
    fs::remove_dir(env.state()).unwrap();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Directory);
    engine.stage(&env.stage("v", Kind::Directory)).unwrap();
    for path in [env.state(), env.state().join("node/test.csi.bulkhead.dev"), env.pool().join("objects")] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700, "{}", path.display());
    }
    assert_eq!(fs::metadata(&env.records()[0]).unwrap().permissions().mode() & 0o777, 0o600);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

/// What can't be written down is not done, but what is there can be taken down.
fn full_state_disk() {
    for kind in [Kind::Ext4, Kind::Directory] {
        let env = Env::new();
        tool("mount", &["-t", "tmpfs", "-o", "size=256k", "none", env.state().to_str().unwrap()]);
        let engine = env.engine();
        env.create(&engine, "v", kind);
        env.create(&engine, "w", kind);
        engine.stage(&env.stage("v", kind)).unwrap();
        engine.publish(&env.publish("v", kind, "a", false)).unwrap();
        engine.publish(&env.publish("v", kind, "b", false)).unwrap();
        write_data(&env.target("a"), kind);
        let filler = env.state().join("filler");
        assert!(fs::write(&filler, vec![1; 1 << 20]).is_err());
        let before = env.mounts();
        refused(engine.stage(&env.stage("w", kind)), ErrorKind::ResourceExhausted);
        refused(engine.publish(&env.publish("v", kind, "c", false)), ErrorKind::ResourceExhausted);
        assert_eq!(env.mounts(), before);
        engine.unpublish(&env.unpublish("v", "a")).unwrap();
        assert!(!env.target("a").exists());
        refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
        engine.unpublish(&env.unpublish("v", "b")).unwrap();
        engine.unstage(&env.unstage("v")).unwrap();
        assert_eq!(env.loops(), Vec::<String>::new());
        assert_eq!(env.mounts(), [env.state()]);
        fs::remove_file(&filler).unwrap();
        engine.stage(&env.stage("v", kind)).unwrap();
        assert_data(&env.staging("v"), kind);
        engine.unstage(&env.unstage("v")).unwrap();
        drop(engine);
        tool("umount", &[env.state().to_str().unwrap()]);
        env.assert_clean();
    }
}
