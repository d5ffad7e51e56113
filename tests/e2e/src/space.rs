//! Where one flow plays: a namespace of its own, and what must be left when it is over (nothing).

use crate::cluster::{Cluster, text_at, until};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::time::Duration;

/// Patience with what a healthy cluster does in a few seconds, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A flow's namespace.
#[derive(Debug)]
pub struct Space<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Its name.
    pub namespace: String,
}

impl<'a> Space<'a> {
    /// Makes the namespace.
    ///
    /// # Errors
    /// kubectl's.
    pub fn begin(cluster: &'a Cluster, flow: &str) -> Result<Self> {
        let namespace = format!("flow-{flow}");
        let space = Self { cluster, namespace };
        if cluster.get("default", "namespace", &space.namespace)?.is_some() {
            space.end().context("removing what an earlier run left")?;
            cluster.kubectl(&["wait", "--for=delete", "namespace", &space.namespace, "--timeout=120s"])?;
        }
        cluster.kubectl(&["create", "namespace", &space.namespace])?;
        // Without it pods are refused.
        until("the default service account", PATIENCE, || cluster.get(&space.namespace, "serviceaccount", "default"))?;
        Ok(space)
    }

    /// Removes the namespace with everything in it, in the order of people: pods, claims, snapshots, the rest.
    ///
    /// # Errors
    /// Something does not go.
    pub fn end(&self) -> Result<()> {
        let cluster = self.cluster;
        let ns = &self.namespace;
        cluster.kubectl(&["-n", ns, "delete", "pods", "--all", "--wait=true", "--timeout=120s"])?;
        let snapshots = cluster.kubectl(&["api-resources", "--api-group=snapshot.storage.k8s.io", "-o", "name"])?;
        if !snapshots.trim().is_empty() {
            cluster.kubectl(&["-n", ns, "delete", "volumesnapshots", "--all", "--wait=true", "--timeout=120s"])?;
        }
        cluster.kubectl(&["-n", ns, "delete", "pvc", "--all", "--wait=true", "--timeout=120s"])?;
        // What is left in it by now holds no volume, and goes by itself.
        cluster.kubectl(&["delete", "namespace", ns, "--wait=false", "--ignore-not-found"]).map(drop)
    }

