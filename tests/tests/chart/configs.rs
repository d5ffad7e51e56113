//! The configs that the chart renders, given to the host.

use crate::{
    helm::{self, Helm},
    renderings,
};
use bulkhead_tests::{
    host::{backend, binary},
    web::Pki,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Every rendered config is one that the host takes, with its folders and files below a directory of the test. Components that aren't
/// ours are replaced by the local backend.
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
                .envs([("NODE_NAME", "node-1"), ("RACK", "r1"), ("ZONE", "eu-central-1a")])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{name}: {said}\n{}", fs::read_to_string(&config).unwrap());
            configs += 1;
            drop(dir);
        }
    }
    assert!(configs >= 12, "only {configs} configs were checked");
}

/// The nodes' configs hold no secret and no profile, the controller's all that the driver has.
#[test]
fn nodes_get_neither_secrets_nor_profiles() {
    let Some(helm) = Helm::find() else { return };
    let text = helm.render(&helm::root().join("tests/chart/values/http.yaml"));
    let config = |half: &str| {
        let objects = helm::objects(&text);
        let named = |object: &&Value| object["kind"] == "ConfigMap" && object["metadata"]["name"] == half;
        objects.iter().find(named).expect(half)["data"]["config.yaml"].as_str().expect("a config").to_owned()
    };
    let (node, controller) = (config("bulkhead-node"), config("bulkhead-controller"));
    for word in ["array-password", "clientCertificate", "ca.crt", "auth:", "password", "bulkhead-files"] {
        assert!(controller.contains(word), "{word} is gone:\n{controller}");
        assert!(!node.contains(word), "a node knows {word}:\n{node}");
    }
    // What may be imported is the same, or the component couldn't be loaded there.
    for word in ["host: array.example.com", "state:", "secrets:\n      - sign"] {
        assert!(controller.contains(word) && node.contains(word), "{word}:\n{controller}\n{node}");
    }
}

/// The config of a ConfigMap in a new directory, with all its folders.
fn config_in_sandbox(object: &Value) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().display().to_string();
    let pki = Pki::new();
    let client = pki.certificate("client");
    let mut text = String::new();
    for line in object["data"]["config.yaml"].as_str().expect("a config").lines() {
        let (key, value) = line.split_once(": ").unwrap_or((line, ""));
        let line = match key.trim().trim_start_matches("- ") {
            "source" => {
                let ours =
                    ["local", "nfs", "ebs"].into_iter().find(|name| value.ends_with(&format!("backends/{name}.wasm")));
                format!("{key}: {}", backend(ours.unwrap_or("local")).display())
            }
            "file" | "ca" | "certificate" | "key" => {
                let path = PathBuf::from(format!("{below}{value}"));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                write_file(key.trim(), &path, &pki, &client);
                format!("{key}: {}", path.display())
            }
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

/// What a file that a key names has to hold.
fn write_file(key: &str, path: &Path, pki: &Pki, client: &(String, String)) {
    let text = match key {
        "ca" => &pki.ca,
        "certificate" => &client.0,
        "key" => &client.1,
        _ => "a secret",
    };
    fs::write(path, text).unwrap();
}
