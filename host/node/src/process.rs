//! The process itself.

use std::io;

/// Forbids core dumps of this process: its memory holds secrets of calls in flight. Beyond `RLIMIT_CORE`, which a
/// `core_pattern` pipe does not heed, the process is made not dumpable (prctl(2), PR_SET_DUMPABLE), which also keeps others
/// of the same user from reading its memory.
///
/// # Errors
/// The kernel's.
pub fn forbid_core_dumps() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}
