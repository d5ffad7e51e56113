//! Values that are wrong: all are reported at once.

use super::*;

/// One bad value: what replaces what, and the error.
#[track_caller]
fn table(rows: &[(&str, &str, &str)]) {
    for (from, to, expected) in rows {
        one(&with(from, to), expected);
    }
}

/// Lines put below `source`.
#[track_caller]
fn backend(lines: &str, expected: &str) {
    one(&with("source: a.wasm", &format!("source: a.wasm\n      {lines}")), expected);
}

/// Lines put below `endpoint`.
#[track_caller]
fn driver(line: &str, expected: &str) {
    one(&with("    backend", &format!("    {line}\n    backend")), expected);
}

#[test]
fn versions() {
    let problem = "is not a version of this file that is known here: write 1";
    for version in ["2", "1.0", "v1", "01"] {
        one(&with("version: 1", &format!("version: {version}")), &format!("1:10: version: {version:?} {problem}"));
    }
}

#[test]
fn node() {
    let root = "is not an absolute directory: write one that begins with /, without .., other than / itself";
    table(&[
        (
            "version: 1",
            "version: 1\nnode: { kubeletRoot: kubelet }",
            &format!("2:22: node.kubeletRoot: \"kubelet\" {root}"),
        ),
        ("version: 1", "version: 1\nnode: { kubeletRoot: / }", &format!("2:22: node.kubeletRoot: \"/\" {root}")),
        (
            "version: 1",
            "version: 1\nnode: { kubeletRoot: /a/../b }",
            &format!("2:22: node.kubeletRoot: \"/a/../b\" {root}"),
        ),
        (
            "version: 1",
            "version: 1\nnode: { id: \"\" }",
            "2:13: node.id: \"\" is missing: write 1 to 256 bytes of plain text",
        ),
        (
            "version: 1",
            "version: 1\nnode: { id: \"a\\tb\" }",
            "2:13: node.id: \"a\\tb\" holds a control character: write 1 to 256 bytes of plain text",
        ),
        (
            "version: 1",
            "version: 1\nnode: { labels: { \"a b\": x } }",
            "2:19: node.labels.a b: is not a label: write NAME or PREFIX/NAME, of letters, digits and - _ .",
        ),
    ]);
    let long = "n".repeat(257);
    let found = errors_with(&with("version: 1", &format!("version: 1\nnode: {{ id: {long} }}")), &[]);
    assert!(found[0].ends_with("is 257 bytes long, at most 256 are allowed: write 1 to 256 bytes of plain text"));
    let fine = load(&with("version: 1", &format!("version: 1\nnode: {{ id: {} }}", &long[1..]))).expect("256 bytes");
    assert_eq!(fine.node.id.len(), 256);
}

#[test]
fn a_node_without_a_name() {
    let found = Config::from_text(MINIMAL, Path::new("f.yaml"), &|_| None, &|| None).expect_err("no name anywhere");
    assert_eq!(
        found[0].to_string(),
        "f.yaml:1:10: node.id: neither NODE_NAME nor the host name gives a usable id: write one of 1 to 256 bytes"
    );
}

#[test]
fn names() {
    let problem =
        "is not a driver name: write at most 63 letters, digits, dashes and dots, a letter or digit first and last";
    for bad in ["-a", "a-", ".a", "a.", "a_b", "a/b", "a b", "ä", &"a".repeat(64)] {
        one(&with("a.example.com", bad), &format!("3:11: drivers[0].name: {bad:?} {problem}"));
    }
    for good in ["a", "1", "A.b-C.9", &"a".repeat(63)] {
        assert_eq!(load(&with("a.example.com", good)).expect("a good name").drivers[0].name, good);
    }
}

#[test]
fn endpoints() {
    let problem = "is not a unix socket: write unix:///PATH with an absolute path to a file, without ..";
    for bad in ["tcp://0.0.0.0:1", "a.sock", "unix://a.sock", "unix:a", "/run/", "/run/../a", "http:///a"] {
        one(&with("/run/a.sock", bad), &format!("4:15: drivers[0].endpoint: {bad:?} {problem}"));
    }
    for good in ["unix:///run/a.sock", "unix:/run/a.sock", "/run/a.sock"] {
        assert_eq!(load(&with("/run/a.sock", good)).expect("a socket").drivers[0].endpoint, Path::new("/run/a.sock"));
    }
    let long = format!("/{}", "s".repeat(107));
    one(
        &with("/run/a.sock", &long),
        &format!(
            "4:15: drivers[0].endpoint: {long:?} is 108 bytes long, a socket's path has at most 107: choose a shorter one"
        ),
    );
    assert!(load(&with("/run/a.sock", &long[..107])).is_ok());
}

