//! What holds for every rendering: who is privileged, who gets a token, what is granted and to whom.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// What is wrong with the objects, a line each.
pub fn violations(objects: &[Value]) -> Vec<String> {
    let mut found = vec![];
    let mut seen = BTreeSet::new();
    for object in objects {
        let name = format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
        if !seen.insert(name.clone()) {
            found.push(format!("{name} is there twice"));
        }
        let mut say = |what: String| found.push(format!("{name}: {what}"));
        match text(object, "/kind") {
            kind @ ("DaemonSet" | "Deployment") => workload(object, kind == "DaemonSet", &mut say),
            "ClusterRole" | "Role" => role(object, objects, &mut say),
            "ClusterRoleBinding" | "RoleBinding" => binding(object, objects, &mut say),
            "ServiceAccount" if object["automountServiceAccountToken"] != false => say("mounts its token".into()),
            "PodDisruptionBudget" if object["spec"]["maxUnavailable"] == 0 => {
                say("keeps nodes from being drained".into())
            }
            "CSIDriver" => driver(object, objects, &mut say),
            _ => {}
        }
    }
    found
}

fn workload(object: &Value, daemon: bool, say: &mut dyn FnMut(String)) {
    let pod = &object["spec"]["template"]["spec"];
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if !pod[key].is_null() {
            say(format!("has {key}"));
        }
    }
    if pod["automountServiceAccountToken"] != false {
        say("every container gets a token".into());
    }
    let volumes: BTreeMap<_, _> = list(pod, "/volumes").iter().map(|volume| (text(volume, "/name"), volume)).collect();
    let mut used = BTreeSet::new();
    let mut names = BTreeSet::new();
    for container in list(pod, "/containers") {
        let name = text(container, "/name");
        if !names.insert(name) || name.len() > 63 {
            say(format!("{name}: twice, or too long"));
        }
        let mounts: Vec<_> = list(container, "/volumeMounts").iter().map(|mount| text(mount, "/name")).collect();
        used.extend(mounts.iter().copied());
        context(name, container, daemon, say);
        if name == "bulkhead" {
            host(container, &mounts, say);
        } else if mounts.len() != 2 || mounts[1] != "api" || !mounts[0].starts_with("socket") {
            say(format!("{name} mounts more than its socket and a token: {mounts:?}"));
        }
    }
    if used != volumes.keys().copied().collect() {
        say(format!("mounted {used:?}, volumes {:?}", volumes.keys()));
    }
    for volume in volumes.values() {
        secret_volume(volume, daemon, say);
    }
    let containers = list(pod, "/containers").iter().flat_map(|container| list(container, "/volumeMounts"));
    for mount in containers.filter(|mount| mount["readOnly"] != true) {
        if volumes.get(text(mount, "/name")).is_some_and(|volume| is_secret(volume) && text(volume, "/name") != "api") {
            say(format!("{} can be written", text(mount, "/name")));
        }
    }
    if !daemon {
        let security = &pod["securityContext"];
        if security["runAsNonRoot"] != true || security["runAsUser"] == 0 {
            say("may run as root".into());
        }
        if volumes.values().any(|volume| !volume["hostPath"].is_null()) {
            say("has folders of its node".into());
        }
    }
}

/// Something of a Secret is in it, or a token.
fn is_secret(volume: &Value) -> bool {
    let sources = list(volume, "/projected/sources");
    let secret = |source: &Value| !source["secret"].is_null() || !source["serviceAccountToken"].is_null();
    !volume["secret"].is_null() || sources.iter().any(secret)
}

/// Nodes have no secrets but the sidecars' token, and only that one is for the API server.
fn secret_volume(volume: &Value, daemon: bool, say: &mut dyn FnMut(String)) {
    let name = text(volume, "/name");
    if name == "api" {
        return;
    }
    if daemon && is_secret(volume) {
        say(format!("nodes get {name}"));
    }
    let tokens = list(volume, "/projected/sources").iter().map(|source| &source["serviceAccountToken"]);
    for token in tokens.filter(|token| !token.is_null()) {
        if text(token, "/audience").is_empty() {
            say(format!("{name} is a token of the API server"));
        }
    }
}

