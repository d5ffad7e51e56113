//! Tier "api": a real client, a real socket, the real host, real backends, real file systems.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod bad_backends;
mod bad_config;
mod bad_requests;
mod directory;
mod egress;
mod golden;
mod keeper;
mod kill;
mod kubernetes;
mod lifecycle;
mod pages;
mod pernode;
mod planted;
mod released;
mod rules;
mod scale;
mod secrets;
mod shutdown;
mod starting;

use bulkhead_tests::Sandbox;

/// Runs an asynchronous test in a sandbox of its own, on one thread: every thread and process that it starts shares the
/// sandbox's mount namespace. Does nothing, loudly, where nothing can be mounted.
fn sandboxed<F: Future<Output = ()>>(test: impl FnOnce(std::rc::Rc<Sandbox>) -> F) {
    if !bulkhead_tests::sandbox::can_mount() {
        return;
    }
    let sandbox = std::rc::Rc::new(Sandbox::enter());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test(sandbox));
}
