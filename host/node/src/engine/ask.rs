//! Questions to a file system that may never answer: one thread for each volume at most, and no caller waits for long.

use crate::error::Context;
use bulkhead_domain::volume::VolumeId;
use bulkhead_domain::{Error, Result};
use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Most questions about volumes on one pool that may be overdue: the others on it would fare no better.
const OVERDUE_MAX: usize = 4;

/// An open question about a volume.
#[derive(Debug)]
struct Asked {
    /// Somebody gave up waiting for the answer.
    overdue: bool,
    lies_on: Option<String>,
}

/// Volumes that are being asked.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: Mutex<HashMap<VolumeId, Asked>>,
    freed: Condvar,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, HashMap<VolumeId, Asked>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks on a thread of its own, which a file system that does not answer may keep. Waits at most `timeout`,
    /// for an earlier question too; while one is overdue, not at all. `lies_on`: what the volume lies on together with others;
    /// while several questions about these are overdue, no further one is asked.
    ///
    /// # Errors
    /// DeadlineExceeded: no answer.
    pub(super) fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        (volume, lies_on): (&VolumeId, Option<String>),
        timeout: Duration,
        question: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let late = || Error::deadline_exceeded(format_args!("the file system of volume {volume} does not answer"));
        let deadline = Instant::now() + timeout;
        let Some(turn) = Turn::take(self, (volume, lies_on), timeout) else { return Err(late()) };
        let (sender, answer) = sync_channel(1);
        std::thread::Builder::new()
            .name("volume-question".to_owned())
            .spawn(move || {
                let found = question();
                drop(turn);
                let _ = sender.send(found);
            })
            .during("cannot start a thread")?;
        match answer.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(found) => found,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(asked) = self.lock().get_mut(volume) {
                    asked.overdue = true;
                }
                self.freed.notify_all();
                Err(late())
            }
            Err(RecvTimeoutError::Disconnected) => Err(late()),
        }
    }
}

/// One question about a volume at a time.
struct Turn {
    questions: Arc<Questions>,
    volume: VolumeId,
}

impl Turn {
    /// None: an earlier question is overdue, or still open after `timeout`.
    fn take(
        questions: &Arc<Questions>,
        (volume, lies_on): (&VolumeId, Option<String>),
        timeout: Duration,
    ) -> Option<Self> {
        let asked = questions.lock();
        let waited = questions
            .freed
            .wait_timeout_while(asked, timeout, |asked| asked.get(volume).is_some_and(|asked| !asked.overdue));
        let (mut asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let beside = asked.values().filter(|other| other.overdue && lies_on.is_some() && other.lies_on == lies_on);
        if asked.contains_key(volume) || beside.count() >= OVERDUE_MAX {
            return None;
        }
        asked.insert(volume.clone(), Asked { overdue: false, lies_on });
        Some(Self { questions: questions.clone(), volume: volume.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.questions.lock().remove(&self.volume);
        self.questions.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn one_question_at_a_time() {
        let questions = Arc::default();
        let volume = VolumeId::parse("v").unwrap();
        let turn = Turn::take(&questions, (&volume, None), Duration::ZERO).unwrap();
        assert!(Turn::take(&questions, (&volume, None), Duration::from_millis(20)).is_none());
        assert!(Turn::take(&questions, (&VolumeId::parse("w").unwrap(), None), Duration::ZERO).is_some());
        drop(turn);
        assert!(Turn::take(&questions, (&volume, None), Duration::ZERO).is_some());
    }

    /// Two clients that ask at once both get an answer.
    #[test]
    fn a_second_question_waits_for_the_first() {
        let (questions, volume) = (Arc::<Questions>::default(), VolumeId::parse("v").unwrap());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let slow = || {
                        std::thread::sleep(Duration::from_millis(10));
                        Ok(())
                    };
                    questions.ask((&volume, None), LONG, slow).unwrap();
                });
            }
        });
        assert!(questions.lock().is_empty());
    }

    #[test]
    fn no_answer_costs_one_thread_and_no_more_time() {
        let (questions, volume) = (Arc::<Questions>::default(), VolumeId::parse("v").unwrap());
        let (release, hang) = std::sync::mpsc::channel::<()>();
        let started = Instant::now();
        let late = questions.ask((&volume, None), Duration::from_millis(50), move || Ok(hang.recv().is_ok()));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        for _ in 0..100 {
            let again = questions.ask((&volume, None), LONG, || Ok(true));
            assert_eq!(again.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        }
        assert!(started.elapsed() < Duration::from_secs(10));
        release.send(()).unwrap();
        while !questions.lock().is_empty() {
            std::thread::yield_now();
        }
        assert!(questions.ask((&volume, None), LONG, || Ok(true)).unwrap());
    }

    #[test]
    fn volumes_on_one_pool_that_does_not_answer_cost_a_few_threads() {
        let questions = Arc::<Questions>::default();
        let on = |pool: &str| Some(format!("pool {pool}"));
        let volume = |n: usize| VolumeId::parse(format!("v{n}")).unwrap();
        let mut hanging = vec![];
        for n in 0..OVERDUE_MAX {
            let (release, hang) = std::sync::mpsc::channel::<()>();
            let late = questions.ask((&volume(n), on("a")), Duration::from_millis(5), move || Ok(hang.recv().is_ok()));
            assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
            hanging.push(release);
        }
        let next = volume(OVERDUE_MAX);
        let refused = questions.ask((&next, on("a")), LONG, || Ok(true)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DeadlineExceeded);
        assert_eq!(questions.lock().len(), OVERDUE_MAX);
        assert!(questions.ask((&next, on("b")), LONG, || Ok(true)).unwrap(), "another pool is asked");
        assert!(questions.ask((&next, None), LONG, || Ok(true)).unwrap());
        drop(hanging);
        while !questions.lock().is_empty() {
            std::thread::yield_now();
        }
        assert!(questions.ask((&next, on("a")), LONG, || Ok(true)).unwrap());
    }
}
