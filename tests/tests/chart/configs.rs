//! The configs that the chart renders, given to the host.

use crate::{
    helm::{self, Helm},
    renderings,
};
use bulkhead_tests::host::{backend, binary};
use serde_json::Value;
use std::{fs, path::PathBuf, process::Command};

/// Every rendered config is one that the host takes, with its folders below a directory of the test and the local backend in
/// the place of every component.
#[test]
fn rendered_configs_are_accepted_by_the_host() {
    let Some(helm) = Helm::find() else { return };
    let mut configs = 0;
    for (name, text) in renderings(&helm) {
        for object in helm::objects(&text).iter().filter(|object| object["kind"] == "ConfigMap") {
            let mode =
                if object["metadata"]["name"].as_str().unwrap().ends_with("-node") { "all" } else { "controller" };
            let (dir, config) = config_in_sandbox(object);
            let output = Command::new(binary())
                .args(["check", "--mode", mode])
                .arg(&config)
                .env_clear()
                .envs([("NODE_NAME", "node-1"), ("RACK", "r1")])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name}: {said}\n{}", fs::read_to_string(&config).unwrap());
            configs += 1;
            drop(dir);
        }
    }
    assert!(configs >= 8, "only {configs} configs were checked");
}

/// The config of a ConfigMap in a new directory, with all its folders.
fn config_in_sandbox(object: &Value) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().display().to_string();
    let mut text = String::new();
    for line in object["data"]["config.yaml"].as_str().expect("a config").lines() {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        let line = match key.trim().trim_start_matches("- ") {
            "source" => format!("{key}: {}", backend("local").display()),
            "path" | "kubeletRoot" | "stateDir" | "directory" => {
                fs::create_dir_all(format!("{below}{value}")).unwrap();
                format!("{key}: {below}{value}")
            }
            "endpoint" if value.starts_with("unix:") => {
                format!("{key}: {}", value.replace("unix://", &format!("unix://{below}")))
            }
            _ => line.to_owned(),
        };
        text += &line;
        text.push('\n');
    }
    let path = dir.path().join("config.yaml");
    fs::write(&path, text).unwrap();
    (dir, path)
}
