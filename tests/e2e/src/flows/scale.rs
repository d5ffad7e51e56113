//! Many claims and pods at once, with times and what the driver's pod takes.

use super::{Flow, Shape, faults::node_pod, lifecycle::host_pid};
use crate::{
    CLASS,
    cluster::{text_at, until},
    objects::{Claim, Pod},
    space::Space,
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};

/// See the module.
pub const FLOWS: &[Flow] =
    &[Flow { name: "fifty", about: "fifty claims and pods at once", shapes: &[Shape::PerNode], run: fifty }];

/// How many at once.
const MANY: usize = 50;
const PATIENCE: Duration = Duration::from_secs(400);

fn fifty(space: &Space<'_>) -> Result<Option<String>> {
    let ns = &space.namespace;
    let begin = Instant::now();
    space.apply(&Claim::new("one", CLASS, "1Gi").within(ns))?;
    space.start(&Pod::stays("one", "echo x > /v/f").claim("one").within(ns))?;
    let one = begin.elapsed();
    let usage = Usage::begin(space)?;
    let mut all = vec![];
    for n in 0..MANY {
        let name = format!("s{n}");
        all.push(Claim::new(&name, CLASS, "1Gi").within(ns));
        all.push(Pod::stays(&name, "echo x > /v/f").claim(&name).within(ns));
    }
    let begin = Instant::now();
    space.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}))?;
    let count = |kind: &str, done: fn(&Value) -> bool| -> Result<usize> {
        let objects = space.cluster.list(kind)?;
        Ok(objects.iter().filter(|o| o["metadata"]["namespace"] == *ns && done(o)).count())
    };
    let bound = |claim: &Value| text_at(claim, "/status/phase") == "Bound";
    until("all claims to be bound", PATIENCE, || Ok((count("pvc", bound)? > MANY).then_some(())))?;
    let all_bound = begin.elapsed();
    let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    until("all pods to be Ready", PATIENCE, || Ok((count("pods", ready)? > MANY).then_some(())))?;
    let all_ready = begin.elapsed();
    let begin = Instant::now();
    space.cluster.kubectl(&["-n", ns, "delete", "pods", "--all", "--timeout=300s"])?;
    let pods_gone = begin.elapsed();
    space.cluster.kubectl(&["-n", ns, "delete", "pvc", "--all", "--timeout=300s"])?;
    until("all volumes to be gone", PATIENCE, || Ok(space.cluster.list("pv")?.is_empty().then_some(())))?;
    let volumes_gone = begin.elapsed();
    Ok(Some(format!(
        "one {:.1} s; {MANY}: bound {:.1} s, Ready {:.1} s, pods gone {:.1} s, volumes gone {:.1} s; {}",
        one.as_secs_f64(),
        all_bound.as_secs_f64(),
        all_ready.as_secs_f64(),
        pods_gone.as_secs_f64(),
        volumes_gone.as_secs_f64(),
        usage.end(space)?
    )))
}

/// What the processes of the driver's pods take, on all nodes.
struct Usage(Vec<(String, f64)>);

impl Usage {
    fn begin(space: &Space<'_>) -> Result<Self> {
        let mut hosts = vec![];
        for node in space.cluster.nodes()? {
            let pid = host_pid(space, &node)?;
            hosts.push((pid.clone(), cpu_seconds(&pid)?));
        }
        Ok(Self(hosts))
    }

    fn end(self, space: &Space<'_>) -> Result<String> {
        let mut said = vec![];
        for ((pid, before), node) in self.0.iter().zip(space.cluster.nodes()?) {
            let cpu = cpu_seconds(pid)? - before;
            let (now, peak) = (status(pid, "VmRSS")?, status(pid, "VmHWM")?);
            let pod = node_pod(space, &node)?;
            let sidecars = sidecars(space, &pod)?;
            said.push(format!(
                "{node}: host {cpu:.1} s of CPU, {} MiB resident, peak {}{sidecars}",
                now >> 10,
                peak >> 10
            ));
        }
        Ok(said.join("; "))
    }
}

/// Resident memory of the pod's other processes together.
fn sidecars(space: &Space<'_>, pod: &str) -> Result<String> {
    let uid = space.cluster.get(crate::NAMESPACE, "pod", pod)?.map(|pod| text_at(&pod, "/metadata/uid"));
    let uid = uid.context("the driver's pod is gone")?;
    let mut total = 0;
    for process in fs::read_dir("/proc")? {
        let path = process?.path();
        let (Ok(cgroup), Ok(name)) = (fs::read_to_string(path.join("cgroup")), fs::read_to_string(path.join("comm")))
        else {
            continue;
        };
        if cgroup.contains(&uid) && name.starts_with("csi-") {
            total += status(&path.file_name().unwrap_or_default().to_string_lossy(), "VmRSS").unwrap_or_default();
        }
    }
    Ok(format!(", its sidecars {} MiB", total >> 10))
}

/// KiB of a line of /proc/PID/status.
fn status(pid: &str, key: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).context("the host was restarted meanwhile")?;
    let line = text.lines().find(|line| line.starts_with(key)).context("no such line")?;
    Ok(line.split_whitespace().nth(1).context("no value")?.parse()?)
}

/// User and system time of a process.
fn cpu_seconds(pid: &str) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).context("the host was restarted meanwhile")?;
    let after_name = text.rsplit(") ").next().context("no name")?;
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    // USER_HZ is 100 on all architectures that Linux shows to programs.
    Ok(ticks as f64 / 100.0)
}
