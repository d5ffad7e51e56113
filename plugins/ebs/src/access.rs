//! Which uses of a volume are possible.

use crate::model::VolumeItem;
use crate::parameters::{Class, mkfs_options};
use bulkhead_sdk::prelude::*;

/// What a file system is where nobody says: as with the public driver.
pub const DEFAULT_FS: &str = "ext4";

/// How a volume is going to be used, from all capabilities of a request.
#[derive(Debug, Default, PartialEq)]
pub struct Access {
    /// On several nodes at the same time.
    pub several_nodes: bool,
    /// File systems that are named or the default.
    pub fs_types: Vec<String>,
}

impl Access {
    /// Joins what the capabilities ask for, or says why no volume can serve one.
    pub fn of(capabilities: &[VolumeCapability]) -> std::result::Result<Self, String> {
        let mut access = Self::default();
        for capability in capabilities {
            let mode = capability.access_mode;
            if mode.is_multi_node() && (!capability.is_block() || mode != AccessMode::MultiNodeMultiWriter) {
                return Err(format!(
                    "access mode {}: on several nodes at once only raw block volumes of type io2, as {}",
                    mode.name(),
                    AccessMode::MultiNodeMultiWriter.name()
                ));
            }
            access.several_nodes |= mode.is_multi_node();
            if !capability.is_block() {
                let fs_type = capability.fs_type().unwrap_or(DEFAULT_FS);
                if !matches!(fs_type, "ext4" | "xfs") {
                    return Err(format!("file system `{fs_type}`: supported are ext4 and xfs"));
                }
                access.fs_types.push(fs_type.to_owned());
            }
        }
        Ok(access)
    }

    /// Why a volume of this class can't serve it.
    pub fn fits_class(&self, class: &Class) -> std::result::Result<(), String> {
        if self.several_nodes && !class.kind().multi_attach {
            return Err(format!("type {}: only io2 can be on several nodes at once", class.kind().name));
        }
        self.fs_types.iter().try_for_each(|fs_type| mkfs_options(&class.format, fs_type).map(drop))
    }

    /// Why this volume can't serve it.
    pub fn fits_volume(&self, volume: &VolumeItem) -> std::result::Result<(), String> {
        if self.several_nodes && volume.multi_attach_enabled != "true" {
            return Err(format!("volume {} wasn't made for several nodes at once", volume.volume_id));
        }
        Ok(())
    }
}