#[test]
fn endpoints_from_the_environment() {
    let without = with("endpoint: /run/a.sock\n    ", "");
    let missing = "3:5: drivers[0].endpoint: is missing, and CSI_ENDPOINT is not set: write unix:///PATH";
    assert_eq!(errors_with(&without, &[]), [missing]);
    assert_eq!(errors_with(&without, &[("CSI_ENDPOINT", "")]), [missing]);
    assert_eq!(
        errors_with(&without, &[("CSI_ENDPOINT", "tcp://x")]),
        ["3:5: drivers[0].endpoint: the value of the environment variable CSI_ENDPOINT is not a unix socket: write \
          unix:///PATH with an absolute path to a file, without .."]
    );
    let two =
        format!("{without}  - name: b.example.com\n    endpoint: /run/b.sock\n    backend: {{ source: b.wasm }}\n");
    assert_eq!(
        errors_with(&two, &[("CSI_ENDPOINT", "/run/a.sock")]),
        [
            "3:5: drivers[0].endpoint: is missing: write unix:///PATH (CSI_ENDPOINT counts only where there is a single driver)"
        ]
    );
}

#[test]
fn generations() {
    assert!(load(&with("    backend", "    csi: \"1.13\"\n    backend")).is_ok());
    driver(
        "csi: 2",
        "5:10: drivers[0].csi: \"2\" is not a generation of CSI that is known here: write \"1.12\" or \"1.13\"",
    );
}

#[test]
fn offers() {
    for key in
        ["attachment", "changedBlocks", "cloning", "ephemeral", "groupSnapshots", "health", "modification", "snapshots"]
    {
        for value in ["true", "false"] {
            let offer = format!("    offer: {{ {key}: {value} }}\n    backend");
            assert!(load(&with("    backend", &offer)).is_ok(), "{offer}");
        }
    }
    driver(
        "offer: { expansion: all }",
        "5:25: drivers[0].offer.expansion: \"all\" says of no half that it grows volumes: write both, controller, node or none",
    );
    driver(
        "offer: { listing: 1 }",
        "5:23: drivers[0].offer.listing: \"1\" is neither true nor false: write one of them",
    );
}

#[test]
fn sources() {
    table(&[
        (
            "a.wasm",
            "oci://r.example.com/a@sha256:00",
            "6:15: drivers[0].backend.source: \"oci://r.example.com/a@sha256:00\" is in a registry, which is not supported yet by \
             this version: write the path of a .wasm file",
        ),
        (
            "a.wasm",
            "https://example.com/a.wasm",
            "6:15: drivers[0].backend.source: \"https://example.com/a.wasm\" is not a path: write the path of a .wasm file",
        ),
        ("a.wasm", "\"\"", "6:15: drivers[0].backend.source: \"\" is not a path: write 1 to 4095 bytes without NUL"),
        (
            "a.wasm",
            "\"a\\0b\"",
            "6:15: drivers[0].backend.source: \"a\\0b\" is not a path: write 1 to 4095 bytes without NUL",
        ),
    ]);
}

#[test]
fn digests() {
    let problem = "is not a digest: write sha256: and 64 hexadecimal digits, as sha256sum prints them";
    let short = format!("sha256:{}", "0".repeat(63));
    let long = format!("sha256:{}", "0".repeat(65));
    let letters = format!("sha256:{}", "g".repeat(64));
    let other = format!("sha512:{}", "0".repeat(64));
    for bad in ["x", "sha256:", &short, &long, &letters, &other, &"0".repeat(64)] {
        backend(&format!("digest: \"{bad}\""), &format!("7:15: drivers[0].backend.digest: {bad:?} {problem}"));
    }
}

#[test]
fn limits() {
    let size = "is not a size: write e.g. 64MiB, or a plain number of bytes";
    let time = "is not a time: write e.g. 30s, 500ms or 2min";
    for (key, value, problem) in [
        ("memory", "64Mib/s", size),
        ("memory", "-1", size),
        ("memory", "lots", size),
        ("memory", "1023KiB", "is out of range: write 1MiB to 4GiB"),
        ("memory", "4097MiB", "is out of range: write 1MiB to 4GiB"),
        ("memory", "99999999999TiB", "is out of range: write 1MiB to 4GiB"),
        ("callTimeout", "30", time),
        ("callTimeout", "-5s", time),
        ("callTimeout", "30 parsecs", time),
        ("callTimeout", "99ms", "is out of range: write 100ms to 10m"),
        ("callTimeout", "601s", "is out of range: write 100ms to 10m"),
        ("callTimeout", "99999999999999999999y", time),
        ("concurrency", "0", "is not a number from 1 to 1000: write one"),
        ("concurrency", "1001", "is not a number from 1 to 1000: write one"),
        ("concurrency", "1.5", "is not a number from 1 to 1000: write one"),
        ("logLines", "201", "is not a number from 0 to 200: write one"),
    ] {
        let column = 17 + key.len();
        driver(
            &format!("limits: {{ {key}: {value} }}"),
            &format!("5:{column}: drivers[0].limits.{key}: {value:?} {problem}"),
        );
    }
    one(
        &with("version: 1", "version: 1\nlimits: { memory: 32MiB }"),
        "2:19: limits.memory: 32MiB is less than the 64MiB of drivers[0]: write at least that, or lower \
         drivers[0].limits.memory",
    );
    driver(
        "limits: { memory: 2GiB }",
        "1:10: limits.memory: 1GiB is less than the 2GiB of drivers[0]: write at least that, or lower drivers[0].limits.memory",
    );
}

