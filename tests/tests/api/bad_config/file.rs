//! The file itself, and what does not fit together in it.

use super::Ground;
use bulkhead_tests::host;
use std::{fs, process::Command};

const SECOND: &str = "
  - name: NAME
    endpoint: unix://ROOT/SOCKET
    backend:
      source: ROOT/one.wasm
";

#[test]
fn an_unknown_key_is_refused_where_it_stands() {
    for (change, key) in
        [("version: 1\ncolour: red # HERE\n", " colour:"), ("version: 1\nnode2: {} # HERE\n", " node2:")]
    {
        Ground::new(&[("version: 1\n", change)]).is_refused(key, &[&[key, "unknown key", "possible here are"]]);
    }
    let deep = [("        access: [nfs]", "        access: [nfs]\n        acces: [nfs] # HERE")];
    Ground::new(&deep).is_refused("grants", &[&["drivers[0].backend.grants.acces:", "unknown key", "access"]]);
}

#[test]
fn a_config_that_is_not_there_is_named() {
    for (command, args) in [("check", vec![]), ("serve", vec!["--config"])] {
        let mut process = Command::new(host::binary());
        process.arg(command).args(args).arg("/nowhere/bulkhead.yaml").env("BULKHEAD_LOG", "off");
        let (status, _, stderr) = host::run_with_timeout(&mut process);
        assert_eq!(status.code(), Some(2), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(stderr.starts_with("/nowhere/bulkhead.yaml: ") && stderr.contains("name a readable file"), "{stderr}");
    }
}

#[test]
fn two_drivers_need_two_names_and_two_sockets() {
    let second = |name: &str, socket: &str| {
        let second = SECOND.replace("NAME", name).replace("SOCKET", socket);
        Ground::new(&[("        access: [nfs]\n", &format!("        access: [nfs]{second}"))])
    };
    second("one.csi.bulkhead.dev # HERE", "two.sock")
        .is_refused("a name", &[&["drivers[1].name:", "used twice", "line 5", "its own name"]]);
    // CSI names differ in more than case.
    second("ONE.csi.bulkhead.dev # HERE", "two.sock").is_refused("a name", &[&["drivers[1].name:", "used twice"]]);
    second("two.csi.bulkhead.dev", "one.sock # HERE")
        .is_refused("a socket", &[&["drivers[1].endpoint:", "used twice", "line 6", "its own socket"]]);
    second("two.csi.bulkhead.dev", ".//one.sock # HERE")
        .is_refused("a socket", &[&["drivers[1].endpoint:", "used twice"]]);
    let (status, stderr) = second("two.csi.bulkhead.dev", "two.sock").run("check", &[]);
    assert!(status.success(), "{stderr}");
}

#[test]
fn everything_wrong_is_said_at_once_and_in_order() {
    let ground = Ground::new(&[
        ("stateDir: ROOT/state", "stateDir: ROOT/one.wasm # HERE"),
        ("ROOT/one.sock", "ROOT/taken # HERE"),
        ("source: ROOT/one.wasm", "source: ROOT/nothing.wasm # HERE"),
        ("access: [nfs]", "access: [nfs]\n        pools: { fast: { path: ROOT/nowhere } } # HERE"),
    ]);
    fs::write(ground.path("taken"), "").unwrap();
    ground.is_refused(
        "four errors",
        &[
            &["stateDir:", "is not a directory", "choose another path"],
            &["drivers[0].endpoint:", "is not a socket"],
            &["drivers[0].backend.source:", "is not there"],
            &["drivers[0].backend.grants.pools.fast.path:", "is not there"],
        ],
    );
}

#[test]
fn wrong_components_of_two_drivers_are_both_reported() {
    let second = SECOND.replace("NAME", "two.csi.bulkhead.dev").replace("SOCKET", "two.sock");
    let second = second.replace("ROOT/one.wasm", "ROOT/two.wasm # HERE");
    let ground = Ground::new(&[
        ("source: ROOT/one.wasm", "source: ROOT/one.wasm # HERE"),
        ("        access: [nfs]\n", &format!("        access: [nfs]{second}")),
    ]);
    fs::write(ground.path("one.wasm"), "text").unwrap();
    fs::write(ground.path("two.wasm"), "text").unwrap();
    let says = |driver: &'static str| -> [&'static str; 2] { [driver, "is not a WebAssembly component"] };
    ground.is_refused("two components", &[&says("drivers[0].backend.source:"), &says("drivers[1].backend.source:")]);
}
