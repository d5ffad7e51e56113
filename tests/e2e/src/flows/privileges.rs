//! Each host path and privilege of the driver's pod is taken away in turn, and the flow that docs/security.md names for it fails.

use super::{
    Flow, Shape,
    drivers::{apply_manifests, rolled_out},
    faults::{delete_pod, node_pod, ready},
};
use crate::{
    CLASS, NAMESPACE,
    cluster::{text_at, until},
    objects::{Claim, Pod},
    space::Space,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// See the module.
pub const FLOWS: &[Flow] = &[Flow {
    name: "privileges",
    about: "without any one of the host paths and privileges of docs/security.md, what it is for fails",
    shapes: &[Shape::PerNode],
    run: privileges,
}];

/// Long enough for what works to have worked.
const SHORT: Duration = Duration::from_secs(12);

/// What is taken away, as docs/security.md names it; how; and what must then fail, saying how it did.
type Case = (&'static str, fn(&mut Value) -> Result<()>, fn(&Space<'_>, &str) -> Result<String>);

const CASES: &[Case] = &[
    (
        "Bidirectional",
        |spec| set(host(spec)?, "volumeMounts", "kubelet", "mountPropagation", json!("None")),
        volume_fails,
    ),
    ("hostPath kubelet", |spec| emptied(spec, "kubelet"), not_registered),
    ("hostPath /dev", |spec| without(spec, "dev"), new_device_fails),
    ("hostPath of the pools", |spec| emptied_prefix(spec, "pool-"), not_ready),
    ("user root", |spec| user(host(spec)?, 65532), not_ready),
    ("user root of the sidecars", sidecars_unprivileged, sidecar_fails),
];

fn privileges(space: &Space<'_>) -> Result<Option<String>> {
    let node = space.cluster.nodes()?.swap_remove(0);
    let whole = daemon_set(space)?;
    let outcome = (|| {
        let mut said = vec![refused_unprivileged(space, &whole)?];
        said.push(state_lost(space, &whole, &node)?);
        for (what, take, fails) in CASES {
            let mut less = whole.clone();
            take(&mut less["spec"]["template"]["spec"]).with_context(|| format!("can't take away: {what}"))?;
            replace(space, &less, &node)?;
            let how = fails(space, &node).with_context(|| format!("without {what}"))?;
            said.push(format!("without {what}: {how}"));
        }
        Ok(said.join("; "))
    })();
    let back = apply_manifests(space);
    let note = outcome.and_then(|note: String| back.map(|()| note))?;
    rolled_out(space)?;
    ready(space, &node)?;
    works(space, &node, "whole").context("with all of it back")?;
    Ok(Some(note))
}

fn daemon_set(space: &Space<'_>) -> Result<Value> {
    let mut set = space.cluster.get(NAMESPACE, "daemonset", "bulkhead-node")?.context("no DaemonSet")?;
    if let Some(object) = set.as_object_mut() {
        object.remove("status");
    }
    // Only the pod of one node is replaced.
    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    if let Some(metadata) = set["metadata"].as_object_mut() {
        metadata.retain(|key, _| ["name", "namespace", "labels", "annotations"].contains(&key.as_str()));
    }
    Ok(set)
}

/// Puts the DaemonSet in place, and its pod on the node.
fn replace(space: &Space<'_>, set: &Value, node: &str) -> Result<()> {
    space.cluster.replace(set)?;
    restart(space, node)
}

fn restart(space: &Space<'_>, node: &str) -> Result<()> {
    let old = delete_pod(space, node)?;
    until("a new pod of the driver", super::LONG, || Ok((node_pod(space, node)? != old).then_some(())))
}

fn host(spec: &mut Value) -> Result<&mut Value> {
    let containers = spec["containers"].as_array_mut().context("no containers")?;
    containers.iter_mut().find(|container| container["name"] == "bulkhead").context("no container of the host")
}

fn set(container: &mut Value, list: &str, name: &str, key: &str, value: Value) -> Result<()> {
    let items = container[list].as_array_mut().context("no such list")?;
    let item = items.iter_mut().find(|item| item["name"] == name).with_context(|| format!("no {name} in {list}"))?;
    item[key] = value;
    Ok(())
}

