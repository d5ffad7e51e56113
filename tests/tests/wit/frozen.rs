//! Versions of the WIT package that may not change any more. `wit/frozen.yaml` names the files of each version and the components that
//! were built against it, with their digests, and says whether it is frozen.

use bulkhead_tests::components::{resolve, wit_dir};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// Name and SHA-256 of each file.
type Digests = BTreeMap<String, String>;

/// What is kept of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    frozen: bool,
    files: Digests,
    components: Digests,
}

fn wit() -> PathBuf {
    wit_dir().join("..")
}

fn kept() -> BTreeMap<String, Version> {
    let value: Value = serde_saphyr::from_str(&fs::read_to_string(wit().join("frozen.yaml")).unwrap()).unwrap();
    let digests = |value: &Value| -> Digests {
        let entries = value.as_object().unwrap().iter();
        entries.map(|(name, digest)| (name.clone(), digest.as_str().unwrap().to_owned())).collect()
    };
    let version = |value: &Value| Version {
        frozen: value["frozen"].as_bool().unwrap(),
        files: digests(&value["files"]),
        components: digests(&value["components"]),
    };
    value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), version(value))).collect()
}

/// Digests of the files in `dir` whose names this wants.
fn found(dir: &Path, wants: impl Fn(&str) -> bool) -> Digests {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let wanted = named.filter(|(name, _)| wants(name));
    wanted.map(|(name, path)| (name, hex::encode(Sha256::digest(fs::read(path).unwrap())))).collect()
}

/// The versions as they are, each as frozen as it is kept.
fn present(kept: &BTreeMap<String, Version>) -> BTreeMap<String, Version> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/components");
    let folders = fs::read_dir(wit()).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    let version = |name: String| {
        let version = Version {
            frozen: kept.get(&name).is_some_and(|version| version.frozen),
            files: found(&wit().join(&name), |_| true),
            components: found(&golden, |file| file.starts_with(&format!("{name}-"))),
        };
        (name, version)
    };
    folders.map(|folder| version(folder.file_name().into_string().unwrap())).collect()
}

/// What is wrong with a version. While it isn't frozen only names count.
fn wrong(kept: &Version, present: &Version) -> Vec<String> {
    let mut wrong = vec![];
    for (kind, kept_files, files) in
        [("file", &kept.files, &present.files), ("component", &kept.components, &present.components)]
    {
        wrong
            .extend(kept_files.keys().filter(|name| !files.contains_key(*name)).map(|n| format!("{kind} {n} is gone")));
        for (name, digest) in files {
            match kept_files.get(name) {
                None => wrong.push(format!("{kind} {name} isn't listed")),
                Some(kept_digest) if kept.frozen && kept_digest != digest => {
                    wrong.push(format!("{kind} {name} has changed, and this version is frozen: make a new one"));
                }
                Some(_) => {}
            }
        }
        if files.is_empty() {
            wrong.push(format!("it has no {kind}"));
        }
    }
    wrong
}

/// The file's comment, and the versions: what is frozen as it is kept, the rest as it is.
fn text(comment: &str, kept: &BTreeMap<String, Version>, present: &BTreeMap<String, Version>) -> String {
    let mut text = comment.to_owned();
    for (name, version) in present {
        let version = kept.get(name).filter(|kept| kept.frozen).unwrap_or(version);
        let _ = writeln!(text, "{name}:\n  frozen: {}", version.frozen);
        for (kind, digests) in [("files", &version.files), ("components", &version.components)] {
            let _ = writeln!(text, "  {kind}:");
            digests.iter().for_each(|(name, digest)| _ = writeln!(text, "    {name}: {digest:?}"));
        }
    }
    text
}

#[test]
fn what_is_frozen_is_as_it_was() {
    let mut versions = kept();
    let present = present(&versions);
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        let file = wit().join("frozen.yaml");
        let old = fs::read_to_string(&file).unwrap();
        let comment: String = old.lines().take_while(|line| line.starts_with('#')).map(|l| format!("{l}\n")).collect();
        fs::write(&file, text(&comment, &versions, &present)).unwrap();
        versions = kept();
    }
    assert_eq!(versions.keys().collect::<Vec<_>>(), present.keys().collect::<Vec<_>>(), "wit/frozen.yaml: versions");
    for (name, kept) in &versions {
        let wrong = wrong(kept, &present[name]);
        assert!(wrong.is_empty(), "wit/frozen.yaml, {name}:\n{}", wrong.join("\n"));
    }
}

/// The test of the test: every way to change a version, with and without its being frozen.
#[test]
fn a_change_of_what_is_frozen_is_found() {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, d)| ((*n).to_owned(), (*d).to_owned())).collect();
    let version = |frozen| Version {
        frozen,
        files: map(&[("types.wit", "1"), ("node.wit", "2")]),
        components: map(&[("v0.1-a.wasm", "3")]),
    };
    /// What is done, and whether it counts also in what isn't frozen.
    type Change = (fn(&mut Version), bool);
    let changes: [Change; 6] = [
        (|_| {}, false),
        (|v| _ = v.files.insert("types.wit".into(), "7".into()), false),
        (|v| _ = v.components.insert("v0.1-a.wasm".into(), "7".into()), false),
        (|v| _ = v.files.insert("more.wit".into(), "7".into()), true),
        (|v| _ = v.files.remove("types.wit"), true),
        (|v| v.components.clear(), true),
    ];
    for (index, (change, always)) in changes.into_iter().enumerate() {
        for frozen in [true, false] {
            let mut changed = version(frozen);
            change(&mut changed);
            let expected = index > 0 && (always || frozen);
            assert_eq!(!wrong(&version(frozen), &changed).is_empty(), expected, "change {index}, frozen: {frozen}");
        }
    }
    // Blessing never touches what is frozen.
    let (mut changed, name) = (version(true), "v0.1".to_owned());
    changed.files.insert("types.wit".into(), "7".into());
    let written = |frozen| {
        let present = Version { frozen, ..changed.clone() };
        text("", &[(name.clone(), version(frozen))].into(), &[(name.clone(), present)].into())
    };
    assert!(written(true).contains("types.wit: \"1\"") && written(false).contains("types.wit: \"7\""));
}

/// What people read about `v0.1` says the same, and nothing is left open in what is frozen.
#[test]
fn what_is_written_about_it_agrees() {
    let frozen = kept()["v0.1"].frozen;
    let (resolve, package) = resolve(&[]).unwrap();
    let docs = resolve.packages[package].docs.contents.clone().unwrap();
    assert_eq!(docs.contains("NOT FROZEN"), !frozen, "the package's documentation, worlds.wit");
    let readme = fs::read_to_string(wit().join("README.md")).unwrap();
    assert_eq!(readme.contains("## Not frozen yet"), !frozen, "wit/README.md");
    let changes = fs::read_to_string(wit().join("CHANGES.md")).unwrap();
    let open = changes.split("\n## ").find(|section| section.starts_with("Open")).expect("CHANGES.md: what is open");
    let points = open.lines().filter(|line| line.starts_with("### ")).count();
    assert!(!frozen || points == 0, "wit/CHANGES.md: {points} points are open");
}
