//! Components that no host may load.

use super::Ground;
use bulkhead_tests::{components as made, host};
use std::fs;

fn is_refused(what: &str, component: &[u8], parts: &[&str]) {
    let mut says = vec!["drivers[0].backend.source:", "one.wasm"];
    says.extend(parts);
    Ground::component(component).is_refused(what, &[&says]);
}

/// The smallest core module: magic and version.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

#[test]
fn what_is_not_a_component_is_refused() {
    let example = fs::read(host::backend("example")).unwrap();
    let mut flipped = example.clone();
    let middle = flipped.len() / 2;
    flipped[middle..middle + 64].fill(0xff);
    for (what, bytes) in [
        ("a text", b"(component)".as_slice()),
        ("an empty file", b""),
        ("a core module", CORE_MODULE),
        ("half a component", &example[..example.len() / 2]),
        ("a damaged component", &flipped),
    ] {
        is_refused(what, bytes, &["is not a WebAssembly component that this host can run", "name one that is"]);
    }
}

#[test]
fn a_component_that_is_not_there_is_named() {
    let says: &[&str] = &["drivers[0].backend.source:", "nothing.wasm", "is not there", "build or copy the component"];
    Ground::new(&[("one.wasm", "nothing.wasm # HERE")]).is_refused("a missing component", &[says]);
    let says: &[&str] = &["drivers[0].backend.source:", "kubelet", "is not a file"];
    Ground::new(&[("one.wasm", "kubelet # HERE")]).is_refused("a directory", &[says]);
}

#[test]
fn a_component_that_is_another_one_is_refused_by_its_digest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let ground = Ground::new(&[("one.wasm", &format!("one.wasm\n      digest: {digest} # HERE"))]);
    let found = {
        use sha2::Digest;
        hex::encode(sha2::Sha256::digest(fs::read(ground.path("one.wasm")).unwrap()))
    };
    let says = ["drivers[0].backend.digest:", "one.wasm", found.as_str(), digest.as_str(), "not the file you meant"];
    ground.is_refused("another component", &[&says]);
    let right = Ground::new(&[("one.wasm", &format!("one.wasm\n      digest: sha256:{found}"))]);
    assert!(right.run("check", &[]).0.success());
}

#[test]
fn a_component_of_another_version_is_refused() {
    for version in ["0.2.0", "1.0.0", "0.1.0-rc1"] {
        let component = made::of_version(version).unwrap();
        is_refused(version, &component, &["is made for version", version, "this host speaks 0.1", "use a build"]);
    }
}

#[test]
fn an_import_that_is_not_granted_is_named_with_its_grant() {
    let ground = Ground::new(&[("access: [nfs]", "access: [pool-image] # HERE")]);
    fs::copy(host::backend("local"), ground.path("one.wasm")).unwrap();
    let says: &[&str] = &["drivers[0].backend.grants:", "bulkhead:backend/pools", "not granted", "add grants.pools"];
    ground.is_refused("pools", &[says]);
    // Without any grants it is the backend that lacks them.
    let ground = Ground::new(&[("one.wasm\n      grants:\n        access: [nfs]", "one.wasm # HERE")]);
    fs::copy(host::backend("local"), ground.path("one.wasm")).unwrap();
    ground.is_refused("pools", &[says]);
    let greedy = made::greedy().unwrap();
    let ground = Ground::new(&[("access: [nfs]", "access: [nfs] # HERE")]);
    fs::write(ground.path("one.wasm"), &greedy).unwrap();
    let says: &[&str] =
        &["drivers[0].backend.grants:", "bulkhead:backend/secrets", "not granted", "add grants.secrets: []"];
    ground.is_refused("secrets", &[says]);
    let ground = Ground::new(&[("access: [nfs]", "access: [nfs] # HERE\n        secrets: []")]);
    fs::write(ground.path("one.wasm"), &greedy).unwrap();
    let says: &[&str] =
        &["drivers[0].backend.grants:", "bulkhead:backend/state", "not granted", "add grants.state: true"];
    ground.is_refused("state", &[says]);
}

#[test]
fn an_import_that_nobody_has_is_named() {
    let says = ["imports acme:host/backdoor@1.0.0", "does not provide", "use a build that does without it"];
    is_refused("a foreign import", &made::wants_unknown().unwrap(), &says);
    let says = ["imports bulkhead:backend/telepathy@0.1.0", "does not provide", "use a build"];
    is_refused("an import of ours that is not ours", &made::wants_telepathy().unwrap(), &says);
}

#[test]
fn exports_must_be_known_whole_and_of_the_right_types() {
    let says = ["exports bulkhead:backend/teleport", "does not know", "use a newer host"];
    is_refused("an unknown export", &made::teleport().unwrap(), &says);
    let says = ["does not export bulkhead:backend/identity", "not a backend"];
    is_refused("no identity", &made::without_identity().unwrap(), &says);
    let shape = ["in another shape than this host speaks", "build it against this host's WIT"];
    for (what, interface, component) in [
        ("a function less", "exports bulkhead:backend/identity", made::lacks_a_function()),
        ("another result", "exports bulkhead:backend/identity", made::other_types()),
        ("another record", "exports bulkhead:backend/volumes", made::other_record()),
    ] {
        is_refused(what, &component.unwrap(), &[interface, shape[0], shape[1]]);
    }
}

#[test]
fn a_component_that_needs_more_memory_than_it_gets_is_refused() {
    // What the linker gives a guest is more than the 1 MiB that it may have here.
    let changes = [
        ("one.wasm", "one.wasm # HERE"),
        ("        access: [nfs]\n", "        access: [nfs]\n    limits: { memory: 1MiB }\n"),
    ];
    let says: &[&str] = &["drivers[0].backend.source:", "memory has a minimum byte size", "limit"];
    Ground::new(&changes).is_refused("a small limit", &[says]);
}
