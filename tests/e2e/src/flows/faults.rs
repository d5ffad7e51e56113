//! What goes wrong is said on the object that its user looks at, and nothing is left when that is deleted.

use super::{BOTH, Flow, Shape};
use crate::{
    CLASS, DRIVER, NAMESPACE,
    cluster::{text_at, until},
    objects::{Claim, Pod},
    space::{PATIENCE, Space},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// See the module.
pub const FLOWS: &[Flow] = &[
    Flow {
        name: "unknown-parameter",
        about: "a StorageClass with an unknown parameter: the claim's event names it",
        shapes: BOTH,
        run: unknown_parameter,
    },
    Flow {
        name: "too-large",
        about: "a claim too large for any node: the pod's event says so",
        shapes: &[Shape::PerNode],
        run: too_large,
    },
    Flow {
        name: "too-large-at-once",
        about: "a claim larger than the pool, bound at once: the claim's event says so",
        shapes: &[Shape::Beside],
        run: too_large_at_once,
    },
    Flow {
        name: "expand-beyond",
        about: "an expansion beyond the pool: the claim says so, the pod goes on, and the claim can be shrunk back",
        shapes: BOTH,
        run: expand_beyond,
    },
    Flow {
        name: "pool-missing",
        about: "a node whose pool is missing: its pod says so and is not ready, the other node is untouched, and it heals",
        shapes: &[Shape::PerNode],
        run: pool_missing,
    },
];

/// A StorageClass that goes when it is dropped.
struct Class<'a>(&'a Space<'a>, String);

impl<'a> Class<'a> {
    fn make(space: &'a Space<'a>, name: &str, parameters: Value) -> Result<Self> {
        space.apply(&json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": DRIVER,
            "parameters": parameters,
            "volumeBindingMode": "WaitForFirstConsumer",
        }))?;
        Ok(Self(space, name.to_owned()))
    }
}

impl Drop for Class<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.cluster.kubectl(&["delete", "storageclass", &self.1]) {
            println!("can't remove storage class {}: {error:#}", self.1);
        }
    }
}

fn unknown_parameter(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    let _class = Class::make(space, "e2e-misspelt", json!({"pool": "fast", "provisoning": "thick"}))?;
    space.apply(&Claim::new("data", "e2e-misspelt", "1Gi").within(ns))?;
    space.apply(&Pod::stays("pod", "true").claim("data").within(ns))?;
    space.event("PersistentVolumeClaim", "data", &["ProvisioningFailed", "provisoning"]).map(Some)
}

fn too_large(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("huge", CLASS, "50Ti").within(ns))?;
    space.apply(&Pod::stays("pod", "true").claim("huge").within(ns))?;
    space.event("Pod", "pod", &["FailedScheduling", "did not have enough free storage"]).map(Some)
}

fn too_large_at_once(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("huge", CLASS, "50Ti").within(ns))?;
    space.apply(&Pod::stays("pod", "true").claim("huge").within(ns))?;
    space.event("PersistentVolumeClaim", "huge", &["ProvisioningFailed", "pool"]).map(Some)
}

fn expand_beyond(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays("pod", "echo hello > /v/f").claim("data").within(ns))?;
    space.resize("data", "50Ti")?;
    let said = until("the claim to say that it is too large", super::LONG, || {
        let claim = space.get("pvc", "data")?;
        let events = space.cluster.events(ns, "PersistentVolumeClaim", "data")?;
        let pod = space.cluster.events(ns, "Pod", "pod")?;
        let conditions = claim["status"]["conditions"].to_string();
        let mut all = events.into_iter().chain(pod).chain([conditions]);
        Ok(all.find(|text| text.contains("OutOfRange")))
    })?;
    space.exec("pod", "cat /v/f")?;
    space.resize("data", "2Gi").context("shrinking the claim back to what it can have")?;
    until("the claim to have 2Gi", super::LONG, || {
        Ok((text_at(&space.get("pvc", "data")?, "/status/capacity/storage") == "2Gi").then_some(()))
    })?;
    ensure!(space.exec("pod", "cat /v/f")? == "hello\n", "other content");
    Ok(Some(said))
}

