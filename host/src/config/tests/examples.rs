//! What the repository shows people: the schema, the example, the page.

use super::super::json_schema;
use super::*;
use std::fs;

/// A file of the repository.
fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Fails when docs/config.schema.json is out of date; BULKHEAD_BLESS=1 writes it.
#[test]
fn the_schema_is_up_to_date() {
    let path = repository("docs/config.schema.json");
    let expected = format!("{:#}\n", json_schema());
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        fs::write(&path, &expected).expect("write the schema");
    }
    let found = fs::read_to_string(&path).expect("docs/config.schema.json");
    assert!(
        found == expected,
        "docs/config.schema.json is out of date: BULKHEAD_BLESS=1 cargo test -p bulkhead --lib config"
    );
}

#[test]
fn the_example_is_accepted_and_complete() {
    let path = repository("examples/bulkhead.yaml");
    let text = fs::read_to_string(&path).expect("examples/bulkhead.yaml");
    let config = Config::from_text(&text, &path, &|_| None, &|| Some("host-1".into())).expect("the example");
    assert_eq!(config.drivers[0].name, "local.csi.bulkhead.dev");
    assert!(config.drivers[0].backend.source.ends_with("examples/../dist/backends/local.wasm"));
    // What is commented out must be right too.
    let uncommented: String = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(code) if code.split(':').next().is_some_and(|key| !key.contains(' ') && !key.starts_with("yaml-")) => {
                line.replacen("# ", "", 1) + "\n"
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let env = |name: &str| (name == "NODE_NAME").then(|| "n".to_owned());
    let config = Config::from_text(&uncommented, &path, &env, &|| None).expect("the example, uncommented");
    assert_eq!((config.node.id.as_str(), config.node.labels.len()), ("n", 1));
    assert!(config.drivers[0].backend.digest.is_some() && config.drivers[0].backend.grants.pools.len() == 2);
    assert!(!config.drivers[0].offer.withheld.is_empty());
}

/// Every key of the schema has its line in docs/config.md.
#[test]
fn the_page_names_every_key() {
    let page = fs::read_to_string(repository("docs/config.md")).expect("docs/config.md");
    let schema = json_schema();
    let mut keys = Vec::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 40, "{keys:?}");
    let missing: Vec<_> = keys.into_iter().filter(|key| !page.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in docs/config.md: {missing:?}");
}

fn collect_keys(schema: &serde_json::Value, keys: &mut Vec<String>) {
    if let Some(properties) = schema.get("properties").and_then(|p| p.as_object()) {
        keys.extend(properties.keys().cloned());
    }
    let children = schema.as_object().into_iter().flat_map(|map| map.values());
    children.chain(schema.as_array().into_iter().flatten()).for_each(|child| collect_keys(child, keys));
}
