//! The host and the kubelet come and go; pods don't notice.

use super::{Flow, Shape, faults::node_pod};
use crate::{
    CLASS, CLASS_EXT4, DRIVER, NAMESPACE,
    cluster::{run, text_at, until},
    objects::{Claim, Pod},
    space::{PATIENCE, Space},
};
use anyhow::{Context, Result, bail, ensure};
use std::{process::Command, time::Duration};

/// See the module.
pub const FLOWS: &[Flow] = &[
    Flow {
        name: "host-killed",
        about: "the host is killed again and again under load: no I/O error, same mounts, same devices",
        shapes: &[Shape::PerNode],
        run: host_killed,
    },
    Flow {
        name: "upgrade",
        about: "the host is replaced by another build with pods running: no I/O error, same mounts, same devices",
        shapes: &[Shape::PerNode],
        run: upgrade,
    },
    Flow {
        name: "kubelet-restart",
        about: "the kubelet is killed: the driver is registered again and serves",
        shapes: &[Shape::PerNode],
        run: kubelet_restart,
    },
    Flow {
        name: "registry-wiped",
        about: "the kubelet's plugin folders are wiped: sockets come back and the driver is registered again",
        shapes: &[Shape::PerNode],
        run: registry_wiped,
    },
];

/// Writes, syncs and reads back for ever; anything wrong is on record.
const LOAD: &str = "(n=0; while :; do n=$((n+1)); for d in /v /v2; do \
    { echo $n > $d/n && sync $d/n && [ \"$(cat $d/n)\" = $n ]; } || echo \"$d $n\" >> /tmp/errors; done; echo $n > /tmp/.n; mv /tmp/.n /tmp/n; done) & sleep 1";

/// Two pods on the first node with two volumes each, under load.
pub struct Loaded {
    /// Where they are.
    pub node: String,
    before: String,
    devices: Vec<String>,
}

impl Loaded {
    /// Makes claims and pods.
    pub fn start(space: &Space<'_>) -> Result<Self> {
        let ns = &space.namespace;
        let node = space.cluster.nodes()?.swap_remove(0);
        for pod in ["one", "two"] {
            for (claim, class) in [("a", CLASS), ("b", CLASS_EXT4)] {
                space.apply(&Claim::new(&format!("{pod}-{claim}"), class, "1Gi").within(ns))?;
            }
            let pod = Pod::stays(pod, LOAD).claim(&format!("{pod}-a")).claim(&format!("{pod}-b")).node(&node);
            space.start(&pod.within(ns))?;
        }
        let (before, devices) = (mounts(space, &node)?, space.cluster.loops()?.remove(&node).unwrap_or_default());
        ensure!(devices.len() == 4, "four devices expected: {devices:?}");
        Ok(Self { node, before, devices })
    }

    /// What must not have changed, and that the load goes on.
    pub fn check(&self, space: &Space<'_>) -> Result<()> {
        let now = mounts(space, &self.node)?;
        ensure!(now == self.before, "mounts changed:\n{}\nto:\n{now}", self.before);
        let devices = space.cluster.loops()?.remove(&self.node).unwrap_or_default();
        ensure!(devices == self.devices, "devices changed: {:?} to {devices:?}", self.devices);
        for pod in ["one", "two"] {
            let n = || -> Result<u64> { Ok(space.exec(pod, "cat /tmp/n")?.trim().parse()?) };
            let first = n()?;
            until(&format!("the load in pod {pod} to go on"), PATIENCE, || Ok((n()? > first).then_some(())))?;
            let errors = space.exec(pod, "cat /tmp/errors 2>/dev/null; true")?;
            ensure!(errors.is_empty(), "I/O errors in pod {pod}: {errors}");
            let status = space.get("pod", pod)?;
            ensure!(text_at(&status, "/status/containerStatuses/0/restartCount") == "0", "pod {pod} was restarted");
        }
        Ok(())
    }
}

/// Mount ids and targets of all volumes on a node, sorted.
fn mounts(space: &Space<'_>, node: &str) -> Result<String> {
    let look = "grep 'kubernetes.io.csi' /proc/self/mountinfo | awk '{print $1, $3, $4, $5}' | sort";
    space.cluster.on_node(node, &["sh", "-c", look])
}