#[test]
fn settings() {
    backend(
        "config: { a: { b: ~ } }",
        "7:25: drivers[0].backend.config.a.b: has no value: write one (\"\" for an empty text) or remove the key",
    );
    backend(
        "config: { a.b: 1, a: { b: 2 } }",
        "7:33: drivers[0].backend.config.a.b: is set twice (first at line 7), as nested keys are joined by dots: remove one",
    );
    backend(
        "config: { a: { \"\": 2 } }",
        "7:22: drivers[0].backend.config.a: a key is empty or holds a control character: use another",
    );
}

#[test]
fn long_values_are_not_shown_in_full() {
    let long = "x".repeat((64 << 10) + 1);
    backend(&format!("config: {{ a: {long} }}"), "7:20: drivers[0].backend.config.a: is too long: write at most 64KiB");
    let found = errors_with(&with("a.example.com", &long), &[]);
    assert!(
        found.len() == 1 && found[0].len() < 300 && found[0].contains("xxx\"... is not a driver name"),
        "{found:?}"
    );
}

#[test]
fn grants() {
    let grants = "drivers[0].backend.grants";
    for (text, column, key, problem) in [
        ("state: yes", 24, "state", "\"yes\" is neither true nor false: write one of them"),
        ("state: [true]", 24, "state", "is neither true, false nor a map: write true, or { quota: SIZE }"),
        ("state: { size: 1MiB }", 26, "state.size", "is not known: write quota"),
        ("state: { quota: 1KiB }", 33, "state.quota", "\"1KiB\" is out of range: write 64KiB to 256MiB"),
        (
            "state: { quota: much }",
            33,
            "state.quota",
            "\"much\" is not a size: write e.g. 64MiB, or a plain number of bytes",
        ),
        ("secrets: [show]", 27, "secrets[0]", "\"show\" is not known: write one of sign, reveal"),
        ("secrets: [sign, sign]", 33, "secrets[1]", "\"sign\" is there twice (first at line 7): remove one"),
        (
            "access: [pool-image, floppy]",
            38,
            "access[1]",
            "\"floppy\" is not known: write one of nfs, smb, iscsi, nvme-of, fibre-channel, local-device, fuse-cluster, \
             pool-directory, pool-image, rbd, lvm",
        ),
        (
            "devices: [/dev/pxd/, /dev/]",
            38,
            "devices[1]",
            "\"/dev/\" is not the beginning of a device's path beneath /dev: write e.g. /dev/pxd/ or /dev/xvd",
        ),
        (
            "pools: { .a: { path: /srv } }",
            26,
            "pools..a",
            "the name of a pool may hold letters, digits and . _ - and may not start with a dot: choose another name",
        ),
        ("pools: { a: { path: \"\" } }", 37, "pools.a.path", "\"\" is not a path: write 1 to 4095 bytes without NUL"),
    ] {
        backend(&format!("grants: {{ {text} }}"), &format!("7:{column}: {grants}.{key}: {problem}"));
    }
}

