//! File systems: looking whether there is one, making, growing and mounting it.

pub(crate) mod format;
pub(crate) mod grow;
pub(crate) mod mount;
pub(crate) mod options;
pub(crate) mod probe;
