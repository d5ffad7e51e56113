//! The controller as a Deployment without privileges, for storage that all nodes reach.

use super::{
    Flow, Shape,
    drivers::{rendered, top},
};
use crate::{
    cluster::{text_at, until},
    objects::{Claim, Pod, snapshot},
    space::{PATIENCE, Space},
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
};

/// See the module.
pub const FLOWS: &[Flow] = &[Flow {
    name: "deployment",
    about: "a controller without privileges, directories for several nodes at once: two pods share one, snapshot, restore, growth",
    shapes: &[Shape::PerNode],
    run,
}];

/// The user of the controller's pod.
const USER: u32 = 65532;
/// Name of the release, its class and the class of its snapshots.
const CLASS: &str = "bulkhead-shared";
const DRIVER: &str = "shared.csi.bulkhead.dev";

fn run(space: &Space<'_>) -> Result<Option<String>> {
    let folder = space.cluster.work.join("shared");
    for part in ["nodes", "volumes"] {
        let path = folder.join(part);
        fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
        chown(&path, Some(USER), Some(USER))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let text = manifests(space)?;
    space.cluster.apply_text(&text)?;
    let outcome = play(space);
    space.end().context("removing the pods while their driver is there")?;
    let left = left(&folder);
    space.cluster.delete_text(&text)?;
    fs::remove_dir_all(&folder).with_context(|| format!("can't remove {}", folder.display()))?;
    let note = outcome?;
    ensure!(left?.is_empty(), "objects are left in the pool");
    Ok(note)
}

/// The chart, as a second release in this flow's namespace.
fn manifests(space: &Space<'_>) -> Result<String> {
    let values = fs::read_to_string(top()?.join("tests/e2e/values/shared.yaml"))?;
    let file: PathBuf = space.cluster.work.join("run/shared.yaml");
    let folder = space.cluster.work.join("shared");
    fs::write(&file, values.replace("SHARED", &folder.to_string_lossy()))?;
    rendered("shared", &space.namespace, &file)
}

fn play(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    for what in ["deployment/shared-bulkhead-controller", "daemonset/shared-bulkhead-node"] {
        space.cluster.kubectl(&["-n", ns, "rollout", "status", what, "--timeout=120s"])?;
    }
    let nodes = space.cluster.nodes()?;
    space.apply(&Claim::new("shared", CLASS, "64Mi").access("ReadWriteMany").within(ns))?;
    space.bound("shared")?;
    for (index, node) in nodes.iter().enumerate() {
        let name = format!("pod{}", index + 1);
        space.start(&Pod::stays(&name, &format!("echo {node} > /v/{name}")).claim("shared").node(node).within(ns))?;
    }
    ensure!(space.exec("pod1", "cat /v/pod2")?.trim() == nodes[1], "what one pod writes, the other doesn't read");
    let attached = space.cluster.list("volumeattachments")?;
    let to_nodes = attached.iter().filter(|a| a["spec"]["attacher"] == DRIVER && a["status"]["attached"] == true);
    ensure!(to_nodes.count() == nodes.len(), "it isn't attached to each node: {attached:?}");

    // A directory that is written to can't be held still: the status says so, and the snapshot is made once no pod has it.
    space.apply(&snapshot(ns, "before", CLASS, "shared"))?;
    until("the snapshot's status to say what it waits for", PATIENCE, || {
        let error = text_at(&space.get("volumesnapshot", "before")?, "/status/error/message");
        Ok(error.contains("is staged for writing").then_some(()))
    })?;
    space.resize("shared", "96Mi")?;
    space.resized("shared", "96Mi")?;
    // Nobody attaches or detaches while the controller is away, and what is mounted stays.
    let before = controller(space)?;
    space.cluster.kubectl(&["-n", ns, "delete", "pod", &before, "--wait=true", "--timeout=60s"])?;
    space.exec("pod1", "echo still > /v/pod1 && sync")?;
    space.remove("pod", "pod2")?;
    until("the volume to be detached from the node without pod", PATIENCE, || {
        let attached = space.cluster.list("volumeattachments")?;
        let there =
            attached.iter().any(|a| a["spec"]["attacher"] == DRIVER && a["spec"]["nodeName"] == nodes[1].as_str());
        Ok((!there).then_some(()))
    })?;
    space.remove("pod", "pod1")?;
    space.wait("volumesnapshot", "before", "/status/readyToUse", "true")?;
    space.apply(&Claim::new("restored", CLASS, "96Mi").access("ReadWriteMany").from_snapshot("before").within(ns))?;
    let read = space.run(&Pod::ends("reader", "cat /v/pod1 /v/pod2").claim("restored").within(ns))?;
    ensure!(read.split_whitespace().eq(["still", nodes[1].as_str()]), "the restored volume holds {read:?}");

    space.remove("volumesnapshot", "before")?;
    for claim in ["restored", "shared"] {
        let volume = text_at(&space.get("pvc", claim)?, "/spec/volumeName");
        space.remove("pvc", claim)?;
        until("the volume to be deleted", PATIENCE, || {
            Ok(space.cluster.get("default", "persistentvolume", &volume)?.is_none().then_some(()))
        })?;
    }
    Ok(None)
}

/// The controller's pod.
fn controller(space: &Space<'_>) -> Result<String> {
    let label = "app.kubernetes.io/instance=shared,app.kubernetes.io/component=controller";
    let name = ["-n", &space.namespace, "get", "pods", "-l", label, "-o", "jsonpath={.items[0].metadata.name}"];
    space.cluster.kubectl(&name)
}

/// Objects in the pool.
fn left(folder: &std::path::Path) -> Result<Vec<String>> {
    let objects = folder.join("volumes/objects");
    let entries = fs::read_dir(&objects).with_context(|| format!("can't read {}", objects.display()))?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
