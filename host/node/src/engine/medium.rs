//! The device that a file system is on, on its way to being mounted.

use crate::fs::format::Tool;
use std::fs::File;
use std::path::Path;

/// A device with an image or a disk behind it.
pub(super) struct Medium<'a> {
    /// As it is mounted and shown.
    pub(super) device: &'a Path,
    /// As helpers are to open it.
    pub(super) tool: Tool<'a>,
    /// What is on it, for reading.
    pub(super) content: &'a File,
    pub(super) size_bytes: u64,
}
