//! Claims, pods and what belongs to them, as short as a test wants them.

use serde_json::{Value, json};

/// The image of all test pods: a shell.
pub const SHELL: &str = "localhost/busybox:1.37.0-2";

/// A persistent volume claim.
#[derive(Debug, Clone)]
pub struct Claim(Value);

impl Claim {
    /// `size` as Kubernetes writes it; ReadWriteOnce, mounted.
    pub fn new(name: &str, class: &str, size: &str) -> Self {
        Self(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "storageClassName": class,
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": size}},
            },
        }))
    }

    /// A raw device.
    pub fn block(mut self) -> Self {
        self.0["spec"]["volumeMode"] = json!("Block");
        self
    }

    /// Another access mode.
    pub fn access(mut self, mode: &str) -> Self {
        self.0["spec"]["accessModes"] = json!([mode]);
        self
    }

    /// Restored from a VolumeSnapshot.
    pub fn from_snapshot(mut self, name: &str) -> Self {
        self.0["spec"]["dataSource"] =
            json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": name});
        self
    }

    /// Cloned from another claim.
    pub fn from_claim(mut self, name: &str) -> Self {
        self.0["spec"]["dataSource"] = json!({"kind": "PersistentVolumeClaim", "name": name});
        self
    }

    /// With a VolumeAttributesClass.
    pub fn attributes(mut self, class: &str) -> Self {
        self.0["spec"]["volumeAttributesClassName"] = json!(class);
        self
    }

    /// With labels.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = json!(value);
        self
    }

    /// In a namespace.
    pub fn within(mut self, namespace: &str) -> Value {
        self.0["metadata"]["namespace"] = json!(namespace);
        self.0
    }
}

/// A pod of one shell.
#[derive(Debug, Clone)]
pub struct Pod(Value);

impl Pod {
    /// Runs `line`, then sleeps: stays Ready until it is deleted.
    pub fn stays(name: &str, line: &str) -> Self {
        let sleep = "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
        let mut pod = Self::ends(name, &format!("{line} && touch /tmp/begun; {sleep}"));
        // Ready only once the line has been carried out.
        pod.0["spec"]["containers"][0]["readinessProbe"] =
            json!({"exec": {"command": ["test", "-e", "/tmp/begun"]}, "periodSeconds": 1});
        pod
    }

    /// Runs `line` once and ends.
    pub fn ends(name: &str, line: &str) -> Self {
        Self(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"pod": name}},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 2,
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "containers": [{"name": "c", "image": SHELL, "command": ["sh", "-c", line]}],
                "volumes": [],
            },
        }))
    }

    /// A claim, mounted at `/v`; more of them at `/v2`, `/v3`.
    pub fn claim(self, claim: &str) -> Self {
        self.volume(json!({"persistentVolumeClaim": {"claimName": claim}}))
    }

    /// Any volume, mounted at `/v`; more of them at `/v2`, `/v3`.
    pub fn volume(mut self, mut source: Value) -> Self {
        let name = self.next();
        source["name"] = json!(name);
        push(&mut self.0["spec"]["volumes"], source);
        push(
            &mut self.0["spec"]["containers"][0]["volumeMounts"],
            json!({"name": name, "mountPath": format!("/{name}")}),
        );
        self
    }

    /// A claim as a raw device `/dev/v`.
    pub fn device(mut self, claim: &str) -> Self {
        let name = self.next();
        push(&mut self.0["spec"]["volumes"], json!({"name": name, "persistentVolumeClaim": {"claimName": claim}}));
        push(
            &mut self.0["spec"]["containers"][0]["volumeDevices"],
            json!({"name": name, "devicePath": format!("/dev/{name}")}),
        );
        self
    }

    fn next(&self) -> String {
        match self.0["spec"]["volumes"].as_array().map_or(0, Vec::len) {
            0 => "v".into(),
            n => format!("v{}", n + 1),
        }
    }

    /// On this node, by the scheduler's choice: late binding needs the scheduler.
    pub fn node(mut self, node: &str) -> Self {
        self.0["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": node});
        self
    }

    /// Changes the pod's spec.
    pub fn spec(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.0["spec"]);
        self
    }

    /// In a namespace.
    pub fn within(mut self, namespace: &str) -> Value {
        self.0["metadata"]["namespace"] = json!(namespace);
        self.0
    }
}

/// A snapshot of a claim.
pub fn snapshot(namespace: &str, name: &str, class: &str, claim: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": claim}},
    })
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}
