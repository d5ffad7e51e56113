//! Tier "chart": what the helm chart renders, what it refuses, and that deploy/manifests is what it renders.
#![allow(missing_docs, clippy::unwrap_used)]

mod configs;
mod helm;
mod rules;

use helm::{Helm, folder, named, root};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    process::Command,
};

/// Renderings by name: of the chart's examples and of `tests/chart/values`.
fn renderings(helm: &Helm) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for from in ["deploy/helm/examples", "tests/chart/values"] {
        for values in folder(from) {
            all.insert(format!("{from}/{}", named(&values)), helm.render(&values));
        }
    }
    assert!(all.len() >= 8, "values are gone: {:?}", all.keys());
    all
}

#[test]
fn lint_has_nothing_to_say() {
    let Some(helm) = Helm::find() else { return };
    for from in ["deploy/helm/examples", "tests/chart/values"] {
        for values in folder(from) {
            let output = helm.run("lint", &values);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let wrong = said.lines().any(|line| line.contains("[WARNING]") || line.contains("[ERROR]"));
            assert!(output.status.success() && !wrong, "{}: {said}", values.display());
        }
    }
}

#[test]
fn manifests_are_what_the_chart_renders() {
    if Helm::find().is_none() {
        return;
    }
    let fresh = tempfile::tempdir().unwrap();
    let script = root().join("scripts/render-manifests.sh");
    let output = Command::new(&script).arg(fresh.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |dir: &Path| -> BTreeMap<String, String> {
        let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        paths.map(|path| (named(&path), fs::read_to_string(&path).unwrap())).collect()
    };
    let (kept, fresh) = (read(&root().join("deploy/manifests")), read(fresh.path()));
    assert_eq!(kept.keys().collect::<Vec<_>>(), fresh.keys().collect::<Vec<_>>(), "run scripts/render-manifests.sh");
    for (name, text) in &fresh {
        differs(&format!("deploy/manifests/{name}"), &kept[name], text, "scripts/render-manifests.sh");
    }
}

#[test]
fn renderings_are_as_before() {
    let Some(helm) = Helm::find() else { return };
    let golden = root().join("tests/golden/chart");
    let mut expected = vec![];
    for values in folder("tests/chart/values") {
        let (text, path) = (helm.render(&values), golden.join(named(&values)));
        if env::var_os("BULKHEAD_BLESS").is_some() {
            fs::create_dir_all(&golden).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        differs(&path.display().to_string(), &kept, &text, "BULKHEAD_BLESS=1 make tier NAME=chart");
        expected.push(path);
    }
    let mut there = folder("tests/golden/chart");
    there.retain(|path| !expected.contains(path));
    assert!(there.is_empty(), "golden files without values: {there:?}");
}

/// Panics with the first line that differs.
fn differs(name: &str, kept: &str, fresh: &str, cure: &str) {
    if kept != fresh {
        let (mut a, mut b) = (kept.lines(), fresh.lines());
        let at = a.by_ref().zip(b.by_ref()).position(|(a, b)| a != b);
        let line = at.unwrap_or_else(|| kept.lines().count().min(fresh.lines().count()));
        let of = |text: &str| text.lines().nth(line).unwrap_or("(nothing)").to_owned();
        panic!("{name}:{}: has\n  {}\nrendered is\n  {}\n{cure} writes it", line + 1, of(kept), of(fresh));
    }
}

#[test]
fn bad_values_are_refused_by_name() {
    let Some(helm) = Helm::find() else { return };
    let cases = folder("tests/chart/refused");
    assert!(cases.len() >= 25, "cases are gone");
    let mut wrong = String::new();
    for case in cases {
        let text = fs::read_to_string(&case).unwrap();
        let expected =
            text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a first line with the error");
        let output = helm.run("template", &case);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() || !said.contains(expected) {
            wrong += &format!("{}: expected {expected:?}, got {said}\n", case.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn rendered_objects_keep_the_rules() {
    let Some(helm) = Helm::find() else { return };
    for (name, text) in renderings(&helm) {
        let found = rules::violations(&helm::objects(&text));
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}

/// The test of the test: an object that breaks a rule is found.
#[test]
fn broken_objects_are_found() {
    let Some(helm) = Helm::find() else { return };
    let text = helm.render(&root().join("deploy/helm/examples/local-beside.yaml"))
        + &helm
            .render(&root().join("deploy/helm/examples/controller-deployment.yaml"))
            .replace("bulkhead-node", "other-node")
        + &helm
            .render(&root().join("tests/chart/values/http.yaml"))
            .replace("name: bulkhead-", "name: third-")
            .replace("serviceAccountName: bulkhead-", "serviceAccountName: third-");
    assert_eq!(rules::violations(&helm::objects(&text)), Vec::<String>::new());
    for (from, to) in [
        ("containerPort: 9808, protocol", "containerPort: 9808, hostPort: 9808, protocol"),
        ("allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
        ("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        ("capabilities: { drop: [ALL] }", "privileged: true"),
        ("automountServiceAccountToken: false", "automountServiceAccountToken: true"),
        ("serviceAccountName: bulkhead-node", "hostPID: true\n      serviceAccountName: bulkhead-node"),
        ("runAsNonRoot: true", "runAsNonRoot: false"),
        ("emptyDir: {}", "hostPath: { path: /, type: Directory }"),
        ("- { name: dev, mountPath: /dev }", "- { name: other, mountPath: /dev }"),
        ("- { name: dev, mountPath: /dev }", "- { name: api, mountPath: /dev }"),
        ("resources: [storageclasses]", "resources: [secrets]"),
        ("verbs: [create, patch]", "verbs: [\"*\"]"),
        ("name: bulkhead-node-attacher\n", "name: bulkhead-node-other\n"),
        ("attachRequired: true", "attachRequired: false"),
        ("audience: \"sts.amazonaws.com\", ", ""),
        ("mountPath: /var/run/secrets/bulkhead, readOnly: true", "mountPath: /var/run/secrets/bulkhead"),
        ("hostPath: { path: /dev, type: Directory }", "secret: { secretName: array }"),
        ("port: health", "port: web"),
        ("maxUnavailable: 1\n  selector", "maxUnavailable: 0\n  selector"),
    ] {
        assert!(text.contains(from), "{from} is gone");
        let broken = text.replacen(from, to, 1);
        let found = rules::violations(&helm::objects(&broken));
        assert!(!found.is_empty(), "{from:?} became {to:?} and nobody saw it");
    }
}

/// docs/security.md names every right that some rendering grants, and no other.
#[test]
fn every_right_is_in_the_docs() {
    let Some(helm) = Helm::find() else { return };
    let docs = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (_, table) = docs.split_once("| sidecar | verbs | for |").expect("the table of rights");
    let mut written = BTreeSet::new();
    let mut sidecar = "";
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        sidecar = if cells[1].is_empty() { sidecar } else { cells[1] };
        for group in cells[2].trim_start_matches("*namespace*").split(';') {
            let (resources, verbs) = group.split_once(':').unwrap_or_else(|| panic!("no verbs: {row}"));
            for resource in resources.split(',') {
                written.extend(verbs.split(',').map(|verb| format!("{sidecar} {} {}", resource.trim(), verb.trim())));
            }
        }
    }
    let objects: Vec<_> = renderings(&helm).values().flat_map(|text| helm::objects(text)).collect();
    let granted = rules::granted(&objects);
    assert!(granted.len() > 50, "rights are gone: {granted:?}");
    let differ: Vec<_> = written.symmetric_difference(&granted).collect();
    assert!(differ.is_empty(), "only in docs/security.md or only granted: {differ:#?}");
}
