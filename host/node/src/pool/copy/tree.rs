//! Copying the files of a directory object.

use crate::dir::Dir;
use crate::helper;
use bulkhead_domain::{Error, Result};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// A tree has no bound but the disk's; one that takes longer than this can't be copied.
const TREE_TIME: Duration = Duration::from_secs(3600);

/// Makes the empty directory `to` what `from` is: files, links, owners, modes, times, extended attributes. Stays in one file
/// system and follows no link. Nobody may write to `from` meanwhile.
///
/// # Errors
/// ResourceExhausted: no space. DeadlineExceeded: an hour was not enough. FailedPrecondition: no cp(1). Unavailable: it
/// failed.
pub(super) fn copy(from: &Dir, to: &Dir) -> Result<()> {
    let what = || format!("cannot copy {}", from.path().display());
    // Through descriptors: no part of the path is looked up again. `/.` since a link itself would be copied.
    let path = |dir: &Dir| format!("/proc/self/fd/{}/.", dir.as_fd().as_raw_fd());
    let (source, target) = (path(from), path(to));
    let options =
        ["--archive", "--reflink=auto", "--sparse=always", "--one-file-system", "--no-target-directory", "--"];
    let arguments: Vec<&str> = options.into_iter().chain([source.as_str(), target.as_str()]).collect();
    let done = helper::run_with("cp", &arguments, &[from.as_fd(), to.as_fd()], TREE_TIME)?;
    match done.code {
        Some(0) => Ok(()),
        _ if ["No space left on device", "Disk quota exceeded"].iter().any(|full| done.output.contains(full)) => {
            Err(Error::resource_exhausted(format_args!("{}: no space is left", what())))
        }
        // Names in what it says are the tenant's; the error escapes them.
        _ => Err(Error::unavailable(format_args!("{}: cp: {}", what(), done.output))),
    }
}