fn context(name: &str, container: &Value, daemon: bool, say: &mut dyn FnMut(String)) {
    let security = &container["securityContext"];
    let mut must = |holds: bool, what: &str| {
        if !holds {
            say(format!("{name}: {what}"));
        }
    };
    must(security["readOnlyRootFilesystem"] == true, "its root file system can be written");
    let ports = list(container, "/ports");
    must(ports.iter().all(|port| port["hostPort"].is_null()), "has a port of the node");
    if name == "bulkhead" && daemon {
        must(security["privileged"] == true, "can't pass mounts on");
        return;
    }
    must(security["privileged"].is_null(), "is privileged");
    must(security["allowPrivilegeEscalation"] == false, "may escalate");
    must(security["capabilities"]["drop"][0] == "ALL", "has capabilities");
}

fn host(container: &Value, mounts: &[&str], say: &mut dyn FnMut(String)) {
    if mounts.contains(&"api") {
        say("the host has a token of the API server".into());
    }
    let ports: Vec<_> = list(container, "/ports").iter().map(|port| text(port, "/name")).collect();
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        if !ports.contains(&text(container, &format!("/{probe}/httpGet/port"))) {
            say(format!("{probe} asks at a port that isn't there"));
        }
    }
}

fn role(object: &Value, objects: &[Value], say: &mut dyn FnMut(String)) {
    for rule in list(object, "/rules") {
        let words: Vec<_> = ["/apiGroups", "/resources", "/verbs"].iter().flat_map(|at| list(rule, at)).collect();
        if words.iter().any(|word| *word == "*" || *word == "secrets" || *word == "impersonate") {
            say(format!("grants too much: {rule}"));
        }
    }
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    let bound = objects.iter().filter(|o| text(o, "/roleRef/kind") == kind && text(o, "/roleRef/name") == name);
    if bound.count() != 1 {
        say("isn't bound once".into());
    }
}

/// What the roles grant: `SIDECAR RESOURCE VERB`.
pub fn granted(objects: &[Value]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for object in objects.iter().filter(|object| matches!(text(object, "/kind"), "ClusterRole" | "Role")) {
        let sidecar = text(object, "/metadata/name").rsplit('-').next().unwrap_or_default();
        for rule in list(object, "/rules") {
            let strings = |at: &str| list(rule, at).iter().filter_map(Value::as_str).collect::<Vec<_>>();
            for resource in strings("/resources") {
                all.extend(strings("/verbs").iter().map(|verb| format!("{sidecar} {resource} {verb}")));
            }
        }
    }
    all
}

fn binding(object: &Value, objects: &[Value], say: &mut dyn FnMut(String)) {
    let there =
        |kind: &str, name: &str| objects.iter().any(|o| text(o, "/kind") == kind && text(o, "/metadata/name") == name);
    if !there(text(object, "/roleRef/kind"), text(object, "/roleRef/name")) {
        say("binds a role that isn't there".into());
    }
    for subject in list(object, "/subjects") {
        if !there("ServiceAccount", text(subject, "/name")) {
            say(format!("binds to nobody: {}", text(subject, "/name")));
        }
    }
}

/// Kubernetes waits for an attacher if the driver says that it needs one, and for ever if there is none.
fn driver(object: &Value, objects: &[Value], say: &mut dyn FnMut(String)) {
    let slug = text(object, "/metadata/name").to_lowercase().replace('.', "-");
    let slug = slug.get(..33).unwrap_or(&slug);
    let containers = objects.iter().flat_map(|object| list(object, "/spec/template/spec/containers"));
    let attachers = containers.filter(|c| text(c, "/name").starts_with(&format!("attacher-{slug}"))).count();
    if object["spec"]["attachRequired"] != (attachers == 1) {
        say(format!("attachRequired is {}, with {attachers} attachers", object["spec"]["attachRequired"]));
    }
}
