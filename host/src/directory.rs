//! Where nodes make themselves known and the controller half finds them: in this process, and, where the config names one, in
//! a directory that several processes share, one file for each node.

use crate::ops::ports::NodeDirectory;
use anyhow::Context;
use bulkhead_domain::{Error, Result, node::NodeFacts, volume::NodeId};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// Largest file that is read, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// The nodes that a controller knows.
pub struct Nodes {
    /// The node of this process, if it serves the node half.
    here: Option<NodeFacts>,
    directory: Option<PathBuf>,
}

impl Nodes {
    /// Knows `here`, and whoever is in `directory`.
    pub fn new(here: Option<NodeFacts>, directory: Option<PathBuf>) -> Self {
        Self { here, directory }
    }
}

impl NodeDirectory for Nodes {
    fn find(&self, node_id: &NodeId) -> Result<Option<NodeFacts>> {
        if let Some(here) = self.here.as_ref().filter(|here| here.node_id == node_id.as_str()) {
            return Ok(Some(here.clone()));
        }
        self.directory.as_deref().map_or(Ok(None), |directory| read(directory, node_id.as_str()))
    }
}

/// Ids are 256 bytes of anything; a file's name is not.
fn file_of(directory: &Path, node_id: &str) -> PathBuf {
    directory.join(format!("{}.json", hex::encode(&Sha256::digest(node_id)[..16])))
}

fn read(directory: &Path, node_id: &str) -> Result<Option<NodeFacts>> {
    let path = file_of(directory, node_id);
    let broken = |why: String| Error::unavailable(format_args!("can't read what node {node_id} made known: {why}"));
    match fs::metadata(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > FILE_BYTES => return Err(broken(format!("{} is too large", path.display()))),
        _ => {}
    }
    let bytes = fs::read(&path).map_err(|e| broken(format!("{}: {e}", path.display())))?;
    let facts: NodeFacts = serde_json::from_slice(&bytes).map_err(|e| broken(format!("{}: {e}", path.display())))?;
    Ok(Some(facts).filter(|facts| facts.node_id == node_id))
}

/// Makes `facts` known in `directory`, as one: a reader sees the old file or the new one.
///
/// # Errors
/// It can't be written.
pub fn publish(directory: &Path, facts: &NodeFacts) -> anyhow::Result<()> {
    let what = || format!("can't make this node known in {}", directory.display());
    fs::create_dir_all(directory).with_context(what)?;
    let path = file_of(directory, &facts.node_id);
    let aside = path.with_extension(format!("{}.tmp", std::process::id()));
    let bytes = serde_json::to_vec_pretty(facts).with_context(what)?;
    let mut file = fs::File::create(&aside).with_context(what)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).with_context(what)?;
    fs::rename(&aside, &path).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_found_here_and_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let facts = |id: &str| NodeFacts { node_id: id.into(), name: id.into(), ..Default::default() };
        let (a, b) = (facts("a"), facts(&"b/../".repeat(40)));
        publish(dir.path(), &b).unwrap();
        publish(dir.path(), &b).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "one file a node");
        let nodes = Nodes::new(Some(a.clone()), Some(dir.path().to_owned()));
        let find = |id: &str| nodes.find(&NodeId::parse(id).unwrap()).unwrap();
        assert_eq!(find("a"), Some(a.clone()));
        assert_eq!(find(&b.node_id), Some(b.clone()));
        assert_eq!(find("c"), None);
        let alone = Nodes::new(None, None);
        assert_eq!(alone.find(&NodeId::parse("a").unwrap()), Ok(None));
        fs::write(file_of(dir.path(), "broken"), "{").unwrap();
        assert!(nodes.find(&NodeId::parse("broken").unwrap()).is_err());
    }
}
