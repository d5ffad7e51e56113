//! What a backend has said to "not yet": kept until the same request comes again.
//!
//! A storage system that takes minutes to make a volume is asked by a client that gives up after seconds and comes again. What
//! the backend left behind for the next try waits here meanwhile. It is a hint: it is lost when the host ends, when there
//! is too much of it, and when it gets old.

use bulkhead_domain::Error;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    hash::{Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Most requests that are kept in mind for one driver.
const MOST: usize = 1024;
/// Most bytes of what backends have said about them.
const BYTES: usize = 1 << 20;
/// How long a request is kept in mind after its last try.
const AGE: Duration = Duration::from_secs(3600);
/// However long a backend wants not to be asked, a client that comes after this is heard.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// Which request it is: a digest over the operation and all that was asked for, without secrets. So what one request has left is
/// never handed to another, not even to one about the same volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RequestId([u8; 32]);

impl RequestId {
    /// Of `request` to `operation`.
    pub(super) fn of(operation: &str, request: &impl Hash) -> Self {
        let mut sum = Sum(Sha256::new());
        operation.hash(&mut sum);
        request.hash(&mut sum);
        Self(sum.0.finalize().into())
    }
}

/// Feeds everything that has a hash to a digest, on which nobody can find two requests that are the same.
struct Sum(Sha256);

impl Hasher for Sum {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        // Nobody asks: the digest is taken instead.
        0
    }
}

/// The last "not yet" to a request.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    /// As the backend said it.
    pub error: Error,
    /// Before this it doesn't want to be asked again.
    pub not_before: Instant,
    at: Instant,
    order: u64,
}

/// All of them of one driver.
#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    kept: HashMap<RequestId, Kept>,
    /// Oldest first.
    order: BTreeMap<u64, RequestId>,
    next: u64,
    bytes: usize,
}

impl Pending {
    /// What was last said to this request.
    pub(super) fn recall(&self, id: RequestId, now: Instant) -> Option<Kept> {
        self.with(|memory| memory.kept.get(&id).filter(|kept| now.duration_since(kept.at) < AGE).cloned())
    }

    /// Keeps `error` in mind in place of what was said before. The backend doesn't want to be asked again before `pause` is over.
    pub(super) fn keep(&self, id: RequestId, error: &Error, now: Instant, pause: Duration) {
        self.with(|memory| {
            memory.forget(id);
            let order = memory.next;
            memory.next += 1;
            memory.bytes += size(error);
            memory.order.insert(order, id);
            let not_before = now + pause.min(LONGEST_SILENCE);
            memory.kept.insert(id, Kept { error: error.clone(), not_before, at: now, order });
            memory.tidy(now);
        });
    }

    /// The request has its answer.
    pub(super) fn forget(&self, id: RequestId) {
        self.with(|memory| memory.forget(id));
    }

    fn with<T>(&self, look: impl FnOnce(&mut Memory) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Memory {
    fn forget(&mut self, id: RequestId) {
        if let Some(kept) = self.kept.remove(&id) {
            self.order.remove(&kept.order);
            self.bytes = self.bytes.saturating_sub(size(&kept.error));
        }
    }

    fn tidy(&mut self, now: Instant) {
        while let Some((_, id)) = self.order.first_key_value().map(|(order, id)| (*order, *id)) {
            let old = self.kept.get(&id).is_none_or(|kept| now.duration_since(kept.at) >= AGE);
            if !old && self.kept.len() <= MOST && self.bytes <= BYTES {
                break;
            }
            self.order.pop_first();
            self.forget(id);
        }
    }
}

/// Bytes that a backend has filled.
fn size(error: &Error) -> usize {
    let resume = match error.again() {
        bulkhead_domain::error::Again::Pending(Some(resume)) => resume.expose().len(),
        _ => 0,
    };
    error.message().len() + resume
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::{
        error::{Again, Resume},
        request::{DeleteVolume, OneSnapshot, Secrets},
        volume::{SnapshotId, VolumeId},
    };

    fn pending(resume: &str) -> Error {
        Error::aborted("not yet").with_again(Again::Pending(Resume::parse(resume.to_owned())))
    }

    fn resume(pending: &Pending, id: RequestId, now: Instant) -> Option<String> {
        match pending.recall(id, now)?.error.again() {
            Again::Pending(Some(resume)) => Some(resume.expose().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_request_is_its_operation_and_all_that_it_asks_but_not_its_secrets() {
        let delete = |id: &str, secret: &str| DeleteVolume {
            volume_id: VolumeId::parse(id).unwrap(),
            secrets: Secrets::new([("key".to_owned(), secret.to_owned())].into()),
        };
        let id = RequestId::of("delete", &delete("v", "a"));
        assert_eq!(id, RequestId::of("delete", &delete("v", "b")));
        assert_ne!(id, RequestId::of("delete", &delete("w", "a")));
        assert_ne!(id, RequestId::of("expand", &delete("v", "a")));
        let snapshot = OneSnapshot { snapshot_id: SnapshotId::parse("v").unwrap(), secrets: Secrets::default() };
        assert_ne!(id, RequestId::of("delete snapshot", &snapshot));
        assert_ne!(RequestId::of("ab", &"c"), RequestId::of("a", &"bc"));
    }

    #[test]
    fn the_last_word_is_kept_until_the_answer() {
        let (memory, now, id) = (Pending::default(), Instant::now(), RequestId::of("o", &1));
        memory.keep(id, &pending("first"), now, Duration::from_secs(1));
        memory.keep(id, &pending("second"), now, Duration::from_secs(100_000));
        assert_eq!(resume(&memory, id, now).as_deref(), Some("second"));
        assert_eq!(memory.recall(id, now).unwrap().not_before, now + LONGEST_SILENCE);
        assert!(memory.recall(RequestId::of("o", &2), now).is_none());
        assert!(memory.recall(id, now + AGE).is_none());
        memory.forget(id);
        assert!(memory.recall(id, now).is_none());
        assert_eq!(memory.with(|m| (m.bytes, m.kept.len(), m.order.len())), (0, 0, 0));
    }

    #[test]
    fn there_is_never_too_much_of_it() {
        let (memory, now) = (Pending::default(), Instant::now());
        let nth = |n: usize| RequestId::of("o", &n);
        for n in 0..3000 {
            memory.keep(nth(n), &pending("x"), now, Duration::ZERO);
        }
        assert_eq!(memory.with(|m| (m.kept.len(), m.order.len())), (MOST, MOST));
        assert!(memory.recall(nth(0), now).is_none() && memory.recall(nth(2999), now).is_some());
        let long = Error::aborted("m".repeat(1024)).with_again(Again::Pending(Resume::parse("r".repeat(1024))));
        for n in 0..3000 {
            memory.keep(nth(n), &long, now, Duration::ZERO);
        }
        assert!(memory.with(|m| m.bytes <= BYTES && m.kept.len() == 512));
        // What is old makes room also where there is enough.
        memory.keep(nth(0), &pending("new"), now + AGE, Duration::ZERO);
        assert_eq!(memory.with(|m| (m.kept.len(), m.bytes)), (1, size(&pending("new"))));
    }
}