/// Pid of the host on a node, in the cluster's pid namespace.
pub fn host_pid(space: &Space<'_>, node: &str) -> Result<String> {
    let pod = space.cluster.get(NAMESPACE, "pod", &node_pod(space, node)?)?.context("the driver's pod is gone")?;
    let statuses = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
    let container =
        statuses.iter().find(|c| c["name"] == "bulkhead").map(|c| text_at(c, "/containerID")).unwrap_or_default();
    let id = container.rsplit('/').next().unwrap_or_default().to_owned();
    ensure!(!id.is_empty(), "the host's container has no id yet");
    for process in std::fs::read_dir("/proc")? {
        let path = process?.path();
        let (Ok(cgroup), Ok(name)) =
            (std::fs::read_to_string(path.join("cgroup")), std::fs::read_to_string(path.join("comm")))
        else {
            continue;
        };
        if cgroup.contains(&id) && name.trim() == "bulkhead" {
            return Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    bail!("no process of the host in container {id}")
}

/// Whether the kubelet of a node has the driver in its CSINode.
fn registered(space: &Space<'_>, node: &str) -> Result<bool> {
    let csinode = space.cluster.get("default", "csinode", node)?.context("no CSINode")?;
    let drivers = csinode["spec"]["drivers"].as_array().cloned().unwrap_or_default();
    Ok(drivers.iter().any(|driver| driver["name"] == DRIVER))
}

/// A claim and a pod on the node, from nothing to gone.
fn serves(space: &Space<'_>, node: &str, name: &str) -> Result<()> {
    let ns = &space.namespace;
    space.apply(&Claim::new(name, CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays(name, "echo x > /v/f").claim(name).node(node).within(ns))?;
    space.remove("pod", name)?;
    space.remove("pvc", name)
}

fn host_killed(space: &Space<'_>) -> Result<Option<String>> {
    let load = Loaded::start(space)?;
    for round in 0..3 {
        let pid = host_pid(space, &load.node)?;
        // Volumes come and go while it is killed.
        let ns = &space.namespace;
        let name = format!("busy{round}");
        space.apply(&Claim::new(&name, CLASS, "1Gi").within(ns))?;
        space.apply(&Pod::stays(&name, "echo x > /v/f").claim(&name).node(&load.node).within(ns))?;
        std::thread::sleep(Duration::from_millis(400 * (round + 1)));
        run(Command::new("kill").args(["-9", &pid]))?;
        until("the host to run again", super::LONG, || Ok((host_pid(space, &load.node)? != pid).then_some(())))?;
        space.ready(&name)?;
        space.remove("pod", &name)?;
        space.remove("pvc", &name)?;
    }
    until("the busy pods' devices to be gone", PATIENCE, || {
        Ok((space.cluster.loops()?.remove(&load.node).unwrap_or_default() == load.devices).then_some(()))
    })?;
    load.check(space)?;
    Ok(None)
}

/// The image of the same name with `-next` at its tag is another build; see run.sh.
fn upgrade(space: &Space<'_>) -> Result<Option<String>> {
    let load = Loaded::start(space)?;
    let (set, image) = daemon_set(space)?;
    let set_image = |image: &str| -> Result<()> {
        let container = format!("bulkhead={image}");
        space.cluster.kubectl(&["-n", NAMESPACE, "set", "image", &set, &container])?;
        space.cluster.kubectl(&["-n", NAMESPACE, "rollout", "status", &set, "--timeout=180s"]).map(drop)
    };
    let version = || {
        space.cluster.kubectl(&[
            "-n",
            NAMESPACE,
            "exec",
            &set,
            "-c",
            "bulkhead",
            "--",
            "/usr/bin/bulkhead",
            "--version",
        ])
    };
    let old = version()?;
    let outcome = set_image(&format!("{image}-next")).and_then(|()| {
        let new = version()?;
        ensure!(new != old, "still {old}");
        load.check(space)?;
        serves(space, &load.node, "new")?;
        Ok(format!("{} -> {}", old.trim(), new.trim()))
    });
    let back = set_image(&image);
    let note = outcome?;
    back?;
    load.check(space)?;
    Ok(Some(note + " and back"))
}

fn daemon_set(space: &Space<'_>) -> Result<(String, String)> {
    let sets = space.cluster.list("daemonsets")?;
    let set = sets.iter().find(|set| set["metadata"]["namespace"] == NAMESPACE).context("no DaemonSet")?;
    let containers = set["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default();
    let host = containers.iter().find(|c| c["name"] == "bulkhead").context("no container of the host")?;
    Ok((format!("daemonset/{}", text_at(set, "/metadata/name")), text_at(host, "/image")))
}

fn kubelet_restart(space: &Space<'_>) -> Result<Option<String>> {
    let load = Loaded::start(space)?;
    let process = load.node.replace("node", "kubelet");
    for _ in 0..2 {
        let pid = space.cluster.pid(&process)?;
        run(Command::new("kill").args(["-9", &pid]))?;
        until("the kubelet to run again", PATIENCE, || Ok((space.cluster.pid(&process)? != pid).then_some(())))?;
        serves(space, &load.node, "after")?;
        ensure!(registered(space, &load.node)?, "not registered");
    }
    load.check(space)?;
    Ok(None)
}

fn registry_wiped(space: &Space<'_>) -> Result<Option<String>> {
    let node = space.cluster.nodes()?.swap_remove(0);
    let wipe = "rm -rf /var/lib/kubelet/plugins_registry/* /var/lib/kubelet/plugins/*/csi.sock";
    space.cluster.on_node(&node, &["sh", "-c", wipe])?;
    until("the kubelet to forget the driver", PATIENCE, || Ok((!registered(space, &node)?).then_some(())))
        .or_else(|_| Ok::<(), anyhow::Error>(()))?;
    until("the driver to be registered again", super::LONG, || Ok(registered(space, &node)?.then_some(())))?;
    serves(space, &node, "after")?;
    Ok(None)
}
