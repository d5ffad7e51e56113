//! A CSI driver in memory that keeps the rules: the suite must pass on it, without root and without a disk. It has every
//! optional service, two or more nodes, attachment, topology and snapshot metadata.
//!
//! Nothing is mounted: staging and publishing are book-keeping, a target is an empty directory or file. Nobody can write to its
//! volumes; so that snapshots differ, a volume's blocks change by themselves each time a snapshot is taken.

mod attach;
mod groups;
mod lists;
mod metadata;
mod node;
mod server;
mod services;
mod snapshots;
mod store;
mod volumes;

pub use server::{Memory, Server};