    /// Makes or changes an object: `Claim`, `Pod`, ... of this namespace.
    ///
    /// # Errors
    /// The API server's.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.cluster.apply(object)
    }

    /// The object.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.cluster.get(&self.namespace, kind, name)?.with_context(|| format!("there is no {kind} {name}"))
    }

    /// Waits until a field is `wanted`.
    ///
    /// # Errors
    /// With what the field is, and the object's last event.
    pub fn wait(&self, kind: &str, name: &str, pointer: &str, wanted: &str) -> Result<()> {
        let what = format!("{kind} {name} to have {wanted} in {pointer}");
        let waited = until(&what, PATIENCE, || {
            let is = text_at(&self.get(kind, name)?, pointer);
            if is == wanted { Ok(Some(())) } else { bail!("it is {is:?}") }
        });
        waited.with_context(|| self.story(kind, name))
    }

    /// Waits until a claim is bound.
    ///
    /// # Errors
    /// With its events.
    pub fn bound(&self, claim: &str) -> Result<()> {
        self.wait("persistentvolumeclaim", claim, "/status/phase", "Bound")
    }

    /// Waits until a pod is Ready.
    ///
    /// # Errors
    /// With its events.
    pub fn ready(&self, pod: &str) -> Result<()> {
        let waited = until(&format!("pod {pod} to be Ready"), PATIENCE, || {
            let object = self.get("pod", pod)?;
            let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
            Ok(ready.then_some(()))
        });
        waited.with_context(|| self.story("pod", pod))
    }

    /// Makes a pod and waits until it is Ready.
    ///
    /// # Errors
    /// With its events.
    pub fn start(&self, pod: &Value) -> Result<()> {
        self.apply(pod)?;
        self.ready(&text_at(pod, "/metadata/name"))
    }

    /// Runs a pod that ends, removes it, and gives what it printed.
    ///
    /// # Errors
    /// It fails, or does not end.
    pub fn run(&self, pod: &Value) -> Result<String> {
        self.apply(pod)?;
        let name = text_at(pod, "/metadata/name");
        self.wait("pod", &name, "/status/phase", "Succeeded")?;
        let printed = self.cluster.kubectl(&["-n", &self.namespace, "logs", &name])?;
        self.remove("pod", &name)?;
        Ok(printed)
    }

    /// Runs a shell line in a pod.
    ///
    /// # Errors
    /// It fails.
    pub fn exec(&self, pod: &str, line: &str) -> Result<String> {
        self.cluster.exec(&self.namespace, pod, line)
    }

    /// Deletes an object and waits until it is gone.
    ///
    /// # Errors
    /// It stays.
    pub fn remove(&self, kind: &str, name: &str) -> Result<()> {
        self.cluster.kubectl(&["-n", &self.namespace, "delete", kind, name, "--wait=true", "--timeout=120s"]).map(drop)
    }

    /// Changes an object by a JSON merge patch.
    ///
    /// # Errors
    /// The API server's.
    pub fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        self.cluster.kubectl(&["-n", &self.namespace, "patch", kind, name, "--type=merge", "-p", &patch]).map(drop)
    }

    /// Asks for another size of a claim.
    ///
    /// # Errors
    /// The API server's.
    pub fn resize(&self, claim: &str, size: &str) -> Result<()> {
        self.patch("pvc", claim, &serde_json::json!({"spec": {"resources": {"requests": {"storage": size}}}}))
    }

    /// Waits until a claim's capacity is `size`.
    ///
    /// # Errors
    /// With its events.
    pub fn resized(&self, claim: &str, size: &str) -> Result<()> {
        self.wait("pvc", claim, "/status/capacity/storage", size)
    }

    /// Waits for an event about an object that holds all of `parts`; gives it.
    ///
    /// # Errors
    /// With the events that there are.
    pub fn event(&self, kind: &str, name: &str, parts: &[&str]) -> Result<String> {
        let waited = until(&format!("an event of {kind} {name} with {parts:?}"), PATIENCE, || {
            let events = self.cluster.events(&self.namespace, kind, name)?;
            Ok(events.into_iter().find(|event| parts.iter().all(|part| event.contains(part))))
        });
        waited.with_context(|| self.story(kind, name))
    }

    /// The node that a pod runs on.
    ///
    /// # Errors
    /// It isn't on any.
    pub fn node_of(&self, pod: &str) -> Result<String> {
        let node = text_at(&self.get("pod", pod)?, "/spec/nodeName");
        ensure!(!node.is_empty(), "pod {pod} is on no node");
        Ok(node)
    }

    /// The persistent volume of a claim.
    ///
    /// # Errors
    /// It isn't bound.
    pub fn volume_of(&self, claim: &str) -> Result<Value> {
        let name = text_at(&self.get("pvc", claim)?, "/spec/volumeName");
        ensure!(!name.is_empty(), "claim {claim} isn't bound");
        self.cluster.get("default", "persistentvolume", &name)?.with_context(|| format!("there is no volume {name}"))
    }

    /// Status and events of an object, for error messages.
    fn story(&self, kind: &str, name: &str) -> String {
        let kind = match kind {
            "pvc" | "persistentvolumeclaim" => "PersistentVolumeClaim",
            "pod" => "Pod",
            "volumesnapshot" => "VolumeSnapshot",
            other => other,
        };
        let events = self.cluster.events(&self.namespace, kind, name).unwrap_or_default();
        let last: Vec<_> = events.iter().rev().take(4).map(String::as_str).collect();
        format!("{kind} {name}, latest events first: {}", last.join(" | "))
    }
}
