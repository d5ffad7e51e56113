//! Nothing is left when all claims are gone: no API object, mount, loop device, pool object, journal record.

use crate::{
    POOL, STATE,
    cluster::{Cluster, text_at, until},
    space::PATIENCE,
};
use anyhow::{Result, bail};

/// Waits until nothing is left of any volume.
///
/// # Errors
/// Names what is.
pub fn none(cluster: &Cluster) -> Result<()> {
    until("nothing to be left of the volumes", PATIENCE, || {
        let left = all(cluster)?;
        if left.is_empty() { Ok(Some(())) } else { bail!("left: {}", left.join(", ")) }
    })
}

/// All that is left of volumes, as text.
///
/// # Errors
/// It can't be looked at.
pub fn all(cluster: &Cluster) -> Result<Vec<String>> {
    let mut left = vec![];
    let known = cluster.kubectl(&["api-resources", "-o", "name"])?;
    for kind in
        ["persistentvolumes", "volumeattachments.storage.k8s.io", "volumesnapshotcontents.snapshot.storage.k8s.io"]
    {
        if known.lines().any(|line| line == kind) {
            left.extend(
                cluster.list(kind)?.iter().map(|object| format!("{kind} {}", text_at(object, "/metadata/name"))),
            );
        }
    }
    for (node, devices) in cluster.loops()? {
        left.extend(devices.iter().map(|device| format!("{node}: {device}")));
        left.extend(on_node(cluster, &node)?.iter().map(|what| format!("{node}: {what}")));
    }
    Ok(left)
}

/// Mounts, pool objects and journal records of one node.
fn on_node(cluster: &Cluster, node: &str) -> Result<Vec<String>> {
    let look = format!(
        "grep -o ' [^ ]*\\(kubernetes.io~csi\\|kubernetes.io/csi\\)/[^ ]*' /proc/self/mountinfo | sort -u | sed 's/^ /mount /'
         find {POOL}/objects {POOL}/tmp {POOL}/trash -mindepth 1 -maxdepth 1 2>/dev/null | sed 's/^/pool /'
         find {STATE}/node -mindepth 2 -type f -name '*.json' 2>/dev/null | sed 's/^/journal /'
         true"
    );
    Ok(cluster.on_node(node, &["sh", "-c", &look])?.lines().map(|line| line.trim().to_owned()).collect())
}
