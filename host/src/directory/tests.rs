#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Folder, Nodes};
use crate::ops::ports::NodeDirectory;
use bulkhead_domain::{ErrorKind, node::NodeFacts, volume::NodeId};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

const MINUTE: Duration = Duration::from_secs(60);
/// Where the child of [`a_writer_that_is_killed_leaves_no_half_entry`] writes.
const FOLDER: &str = "BULKHEAD_TEST_NODE_FOLDER";

fn facts(id: &str) -> NodeFacts {
    NodeFacts { node_id: id.into(), name: id.into(), ..Default::default() }
}

fn id(id: &str) -> NodeId {
    NodeId::parse(id).unwrap()
}

fn entry(schema: u32, written: SystemTime, interval: u64, id: &str) -> String {
    let at = humantime::format_rfc3339(written);
    format!(r#"{{"schema":{schema},"writtenAt":"{at}","intervalSeconds":{interval},"facts":{{"nodeId":"{id}"}}}}"#)
}

#[test]
fn nodes_are_found_here_and_in_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (facts("a"), facts(&"b/../".repeat(40)));
    let other = Folder::new(dir.path(), MINUTE);
    other.publish(&b).unwrap();
    other.publish(&b).unwrap();
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap()).collect();
    assert_eq!(files.len(), 1, "one file a node");
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let nodes = Nodes::new(Some(Folder::new(dir.path(), MINUTE)));
    assert_eq!(nodes.find(&id("a")), Ok(None));
    nodes.publish(&a).unwrap();
    let find = |id: &NodeId| nodes.find(id).unwrap().map(|known| (known.facts, known.stale));
    assert_eq!(find(&id("a")), Some((a.clone(), None)));
    assert_eq!(find(&id(&b.node_id)), Some((b.clone(), None)));
    assert_eq!(find(&id("c")), None);
    let alone = Nodes::new(None);
    assert_eq!(alone.find(&id("a")), Ok(None));
    alone.publish(&a).unwrap();
    assert_eq!(alone.find(&id("a")).unwrap().unwrap().facts, a);
    assert_eq!(Folder::new(&dir.path().join("absent"), MINUTE).find(&id("a")), Ok(None));
}

#[test]
fn names_of_files_are_plain_and_differ() {
    let folder = Folder::new(Path::new("/d"), MINUTE);
    let ids = ["a", "A", "../a", "a/", ".a", "", "äöü", "a.json", "a_b", "\n"];
    let mut names: Vec<_> = ids.map(|id| folder.file_of(id)).into();
    assert!(names.iter().all(|name| name.parent() == Some(Path::new("/d"))));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), ids.len());
    assert!(folder.file_of(&"n".repeat(256)).file_name().unwrap().len() < 128);
}

#[test]
fn old_entries_say_how_old_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path(), MINUTE);
    let now = SystemTime::now();
    let stale = |written, interval| {
        fs::write(folder.file_of("a"), entry(1, written, interval, "a")).unwrap();
        folder.find(&id("a")).unwrap().unwrap().stale
    };
    assert_eq!(stale(now - 170 * Duration::from_secs(1), 60), None);
    let age = stale(now - 12 * MINUTE, 60).expect("old");
    assert!((720..730).contains(&age.as_secs()), "{age:?}");
    assert_eq!(folder.said.lock().unwrap().len(), 1);
    assert_eq!(stale(now - 12 * MINUTE, 600), None, "it is written more seldom");
    assert!(folder.said.lock().unwrap().is_empty(), "said again when it gets old again");
    assert_eq!(stale(now + 12 * MINUTE, 60), None, "a clock that runs ahead");
}

#[test]
fn what_is_no_entry_is_ignored_and_what_is_newer_refused() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path(), MINUTE);
    let find = |text: &[u8]| {
        fs::write(folder.file_of("a"), text).unwrap();
        folder.find(&id("a"))
    };
    let now = SystemTime::now();
    let whole = entry(1, now, 60, "a");
    for garbage in [&b""[..], b"{", &whole.as_bytes()[..whole.len() / 2], b"\xff\0", b"[]", b"{\"schema\":1}"] {
        let error = find(garbage).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains(folder.file_of("a").to_str().unwrap()), "{error}");
    }
    assert_eq!(find(entry(1, now, 60, "b").as_bytes()).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(find(&vec![b' '; (1 << 20) + 1]).unwrap_err().kind(), ErrorKind::NotFound);
    let newer = find(br#"{"schema":2,"nodes":"are described otherwise"}"#).unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::Unavailable);
    assert!(newer.message().contains("schema 2") && newer.message().contains("update this controller"), "{newer}");
    assert_eq!(folder.said.lock().unwrap().len(), 1);
    let more = whole.replace("\"nodeId\"", "\"addedLater\":[1],\"nodeId\"");
    assert!(find(more.as_bytes()).unwrap().is_some(), "fields may be added");
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Folder::new(&file.join("nodes"), MINUTE).publish(&facts("a")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("file/nodes (node.directory)"), "{error}");
}

#[test]
fn leftovers_are_removed_once_nobody_can_be_at_work() {
    let dir = tempfile::tempdir().unwrap();
    let name = Folder::new(dir.path(), MINUTE).file_of("a").file_name().unwrap().to_str().unwrap().to_owned();
    let (old, new, foreign) = (format!(".{name}.1-2.tmp"), format!(".{name}.1-3.tmp"), ".other.json.1-2.tmp");
    for left in [&old, &new, foreign] {
        fs::write(dir.path().join(left), "{").unwrap();
    }
    for left in [&old, foreign] {
        let file = fs::File::options().write(true).open(dir.path().join(left)).unwrap();
        file.set_modified(SystemTime::now() - 2 * MINUTE).unwrap();
    }
    Folder::new(dir.path(), MINUTE).publish(&facts("a")).unwrap();
    let is_there = |left: &str| dir.path().join(left).exists();
    assert_eq!((is_there(&old), is_there(&new), is_there(foreign), is_there(&name)), (false, true, true, true));
}

/// Not a test by itself: what the next one starts and kills.
#[test]
fn writer() {
    let Some(dir) = std::env::var_os(FOLDER) else { return };
    let folder = Folder::new(Path::new(&dir), MINUTE);
    let start = Instant::now();
    for n in 0_u64.. {
        let labels = (0..200).map(|key| (format!("key-{key}"), format!("{n}"))).collect();
        folder.publish(&NodeFacts { labels, ..facts("a") }).unwrap();
        // Should its parent be gone.
        if start.elapsed() > MINUTE {
            return;
        }
    }
}

#[test]
fn a_writer_that_is_killed_leaves_no_half_entry() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path(), MINUTE);
    let look = || {
        let Some(known) = folder.find(&id("a")).unwrap() else { return false };
        let labels = known.facts.labels;
        assert_eq!(labels.len(), 200);
        assert!(labels.values().all(|value| Some(value) == labels.values().next()), "of two entries");
        true
    };
    let mut seen = 0;
    for round in 0..20 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "directory::tests::writer"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_millis(20 + 7 * round);
        while Instant::now() < end {
            seen += u32::from(look());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        seen += u32::from(look());
    }
    assert!(seen > 100, "{seen} entries seen");
}
