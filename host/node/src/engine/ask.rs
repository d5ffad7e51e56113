//! Questions to a file system that may never answer: one thread for each volume at most, and no caller waits for long.

use crate::error::Context;
use bulkhead_domain::volume::VolumeId;
use bulkhead_domain::{Error, Result};
use std::collections::HashMap;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Volumes that are being asked, and whether somebody gave up waiting for the answer.
#[derive(Debug, Default)]
pub(super) struct Questions {
    asked: Mutex<HashMap<VolumeId, bool>>,
    freed: Condvar,
}

impl Questions {
    fn lock(&self) -> MutexGuard<'_, HashMap<VolumeId, bool>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks on a thread of its own, which a file system that does not answer may keep. Waits at most `timeout`,
    /// for an earlier question too; while one is overdue, not at all.
    ///
    /// # Errors
    /// DeadlineExceeded: no answer.
    pub(super) fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        volume: &VolumeId,
        timeout: Duration,
        question: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let late = || Error::deadline_exceeded(format_args!("the file system of volume {volume} does not answer"));
        let deadline = Instant::now() + timeout;
        let Some(turn) = Turn::take(self, volume, timeout) else { return Err(late()) };
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
                if let Some(overdue) = self.lock().get_mut(volume) {
                    *overdue = true;
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
    fn take(questions: &Arc<Questions>, volume: &VolumeId, timeout: Duration) -> Option<Self> {
        let asked = questions.lock();
        let waited = questions
            .freed
            .wait_timeout_while(asked, timeout, |asked| asked.get(volume).is_some_and(|overdue| !overdue));
        let (mut asked, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if asked.contains_key(volume) {
            return None;
        }
        asked.insert(volume.clone(), false);
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
        let turn = Turn::take(&questions, &volume, Duration::ZERO).unwrap();
        assert!(Turn::take(&questions, &volume, Duration::from_millis(20)).is_none());
        assert!(Turn::take(&questions, &VolumeId::parse("w").unwrap(), Duration::ZERO).is_some());
        drop(turn);
        assert!(Turn::take(&questions, &volume, Duration::ZERO).is_some());
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
                    questions.ask(&volume, LONG, slow).unwrap();
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
        let late = questions.ask(&volume, Duration::from_millis(50), move || Ok(hang.recv().is_ok()));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        for _ in 0..100 {
            let again = questions.ask(&volume, LONG, || Ok(true));
            assert_eq!(again.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
        }
        assert!(started.elapsed() < Duration::from_secs(10));
        release.send(()).unwrap();
        while !questions.lock().is_empty() {
            std::thread::yield_now();
        }
        assert!(questions.ask(&volume, LONG, || Ok(true)).unwrap());
    }
}