#[test]
fn http_grants() {
    let http = "drivers[0].backend.grants.http[0]";
    let host = "is not a host: write a full host name, an address or *.DOMAIN, without scheme, port or path";
    let wide = "is too wide or not a domain: write *.DOMAIN with a domain of at least two labels";
    let methods = "is not known: write one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    for (grant, column, key, problem) in [
        (
            "scheme: ftp, host: a, methods: [GET]",
            34,
            "scheme",
            "\"ftp\" is not a scheme that is allowed: write https or http",
        ),
        ("scheme: http, host: \"*.a\", methods: [GET]", 46, "host", &format!("\"*.a\" {wide}")),
        ("scheme: http, host: \"*.a.*\", methods: [GET]", 46, "host", &format!("\"*.a.*\" {wide}")),
        ("scheme: http, host: \"*\", methods: [GET]", 46, "host", &format!("\"*\" {host}")),
        ("scheme: http, host: a., methods: [GET]", 46, "host", &format!("\"a.\" {host}")),
        ("scheme: http, host: \"2130706433\", methods: [GET]", 46, "host", &format!("\"2130706433\" {host}")),
        ("scheme: http, host: 0177.0.0.1, methods: [GET]", 46, "host", &format!("\"0177.0.0.1\" {host}")),
        ("scheme: http, host: 0x7f.1, methods: [GET]", 46, "host", &format!("\"0x7f.1\" {host}")),
        ("scheme: http, host: a, methods: [GET], addresses: []", 76, "addresses", "is empty: write at least one kind"),
        (
            "scheme: http, host: a, methods: [GET], addresses: [any]",
            77,
            "addresses[0]",
            "\"any\" is not known: write one of public, private, loopback, link-local, metadata",
        ),
        ("scheme: http, host: \"a:80\", methods: [GET]", 46, "host", &format!("\"a:80\" {host}")),
        ("scheme: http, host: a/b, methods: [GET]", 46, "host", &format!("\"a/b\" {host}")),
        ("scheme: http, host: \"\", methods: [GET]", 46, "host", &format!("\"\" {host}")),
        (
            "scheme: http, host: a, port: 0, methods: [GET]",
            55,
            "port",
            "\"0\" is not a number from 1 to 65535: write one",
        ),
        ("scheme: http, host: a, methods: []", 58, "methods", "is empty: write at least one method"),
        ("scheme: http, host: a, methods: [get]", 59, "methods[0]", &format!("\"get\" {methods}")),
        (
            "scheme: http, host: a, methods: [GET], auth: \"\"",
            71,
            "auth",
            "\"\" is missing: write 1 to 128 bytes of plain text",
        ),
    ] {
        backend(&format!("grants: {{ http: [{{ {grant} }}] }}"), &format!("7:{column}: {http}.{key}: {problem}"));
    }
}

#[test]
fn http_settings() {
    let http = "drivers[0].backend.http";
    let proxy = "is not a proxy: write http://HOST:PORT or https://HOST:PORT, without user, path or query";
    for (settings, column, key, problem) in [
        ("proxy: \"socks5://a:1\"", 22, "proxy", format!("\"socks5://a:1\" {proxy}")),
        ("proxy: \"http://a\"", 22, "proxy", format!("\"http://a\" {proxy}")),
        ("proxy: \"http://me:word@a:1\"", 22, "proxy", format!("\"http://me:word@a:1\" {proxy}")),
        ("proxy: \"http://a:1/b\"", 22, "proxy", format!("\"http://a:1/b\" {proxy}")),
        ("proxy: \"http://::1:80\"", 22, "proxy", format!("\"http://::1:80\" {proxy}")),
        ("connectTimeout: 1ms", 31, "connectTimeout", "\"1ms\" is out of range: write 100ms to 10m".into()),
        ("maxConnections: 0", 31, "maxConnections", "\"0\" is not a number from 1 to 1000: write one".into()),
        ("maxHeaders: 1KiB", 27, "maxHeaders", "\"1KiB\" is out of range: write 8KiB to 1MiB".into()),
        ("maxRequest: 1GiB", 27, "maxRequest", "\"1GiB\" is out of range: write 0 to 64MiB".into()),
    ] {
        backend(&format!("http: {{ {settings} }}"), &format!("7:{column}: {http}.{key}: {problem}"));
    }
}

#[test]
fn environment() {
    let unset = "the environment variable NOPE is not set: set it or write the value";
    table(&[
        ("a.wasm", "${NOPE}/a.wasm", &format!("6:15: drivers[0].backend.source: {unset}")),
        ("a.wasm", "\"${NOPE}\"", &format!("6:15: drivers[0].backend.source: {unset}")),
        ("a.wasm", "a${X", "6:15: drivers[0].backend.source: a ${ has no }: close it, or write $${ for a literal ${"),
        (
            "a.wasm",
            "a${X:-b}",
            "6:15: drivers[0].backend.source: ${X:-b} is not ${NAME}: name one environment variable, or write $${ for a \
             literal ${",
        ),
    ]);
    backend("config: { deep: [\"${NOPE}\"] }", &format!("7:24: drivers[0].backend.config.deep.0: {unset}"));
}

#[test]
fn a_value_from_the_environment_is_not_shown() {
    let text = with("    backend", "    limits: { memory: \"${SECRET}\", callTimeout: \"${SECRET}\" }\n    backend");
    let found = errors_with(&text, &[("SECRET", "hunter2")]);
    assert_eq!(
        found[0],
        "5:23: drivers[0].limits.memory: the value of \"${SECRET}\" is not a size: write e.g. 64MiB, or a plain number of bytes"
    );
    assert_eq!(found.len(), 2);
    assert!(!found.concat().contains("hunter2"));
}
