use crate::holds_a_file_system;
use bulkhead_vm::{Dm, Loop, MIB, Segment, disk::size, machine::get};
use std::{
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    sync::mpsc,
    thread,
    time::Duration,
};

const SECTORS: u64 = 64 * MIB / 512;

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_device_whose_end_cannot_be_read() {
    let below = Loop::new(64 * MIB);
    let end = MIB / 512;
    let device = Dm::create("vm-end", &[Segment::Linear(SECTORS - end, below.path(), 0), Segment::Error(end)]);
    let node = fs::canonicalize(device.path()).expect("a node");
    assert_eq!(size(&node), 64 * MIB);
    assert_eq!(get(bulkhead_vm::disk::sysfs(device.path()).join("dm/name")), "vm-end");
    let mut file = fs::File::open(device.path()).expect("opened");
    let mut byte = [0];
    file.read_exact(&mut byte).expect("its beginning");
    file.seek(SeekFrom::Start(64 * MIB - 512)).expect("sought");
    assert_eq!(file.read_exact(&mut byte).expect_err("an error").raw_os_error(), Some(5));
    drop(file);
    device.replace(&[Segment::Linear(SECTORS, below.path(), 0)]);
    holds_a_file_system("ext4", device.path());
    drop(device);
    assert!(!node.exists());
}

#[test]
#[ignore = "runs in the test VM: make test-vm"]
fn a_stalled_device_holds_readers_until_it_resumes() {
    let below = Loop::new(64 * MIB);
    let device = Dm::create("vm-stall", &[Segment::Linear(SECTORS, below.path(), 0)]);
    device.stall();
    let (send, done) = mpsc::channel();
    let node = device.path().to_owned();
    let reader = thread::spawn(move || {
        let read = fs::File::open(node).and_then(|mut file| file.read_exact(&mut [0; 512]));
        let _ = send.send(read.is_ok());
    });
    assert!(done.recv_timeout(Duration::from_secs(1)).is_err(), "a stalled device has answered");
    device.resume();
    assert!(done.recv_timeout(Duration::from_secs(30)).expect("an answer"));
    reader.join().expect("the reader");
}
