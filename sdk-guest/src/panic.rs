//! Why a backend panicked, told to the host's log. Without this a panic is a trap without a reason: Wasm has no stderr.

use crate::logging::{Level, log};
use std::panic::PanicHookInfo;

/// Sets the hook. [`backend!`](crate::backend) has it run before the first call of an instance.
#[doc(hidden)]
pub extern "C" fn install() {
    // A function captures nothing, so this box allocates nothing.
    std::panic::set_hook(Box::new(report));
}

fn report(info: &PanicHookInfo<'_>) {
    let reason = info.payload_as_str().unwrap_or("no reason given");
    match info.location() {
        Some(place) => log(Level::Error, &format!("panic at {place}: {reason}")),
        None => log(Level::Error, &format!("panic: {reason}")),
    }
}
