//! A claim, a pod, data that stays; the kinds of volumes and how pods use them.

use super::{BOTH, Flow, Shape};
use crate::{
    CLASS, DRIVER,
    objects::{Claim, Pod},
    space::Space,
};
use anyhow::{Result, ensure};
use serde_json::json;

/// See the module.
pub const FLOWS: &[Flow] = &[
    Flow {
        name: "write-and-read",
        about: "a pod writes; it is deleted, and a new pod on the same node reads",
        shapes: BOTH,
        run: write_and_read,
    },
    Flow { name: "raw-block", about: "a raw device keeps what was written to it", shapes: BOTH, run: raw_block },
    Flow {
        name: "generic-ephemeral",
        about: "a pod's own claim comes and goes with it",
        shapes: BOTH,
        run: generic_ephemeral,
    },
    Flow {
        name: "inline-ephemeral",
        about: "an inline CSI volume comes and goes with its pod",
        shapes: BOTH,
        run: inline_ephemeral,
    },
    Flow {
        name: "read-write-once-pod",
        about: "a second pod waits until the first is gone",
        shapes: BOTH,
        run: read_write_once_pod,
    },
    Flow { name: "fs-group", about: "files belong to the pod's fsGroup", shapes: BOTH, run: fs_group },
    Flow {
        name: "late-binding",
        about: "a pod goes to the node with room for its claim",
        shapes: &[Shape::PerNode],
        run: late_binding,
    },
];

fn write_and_read(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays("writes", "echo hello > /v/f && sync").claim("data").within(ns))?;
    let node = space.node_of("writes")?;
    space.remove("pod", "writes")?;
    // Where the volume is, the scheduler alone must find out.
    space.start(&Pod::stays("reads", "true").claim("data").within(ns))?;
    ensure!(space.node_of("reads")? == node, "the pod went to another node than the volume's");
    let read = space.exec("reads", "cat /v/f")?;
    ensure!(read == "hello\n", "read {read:?}");
    let mounted = space.exec("reads", "grep ' /v ' /proc/mounts")?;
    ensure!(mounted.contains(" xfs "), "not the class's file system: {mounted}");
    Ok(None)
}

fn raw_block(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("raw", CLASS, "64Mi").block().within(ns))?;
    let write = "test -b /dev/v && echo rawdata | dd of=/dev/v bs=512 conv=sync,fsync";
    space.run(&Pod::ends("writes", write).device("raw").within(ns))?;
    let size = space.run(&Pod::ends("sizes", "blockdev --getsize64 /dev/v").device("raw").within(ns))?;
    ensure!(size.trim() == (64 << 20).to_string(), "the device has {size}");
    let read = space.run(&Pod::ends("reads", "dd if=/dev/v bs=8 count=1 2>/dev/null").device("raw").within(ns))?;
    ensure!(read == "rawdata\n", "read {read:?}");
    Ok(None)
}

fn generic_ephemeral(space: &Space<'_>) -> Result<Option<String>> {
    let template = json!({"ephemeral": {"volumeClaimTemplate": {"spec": {
        "storageClassName": CLASS, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }}}});
    space.start(&Pod::stays("pod", "echo x > /v/f").volume(template).within(&space.namespace))?;
    space.remove("pod", "pod")?;
    Ok(None)
}

fn inline_ephemeral(space: &Space<'_>) -> Result<Option<String>> {
    let inline = |attributes| json!({"csi": {"driver": DRIVER, "fsType": "ext4", "volumeAttributes": attributes}});
    let pod = Pod::stays("pod", "echo x > /v/f && echo y > /v2/f")
        .volume(inline(json!({"pool": "fast", "size": "64Mi"})))
        .volume(inline(json!({"pool": "fast", "size": "64Mi", "type": "directory"})));
    space.start(&pod.within(&space.namespace))?;
    let mounted = space.exec("pod", "grep ' /v ' /proc/mounts; df -k /v | tail -1")?;
    ensure!(mounted.contains(" ext4 "), "{mounted}");
    space.remove("pod", "pod")?;
    crate::leftovers::none(space.cluster)?;
    Ok(None)
}

fn read_write_once_pod(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("mine", CLASS, "1Gi").access("ReadWriteOncePod").within(ns))?;
    space.start(&Pod::stays("first", "echo one > /v/f").claim("mine").within(ns))?;
    space.apply(&Pod::stays("second", "cat /v/f").claim("mine").within(ns))?;
    space.event("Pod", "second", &["FailedScheduling", "ReadWriteOncePod"])?;
    space.remove("pod", "first")?;
    space.ready("second")?;
    Ok(None)
}

fn fs_group(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS, "1Gi").within(ns))?;
    let line = "touch /v/f && stat -c %g /v /v/f && id -u";
    let pod = Pod::ends("writes", line).claim("data").spec(|spec| {
        spec["securityContext"] = json!({"runAsUser": 1234, "runAsGroup": 1234, "fsGroup": 4321});
    });
    let printed = space.run(&pod.within(ns))?;
    ensure!(printed == "4321\n4321\n1234\n", "groups and user: {printed:?}");
    Ok(None)
}

/// Node 1's pool is filled up: the capacity that the driver reports there must send the pod to node 2.
fn late_binding(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    let nodes = space.cluster.nodes()?;
    let (full, free) = (&nodes[0], &nodes[1]);
    let filler = format!("{}/filler", crate::POOL);
    let room = space.cluster.on_node(full, &["stat", "-f", "-c", "%a %S", crate::POOL])?;
    let room: u64 = room.split_whitespace().filter_map(|n| n.parse::<u64>().ok()).product();
    let _remove = Filler { space, node: full, file: &filler };
    space.cluster.on_node(full, &["fallocate", "-l", &(room - (2 << 30)).to_string(), &filler])?;
    let capacity = crate::cluster::until("the capacity of the full node to be known", super::LONG, || {
        Ok(capacity_of(space, full)?.filter(|bytes| *bytes < 3 << 30))
    })?;
    for name in ["a", "b", "c"] {
        space.apply(&Claim::new(name, CLASS, "6Gi").within(ns))?;
        space.start(&Pod::stays(name, "echo x > /v/f").claim(name).within(ns))?;
        let node = space.node_of(name)?;
        ensure!(&node == free, "pod {name} went to {node}, which has {capacity} bytes");
    }
    Ok(Some(format!("{full} had {} MiB", capacity >> 20)))
}

/// Bytes that are free for a class on a node, as its CSIStorageCapacity says.
pub fn capacity_of(space: &Space<'_>, node: &str) -> Result<Option<u64>> {
    let key = format!("topology.{DRIVER}/node");
    let found = space.cluster.list("csistoragecapacities")?;
    let of_node = found.iter().find(|capacity| {
        capacity["storageClassName"] == CLASS && capacity["nodeTopology"]["matchLabels"][&key] == node
    });
    Ok(of_node.and_then(|capacity| bytes(capacity["capacity"].as_str()?)))
}

/// A Kubernetes quantity of bytes, of the kinds that the API server gives.
fn bytes(quantity: &str) -> Option<u64> {
    let digits = quantity.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match &quantity[digits.len()..] {
        "" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "k" => 1_000,
        "M" => 1_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok().map(|n| n * factor)
}

/// Takes room away until it is dropped.
struct Filler<'a> {
    space: &'a Space<'a>,
    node: &'a str,
    file: &'a str,
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.space.cluster.on_node(self.node, &["rm", "-f", self.file]) {
            println!("can't remove {}: {error:#}", self.file);
        }
    }
}
