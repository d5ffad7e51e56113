//! Tier "hung": storage that stops answering and comes back, under a real host with real backends. What is measured here shares the
//! machine with nothing else of this tier.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod measured;
mod process;
mod rig;
mod starting;
mod tries;
mod vm;

use bulkhead_tests::Sandbox;
use std::sync::{Mutex, PoisonError};

/// One test at a time: figures are compared.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs an asynchronous test in a sandbox of its own, on one thread. Does nothing, loudly, where nothing can be mounted.
fn sandboxed<F: Future<Output = ()>>(test: impl FnOnce(std::rc::Rc<Sandbox>) -> F) {
    if !bulkhead_tests::sandbox::can_mount() {
        return;
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let sandbox = std::rc::Rc::new(Sandbox::enter());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test(sandbox));
}
