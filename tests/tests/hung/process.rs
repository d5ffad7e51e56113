//! What a host has of the machine: threads, descriptors, processes.

use bulkhead_tests::Host;
use std::{
    fs,
    time::{Duration, Instant},
};

/// At one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    pub threads: usize,
    pub descriptors: usize,
    pub children: usize,
}

impl Resources {
    pub fn of(host: &Host) -> Self {
        let process = format!("/proc/{}", host.pid());
        let tasks: Vec<_> = fs::read_dir(format!("{process}/task")).unwrap().flatten().collect();
        // A thread may end while it is looked at.
        let children = |task: &fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
        Self {
            threads: tasks.len(),
            descriptors: fs::read_dir(format!("{process}/fd")).unwrap().count(),
            children: tasks.iter().map(|task| children(task).split_whitespace().count()).sum(),
        }
    }

    /// Waits until the host has no more than `before`. Threads that block are kept for ten seconds after their work.
    pub async fn settle(host: &Host, before: Self) {
        let start = Instant::now();
        loop {
            let now = Self::of(host);
            // A connection of the client's more or less.
            let fits = now.threads <= before.threads && now.descriptors <= before.descriptors + 2;
            if fits && now.children == 0 {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "it had {before:?} and keeps {now:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
