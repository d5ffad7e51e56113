//! Files that don't have the right shape: reported alone.

use super::*;

#[test]
fn not_a_config() {
    one("", "1:1: the file is empty: it needs at least version and drivers");
    one("# only a comment\n", "2:1: the file is empty: it needs at least version and drivers");
    one("hello", "1:1: must be a map: write KEY: VALUE lines");
    one("- version: 1\n", "1:1: must be a map: write KEY: VALUE lines");
    one("null\n", "1:1: must be a map: write KEY: VALUE lines");
    one(&format!("{MINIMAL}---\nversion: 1\n"), "8:1: a second YAML document begins here: keep one in the file");
}

#[test]
fn not_yaml() {
    let tab = errors_with(&with("      source", "\tsource"), &[]);
    assert!(tab[0].contains("not YAML") && tab[0].ends_with("indent with spaces, YAML forbids tabs there"), "{tab:?}");
    for text in [
        with("a.wasm", "\"a.wasm"),
        with("a.wasm", "[a"),
        with("    backend", "   backend"),
        with("version", "@version"),
    ] {
        let found = errors_with(&text, &[]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("not YAML: ") && found[0].contains(": check quotes, brackets"), "{found:?}\n{text}");
        assert!(found[0].starts_with(|c: char| c.is_ascii_digit()), "{found:?}");
    }
}

#[test]
fn a_variable_within_braces_needs_quotes() {
    let found = errors_with(&with("    backend", "    limits: { concurrency: ${N} }\n    backend"), &[("N", "1")]);
    assert!(found[0].starts_with("5:") && found[0].ends_with("within { } and [ ] put ${NAME} in quotes"), "{found:?}");
}

#[test]
fn unknown_keys_at_each_level() {
    let top = "possible here are version, stateDir, node, limits, health, drivers";
    one(&with("version: 1", "version: 1\nverison: 1"), &format!("2:1: verison: unknown key: {top}"));
    one(
        &with("version: 1", "version: 1\nnode: { ID: x }"),
        "2:9: node.ID: unknown key: possible here are id, kubeletRoot, directory, registration, labels, facts",
    );
    one(
        &with("version: 1", "version: 1\nlimits: { cpu: 1 }"),
        "2:11: limits.cpu: unknown key: possible here are memory",
    );
    one(
        &with("    endpoint", "    socket"),
        "4:5: drivers[0].socket: unknown key: possible here are name, endpoint, csi, offer, backend, limits",
    );
    let offer = errors_with(&with("    backend", "    offer: { magic: true }\n    backend"), &[]);
    assert!(
        offer[0].starts_with("5:14: drivers[0].offer.magic: unknown key: possible here are attachment, "),
        "{offer:?}"
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      sha: x"),
        "7:7: drivers[0].backend.sha: unknown key: possible here are source, digest, config, http, secrets, auth, grants",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants: { disks: x }"),
        "7:17: drivers[0].backend.grants.disks: unknown key: possible here are pools, state, secrets, http, access, devices",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants:\n        pools:\n          fast:\n            dir: x"),
        "10:13: drivers[0].backend.grants.pools.fast.dir: unknown key: possible here are path, copyLimit, directoryMode",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants: { http: [{ url: x }] }"),
        "7:26: drivers[0].backend.grants.http[0].url: unknown key: possible here are scheme, host, port, methods, auth, addresses",
    );
    one(
        &with("    backend", "    limits: { cpu: 1 }\n    backend"),
        "5:15: drivers[0].limits.cpu: unknown key: possible here are memory, callTimeout, concurrency, logLines",
    );
}

#[test]
fn missing_keys() {
    one("version: 1\n", "1:1: drivers: is missing: add it");
    one("drivers: []\n", "1:1: version: is missing: add it");
    one(&with("      source: a.wasm", "      grants: {}"), "6:7: drivers[0].backend.source: is missing: add it");
    one(&with("version: 1\n", ""), "1:1: version: is missing: add it");
    one(&with("name: a.example.com\n    ", ""), "3:5: drivers[0].name: is missing: add it");
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants: { pools: { fast: {} } }"),
        "7:32: drivers[0].backend.grants.pools.fast.path: is missing: add it",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants: { http: [{ scheme: https, host: a }] }"),
        "7:24: drivers[0].backend.grants.http[0].methods: is missing: add it",
    );
}

