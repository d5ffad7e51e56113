//! What is promised to thick directories, without looking at all objects each time that somebody asks.

use bulkhead_domain::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a sum is good that only other processes can have changed.
const GOOD_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Sum {
    bytes: u64,
    changes: u64,
    when: Instant,
}

/// The last sum, for as long as it is good: what this process changes counts at once.
#[derive(Debug, Default)]
pub(super) struct Promised {
    changes: AtomicU64,
    last: Mutex<Option<Sum>>,
}

impl Promised {
    /// A thick directory came, went or changed, or may have. To be called once that can be seen on disk.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }

    /// Bytes; counted by `count` if the last sum isn't good any more.
    pub(super) fn bytes(&self, count: impl FnOnce() -> Result<u64>) -> Result<u64> {
        // Read before it is counted: a change meanwhile spoils the sum.
        let changes = self.changes.load(Ordering::SeqCst);
        // Held while it is counted: others who ask meanwhile wait for this sum instead of counting too.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sum) = last.as_ref()
            && sum.changes >= changes
            && sum.when.elapsed() < GOOD_FOR
        {
            return Ok(sum.bytes);
        }
        // Again, for it may have taken long to get here.
        let (changes, when) = (self.changes.load(Ordering::SeqCst), Instant::now());
        let bytes = count()?;
        *last = Some(Sum { bytes, changes, when });
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_counted_anew() {
        let promised = Promised::default();
        assert_eq!(promised.bytes(|| Ok(1)), Ok(1));
        assert_eq!(promised.bytes(|| Ok(2)), Ok(1));
        promised.changed();
        assert_eq!(promised.bytes(|| Ok(3)), Ok(3));
        // While it is counted.
        promised.changed();
        let counted = promised.bytes(|| {
            promised.changed();
            Ok(4)
        });
        assert_eq!((counted, promised.bytes(|| Ok(5))), (Ok(4), Ok(5)));
        std::thread::sleep(GOOD_FOR);
        assert_eq!(promised.bytes(|| Ok(6)), Ok(6));
    }
}