/// Node 2's pool is taken away, the driver's pod there started again, and the pool brought back.
fn pool_missing(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    let nodes = space.cluster.nodes()?;
    let (whole, bare) = (&nodes[0], &nodes[1]);
    let aside = format!("{}.aside", crate::POOL);
    let on = |line: &str| space.cluster.on_node(bare, &["sh", "-c", line]);
    // A pool of a disk that was not mounted at boot. Lazily: the host has the old one open.
    on(&format!(
        "mkdir -p {aside} && mount --bind {pool} {aside} && umount -l {pool} && rmdir {pool}",
        pool = crate::POOL
    ))?;
    let back = format!(
        "mkdir -p {pool} && mount --bind {aside} {pool} && umount {aside} && rmdir {aside}",
        pool = crate::POOL
    );
    let outcome = (|| -> Result<String> {
        restart_pod(space, bare)?;
        let said = until("the driver's pod to be not ready, and to say why", super::LONG, || {
            let pod = node_pod(space, bare)?;
            let events = space.cluster.events(NAMESPACE, "Pod", &pod)?;
            let unready = events.iter().any(|event| event.contains("Readiness probe failed"));
            let log = space.cluster.kubectl(&["-n", NAMESPACE, "logs", &pod, "-c", "bulkhead"])?;
            let line = log.lines().find(|line| line.contains("ERROR") && line.contains(crate::POOL));
            Ok(line.filter(|_| unready).map(str::to_owned))
        })?;
        space.apply(&Claim::new("here", CLASS, "1Gi").within(ns))?;
        space.start(&Pod::stays("here", "echo x > /v/f").claim("here").node(whole).within(ns))?;
        space.apply(&Claim::new("there", CLASS, "1Gi").within(ns))?;
        space.apply(&Pod::stays("there", "true").claim("there").node(bare).within(ns))?;
        // What was free there is still published, so the scheduler chooses that node: it is the claim that tells.
        let event = space.event("PersistentVolumeClaim", "there", &["ExternalProvisioning", DRIVER])?;
        Ok(format!("the driver's log: {said}; the claim's event: {event}"))
    })();
    let restored = on(&back);
    let note = outcome?;
    restored?;
    until("the host to serve again, without being restarted", super::LONG, || {
        Ok(super::privileges::is_ready(space, bare).then_some(()))
    })?;
    // Its sidecars come back too, but kubelet may wait for minutes before it starts what has failed so often.
    restart_pod(space, bare)?;
    ready(space, bare)?;
    space.ready("there").context("after the pool is back")?;
    Ok(Some(note))
}

/// The driver's pod on a node.
pub fn node_pod(space: &Space<'_>, node: &str) -> Result<String> {
    let pods = space.cluster.list("pods")?;
    let found = pods.iter().find(|pod| {
        pod["metadata"]["namespace"] == NAMESPACE
            && text_at(pod, "/metadata/ownerReferences/0/kind") == "DaemonSet"
            && pod["spec"]["nodeName"] == node
            && pod["metadata"]["deletionTimestamp"].is_null()
    });
    found.map(|pod| text_at(pod, "/metadata/name")).with_context(|| format!("no pod of the driver on {node}"))
}

/// Waits until the driver's pod on a node is Ready.
pub fn ready(space: &Space<'_>, node: &str) -> Result<()> {
    until(&format!("the driver's pod on {node} to be ready"), super::LONG, || {
        let pod = space.cluster.get(NAMESPACE, "pod", &node_pod(space, node)?)?;
        let statuses = pod.as_ref().and_then(|pod| pod["status"]["containerStatuses"].as_array());
        Ok(statuses.is_some_and(|all| !all.is_empty() && all.iter().all(|c| c["ready"] == true)).then_some(()))
    })
}

/// Deletes the driver's pod on a node, and gives its name.
pub fn delete_pod(space: &Space<'_>, node: &str) -> Result<String> {
    let pod = node_pod(space, node)?;
    space.cluster.kubectl(&["-n", NAMESPACE, "delete", "pod", &pod, "--wait=true", "--timeout=120s"])?;
    Ok(pod)
}

/// Deletes the driver's pod on a node; the DaemonSet makes another, which runs but need not be ready.
pub fn restart_pod(space: &Space<'_>, node: &str) -> Result<()> {
    delete_pod(space, node)?;
    until("a new pod of the driver to run", PATIENCE, || {
        let pod = space.cluster.get(NAMESPACE, "pod", &node_pod(space, node)?)?;
        Ok(pod.filter(|pod| text_at(pod, "/status/phase") == "Running").map(drop))
    })
}
