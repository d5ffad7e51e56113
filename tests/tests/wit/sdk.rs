//! The Rust SDK offers all that the WIT package has.

use bulkhead_tests::components::resolve;
use std::path::Path;

/// Names of the interfaces that a backend can export, as Rust modules.
fn exported() -> Vec<String> {
    let (resolve, package) = resolve(&[]).unwrap();
    let world = resolve.select_world(&[package], Some("everything")).unwrap();
    let names = resolve.worlds[world].exports.keys().map(|key| resolve.name_world_key(key));
    names.map(|name| name.split(['/', '@']).nth(1).unwrap().replace('-', "_")).collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk-guest").join(file)).unwrap()
}

#[test]
fn every_interface_can_be_named_in_the_macro() {
    let (backend, readme) = (read("src/backend.rs"), read("README.md"));
    let exported = exported();
    assert_eq!(exported.len(), 18);
    for name in exported {
        let rule = format!("($type:ident, {name}) =>");
        assert_eq!(backend.matches(&rule).count(), 2, "`implements!` and `export!` have a rule for {name}");
        assert!(backend.contains(&format!("export_{name}!($type with_types_in $crate::bindings::{name})")), "{name}");
        assert!(readme.contains(&format!("| `{name}`")), "sdk-guest/README.md lists {name}");
    }
}