#[test]
fn wrong_kinds() {
    one("version: 1\ndrivers:\n", "2:8: drivers: must be a list: write [A, B] or lines that begin with -");
    one("version: 1\ndrivers: { a: b }\n", "2:10: drivers: must be a list: write [A, B] or lines that begin with -");
    one("version: 1\ndrivers: [a]\n", "2:11: drivers[0]: must be a map: write KEY: VALUE lines");
    one(&with("version: 1", "version: [1]"), "1:10: version: must be a single value, not a list or a map");
    one(&with("a.wasm", "{ path: a }"), "6:15: drivers[0].backend.source: must be a single value, not a list or a map");
    one(
        &with("source: a.wasm", "source: a.wasm\n      config: [1]"),
        "7:15: drivers[0].backend.config: must be a map: write KEY: VALUE lines",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants: { pools: { fast: /srv } }"),
        "7:32: drivers[0].backend.grants.pools.fast: must be a map: write KEY: VALUE lines",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants: { access: nfs }"),
        "7:25: drivers[0].backend.grants.access: must be a list: write [A, B] or lines that begin with -",
    );
}

#[test]
fn a_key_without_a_value_is_not_a_default() {
    one(&with(" a.wasm", ""), "6:13: drivers[0].backend.source: has no value: write one or remove the key");
    one(
        &with("source: a.wasm", "source: a.wasm\n      digest:"),
        "7:13: drivers[0].backend.digest: has no value: write one or remove the key",
    );
    one(&with("version: 1", "version: 1\nstateDir: ~"), "2:11: stateDir: has no value: write one or remove the key");
}

#[test]
fn duplicate_keys() {
    one(&format!("{MINIMAL}version: 1\n"), "7:1: version: is there twice (first at line 1): remove one");
    one(
        &with("source: a.wasm", "source: a.wasm\n      source: b.wasm"),
        "7:7: drivers[0].backend.source: is there twice (first at line 6): remove one",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      config: { a: { b: 1, b: 2 } }"),
        "7:28: drivers[0].backend.config.a.b: is there twice (first at line 7): remove one",
    );
    one(
        &with("source: a.wasm", "source: a.wasm\n      grants: { pools: { p: { path: /a }, p: { path: /b } } }"),
        "7:43: drivers[0].backend.grants.pools.p: is there twice (first at line 7): remove one",
    );
}

#[test]
fn yaml_that_is_not_taken() {
    one(&with("source: a.wasm", "<<: { source: a.wasm }"), "6:7: merge keys are not supported: write the keys out");
    one(&with("a.wasm", "*a"), "6:15: there is no anchor of this name: define it with & above");
    one(&with("a.wasm", "!path a.wasm"), "6:21: the tag !path is not supported: remove it");
    one(&with("a.wasm", "!!binary gA=="), "6:24: is binary: write text");
}

#[test]
fn bombs() {
    let complaint = "too large, too deeply nested or too many aliases: write the file in a simpler way";
    let aliases = "source: a.wasm
      config:
        a: &a [x, x, x, x, x, x, x, x, x, x]
        b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
        c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
        d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
        e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
        f: [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]";
    let deep =
        |depth: usize| format!("source: a.wasm\n      config: {{ a: {}1{} }}", "[".repeat(depth), "]".repeat(depth));
    let blocks: String = (0..200).map(|depth| format!("\n{}a:", " ".repeat(8 + depth))).collect();
    let wide = format!("source: a.wasm\n      config: {{ a: [{}] }}", "1, ".repeat(60_000));
    for bomb in [aliases.to_owned(), deep(100), deep(100_000), format!("source: a.wasm\n      config:{blocks} 1"), wide]
    {
        let found = errors_with(&with("source: a.wasm", &bomb), &[]);
        assert_eq!(found.len(), 1);
        let refused = found[0].ends_with(complaint) || found[0].contains("not YAML");
        assert!(refused && found[0].len() < 400, "{found:?}");
    }
    let sane = load(&with("source: a.wasm", &deep(20))).expect("20 levels are fine");
    assert_eq!(sane.drivers[0].backend.config.values().collect::<Vec<_>>(), ["1"]);
}

#[test]
fn errors_are_one_line() {
    let found = errors_with(&with("a.example.com", "\"a\\n\\e[31mb\""), &[]);
    assert_eq!(found.len(), 1);
    assert!(!found[0].chars().any(char::is_control), "{found:?}");
    let found = errors_with("\"ver\\nsion\": 1\n", &[]);
    assert!(found[0].starts_with("1:1: ver\\nsion: unknown key"), "{found:?}");
}
