//! Several drivers in one DaemonSet: changes of the chart's values, as `helm upgrade` would bring them.

use super::{Flow, Shape, faults::node_pod, lifecycle::Loaded};
use crate::{
    CLASS, NAMESPACE,
    cluster::{run, text_at, until},
    objects::{Claim, Pod, snapshot},
    space::Space,
};
use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// See the module.
pub const FLOWS: &[Flow] = &[
    Flow {
        name: "drivers",
        about: "two drivers from two components; a third, broken one is told apart; a good one is added; no pod restarts",
        shapes: &[Shape::PerNode],
        run: drivers,
    },
    Flow {
        name: "strict",
        about: "the API server accepts every object that the chart renders, with strict validation of fields",
        shapes: &[Shape::PerNode],
        run: strict,
    },
];

/// The repository.
pub fn top() -> Result<PathBuf> {
    Ok(PathBuf::from(std::env::var_os("TOP").context("TOP isn't set: run this through run.sh")?))
}

/// What the chart renders for a file of values.
pub fn rendered(release: &str, namespace: &str, values: &Path) -> Result<String> {
    let top = top()?;
    let helm = run(&mut Command::new(top.join("scripts/setup-helm.sh")))?;
    run(Command::new(helm.trim())
        .args(["template", release])
        .arg(top.join("deploy/helm"))
        .args(["--namespace", namespace, "--kube-version", "1.37.0", "--values"])
        .arg(values))
}

/// Installs a file of `values/` in the place of the manifests of deploy/.
fn upgrade(space: &Space<'_>, values: &str) -> Result<()> {
    let values = top()?.join("tests/e2e/values").join(values);
    space.cluster.apply_text(&rendered("bulkhead", NAMESPACE, &values)?)
}

/// Waits until all pods of the driver are of its newest template, and ready.
pub fn rolled_out(space: &Space<'_>) -> Result<()> {
    let set = "daemonset/bulkhead-node";
    space.cluster.kubectl(&["-n", NAMESPACE, "rollout", "status", set, "--timeout=180s"]).map(drop)
}

/// Applies the manifests of deploy/, from which the cluster was installed.
pub fn apply_manifests(space: &Space<'_>) -> Result<()> {
    let file = top()?.join("deploy/manifests/local-per-node.yaml");
    space.cluster.kubectl(&["apply", "-f", &file.to_string_lossy()]).map(drop)
}

/// Puts the manifests of deploy/ back.
fn restore(space: &Space<'_>) -> Result<()> {
    apply_manifests(space)?;
    for name in ["brought", "broken", "third"] {
        space.cluster.kubectl(&["delete", "csidriver", &format!("{name}.csi.bulkhead.dev"), "--ignore-not-found"])?;
        space.cluster.kubectl(&["delete", "storageclass", &format!("bulkhead-{name}"), "--ignore-not-found"])?;
        space.cluster.kubectl(&["delete", "volumesnapshotclass", &format!("bulkhead-{name}"), "--ignore-not-found"])?;
    }
    space.cluster.kubectl(&["-n", NAMESPACE, "delete", "configmap", "e2e-backends", "--ignore-not-found"])?;
    rolled_out(space)
}

fn drivers(space: &Space<'_>) -> Result<Option<String>> {
    for node in space.cluster.nodes()? {
        space
            .cluster
            .on_node(&node, &["mkdir", "-p", "/srv/bulkhead/brought", "/srv/bulkhead/third", "/srv/bulkhead/broken"])?;
    }
    let brought = format!("--from-file=brought.wasm={}", top()?.join("dist/backends/local.wasm").display());
    let broken = "--from-literal=broken.wasm=not a component";
    space.cluster.kubectl(&["-n", NAMESPACE, "create", "configmap", "e2e-backends", &brought, broken])?;
    let outcome = play(space);
    space.end().context("removing the pods while their drivers are there")?;
    let restored = restore(space);
    let note = outcome?;
    restored?;
    Ok(note)
}

