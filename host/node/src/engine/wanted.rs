//! A plan and a capability, checked: what this host can carry out.

use super::group::mount_group;
use crate::fs::format::FsKind;
use crate::fs::options::{MountOptions, attr, mkfs_arguments};
use bulkhead_domain::capability::{AccessType, VolumeCapability};
use bulkhead_domain::plan::{Access, Filesystem, Plan, PoolObject, Usage};
use bulkhead_domain::{Error, Result};

/// How a volume is used.
pub(super) enum Use {
    /// A file system on an image.
    Filesystem { plan: Filesystem, fs: FsKind, options: MountOptions },
    /// An image as a raw device.
    Block,
    /// A directory.
    Directory { options: MountOptions },
}

/// What is to be staged.
pub(super) struct Wanted {
    pub(super) object: PoolObject,
    pub(super) usage: Use,
    /// The device or directory is for reading only.
    pub(super) read_only: bool,
    pub(super) expected_size_bytes: Option<u64>,
    /// The group that a directory's root gets.
    pub(super) group: Option<u32>,
}

impl Wanted {
    /// Checks all of a plan and of a capability that can be checked without looking at the machine. `groups`: the driver
    /// promises VOLUME_MOUNT_GROUP.
    ///
    /// # Errors
    /// InvalidArgument: a mount flag. FailedPrecondition: this host can't do it, or plan and capability don't fit.
    pub(super) fn new(plan: &Plan, capability: &VolumeCapability, groups: bool) -> Result<Self> {
        let flags = MountOptions::from_flags(capability.mount_flags())?;
        if plan.encryption.is_some() {
            return Err(not_yet("encryption"));
        }
        let (group, mount_options) = mount_group(plan, capability, groups)?;
        let usage = match (&plan.access, &plan.usage) {
            (Access::PoolImage(_), Usage::Filesystem(filesystem)) => {
                let fs = fs_kind(filesystem, capability)?;
                mkfs_arguments(fs, &filesystem.mkfs_options)?;
                let options = MountOptions::from_plan(Some(fs), &mount_options)?.then(flags);
                Use::Filesystem { plan: filesystem.clone(), fs, options }
            }
            (Access::PoolImage(_), Usage::Block(_)) => Use::Block,
            (Access::PoolDirectory(_), Usage::Filesystem(_)) => {
                let options = MountOptions::from_plan(None, &mount_options)?.then(flags);
                if !options.filesystem.is_empty() {
                    return Err(Error::failed_precondition(
                        "a directory volume takes only flags of the mount itself (ro, nosuid, nodev, noexec, noatime, ...)",
                    ));
                }
                Use::Directory { options }
            }
            (Access::PoolDirectory(_), Usage::Block(_)) => {
                return Err(Error::failed_precondition("a directory can't be used as a block device"));
            }
            (other, _) => return Err(not_yet(&format!("access by {}", other.name()))),
        };
        if capability.is_block() != matches!(usage, Use::Block) {
            return Err(Error::failed_precondition(
                "the backend's plan and the volume capability differ on block device or file system",
            ));
        }
        let (Access::PoolImage(object) | Access::PoolDirectory(object)) = &plan.access else {
            return Err(not_yet("this access"));
        };
        let mut wanted = Self {
            object: object.clone(),
            usage,
            read_only: plan.usage.read_only(),
            expected_size_bytes: plan.expected_size_bytes,
            group,
        };
        wanted.settle_read_only(capability);
        Ok(wanted)
    }

    /// Mounted so that nobody writes.
    pub(super) fn set_read_only(&mut self) {
        match &mut self.usage {
            Use::Block => {}
            Use::Directory { options } | Use::Filesystem { options, .. } => options.set |= attr::RDONLY,
        }
    }

    /// Where nobody may write, the mount is read-only. A file system whose device may be written is mounted for writing
    /// all the same, so that its targets alone decide.
    fn settle_read_only(&mut self, capability: &VolumeCapability) {
        let no_writer = capability.access_mode.is_reader_only() && matches!(self.usage, Use::Directory { .. });
        if self.read_only || no_writer {
            self.set_read_only();
        }
    }
}

fn fs_kind(plan: &Filesystem, capability: &VolumeCapability) -> Result<FsKind> {
    let AccessType::Mount(mount) = &capability.access_type else { return FsKind::parse(&plan.fs_type) };
    if plan.fs_type.is_empty() {
        return FsKind::parse(&mount.fs_type);
    }
    if !mount.fs_type.is_empty() && mount.fs_type != plan.fs_type {
        return Err(Error::failed_precondition(format_args!(
            "the volume capability asks for the file system {:?}, the backend's plan for {:?}",
            bulkhead_domain::error::clean_text(&mount.fs_type, 64),
            bulkhead_domain::error::clean_text(&plan.fs_type, 64)
        )));
    }
    FsKind::parse(&plan.fs_type)
}

fn not_yet(what: &str) -> Error {
    Error::failed_precondition(format_args!("{what} is not supported by this host yet"))
}
