//! Copies and differences of objects: not in this version.

use super::{CopyOrder, ExtentPage, Object, PoolStore};
use bulkhead_domain::{Error, Result};

fn not_yet<T>(what: &str) -> Result<T> {
    Err(Error::unimplemented(format_args!("{what} of pool objects is not supported by this host yet")))
}

impl PoolStore {
    /// Copies objects of one pool at one moment.
    ///
    /// # Errors
    /// Always Unimplemented in this version.
    pub fn copy_objects(&self, _pool: &str, _copies: &[CopyOrder]) -> Result<Vec<Object>> {
        not_yet("copying")
    }

    /// Ranges of an image that hold data, from byte `offset` on.
    ///
    /// # Errors
    /// Always Unimplemented in this version.
    pub fn allocated_extents(&self, _pool: &str, _name: &str, _offset: u64) -> Result<ExtentPage> {
        not_yet("listing allocated extents")
    }

    /// Ranges in which two images differ, from byte `offset` on.
    ///
    /// # Errors
    /// Always Unimplemented in this version.
    pub fn differing_extents(&self, _pool: &str, _base: &str, _target: &str, _offset: u64) -> Result<ExtentPage> {
        not_yet("listing differing extents")
    }
}