fn play(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    upgrade(space, "two.yaml")?;
    rolled_out(space)?;
    let load = Loaded::start(space)?;
    let node = &load.node;
    space.apply(&Claim::new("brought", "bulkhead-brought", "1Gi").within(ns))?;
    space.start(&Pod::stays("brought", "echo x > /v/f").claim("brought").node(node).within(ns))?;

    upgrade(space, "three-broken.yaml")?;
    // The rollout stops at the first node whose pod is not ready.
    let (log, first) =
        until("the broken driver to be named in the log of a pod that is not ready", super::LONG, || {
            for node in space.cluster.nodes()? {
                let pod = node_pod(space, &node)?;
                let events = space.cluster.events(NAMESPACE, "Pod", &pod)?;
                let unready = events.iter().any(|event| event.contains("Readiness probe failed"));
                let log = space.cluster.kubectl(&["-n", NAMESPACE, "logs", &pod, "-c", "bulkhead"])?;
                let line = log.lines().find(|line| line.contains("ERROR") && line.contains("broken"));
                if let Some(line) = line.filter(|_| unready) {
                    return Ok(Some((line.to_owned(), node)));
                }
            }
            Ok(None)
        })?;
    let csinode = space.cluster.get("default", "csinode", &first)?.context("no CSINode")?["spec"].to_string();
    ensure!(!csinode.contains("broken.csi"), "the broken driver is registered");
    ensure!(csinode.contains("brought.csi"), "the others are not: {csinode}");
    // The others serve meanwhile.
    space.apply(&Claim::new("meanwhile", CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays("meanwhile", "echo x > /v/f").claim("meanwhile").node(&first).within(ns))?;

    remove_broken(space)?;
    upgrade(space, "three.yaml")?;
    rolled_out(space)?;
    space.apply(&Claim::new("third", "bulkhead-third", "1Gi").within(ns))?;
    space.start(&Pod::stays("third", "echo x > /v/f").claim("third").node(node).within(ns))?;
    // A class of another driver: that driver knows no such volume, and the snapshot's status names it.
    space.apply(&snapshot(ns, "foreign", "bulkhead-third", "meanwhile"))?;
    let foreign = until("the snapshot to say that its class is of another driver", super::LONG, || {
        let error = text_at(&space.get("volumesnapshot", "foreign")?, "/status/error/message");
        Ok((error.contains("NotFound") && error.contains("/fast/pvc-")).then_some(error))
    })?;
    space.remove("volumesnapshot", "foreign")?;
    for pod in ["third", "meanwhile"] {
        space.remove("pod", pod)?;
        space.remove("pvc", pod)?;
    }
    space.exec("brought", "cat /v/f && echo y > /v/f")?;
    space.remove("pod", "brought")?;
    space.remove("pvc", "brought")?;
    load.check(space)?;
    Ok(Some(format!("{log}; a class of another driver: {foreign}")))
}

fn remove_broken(space: &Space<'_>) -> Result<()> {
    space.cluster.kubectl(&["delete", "csidriver", "broken.csi.bulkhead.dev"])?;
    space.cluster.kubectl(&["delete", "storageclass", "bulkhead-broken"]).map(drop)
}

/// The manifests of deploy/ and all that the chart's tests render.
fn strict(space: &Space<'_>) -> Result<Option<String>> {
    let top = top()?;
    let mut count = 0;
    for folder in ["deploy/manifests", "tests/golden/chart"] {
        let folder = top.join(folder);
        for file in std::fs::read_dir(&folder).with_context(|| format!("can't read {}", folder.display()))? {
            let path = file?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            // Checked in this flow's namespace: an object of a namespace that is not there would be refused for that alone.
            let text = std::fs::read_to_string(&path)?;
            let text = namespaced(&text, &space.namespace);
            // A chart without drivers renders nothing.
            if !text.contains("kind: ") {
                continue;
            }
            space.cluster.dry_run(&text).with_context(|| path.display().to_string())?;
            count += 1;
        }
    }
    Ok(Some(format!("{count} files")))
}

/// The text with all its objects in another namespace, and with names that are not there yet: some fields can't be changed.
fn namespaced(text: &str, namespace: &str) -> String {
    let text = text.replace("csi.bulkhead.dev", "csi.strict.test").replace("name: bulkhead-", "name: strict-");
    text.lines()
        .map(|line| match line.trim_start() {
            rest if rest.starts_with("namespace: ") => {
                format!("{}namespace: {namespace}\n", &line[..line.len() - rest.len()])
            }
            _ => format!("{line}\n"),
        })
        .collect()
}