/// The volume stays, but is empty and the pod's own.
fn emptied(spec: &mut Value, name: &str) -> Result<()> {
    emptied_prefix(spec, name)?;
    // A mount of an emptyDir is passed on to nobody.
    let mounts = host(spec)?["volumeMounts"].as_array_mut().context("no mounts")?;
    for mount in mounts.iter_mut().filter(|mount| mount["name"] == name) {
        if let Some(mount) = mount.as_object_mut() {
            mount.remove("mountPropagation");
        }
    }
    Ok(())
}

fn emptied_prefix(spec: &mut Value, prefix: &str) -> Result<()> {
    let volumes = spec["volumes"].as_array_mut().context("no volumes")?;
    let mut found = false;
    for volume in volumes {
        let name = text_at(volume, "/name");
        if name.starts_with(prefix) {
            *volume = json!({"name": name, "emptyDir": {}});
            found = true;
        }
    }
    ensure!(found, "no volume {prefix}");
    Ok(())
}

fn without(spec: &mut Value, name: &str) -> Result<()> {
    let mounts = host(spec)?["volumeMounts"].as_array_mut().context("no mounts")?;
    let before = mounts.len();
    mounts.retain(|mount| mount["name"] != name);
    ensure!(mounts.len() < before, "no mount {name}");
    Ok(())
}

fn user(container: &mut Value, uid: u32) -> Result<()> {
    container["securityContext"]["runAsUser"] = json!(uid);
    container["securityContext"]["runAsGroup"] = json!(uid);
    Ok(())
}

fn sidecars_unprivileged(spec: &mut Value) -> Result<()> {
    let containers = spec["containers"].as_array_mut().context("no containers")?;
    containers
        .iter_mut()
        .filter(|container| container["name"] != "bulkhead")
        .try_for_each(|sidecar| user(sidecar, 65532))
}

/// A claim and a pod on the node; the pod sees the volume's file system.
fn works(space: &Space<'_>, node: &str, name: &str) -> Result<()> {
    let ns = &space.namespace;
    space.apply(&Claim::new(name, CLASS, "1Gi").within(ns))?;
    space.apply(&Pod::stays(name, "grep -q ' /v xfs ' /proc/mounts").claim(name).node(node).within(ns))?;
    let seen = until("the pod to see its volume", SHORT, || {
        let pod = space.get("pod", name)?;
        Ok((pod["status"]["containerStatuses"][0]["ready"] == true).then_some(()))
    });
    let removed = space.remove("pod", name).and_then(|()| space.remove("pvc", name));
    seen?;
    removed
}

/// A privileged container is what the API server asks for, where mounts are passed on.
fn refused_unprivileged(space: &Space<'_>, whole: &Value) -> Result<String> {
    let mut less = whole.clone();
    host(&mut less["spec"]["template"]["spec"])?["securityContext"]["privileged"] = json!(false);
    match space.cluster.dry_run(&less.to_string()) {
        Ok(()) => bail!("an unprivileged container with Bidirectional mounts was accepted"),
        Err(error) => {
            let text = format!("{error:#}");
            ensure!(text.contains("privileged"), "refused for another reason: {text}");
            Ok("without privileged: refused by the API server".into())
        }
    }
}

