//! A plan and a capability, checked: what this host can carry out.

use super::group::mount_group;
use crate::fs::format::FsKind;
use crate::fs::options::{MountOptions, attr, mkfs_arguments};
use crate::nfs;
use bulkhead_domain::capability::{AccessType, VolumeCapability};
use bulkhead_domain::plan::{Access, Filesystem, LocalDevice, Plan, PoolObject, Usage};
use bulkhead_domain::{Error, Result};

/// Where a volume comes from.
pub(super) enum Origin {
    /// An object of a pool.
    Object(PoolObject),
    /// A disk that the platform attaches.
    Disk(LocalDevice),
    /// An export of an NFS server, with all its options.
    Export(Box<nfs::Wanted>),
}

/// How a volume is used.
pub(super) enum Use {
    /// A file system on an image or a disk.
    Filesystem { plan: Filesystem, fs: FsKind, options: MountOptions },
    /// An image or a disk as a raw device.
    Block,
    /// A directory.
    Directory { options: MountOptions },
    /// What is a file system by itself.
    Export,
}

/// What is to be staged.
pub(super) struct Wanted {
    pub(super) origin: Origin,
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
            (Access::PoolImage(_) | Access::LocalDevice(_), Usage::Filesystem(filesystem)) => {
                let fs = fs_kind(filesystem, capability)?;
                mkfs_arguments(fs, &filesystem.mkfs_options)?;
                let mut options = MountOptions::from_plan(Some(fs), &mount_options)?.then(flags);
                // A disk that vanished and came back has the UUID of its dead mount, which the kernel keeps as long as a file on it
                // is open; a restored one has that of its source.
                let on_disk = matches!(plan.access, Access::LocalDevice(_));
                if on_disk && fs == FsKind::Xfs && !options.filesystem.iter().any(|(key, _)| key == "nouuid") {
                    options.filesystem.push(("nouuid".to_owned(), None));
                }
                Use::Filesystem { plan: filesystem.clone(), fs, options }
            }
            (Access::PoolImage(_) | Access::LocalDevice(_), Usage::Block(_)) => Use::Block,
            (Access::PoolDirectory(_), Usage::Directory(_)) => {
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
            (Access::Nfs(_), Usage::Directory(_)) => Use::Export,
            (Access::Nfs(_), Usage::Block(_)) => {
                return Err(Error::failed_precondition("an NFS export can't be used as a block device"));
            }
            (Access::PoolImage(_) | Access::LocalDevice(_), Usage::Directory(_)) => {
                return Err(Error::failed_precondition("a block device can't be used as a directory"));
            }
            (Access::PoolDirectory(_) | Access::Nfs(_), Usage::Filesystem(_)) => {
                return Err(Error::failed_precondition("a directory has no file system that this host could make"));
            }
            (other, _) => return Err(not_yet(&format!("access by {}", other.name()))),
        };
        if capability.is_block() != matches!(usage, Use::Block) {
            return Err(Error::failed_precondition(
                "the backend's plan and the volume capability differ on block device or file system",
            ));
        }
        let origin = match &plan.access {
            Access::PoolImage(object) | Access::PoolDirectory(object) => Origin::Object(object.clone()),
            Access::LocalDevice(device) => Origin::Disk(device.clone()),
            Access::Nfs(export) => {
                let flags = MountOptions::from_flags(capability.mount_flags())?;
                Origin::Export(Box::new(nfs::wanted(export, &mount_options, flags)?))
            }
            other => return Err(not_yet(&format!("access by {}", other.name()))),
        };
        let mut wanted = Self {
            origin,
            usage,
            read_only: plan.usage.read_only(),
            expected_size_bytes: plan.expected_size_bytes,
            group,
        };
        wanted.settle_read_only(capability);
        Ok(wanted)
    }

    /// The object that it comes from.
    ///
    /// # Errors
    /// Internal: it comes from elsewhere.
    pub(super) fn object(&self) -> Result<&PoolObject> {
        match &self.origin {
            Origin::Object(object) => Ok(object),
            Origin::Disk(_) | Origin::Export(_) => Err(Error::internal("the volume does not come from a pool")),
        }
    }

    /// Mounted so that nobody writes.
    pub(super) fn set_read_only(&mut self) {
        match &mut self.usage {
            Use::Block => {}
            Use::Export => {
                if let Origin::Export(export) = &mut self.origin {
                    export.options.set |= attr::RDONLY;
                }
            }
            Use::Directory { options } | Use::Filesystem { options, .. } => options.set |= attr::RDONLY,
        }
    }

    /// Where nobody may write, the mount is read-only. A file system whose device may be written is mounted for writing
    /// all the same, so that its targets alone decide.
    fn settle_read_only(&mut self, capability: &VolumeCapability) {
        let is_shared = matches!(self.usage, Use::Directory { .. } | Use::Export);
        let no_writer = capability.access_mode.is_reader_only() && is_shared;
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
