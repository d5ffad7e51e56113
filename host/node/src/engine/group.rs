//! VOLUME_MOUNT_GROUP: a directory volume belongs to the group that the client names.
//!
//! The backend turns the client's group into a number and puts `gid=N` among the plan's mount options. No file system of
//! this host takes that as an option of its mount, so the engine does what kubelet does for fsGroup, at the root alone.

use crate::dir::Dir;
use crate::error::Context;
use bulkhead_domain::capability::{AccessType, VolumeCapability};
use bulkhead_domain::plan::{Access, Plan};
use bulkhead_domain::{Error, Result};
use rustix::fs::{Gid, Mode};

const KEY: &str = "gid=";
/// Read, write and search for the group; what is made in it belongs to the group too.
const GROUP_BITS: u32 = 0o2070;

/// Takes the group out of a plan's mount options. Gives it, and the other options.
///
/// # Errors
/// FailedPrecondition: the driver does not promise it, the volume is no directory, or plan and capability don't fit.
pub(super) fn mount_group(
    plan: &Plan,
    capability: &VolumeCapability,
    promised: bool,
) -> Result<(Option<u32>, Vec<String>)> {
    let options = plan.usage.mount_options();
    let asked = match &capability.access_type {
        AccessType::Mount(mount) => mount.volume_mount_group.as_str(),
        AccessType::Block => "",
    };
    let (groups, rest): (Vec<_>, Vec<_>) = options.iter().cloned().partition(|option| option.starts_with(KEY));
    if asked.is_empty() && groups.is_empty() {
        return Ok((None, rest));
    }
    let refuse = |why: &str| Err(Error::failed_precondition(format_args!("volume_mount_group: {why}")));
    if !promised {
        return refuse("this driver does not offer VOLUME_MOUNT_GROUP");
    }
    if !matches!(plan.access, Access::PoolDirectory(_)) {
        return refuse(
            "a file system on a device (ext4, xfs) has no mount option that grants a group; use a directory volume, or \
             let the CO change the owner of its files (Kubernetes: fsGroupPolicy File)",
        );
    }
    let group = match groups.as_slice() {
        [] => return refuse("the backend's plan names no group (mount option gid=N)"),
        [one] => number(&one[KEY.len()..]),
        _ => return refuse("the backend's plan names more than one group"),
    };
    let Some(group) = group else { return refuse("the backend's plan has a gid that is no number of a group") };
    if number(asked).is_some_and(|asked| asked != group) {
        return refuse("the backend's plan names another group than the volume capability");
    }
    Ok((Some(group), rest))
}

/// A decimal number of a group; the largest stands for "no group" in chown(2).
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&group| digits && group != u32::MAX)
}

/// Gives a volume's root directory to a group, with `g+rwxs`. One that has it already is not touched.
///
/// # Errors
/// As the kernel says.
pub(super) fn give(root: &Dir, group: u32) -> Result<()> {
    let what = format!("cannot give {} to group {group}", root.path().display());
    let found = rustix::fs::fstat(root).during(&what)?;
    let mode = (found.st_mode & 0o7777) | GROUP_BITS;
    if found.st_gid != group {
        rustix::fs::fchown(root, None, Some(Gid::from_raw(group))).during(&what)?;
    }
    if found.st_gid != group || found.st_mode & 0o7777 != mode {
        rustix::fs::fchmod(root, Mode::from_raw_mode(mode)).during(&what)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_decimal_numbers() {
        assert_eq!((number("0"), number("4294967294")), (Some(0), Some(u32::MAX - 1)));
        for bad in ["", "+5", "-1", "4294967295", "4294967296", "0x10", "users", " 5", "5 "] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }
}
