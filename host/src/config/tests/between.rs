//! Values that are wrong together.

use super::*;
use bulkhead_domain::offer::ExpandedBy;

#[test]
fn two_of_a_kind() {
    let second = |name: &str, socket: &str| {
        format!("{MINIMAL}  - name: {name}\n    endpoint: {socket}\n    backend: {{ source: a.wasm }}\n")
    };
    one(
        &second("A.example.com", "/run/b.sock"),
        "7:11: drivers[1].name: \"A.example.com\" is used twice (first at line 3): give each driver its own name",
    );
    for socket in ["/run/a.sock", "unix:///run/a.sock", "/run//a.sock", "/run/./a.sock"] {
        one(
            &second("b", socket),
            "8:15: drivers[1].endpoint: is used twice (first at line 4): give each driver its own socket",
        );
    }
}

#[test]
fn a_node_that_grows_what_is_in_no_pool() {
    let with = |grants: &str| {
        format!(
            "version: 1\ndrivers:\n  - name: a\n    endpoint: /a\n    offer: {{ expansion: node }}\n    backend: {{ source: a.wasm{grants} }}\n"
        )
    };
    let advice = "and a node can grow nothing but objects of pools: write both, or leave no more than pool-image and \
                  pool-directory in grants.access and add a pool to grants.pools";
    let place = "5:25: drivers[0].offer.expansion: is node, but";
    one(&with(""), &format!("{place} it has no pool, {advice}"));
    one(
        &with(", grants: { pools: { p: { path: /p } }, access: [pool-image, nfs] }"),
        &format!("{place} its plans may use nfs, {advice}"),
    );
    for access in ["", ", access: [pool-image, pool-directory]"] {
        let config = load(&with(&format!(", grants: {{ pools: {{ p: {{ path: /p }} }}{access} }}"))).expect("fine");
        assert_eq!(config.drivers[0].offer.expanded_by, ExpandedBy::Node);
    }
    for (text, by) in [("controller", ExpandedBy::Controller), ("both", ExpandedBy::Both), ("true", ExpandedBy::Both)] {
        let config = load(&with("").replace("node", text)).expect("fine");
        assert_eq!(config.drivers[0].offer.expanded_by, by);
    }
}

#[test]
fn pools_in_one_another() {
    let pool = |path: &str| format!("{{ source: a.wasm, grants: {{ pools: {{ p: {{ path: {path} }} }} }} }}");
    let two = |first: &str, second: &str| {
        format!(
            "version: 1\ndrivers:\n  - name: a\n    endpoint: /a\n    backend: {}\n  - name: b\n    endpoint: /b\n    backend: {}\n",
            pool(first),
            pool(second)
        )
    };
    let key = "8:62: drivers[1].backend.grants.pools.p.path";
    let other = "drivers[0].backend.grants.pools.p.path (/etc/bulkhead/f.yaml:5:62): choose separate directories";
    for (first, second, relation) in [
        ("/srv/a", "/srv/a", "is the same directory as"),
        ("/srv/a", "/srv/b/../a/", "is the same directory as"),
        ("/srv/a", "/srv/a/b", "lies inside"),
        ("/srv/a", "/srv", "holds"),
    ] {
        one(&two(first, second), &format!("{key}: {relation} {other}"));
    }
    assert!(load(&two("/srv/a", "/srv/ab")).is_ok(), "a longer name is another directory");
    let state = |path: &str| format!("stateDir: /var/lib/x\n{}", two("/srv/a", path));
    let own = "stateDir (/etc/bulkhead/f.yaml:1:11): choose separate directories";
    one(&state("/var/lib/x"), &format!("9:62: drivers[1].backend.grants.pools.p.path: is the same directory as {own}"));
    one(&state("/var/lib"), &format!("9:62: drivers[1].backend.grants.pools.p.path: holds {own}"));
    assert!(load(&state("/var/lib/x/pools")).is_ok());
}

#[test]
fn all_at_once_in_the_order_of_the_file() {
    let text = "version: 3
stateDir: ''
drivers:
  - name: _
    endpoint: nowhere
    backend: { source: ftp://x, digest: y }
    limits: { concurrency: many }
  - name: b
    endpoint: /run/b.sock
    backend: { source: b.wasm, config: { token: '${TOKEN_B}' } }
";
    let found = errors_with(text, &[]);
    let places: Vec<_> = found.iter().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        places,
        [
            "1:10 version",
            "2:11 stateDir",
            "4:11 drivers[0].name",
            "5:15 drivers[0].endpoint",
            "6:24 drivers[0].backend.source",
            "6:41 drivers[0].backend.digest",
            "7:28 drivers[0].limits.concurrency",
            "10:49 drivers[1].backend.config.token",
        ]
    );
    let none = errors_with("version: 1\ndrivers: []\n", &[]);
    assert_eq!(none, ["2:10: drivers: is empty: write at least one driver"]);
}

#[test]
fn registration_sockets() {
    let node = |root: &str, more: &str| format!("node: {{ kubeletRoot: {root}, registration: true }}\n{more}");
    // 107 bytes are fine, 108 are not: the file's name has 22 of them, the directory 18.
    let root = |bytes: usize| format!("/{}", "k".repeat(bytes - "/plugins_registry/a.example.com@reg.sock".len() - 1));
    assert!(load(&node(&root(107), MINIMAL)).is_ok());
    one(
        &node(&root(108), MINIMAL),
        &format!(
            "4:11: drivers[0].name: its registration socket {}/plugins_registry/a.example.com@reg.sock would be 108 bytes long, \
             a socket's path has at most 107: choose a shorter name, or a shorter node.kubeletRoot",
            root(108)
        ),
    );
    let there = MINIMAL.replace("/run/a.sock", "/k/plugins_registry/a.example.com@reg.sock");
    assert!(load(&there).is_ok(), "nothing is registered");
    one(
        &node("/k", &there),
        "5:15: drivers[0].endpoint: is the registration socket of drivers[0]: choose another endpoint",
    );
}

#[test]
fn health_endpoints() {
    for wrong in
        [":9808", "9808", "localhost:9808", "0.0.0.0", "0.0.0.0:0", "0.0.0.0:65536", "http://0.0.0.0:1", "::1:9808"]
    {
        one(
            &format!("{MINIMAL}health: {{ endpoint: '{wrong}' }}\n"),
            &format!(
                "7:21: health.endpoint: {wrong:?} is not ADDRESS:PORT: write e.g. 0.0.0.0:9808, 127.0.0.1:9808 or [::]:9808"
            ),
        );
    }
}
