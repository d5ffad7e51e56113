//! Backends that misbehave or lie when they are asked what they are.

use super::Ground;
use bulkhead_tests::host;
use std::fs;

/// The bad backend, told how to answer.
fn asked(info: &str) -> Ground {
    let ground = Ground::new(&[
        ("one.wasm", &format!("one.wasm # HERE\n      config: {{ info: {info} }}")),
        ("access: [nfs]", "access: [nfs]\n        pools: { bad: { path: ROOT/pool } }"),
    ]);
    fs::create_dir(ground.path("pool")).unwrap();
    fs::copy(host::backend("bad"), ground.path("one.wasm")).unwrap();
    ground
}

fn is_refused(info: &str, parts: &[&str]) {
    let mut says = vec!["drivers[0].backend.source:", "one.wasm", "identity.get-info", "use another build"];
    says.extend(parts);
    asked(info).is_refused(info, &[&says]);
}

#[test]
fn a_backend_that_traps_is_refused_with_the_cause() {
    is_refused("trap", &["failed to say what it is", "unreachable"]);
    is_refused("panic", &["failed to say what it is"]);
    is_refused("stack", &["failed to say what it is", "call stack exhausted"]);
    is_refused("memory", &["failed to say what it is", "more memory than it may have"]);
    is_refused("nonsense", &["failed to say what it is"]);
}

#[test]
fn a_backend_that_never_answers_is_refused_in_time() {
    let start = std::time::Instant::now();
    is_refused("loop", &["failed to say what it is", "no answer within 5 s"]);
    assert!(start.elapsed().as_secs() < 20, "both commands together took {:?}", start.elapsed());
}

#[test]
fn a_backend_that_logs_without_end_is_refused_in_time() {
    is_refused("log", &["failed to say what it is"]);
}

#[test]
fn a_backend_that_lies_about_itself_is_refused() {
    let says = "says something unacceptable";
    is_refused("version-empty", &[says, "vendor-version is missing"]);
    is_refused("version-long", &[says, "vendor-version is 129 bytes long"]);
    is_refused("manifest-large", &[says, "manifest is larger than 4096 bytes"]);
    is_refused("topology-key", &[says, "topology key"]);
}

#[test]
fn pools_are_closed_while_a_backend_is_asked_what_it_is() {
    is_refused("pools", &["failed to say what it is"]);
}

#[test]
fn promises_that_no_function_backs_are_refused() {
    is_refused(
        "promises",
        &["says something unacceptable", "publish-readonly is promised", "attachment is not exported"],
    );
}
