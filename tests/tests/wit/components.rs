//! Components made of worlds, and one that a release has left behind.

use bulkhead_tests::components as made;
use wit_component::DecodedWasm;

/// Names of imports and exports, as the component has them.
fn borders(component: &[u8]) -> (Vec<String>, Vec<String>) {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).unwrap() else {
        panic!("not a component")
    };
    let world = &resolve.worlds[world];
    let names = |keys: Vec<&wit_parser::WorldKey>| keys.into_iter().map(|key| resolve.name_world_key(key)).collect();
    (names(world.imports.keys().collect()), names(world.exports.keys().collect()))
}

fn backend(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("bulkhead:backend/{name}@0.1.0")).collect()
}

#[test]
fn an_empty_backend_exports_its_identity() {
    let (imports, exports) = borders(&made::empty().unwrap());
    assert_eq!(exports, backend(&["identity"]));
    assert_eq!(imports, backend(&["call", "logging", "config", "types"]));
}

#[test]
fn a_complete_backend_exports_all_interfaces() {
    let (imports, exports) = borders(&made::complete().unwrap());
    assert_eq!(exports.len(), 18);
    for name in backend(&["pools", "state", "secrets", "secrets-sign", "secrets-reveal"]) {
        assert!(imports.contains(&name), "{name}");
    }
}

#[test]
fn odd_backends_are_odd_in_one_way() {
    let imports = |component: Vec<u8>, name: &str| borders(&component).0.contains(&name.to_owned());
    let exports = |component: Vec<u8>, name: &str| borders(&component).1.contains(&name.to_owned());
    assert!(imports(made::greedy().unwrap(), "bulkhead:backend/state@0.1.0"));
    assert!(imports(made::greedy().unwrap(), "bulkhead:backend/secrets@0.1.0"));
    assert!(imports(made::wants_sockets().unwrap(), "wasi:sockets/instance-network@0.2.0"));
    assert!(imports(made::wants_unknown().unwrap(), "acme:host/backdoor@1.0.0"));
    assert!(imports(made::wants_telepathy().unwrap(), "bulkhead:backend/telepathy@0.1.0"));
    assert!(exports(made::teleport().unwrap(), "bulkhead:backend/teleport@0.1.0"));
    assert!(exports(made::foreign_export().unwrap(), "test:foreign/runtime"));
    assert!(exports(made::of_version("0.2.0").unwrap(), "bulkhead:backend/identity@0.2.0"));
    assert_eq!(borders(&made::without_identity().unwrap()).1, backend(&["volumes"]));
    for component in [made::lacks_a_function(), made::other_types()] {
        assert_eq!(borders(&component.unwrap()).1, backend(&["identity"]));
    }
    assert_eq!(borders(&made::other_record().unwrap()).1, backend(&["identity", "volumes"]));
}

#[test]
fn an_edit_that_does_not_apply_is_an_error() {
    let error = made::resolve(&[("identity.wit", "no such text", "")]).unwrap_err();
    assert!(error.to_string().contains("0 times"), "{error}");
    assert!(made::resolve(&[("nowhere.wit", "", "")]).is_err());
    assert!(made::component_of_world("nowhere").is_err());
}

/// `tests/golden/README.md` says how it was made. It must load as long as v0.1 is served.
#[test]
fn the_golden_empty_backend_is_still_one() {
    let golden = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/golden/components/v0.1-empty.wasm")).unwrap();
    assert!(golden.len() < 60 << 10, "{} bytes", golden.len());
    let (imports, exports) = borders(&golden);
    assert_eq!(exports, backend(&["identity"]));
    let allowed = backend(&["types", "call", "logging", "config"]);
    assert!(imports.iter().all(|import| allowed.contains(import)), "{imports:?}");
}
