//! What volumes lie on together, and hang with when it does: in the words of messages.

use super::{Access, EphemeralPlan};

/// A pool.
pub fn pool(name: &str) -> String {
    format!("pool {name}")
}

/// A file server, by its name or address: without a port, IPv6 without brackets.
pub fn server(name: &str) -> String {
    format!("server {name}")
}

impl Access {
    /// What the volume lies on, like `pool fast`; none where it has a device of its own.
    pub fn lies_on(&self) -> Option<String> {
        match self {
            Self::PoolDirectory(object) | Self::PoolImage(object) => Some(pool(&object.pool)),
            Self::Nfs(nfs) => nfs.servers.first().map(|first| server(first.host())),
            _ => None,
        }
    }
}

impl EphemeralPlan {
    /// What the volume will lie on.
    pub fn lies_on(&self) -> String {
        pool(&self.pool)
    }
}