/// Without the state directory a restarted host does not know what it mounted, and touches nothing: a pod that is deleted then leaves
/// its mounts and its device behind, and an operator has to clean up.
fn state_lost(space: &Space<'_>, whole: &Value, node: &str) -> Result<String> {
    let ns = &space.namespace;
    space.apply(&Claim::new("state", CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays("state", "echo x > /v/f").claim("state").node(node).within(ns))?;
    let mut less = whole.clone();
    emptied_prefix(&mut less["spec"]["template"]["spec"], "state")?;
    replace(space, &less, node)?;
    ready(space, node)?;
    space.cluster.kubectl(&["-n", ns, "delete", "pod", "state", "--wait=false"])?;
    std::thread::sleep(SHORT);
    let left = space.cluster.loops()?.remove(node).unwrap_or_default();
    ensure!(!left.is_empty(), "without its state directory the host took the volume down all the same");
    let state = crate::STATE;
    let clean = format!(
        "grep -o ' /[^ ]*kubernetes.io.csi/[^ ]*' /proc/self/mountinfo | sort -r | xargs -r umount
         for device in {}; do losetup -d $device; done
         find {state}/node -name '*.json' -delete
         rm -f {}/objects/*/users/*",
        left.join(" "),
        crate::POOL
    );
    space.cluster.on_node(node, &["sh", "-c", &clean])?;
    replace(space, whole, node)?;
    ready(space, node)?;
    // The kubelet may have been quicker.
    space.cluster.kubectl(&["-n", ns, "delete", "pod", "state", "--ignore-not-found", "--timeout=180s"])?;
    space.remove("pvc", "state")?;
    Ok("without hostPath of the state directory: mounts and device of a deleted pod stay".into())
}

fn volume_fails(space: &Space<'_>, node: &str) -> Result<String> {
    ready(space, node)?;
    match works(space, node, "lost") {
        Ok(()) => bail!("the pod sees its volume"),
        Err(_) => Ok("no pod sees its volume".into()),
    }
}

fn not_registered(space: &Space<'_>, node: &str) -> Result<String> {
    std::thread::sleep(SHORT);
    match is_ready(space, node) {
        true => bail!("the driver's pod is ready"),
        false => Ok("the kubelet does not find the driver".into()),
    }
}

fn not_ready(space: &Space<'_>, node: &str) -> Result<String> {
    std::thread::sleep(SHORT);
    match is_ready(space, node) {
        true => bail!("the driver's pod is ready"),
        false => Ok("the driver's pod is not ready".into()),
    }
}

/// Whether the host in the driver's pod on a node is ready just now.
pub fn is_ready(space: &Space<'_>, node: &str) -> bool {
    let pod = node_pod(space, node).and_then(|name| space.cluster.get(NAMESPACE, "pod", &name));
    let statuses = pod.ok().flatten().and_then(|pod| pod["status"]["containerStatuses"].as_array().cloned());
    statuses.is_some_and(|all| all.iter().any(|c| c["name"] == "bulkhead" && c["ready"] == true))
}

fn sidecar_fails(space: &Space<'_>, node: &str) -> Result<String> {
    std::thread::sleep(SHORT);
    match works(space, node, "sidecar") {
        Ok(()) => bail!("claims are bound all the same"),
        Err(_) => Ok("no claim is bound".into()),
    }
}

/// All loop devices that are there are taken, so that the next one is made after the container began.
fn new_device_fails(space: &Space<'_>, node: &str) -> Result<String> {
    ready(space, node)?;
    let taken = Taken::all(space)?;
    let outcome = works(space, node, "device");
    drop(taken);
    match outcome {
        Ok(()) => bail!("a device that was made later is seen"),
        Err(_) => Ok("devices made after the pod began are not seen".into()),
    }
}

/// Attaches a file to every free loop device, until it is dropped.
struct Taken<'a>(&'a Space<'a>, Vec<String>);

impl<'a> Taken<'a> {
    fn all(space: &'a Space<'a>) -> Result<Self> {
        let mut taken = Self(space, vec![]);
        let file = space.cluster.work.join("run/filler.img");
        std::fs::write(&file, [0; 4096])?;
        for number in 0.. {
            let device = format!("/dev/loop{number}");
            if !std::path::Path::new(&device).exists() {
                break;
            }
            let attach = std::process::Command::new("losetup").arg(&device).arg(&file).output()?;
            if attach.status.success() {
                taken.1.push(device);
            }
        }
        Ok(taken)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for device in &self.1 {
            let detached = std::process::Command::new("losetup").args(["-d", device]).status();
            if !detached.is_ok_and(|status| status.success()) {
                println!("can't detach {device}, which was taken for {}", self.0.namespace);
            }
        }
    }
}
