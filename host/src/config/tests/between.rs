//! Values that are wrong together.

use super::*;

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
