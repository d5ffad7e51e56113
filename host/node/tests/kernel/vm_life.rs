//! Whole lives of volumes, on servers and targets that others wrote: the kernel's NFS server, nvmet, LIO. In the test VM only.

use crate::Test;
use crate::env::*;
use crate::vm_platform::{EXPORT, Nvme, Platform, Scsi, engine, stage_export, stage_plugged};
use bulkhead_domain::ErrorKind;
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::{FormatPolicy, Usage};
use bulkhead_vm::{NfsServer, Squash, Version};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    ("vm_life::nfs_in_each_version", nfs),
    ("vm_life::nvme_mount", || disk(&mut Nvme::start(), Kind::DiskExt4)),
    ("vm_life::nvme_block", || disk(&mut Nvme::start(), Kind::DiskBlock)),
    ("vm_life::scsi_mount", || disk(&mut Scsi::start(), Kind::DiskExt4)),
    ("vm_life::scsi_block", || disk(&mut Scsi::start(), Kind::DiskBlock)),
];

const TIMEOUT: Duration = Duration::from_secs(20);

/// Stage, publish, write, unpublish, unstage, restage, read back, expand; each twice where a client may ask twice.
fn life(env: &Env, stage: &Stage, kind: Kind, mut enlarge: impl FnMut(u64)) {
    let engine = engine(env);
    let both = |act: &dyn Fn()| (0..2).for_each(|_| act());
    both(&|| engine.stage(stage).unwrap());
    both(&|| engine.publish(&env.publish("v", kind, "a", false)).unwrap());
    both(&|| engine.publish(&env.publish("v", kind, "b", true)).unwrap());
    write_data(&env.target("a"), kind);
    assert_data(&env.target("b"), kind);
    takes_no_writes(&env.target("b"), kind);
    assert_eq!(engine.health(&env.health("v", None), TIMEOUT).unwrap(), []);
    refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
    let unpublish = || ["a", "b"].iter().for_each(|pod| engine.unpublish(&env.unpublish("v", pod)).unwrap());
    both(&unpublish);
    both(&|| engine.unstage(&env.unstage("v")).unwrap());
    env.assert_clean();
    // What was written is still there, and is not formatted again.
    let mut again = stage.clone();
    if let Usage::Filesystem(plan) = &mut again.plan.usage {
        plan.format = FormatPolicy::Never;
    }
    engine.stage(&again).unwrap();
    engine.publish(&env.publish("v", kind, "a", false)).unwrap();
    assert_data(&env.target("a"), kind);
    let total = || engine.stats(&env.stats("v", env.target("a")), TIMEOUT).unwrap()[0].total;
    let (before, size) = (total(), 2 * kind.size());
    enlarge(size);
    both(&|| assert_eq!(engine.expand(&env.expand("v", env.target("a"), size)).unwrap(), size));
    // The size of an export is the server's.
    assert!(kind == EXPORT || total() > before * 3 / 2, "{before} before, {} now", total());
    assert_data(&env.target("a"), kind);
    unpublish();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn takes_no_writes(target: &Path, kind: Kind) {
    let written = if kind.is_block() {
        let open = File::options().write(true).open(target);
        open.and_then(|file| file.write_all_at(&[9; 4096], 0).and_then(|()| file.sync_all()))
    } else {
        fs::write(target.join("x"), "x")
    };
    assert!(written.is_err(), "{} was written", target.display());
}

fn disk(platform: &mut dyn Platform, kind: Kind) {
    let identity = platform.plug(kind.size());
    let env = Env::new();
    let stage = stage_plugged(&env, identity, kind);
    life(&env, &stage, kind, |size| platform.enlarge(size));
    drop(env);
    platform.unplug();
}

fn nfs() {
    let mut server = NfsServer::start(&[Version::V3, Version::V4_0, Version::V4_1, Version::V4_2]);
    server.export("data", Squash::None);
    for (version, options) in
        [(None, &[][..]), (Some("4.1"), &["nconnect=2"]), (Some("4.0"), &[]), (Some("3"), &["nolock"])]
    {
        let env = Env::new();
        let engine = engine(&env);
        let stage = stage_export(&env, &["127.0.0.1"], version, options);
        engine.stage(&stage).unwrap();
        let table = tool("findmnt", &["-n", "-o", "SOURCE,OPTIONS", "-M", env.staging("v").to_str().unwrap()]);
        let shown = format!("vers={}", version.unwrap_or("4.2"));
        assert!(table.contains("127.0.0.1:/data") && table.contains(&shown), "{table}");
        life(&env, &stage, EXPORT, |_| {});
        assert_data(&server.path().join("data"), EXPORT);
        fs::remove_file(server.path().join("data/data")).unwrap();
    }
}
