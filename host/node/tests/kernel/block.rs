//! Image volumes as raw devices.

use crate::Test;
use crate::env::*;
use bulkhead_domain::ErrorKind;
use bulkhead_domain::node::UsageUnit;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

pub const TESTS: &[Test] = &[("block::a_whole_life", whole_life), ("block::read_only_means_read_only", read_only)];

fn whole_life() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Block);
    for _ in 0..2 {
        engine.stage(&env.stage("v", Kind::Block)).unwrap();
    }
    assert_eq!((env.mounts().len(), env.loops().len()), (0, 1));
    let publish = env.publish("v", Kind::Block, "a", false);
    for _ in 0..2 {
        engine.publish(&publish).unwrap();
    }
    assert!(fs::metadata(&publish.target_path).unwrap().file_type().is_block_device());
    write_data(&publish.target_path, Kind::Block);
    let usage = engine.stats(&env.stats("v", publish.target_path.clone()), Duration::from_secs(5)).unwrap();
    assert_eq!((usage.len(), usage[0].unit, usage[0].total), (1, UsageUnit::Bytes, 64 * MIB));
    refused(engine.unstage(&env.unstage("v")), ErrorKind::FailedPrecondition);
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
    let mut found = [0; 4];
    File::open(env.image("v")).unwrap().read_exact(&mut found).unwrap();
    assert_eq!(&found, b"what");
}

fn read_only() {
    let env = Env::new();
    let engine = env.engine();
    env.create(&engine, "v", Kind::Block);
    engine.stage(&env.stage("v", Kind::Block)).unwrap();
    let (writer, reader) = (env.publish("v", Kind::Block, "a", false), env.publish("v", Kind::Block, "b", true));
    engine.publish(&writer).unwrap();
    write_data(&writer.target_path, Kind::Block);
    for _ in 0..2 {
        engine.publish(&reader).unwrap();
    }
    assert_eq!(env.loops().len(), 2);
    assert_data(&reader.target_path, Kind::Block);
    // Root may open anything for writing; the device itself must refuse.
    let outcome = File::options().write(true).open(&reader.target_path).and_then(|mut file| {
        file.write_all(&[9; 4096])?;
        file.sync_all()
    });
    assert!(outcome.is_err(), "a read-only device was written");
    assert_data(&writer.target_path, Kind::Block);
    // The other setting at the same target.
    refused(engine.publish(&env.publish("v", Kind::Block, "b", false)), ErrorKind::AlreadyExists);
    engine.unpublish(&env.unpublish("v", "b")).unwrap();
    assert_eq!(env.loops().len(), 1);
    engine.unpublish(&env.unpublish("v", "a")).unwrap();
    engine.unstage(&env.unstage("v")).unwrap();
    env.assert_clean();
}
