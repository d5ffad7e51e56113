//! Backends that misbehave or lie when they are asked what they are.

use super::Ground;
use bulkhead_tests::host;
use std::fs;

/// The bad backend, told how to answer; the error is about its component, or about the setting.
fn asked(info: &str, of_config: bool) -> Ground {
    let marks = if of_config { ("", " # HERE") } else { (" # HERE", "") };
    let ground = Ground::new(&[
        ("one.wasm", &format!("one.wasm{}\n      config:\n        info: {info}{}", marks.0, marks.1)),
        ("access: [nfs]", "access: [nfs]\n        pools: { bad: { path: ROOT/pool } }"),
    ]);
    fs::create_dir(ground.path("pool")).unwrap();
    fs::copy(host::backend("bad"), ground.path("one.wasm")).unwrap();
    ground
}

fn is_refused(info: &str, parts: &[&str]) {
    let mut says = vec!["drivers[0].backend.source:", "one.wasm", "identity.get-info", "use another build"];
    says.extend(parts);
    asked(info, false).is_refused(info, &[&says]);
}

#[test]
fn a_backend_that_traps_is_refused_with_the_cause() {
    is_refused("trap", &["failed to say what it is", "unreachable"]);
    is_refused("panic", &["failed to say what it is"]);
    is_refused("stack", &["failed to say what it is", "call stack exhausted"]);
    is_refused("memory", &["failed to say what it is", "more memory than it may have"]);
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

/// Of the config, at its line.
fn config_is_refused(info: &str, says: &str) {
    let says = ["drivers[0].backend.config", "does not suit the backend", "identity.get-info", says];
    asked(info, true).is_refused(info, &[&says]);
}

#[test]
fn pools_are_closed_while_a_backend_is_asked_what_it_is() {
    config_is_refused("pools", "pools are closed to this call");
}

#[test]
fn a_config_that_a_backend_can_not_work_with_is_shown_with_its_line() {
    config_is_refused("error-failed-precondition", "as asked for");
    config_is_refused("nonsense", "knows no behaviour `nonsense`");
    config_is_refused(
        "named",
        ".info: does not suit the backend, as it says in identity.get-info: `info` can't be that",
    );
}

#[test]
fn promises_that_no_function_backs_are_refused() {
    is_refused(
        "promises",
        &["says something unacceptable", "publish-readonly is promised", "attachment is not exported"],
    );
}
