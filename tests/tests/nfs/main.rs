//! Tier "nfs": the backend `nfs` in the test VM, with the kernel's own NFS server: the pool on a mounted share, volumes that nodes mount
//! by themselves, csi-sanity and our own suite.
#![allow(missing_docs, clippy::unwrap_used)]

mod life;
mod pool;
mod rig;
mod suites;
