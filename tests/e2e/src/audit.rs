//! What the API server's audit log says about the service accounts of the chart: every verb that a role grants was used, and none
//! was denied. What a run can't show is listed with its reason in `audit-exceptions.txt`.

use crate::{
    NAMESPACE,
    cluster::{Cluster, text_at},
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    path::Path,
};

/// Who may do, or does, what: sidecar, resource with its group and subresource, verb.
type Act = (String, String, String);

/// What one run of a cluster showed.
#[derive(Debug, Default)]
pub struct Audit {
    /// Used, with the service accounts' own credentials.
    pub used: BTreeSet<Act>,
    /// Refused, with how often.
    pub denied: BTreeMap<Act, usize>,
    /// Granted by the roles of the chart.
    pub granted: BTreeSet<Act>,
}

/// Reads the cluster's log and roles.
///
/// # Errors
/// They can't be read.
pub fn read(cluster: &Cluster) -> Result<Audit> {
    let mut audit = Audit::default();
    let mut denied = vec![];
    let log = cluster.work.join("log/audit.log");
    let log = fs::File::open(&log).with_context(|| format!("can't open {}", log.display()))?;
    for line in BufReader::new(log).lines() {
        // The last line may still be in the making.
        let Ok(event) = serde_json::from_str::<Value>(&line?) else { continue };
        let user = text_at(&event, "/user/username");
        if !user.starts_with(&format!("system:serviceaccount:{NAMESPACE}:")) || event["objectRef"].is_null() {
            continue;
        }
        let agent = text_at(&event, "/userAgent");
        let sidecar = agent.split('/').next().unwrap_or_default().trim_start_matches("csi-").to_owned();
        let object = &event["objectRef"];
        let resource =
            resource(&text_at(object, "/apiGroup"), &text_at(object, "/resource"), &text_at(object, "/subresource"));
        let act = (sidecar, resource, text_at(&event, "/verb"));
        if event["annotations"]["authorization.k8s.io/decision"] == "forbid" {
            denied.push((act, text_at(object, "/name")));
        } else {
            audit.used.insert(act);
        }
    }
    let mut named = BTreeSet::new();
    for kind in ["clusterroles", "roles"] {
        let roles = cluster.list(kind)?;
        roles.iter().filter(|role| is_ours(role)).for_each(|role| grants(role, &mut audit.granted));
        named.extend(roles.iter().filter(|role| is_ours(role)).flat_map(names));
    }
    // A driver that is taken away loses its lease's name in the role before its sidecars end.
    for (act, name) in denied {
        if !act.1.starts_with("leases.") || named.contains(&name) {
            *audit.denied.entry(act).or_default() += 1;
        }
    }
    ensure!(!audit.granted.is_empty(), "no role of the chart is there");
    Ok(audit)
}

/// Compares with the list of exceptions.
///
/// # Errors
/// What was denied, and what is granted for nothing.
pub fn check(audit: &Audit, exceptions: &Path) -> Result<String> {
    let text = fs::read_to_string(exceptions).with_context(|| format!("can't read {}", exceptions.display()))?;
    let excused: BTreeSet<Act> = text.lines().filter(|line| !line.starts_with('#')).filter_map(exception).collect();
    let show = |act: &Act| format!("{} {} {}", act.0, act.1, act.2);
    let denied: Vec<_> = audit.denied.iter().map(|(act, times)| format!("{} ({times} times)", show(act))).collect();
    ensure!(denied.is_empty(), "denied: {}", denied.join("; "));
    let unused: Vec<_> =
        audit.granted.difference(&audit.used).filter(|act| !excused.contains(*act)).map(show).collect();
    ensure!(unused.is_empty(), "granted, but never used: {}", unused.join("; "));
    let idle = audit.granted.iter().filter(|act| !audit.used.contains(*act)).count();
    Ok(format!(
        "{} verbs granted, {} used, {idle} excused, none denied",
        audit.granted.len(),
        audit.granted.len() - idle
    ))
}

/// `SIDECAR RESOURCE VERB: reason`.
fn exception(line: &str) -> Option<Act> {
    let (act, _reason) = line.split_once(": ")?;
    let mut words = act.split_whitespace().map(str::to_owned);
    Some((words.next()?, words.next()?, words.next()?))
}

fn is_ours(role: &Value) -> bool {
    role["metadata"]["labels"]["app.kubernetes.io/name"] == "bulkhead"
}

/// All names that a role's rules are limited to.
fn names(role: &Value) -> Vec<String> {
    let rules = role["rules"].as_array().into_iter().flatten();
    let names = rules.flat_map(|rule| rule["resourceNames"].as_array().into_iter().flatten());
    names.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn grants(role: &Value, granted: &mut BTreeSet<Act>) {
    let name = text_at(role, "/metadata/name");
    let sidecar = name.rsplit('-').next().unwrap_or_default().to_owned();
    let words = |rule: &Value, key: &str| -> Vec<String> {
        rule[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in words(rule, "apiGroups") {
            for name in words(rule, "resources") {
                let (name, sub) = name.split_once('/').unwrap_or((&name, ""));
                for verb in words(rule, "verbs") {
                    granted.insert((sidecar.clone(), resource(&group, name, sub), verb));
                }
            }
        }
    }
}

/// `RESOURCE.GROUP/SUBRESOURCE`, without what is empty.
fn resource(group: &str, name: &str, sub: &str) -> String {
    let group = if group.is_empty() { String::new() } else { format!(".{group}") };
    let sub = if sub.is_empty() { String::new() } else { format!("/{sub}") };
    format!("{name}{group}{sub}")
}
