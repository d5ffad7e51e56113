//! NFS exports: what of a plan is allowed, and how they are mounted and known.

mod options;
mod statd;

pub(crate) use options::{Wanted, wanted};
pub(crate) use statd::has_lock_daemon;

/// `server:/export`, as the mount table shows it. An IPv6 address comes in brackets.
pub(crate) fn source(server: &str, export: &str) -> String {
    if server.contains(':') { format!("[{server}]:{export}") } else { format!("{server}:{export}") }
}
