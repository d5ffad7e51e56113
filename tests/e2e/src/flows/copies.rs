//! Snapshots, restores, clones, groups.

use super::{BOTH, Flow, Shape};
use crate::{
    CLASS,
    cluster::text_at,
    objects::{Claim, Pod, snapshot},
    space::Space,
};
use anyhow::{Result, bail, ensure};
use serde_json::json;

/// See the module.
pub const FLOWS: &[Flow] = &[
    Flow {
        name: "snapshot",
        about: "a snapshot of a volume in use is restored; the restored volume has what was there then",
        shapes: BOTH,
        run: take_and_restore,
    },
    Flow {
        name: "restore-elsewhere",
        about: "a restore whose pod may go anywhere ends up beside its source, or its event names the node",
        shapes: &[Shape::PerNode],
        run: restore_unpinned,
    },
    Flow { name: "clone", about: "a clone has its source's data and is its own", shapes: BOTH, run: clone },
    Flow {
        name: "group-snapshot",
        about: "two volumes of one pod are cut at one moment, and both restored",
        shapes: &[Shape::Beside],
        run: group,
    },
];

/// A claim with a pod that has written to it.
fn source(space: &Space<'_>, line: &str) -> Result<String> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays("holder", line).claim("data").within(ns))?;
    space.node_of("holder")
}

fn cut(space: &Space<'_>, name: &str, claim: &str) -> Result<()> {
    space.apply(&snapshot(&space.namespace, name, CLASS, claim))?;
    space.wait("volumesnapshot", name, "/status/readyToUse", "true")
}

fn take_and_restore(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    let node = source(space, "echo before > /v/f && sync")?;
    cut(space, "snap", "data")?;
    space.exec("holder", "echo after > /v/f && sync")?;
    // The source may go before it is restored.
    space.remove("pod", "holder")?;
    space.remove("pvc", "data")?;
    space.apply(&Claim::new("restored", CLASS, "2Gi").from_snapshot("snap").within(ns))?;
    let line = "cat /v/f; df -k /v | tail -1 | awk '{print ($2 > 1500000)}'";
    let read = space.run(&Pod::ends("reads", line).claim("restored").node(&node).within(ns))?;
    ensure!(read == "before\n1\n", "content, and whether it fills 2 GiB: {read:?}");
    Ok(None)
}

fn restore_unpinned(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    let node = source(space, "echo before > /v/f && sync")?;
    cut(space, "snap", "data")?;
    let mut at_once = 0;
    for n in 0..4 {
        let name = format!("restored{n}");
        space.apply(&Claim::new(&name, CLASS, "1Gi").from_snapshot("snap").within(ns))?;
        space.apply(&Pod::stays(&name, "true").claim(&name).within(ns))?;
        let here = crate::cluster::until("the pod to be Ready, or an event with the node", super::LONG, || {
            if text_at(&space.get("pod", &name)?, "/status/phase") == "Running" {
                return Ok(Some(true));
            }
            let events = space.cluster.events(ns, "PersistentVolumeClaim", &name)?;
            Ok(events.iter().any(|event| event.contains(&format!("node {node}"))).then_some(false))
        })?;
        if here {
            at_once += 1;
            ensure!(space.node_of(&name)? == node, "restored on another node than the snapshot's");
            ensure!(space.exec(&name, "cat /v/f")? == "before\n", "other content");
        }
    }
    Ok(Some(format!("{at_once} of 4 at once, the others' events name {node}")))
}

fn clone(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    let node = source(space, "echo mine > /v/f && sync")?;
    space.apply(&Claim::new("clone", CLASS, "1Gi").from_claim("data").within(ns))?;
    space.start(&Pod::stays("reads", "cat /v/f && echo changed > /v/f").claim("clone").node(&node).within(ns))?;
    ensure!(space.exec("holder", "cat /v/f")? == "mine\n", "the clone wrote to its source");
    space.remove("pod", "holder")?;
    space.remove("pvc", "data")?;
    ensure!(space.exec("reads", "cat /v/f")? == "changed\n", "the clone needs its source");
    Ok(None)
}

/// One pod writes the same number to two volumes, one after the other: a cut at one moment has numbers that differ by at most one.
fn group(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    for name in ["left", "right"] {
        space.apply(&Claim::new(name, CLASS, "1Gi").label("app", "pair").within(ns))?;
    }
    let count = "n=0; (while :; do n=$((n+1)); echo $n > /v/n; sync /v/n; echo $n > /v2/n; sync /v2/n; done) & true";
    space.start(&Pod::stays("writes", &format!("{{ {count}; }}")).claim("left").claim("right").within(ns))?;
    space.apply(&json!({
        "apiVersion": "groupsnapshot.storage.k8s.io/v1",
        "kind": "VolumeGroupSnapshot",
        "metadata": {"name": "pair", "namespace": ns},
        "spec": {"volumeGroupSnapshotClassName": CLASS, "source": {"selector": {"matchLabels": {"app": "pair"}}}},
    }))?;
    space.wait("volumegroupsnapshot", "pair", "/status/readyToUse", "true")?;
    space.remove("pod", "writes")?;
    let mut restored = vec![];
    for member in space.cluster.list("volumesnapshots")? {
        let (name, claim) =
            (text_at(&member, "/metadata/name"), text_at(&member, "/spec/source/persistentVolumeClaimName"));
        if text_at(&member, "/metadata/namespace") != *ns {
            continue;
        }
        space.wait("volumesnapshot", &name, "/status/readyToUse", "true")?;
        let copy = format!("copy-of-{claim}-{}", restored.len());
        space.apply(&Claim::new(&copy, CLASS, "1Gi").from_snapshot(&name).within(ns))?;
        restored.push(copy);
    }
    let [one, two] = restored.as_slice() else { bail!("the group has {} members", restored.len()) };
    let read = space.run(&Pod::ends("reads", "cat /v/n /v2/n").claim(one).claim(two).within(ns))?;
    let numbers: Vec<i64> = read.lines().filter_map(|line| line.parse().ok()).collect();
    let [a, b] = numbers.as_slice() else { bail!("read {read:?}") };
    ensure!((a - b).abs() <= 1, "not cut at one moment: {a} and {b}");
    space.remove("volumegroupsnapshot", "pair")?;
    Ok(Some(format!("counters at the cut: {a} and {b}")))
}
