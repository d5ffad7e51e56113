//! Sockets, directories and locks that can't be had.

use super::{Ground, ground::stale_socket};
use std::{fs, os::unix::net::UnixListener};

#[test]
fn a_socket_on_which_somebody_answers_is_left_alone() {
    let ground = Ground::new(&[("one.sock", "one.sock # HERE")]);
    let listener = UnixListener::bind(ground.path("one.sock")).unwrap();
    let says: &[&str] =
        &["drivers[0].endpoint:", "one.sock", "somebody answers", "stop that process or choose another"];
    ground.is_refused("a socket in use", &[says]);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_ok(), "it was asked, and is still there to answer");
}

#[test]
fn a_path_that_holds_something_else_is_left_alone() {
    let says: &[&str] = &["drivers[0].endpoint:", "one.sock", "is not a socket", "remove it or choose another"];
    let ground = Ground::new(&[("one.sock", "one.sock # HERE")]);
    fs::write(ground.path("one.sock"), "precious").unwrap();
    ground.is_refused("a plain file", &[says]);
    let ground = Ground::new(&[("one.sock", "one.sock # HERE")]);
    fs::create_dir(ground.path("one.sock")).unwrap();
    ground.is_refused("a directory", &[says]);
    let ground = Ground::new(&[("one.sock", "one.sock # HERE")]);
    stale_socket(&ground.path("other.sock"));
    std::os::unix::fs::symlink("other.sock", ground.path("one.sock")).unwrap();
    ground.is_refused("a link to a socket", &[says]);
    let ground = Ground::new(&[("one.sock", "one.wasm/one.sock # HERE")]);
    ground.is_refused("a path through a file", &[&["drivers[0].endpoint:", "can't listen on"]]);
}

#[test]
fn a_state_directory_that_another_host_has_is_named_with_its_holder() {
    let ground = Ground::new(&[("ROOT/state", "ROOT/state # HERE")]);
    fs::create_dir(ground.path("state")).unwrap();
    let _other = bulkhead_node::lock_dir(&ground.path("state")).unwrap();
    let holder = format!("process {}", std::process::id());
    let says = ["stateDir:", "is in use by", holder.as_str(), "stop it or choose another directory"];
    ground.is_refused("a locked directory", &[&says]);
}

#[test]
fn check_leaves_no_trace_in_a_state_directory_that_nobody_uses() {
    let ground = Ground::new(&[]);
    fs::create_dir(ground.path("state")).unwrap();
    let (status, stderr) = ground.run("check", &[]);
    assert!(status.success(), "{stderr}");
    assert_eq!(fs::read_dir(ground.path("state")).unwrap().count(), 0);
}

#[test]
fn directories_must_be_there_and_directories() {
    let ground = Ground::new(&[("ROOT/state", "ROOT/one.wasm # HERE")]);
    ground.is_refused("a file for a state directory", &[&["stateDir:", "is not a directory", "choose another path"]]);
    for (name, parts) in [("nowhere", "make the directory"), ("one.wasm", "Not a directory")] {
        let ground = Ground::new(&[("ROOT/kubelet }", &format!("ROOT/{name} }} # HERE"))]);
        ground.is_refused(name, &[&["node.kubeletRoot:", name, parts]]);
        let (status, stderr) = ground.run("check", &["--mode", "controller"]);
        assert!(status.success(), "a controller needs no kubelet root: {stderr}");
    }
}

#[test]
fn pools_must_be_there_directories_and_apart() {
    let pools = |pools: &str| {
        let ground = Ground::new(&[("access: [nfs]", &format!("access: [nfs]\n        pools:\n{pools}"))]);
        fs::create_dir(ground.path("pool")).unwrap();
        ground
    };
    let key = "drivers[0].backend.grants.pools.a.path:";
    pools("          a: { path: ROOT/nowhere } # HERE")
        .is_refused("no pool", &[&[key, "nowhere", "is not there", "create the directory"]]);
    pools("          a: { path: ROOT/one.wasm } # HERE")
        .is_refused("a file", &[&[key, "is not a directory", "name one"]]);
    pools("          a: { path: ROOT/pool }\n          b: { path: ROOT/pool/. } # HERE").is_refused(
        "one twice",
        &[&["grants.pools.b.path:", "is the same directory as", "choose separate directories"]],
    );
    let ground = pools("          a: { path: ROOT/pool }\n          b: { path: ROOT/link } # HERE");
    std::os::unix::fs::symlink("pool", ground.path("link")).unwrap();
    ground.is_refused("one twice by a link", &[&["grants.pools.b.path:", "is the same directory as"]]);
}
