//! mkfs that hangs, fails, or outlives the host: stand-ins are bound over the real one, in this namespace only.

use crate::Test;
use crate::child::{MARK, operation};
use crate::env::*;
use bulkhead_domain::ErrorKind;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] =
    &[("helpers::a_killed_host_leaves_no_mkfs", killed_host), ("helpers::a_failing_mkfs_is_undone", failing)];

/// A script in place of mkfs.ext4, until this is dropped.
struct StandIn(&'static str);

impl StandIn {
    fn new(env: &Env, script: &str) -> Self {
        let path = env.root().join("mkfs");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let real = "/usr/sbin/mkfs.ext4";
        // A link on some systems: what is bound over is the file that it leads to.
        let real = fs::canonicalize(real).unwrap();
        assert!(std::env::var_os(INSIDE).is_some(), "only in the private namespace");
        tool("mount", &["--bind", path.to_str().unwrap(), real.to_str().unwrap()]);
        Self(real.to_str().unwrap().to_owned().leak())
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

fn killed_host() {
    let env = Env::new();
    env.create(&env.engine(), "v", Kind::Ext4);
    let pid_file = env.root().join("pid");
    let slow = StandIn::new(&env, &format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 300", pid_file.display()));
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args([MARK, env.root().to_str().unwrap(), "stage", "ext4"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !pid_file.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = fs::read_to_string(&pid_file).unwrap().trim().to_owned();
    host.kill().unwrap();
    host.wait().unwrap();
    let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while alive() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!alive(), "mkfs outlives the host");
    drop(slow);
    let engine = env.engine();
    engine.stage(&env.stage("v", Kind::Ext4)).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}

fn failing() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Ext4);
    // Writes half of something, then fails.
    let broken = StandIn::new(
        &env,
        "for last; do :; done; head -c 1000000 /dev/urandom | dd of=$last bs=4096 seek=100 2>/dev/null; echo no luck >&2; exit 1",
    );
    let message = refused(engine.stage(&env.stage("v", Kind::Ext4)), ErrorKind::FailedPrecondition);
    assert!(message.contains("no luck") && message.contains("exit code 1"), "{message}");
    env.assert_clean();
    assert!(fs::read(env.image("v")).unwrap().iter().all(|&byte| byte == 0), "blanked");
    drop(broken);
    assert_eq!(operation(&env, "stage", Kind::Ext4, ""), crate::child::Ended::Done);
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
