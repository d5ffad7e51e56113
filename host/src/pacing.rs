//! Joins the pace of a backend's requests, which knows nothing of calls, to what the use-cases ask for.

use crate::{
    imports::Pace,
    ops::ports::{Backoff, BoxFuture},
};
use std::time::Duration;

impl Backoff for Pace {
    fn turn(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.call_turn())
    }

    fn unavailable(&self, retry_after: Duration) {
        Self::unavailable(self, retry_after);
    }
}
