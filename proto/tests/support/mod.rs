//! The descriptor of the crate, and the tables of what CSI says.

use std::collections::BTreeSet;

use bulkhead_proto::FILE_DESCRIPTOR_SET;
use prost_reflect::DescriptorPool;

const PUBLISHED: &str = include_str!("../csi-1.13.txt");
const LEFTOVERS: &str = include_str!("../csi-1.12-leftovers.txt");

pub fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("a valid descriptor set")
}

/// The facts of both tables.
pub fn table() -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for line in PUBLISHED.lines().chain(LEFTOVERS.lines()) {
        if !line.is_empty() && !line.starts_with('#') {
            assert!(facts.insert(line.to_owned()), "twice in the tables: {line}");
        }
    }
    facts
}
