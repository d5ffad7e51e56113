use bulkhead_vm::{LockDaemon, Mounted, NfsServer, Squash, Version, machine::get};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

/// What the mount table says of a mount: type and options of the superblock.
fn mounted_as(point: &Path) -> (String, String) {
    let table = get("/proc/self/mountinfo");
    let line = table.lines().find(|line| line.split(' ').nth(4) == point.to_str()).expect("mounted");
    let (_, end) = line.split_once(" - ").expect("a line of mountinfo");
    let mut words = end.split(' ');
    (words.next().expect("a type").to_owned(), words.nth(1).expect("options").to_owned())
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn version_4_writes_and_reads_back() {
    let mut server = NfsServer::start(&[Version::V4_1, Version::V4_2]);
    let share = server.export("data", Squash::None);
    for version in ["4.1", "4.2"] {
        let mounted = Mounted::mount("nfs4", &share, &format!("vers={version}"));
        let (kind, options) = mounted_as(mounted.path());
        assert_eq!(kind, "nfs4");
        assert!(options.contains(&format!("vers={version}")) && options.contains("addr=127.0.0.1"), "{options}");
        fs::write(mounted.path().join(version), version).expect("written");
        assert_eq!(fs::read_to_string(server.path().join("data").join(version)).expect("at the server"), version);
        assert_eq!(fs::metadata(server.path().join("data").join(version)).expect("its owner").uid(), 0);
    }
    let refused = bulkhead_vm::machine::try_run("mount", ["-t", "nfs", "-o", "vers=3,nolock", &share, "/mnt"]);
    assert!(refused.is_err(), "this server doesn't speak version 3");
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn version_3_with_and_without_locks() {
    let mut server = NfsServer::start(&[Version::V3]);
    let share = server.export("data", Squash::Root);
    let flock = |mounted: &Mounted| {
        let file = mounted.path().join("file");
        fs::write(&file, "text").expect("written");
        let status = Command::new("timeout").args(["20", "flock", "-n"]).arg(&file).arg("true").status();
        status.expect("flock(1)").success()
    };
    let without = Mounted::mount("nfs", &share, "vers=3,nolock");
    assert_eq!(mounted_as(without.path()).0, "nfs");
    assert!(flock(&without), "with nolock a lock is the client's own");
    // Root is squashed.
    assert_ne!(fs::metadata(server.path().join("data/file")).expect("its owner").uid(), 0);
    drop(without);
    let _statd = LockDaemon::start();
    let with = Mounted::mount("nfs", &share, "vers=3");
    assert!(flock(&with), "a lock at the server");
    assert!(mounted_as(with.path()).1.contains("local_lock=none"));
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_stopped_server_holds_its_clients_until_it_is_back() {
    let mut server = NfsServer::start(&[Version::V4_1]);
    let share = server.export("data", Squash::None);
    let mounted = Mounted::mount("nfs4", &share, "vers=4.1,hard");
    fs::write(mounted.path().join("before"), "text").expect("written");
    server.stop();
    let (send, done) = mpsc::channel();
    let file = mounted.path().join("during");
    let writer = thread::spawn(move || {
        let _ = send.send(fs::write(file, "text").is_ok());
    });
    assert!(done.recv_timeout(Duration::from_secs(2)).is_err(), "a stopped server has answered");
    server.resume();
    assert!(done.recv_timeout(Duration::from_secs(60)).expect("an answer"));
    writer.join().expect("the writer");
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_mount_of_a_server_that_is_gone_can_be_taken_away() {
    let mut server = NfsServer::start(&[Version::V4_1]);
    let share = server.export("data", Squash::None);
    let mounted = Mounted::mount("nfs4", &share, "vers=4.1,hard");
    server.withdraw("data");
    let listed =
        Command::new("timeout").args(["20", "ls"]).arg(mounted.path()).stderr(Stdio::piped()).output().expect("ls");
    assert!(!listed.status.success(), "what isn't exported can still be listed");
    drop(server);
    let point = mounted.path().to_owned();
    drop(mounted);
    assert!(!point.exists());
}
