//! Expansion and modification.

use super::{BOTH, Flow, Shape};
use crate::{
    CLASS, CLASS_EXT4,
    cluster::{text_at, until},
    objects::{Claim, Pod},
    space::Space,
};
use anyhow::{Result, bail, ensure};
use serde_json::json;

/// See the module.
pub const FLOWS: &[Flow] = &[
    Flow { name: "expand-online", about: "xfs grows under a running pod", shapes: BOTH, run: online },
    Flow {
        name: "expand-offline",
        about: "xfs grows while no pod uses it, and is large for the next",
        shapes: BOTH,
        run: offline,
    },
    Flow {
        name: "expand-ext4-restarts",
        about: "ext4 on a node that may not grow it mounted: the claim says so, and restarts of the pod grow it",
        shapes: &[Shape::PerNode],
        run: ext4_restarts,
    },
    Flow {
        name: "expand-ext4-offline",
        about: "ext4 grows while no pod uses it: the controller the image, the next stage the file system",
        shapes: &[Shape::Beside],
        run: ext4_offline,
    },
    Flow { name: "expand-raw", about: "a raw device grows under a running pod", shapes: BOTH, run: raw },
    Flow {
        name: "modify",
        about: "another VolumeAttributesClass changes a volume in use",
        shapes: &[Shape::Beside],
        run: modify,
    },
];

/// Whether the file system at `/v` has more than 1.5 GiB.
const LARGE: &str = "[ $(df -k /v | tail -1 | awk '{print $2}') -gt 1500000 ]";

fn online(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays("pod", "echo hello > /v/f").claim("data").within(ns))?;
    let begin = std::time::Instant::now();
    space.resize("data", "2Gi")?;
    space.resized("data", "2Gi")?;
    let seconds = begin.elapsed().as_secs_f64();
    space.exec("pod", LARGE)?;
    ensure!(space.exec("pod", "cat /v/f")? == "hello\n", "other content");
    let restarts = text_at(&space.get("pod", "pod")?, "/status/containerStatuses/0/restartCount");
    ensure!(restarts == "0", "the pod was restarted");
    Ok(Some(format!("{seconds:.1} s")))
}

fn offline(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS, "1Gi").within(ns))?;
    space.run(&Pod::ends("first", "echo hello > /v/f").claim("data").within(ns))?;
    space.resize("data", "2Gi")?;
    space.start(&Pod::stays("second", "cat /v/f").claim("data").within(ns))?;
    space.resized("data", "2Gi")?;
    space.exec("second", LARGE)?;
    Ok(None)
}

fn ext4_offline(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS_EXT4, "1Gi").within(ns))?;
    space.run(&Pod::ends("first", "echo hello > /v/f").claim("data").within(ns))?;
    space.resize("data", "2Gi")?;
    // The controller's part is done before the next pod is there.
    let name = text_at(&space.volume_of("data")?, "/metadata/name");
    until("the volume to have 2Gi", crate::space::PATIENCE, || {
        let volume = space.cluster.get("default", "persistentvolume", &name)?;
        Ok(volume.filter(|volume| text_at(volume, "/spec/capacity/storage") == "2Gi"))
    })?;
    space.start(&Pod::stays("second", &format!("{LARGE} && cat /v/f")).claim("data").within(ns))?;
    space.resized("data", "2Gi")?;
    Ok(None)
}

/// The first pod after the resize finds the image as it was when it was staged; growing it mounted is refused by the kernel here, so the file
/// system grows at the stage after that.
fn ext4_restarts(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS_EXT4, "1Gi").within(ns))?;
    space.run(&Pod::ends("first", "echo hello > /v/f").claim("data").within(ns))?;
    space.resize("data", "2Gi")?;
    for restart in 1..=3 {
        let name = format!("restart{restart}");
        space.start(&Pod::stays(&name, "cat /v/f").claim("data").within(ns))?;
        if restart == 1 {
            until("the claim to say why it is not resized", super::LONG, || {
                let said = space.get("pvc", "data")?["status"]["conditions"].to_string();
                Ok(said.contains("staged the next time").then_some(()))
            })?;
        } else if space.resized("data", "2Gi").is_ok() {
            space.exec(&name, LARGE)?;
            ensure!(space.exec(&name, "cat /v/f")? == "hello\n", "other content");
            return Ok(Some(format!("grown at restart {restart}")));
        }
        space.remove("pod", &name)?;
    }
    bail!("three restarts did not grow it")
}

fn raw(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("raw", CLASS, "64Mi").block().within(ns))?;
    space.start(&Pod::stays("pod", "true").device("raw").within(ns))?;
    space.resize("raw", "128Mi")?;
    space.resized("raw", "128Mi")?;
    let size = space.exec("pod", "blockdev --getsize64 /dev/v")?;
    ensure!(size.trim() == (128 << 20).to_string(), "the device has {size}");
    Ok(None)
}

fn modify(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    space.apply(&Claim::new("data", CLASS, "1Gi").attributes("bulkhead-thin").within(ns))?;
    space.start(&Pod::stays("pod", "echo hello > /v/f").claim("data").within(ns))?;
    let used = |space: &Space<'_>| -> Result<u64> {
        let node = space.node_of("pod")?;
        let blocks = format!("stat -c %b {}/objects/*/image", crate::POOL);
        Ok(space.cluster.on_node(&node, &["sh", "-c", &blocks])?.trim().parse::<u64>()? * 512)
    };
    let thin = used(space)?;
    space.patch("pvc", "data", &json!({"spec": {"volumeAttributesClassName": "bulkhead-thick"}}))?;
    space.wait("pvc", "data", "/status/currentVolumeAttributesClassName", "bulkhead-thick")?;
    let thick = used(space)?;
    ensure!(thin < 1 << 30 && thick >= 1 << 30, "allocated before {thin}, after {thick}");
    Ok(None)
}
