//! The state of a driver, also when the process is killed and when the file is damaged.

use super::*;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn config(dir: &Path) -> StateConfig {
    StateConfig { path: dir.join("state/a.redb"), quota: 1 << 20 }
}

fn opened(config: StateConfig) -> State {
    let state = State::new(config);
    state.open().unwrap();
    state
}

/// The thread that has written last may be a moment behind its answer.
async fn closed(state: State) {
    while Arc::strong_count(&state.0) > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn key(key: &str) -> String {
    key.to_owned()
}

#[tokio::test]
async fn compare_and_swap() {
    let dir = tempfile::tempdir().unwrap();
    let state = State::new(config(dir.path()));
    assert!(matches!(state.get(key("k")).await, Err(StateError::Unavailable(_))), "not open yet");
    state.open().unwrap();
    assert_eq!(state.get(key("k")).await, Ok(None));
    assert_eq!(state.compare_and_swap(key("k"), Some(1), vec![]).await, Err(StateError::Conflict(None)));
    let first = state.compare_and_swap(key("k"), None, b"one".to_vec()).await.unwrap();
    assert_eq!(state.compare_and_swap(key("k"), None, vec![]).await, Err(StateError::Conflict(Some(first))));
    let second = state.compare_and_swap(key("k"), Some(first), b"two".to_vec()).await.unwrap();
    assert_eq!(state.compare_and_swap(key("k"), Some(first), vec![]).await, Err(StateError::Conflict(Some(second))));
    assert_eq!(state.delete(key("k"), first).await, Err(StateError::Conflict(Some(second))));
    assert_eq!(state.get(key("k")).await, Ok(Some(Entry { value: b"two".to_vec(), version: second })));
    state.delete(key("k"), second).await.unwrap();
    state.delete(key("k"), second).await.expect("it is gone already");
    assert_eq!(state.get(key("k")).await, Ok(None));
    // Made anew, by this process and by the next one: never a version that was there before.
    let third = state.compare_and_swap(key("k"), None, vec![]).await.unwrap();
    state.delete(key("k"), third).await.unwrap();
    closed(state).await;
    let state = opened(config(dir.path()));
    let fourth = state.compare_and_swap(key("k"), None, vec![]).await.unwrap();
    assert!(first < second && second < third && third < fourth, "{first} {second} {third} {fourth}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = config(dir.path()).path;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
}

#[tokio::test]
async fn limits_and_quota() {
    let dir = tempfile::tempdir().unwrap();
    let state = opened(StateConfig { quota: 4096, ..config(dir.path()) });
    for bad in ["", "a b", "ä", "a\0", "a:b", &"k".repeat(257)] {
        assert!(matches!(state.get(key(bad)).await, Err(StateError::Denied(_))), "{bad:?}");
        assert!(matches!(state.compare_and_swap(key(bad), None, vec![]).await, Err(StateError::Denied(_))), "{bad:?}");
        assert!(matches!(state.delete(key(bad), 1).await, Err(StateError::Denied(_))), "{bad:?}");
    }
    let put = async |name: &str, expected, size| state.compare_and_swap(key(name), expected, vec![7; size]).await;
    assert!(matches!(put("k", None, (64 << 10) + 1).await, Err(StateError::Denied(_))));
    assert!(put(&"Az09._/-".repeat(32), None, 0).await.is_ok());
    let large = put("k", None, 3000).await.unwrap();
    assert_eq!(put("l", None, 1000).await, Err(StateError::QuotaExceeded));
    assert_eq!(put("k", Some(large), 4000).await, Err(StateError::QuotaExceeded));
    assert_eq!(put("k", Some(large + 1), 4000).await, Err(StateError::Conflict(Some(large))));
    let large = put("k", Some(large), 2000).await.expect("smaller");
    let other = put("l", None, 1000).await.expect("there is room again");
    state.delete(key("l"), other).await.unwrap();
    put("m", None, 1000).await.expect("what is deleted counts no more");
    // A lowered quota keeps what is there, and what doesn't grow.
    closed(state).await;
    let state = opened(StateConfig { quota: 100, ..config(dir.path()) });
    assert_eq!(state.get(key("k")).await.unwrap().unwrap().value.len(), 2000);
    assert_eq!(state.compare_and_swap(key("k"), Some(large), vec![7; 2001]).await, Err(StateError::QuotaExceeded));
    assert!(state.compare_and_swap(key("k"), Some(large), vec![7; 2000]).await.is_ok());
}

#[tokio::test]
async fn pages_are_sorted_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let state = opened(config(dir.path()));
    let names = (0..2500).map(|n| format!("p/{n:05}")).chain(["a".into(), "p".into(), "q".into()]);
    let writes: Vec<_> = names.map(|name| Write { key: name, expected: None, value: Some(vec![]) }).collect();
    assert!(state.0.store().unwrap().write(&writes).unwrap().iter().all(|outcome| outcome.is_ok()));
    let (mut seen, mut after, mut pages) = (vec![], None, 0);
    loop {
        let page = state.list_keys(key("p/"), after).await.unwrap();
        assert!(page.keys.len() <= PAGE);
        seen.extend(page.keys);
        pages += 1;
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((pages, seen.len()), (3, 2500));
    assert!(seen.is_sorted() && seen[0] == "p/00000");
    let few = async |prefix: &str, after: Option<&str>| {
        state.list_keys(key(prefix), after.map(key)).await.map(|page| (page.keys.len(), page.next.is_some()))
    };
    assert_eq!(few("", None).await, Ok((1000, true)));
    assert_eq!(few("p/00", Some("p/00998")).await, Ok((1, false)));
    assert_eq!(few("p/", Some("a")).await, Ok((1000, true)), "what comes before the prefix is no page");
    assert_eq!(few("p/", Some("q")).await, Ok((0, false)));
    assert_eq!(few("\0 no key looks like this", None).await, Ok((0, false)));
    // Exactly a page is the last one.
    assert_eq!(few("p/", Some("p/01499")).await, Ok((1000, false)));
}

/// While one write is on its way, others gather, and are written together.
#[tokio::test]
async fn writes_of_many_calls_share_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let state = opened(config(dir.path()));
    let spawn = |n: usize| {
        let state = state.clone();
        tokio::spawn(async move { state.compare_and_swap(format!("k{n}"), None, vec![0; 100]).await })
    };
    let tasks: Vec<_> = {
        let busy = state.0.store().unwrap().occupy();
        let first = spawn(0);
        let wait_for = async |waiting: usize| {
            while state.0.queue().waiting.len() != waiting || !state.0.queue().led {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        wait_for(0).await;
        let tasks: Vec<_> = std::iter::once(first).chain((1..200).map(spawn)).collect();
        wait_for(199).await;
        drop(busy);
        tasks
    };
    let mut versions = vec![];
    for task in tasks {
        versions.push(task.await.unwrap().unwrap());
    }
    versions.sort_unstable();
    versions.dedup();
    assert_eq!(versions.len(), 200, "a version was given twice");
    // The one that leads ends a moment after the last answer.
    let start = Instant::now();
    while state.0.queue().led {
        assert!(start.elapsed() < Duration::from_secs(10), "it still leads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    // One key that all want: each sees what the others have written.
    let counts = (0..32).map(|_| {
        let state = state.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                loop {
                    let found = state.get(key("count")).await.unwrap();
                    let (value, version) = found.map_or((0, None), |e| (e.value[0].into(), Some(e.version)));
                    let next = u8::try_from((value + 1) % 256_u32).unwrap();
                    match state.compare_and_swap(key("count"), version, vec![next]).await {
                        Ok(_) => break,
                        Err(StateError::Conflict(_)) => {}
                        Err(e) => panic!("{e}"),
                    }
                }
            }
        })
    });
    let start = Instant::now();
    for task in counts.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    println!("640 increments of one key by 32 calls: {:?}", start.elapsed());
    assert_eq!(state.get(key("count")).await.unwrap().unwrap().value, [(640 % 256) as u8]);
}

/// Dropped while it waits, a write may still happen; the store goes on.
#[tokio::test]
async fn who_stops_waiting_stops_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let state = opened(config(dir.path()));
    let busy = state.0.store().unwrap().occupy();
    let gone = tokio::time::timeout(Duration::from_millis(20), state.compare_and_swap(key("gone"), None, vec![]));
    assert!(gone.await.is_err());
    drop(busy);
    state.compare_and_swap(key("next"), None, vec![]).await.unwrap();
    assert!(state.get(key("gone")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_damaged_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let state = opened(config.clone());
    for n in 0..40 {
        state.compare_and_swap(format!("key-{n}"), None, vec![n; 3000]).await.unwrap();
    }
    closed(state).await;
    let sound = fs::read(&config.path).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&config.path, bytes).unwrap();
        let error = State::new(config.clone()).open().err()?;
        assert!(fs::read(&config.path).unwrap() == bytes, "{what}: it was written to");
        let shown = config.path.display().to_string();
        assert!(error.message().contains(&shown) && error.message().contains("move it away"), "{what}: {error}");
        assert_eq!(fs::read_dir(config.path.parent().unwrap()).unwrap().count(), 1, "{what}");
        Some(error)
    };
    for (what, bytes) in [
        ("empty", vec![]),
        ("text", b"not a database".to_vec()),
        ("zeros", vec![0; sound.len()]),
        ("cut in half", sound[..sound.len() / 2].to_vec()),
        ("cut a little", sound[..sound.len() - 1].to_vec()),
    ] {
        assert!(refused(&bytes, what).is_some(), "{what} was taken for a store");
    }
    // Values stand in the file as they are, some also on pages that are free again.
    for n in (3..40).step_by(9) {
        let found: Vec<_> = (0..sound.len() - 3000).filter(|at| sound[*at..at + 3000] == [n; 3000]).collect();
        assert!(!found.is_empty(), "{n}");
        let mut bytes = sound.clone();
        found.iter().for_each(|at| bytes[at + 1500] ^= 1);
        let error = refused(&bytes, "one bit").expect("one bit of a value was not noticed");
        assert!(error.message().contains("damaged"), "{error}");
    }
    // Anywhere else it is noticed or makes no difference.
    for at in (0..sound.len()).step_by(sound.len() / 60) {
        let mut bytes = sound.clone();
        bytes[at..].iter_mut().take(64).for_each(|byte| *byte = !*byte);
        if refused(&bytes, "64 bytes").is_none() {
            let state = opened(config.clone());
            for n in 0..40 {
                let value = state.get(format!("key-{n}")).await.unwrap().unwrap().value;
                assert!(value == [n; 3000], "damage at {at}");
            }
            closed(state).await;
        }
    }
    fs::remove_file(&config.path).unwrap();
    fs::create_dir(&config.path).unwrap();
    assert!(State::new(config.clone()).open().unwrap_err().message().contains("is not a file"));
}

const CHILD: &str = "BULKHEAD_TEST_STATE_OF_A_CHILD";

/// Not a test: what the next one runs in a process of its own, until it is killed.
#[tokio::test]
async fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let state = opened(StateConfig { path: path.into(), quota: 1 << 20 });
    let one = |task: usize| {
        let state = state.clone();
        tokio::spawn(async move {
            for n in 0u64.. {
                let name = format!("task-{task}/{}", n % 7);
                let present = state.get(name.clone()).await.unwrap().map(|entry| entry.version);
                let value = n.to_string().repeat(200);
                let version = state.compare_and_swap(name.clone(), present, value.into_bytes()).await.unwrap();
                println!("\nwritten {name} {version} {n}");
            }
        })
    };
    for task in (0..4).map(one).collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// `kill -9` while it writes: all that was acknowledged is there.
#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut acknowledged: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for round in 0..4 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "imports::state::tests::child_that_writes_until_it_is_killed"])
            .env(CHILD, &config.path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut note = |line: String| {
            let mut words = line.strip_prefix("written ")?.split(' ');
            let key = words.next()?.to_owned();
            let (version, n) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let before = acknowledged.insert(key, (version, n));
            assert!(before.is_none_or(|(before, _)| before < version), "a version came again");
            Some(())
        };
        while seen < 50 + 37 * round {
            let line = lines.next().expect("it ended by itself").unwrap();
            seen += usize::from(note(line).is_some());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts too; the last line may be half a line.
        let rest: Vec<_> = lines.map_while(std::result::Result::ok).collect();
        rest.into_iter().rev().skip(1).rev().for_each(|line| _ = note(line));

        let state = opened(config.clone());
        for (name, (version, n)) in &acknowledged {
            let entry = state.get(name.clone()).await.unwrap().expect("an acknowledged write is gone");
            let later = entry.version > *version;
            assert!(
                later || (entry.version == *version && entry.value == n.to_string().repeat(200).as_bytes()),
                "{name}"
            );
        }
    }
    assert!(acknowledged.len() >= 20, "{acknowledged:?}");
}
