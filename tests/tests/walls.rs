//! The walls between the rooms, as ARCHITECTURE.md states them: every room's source is read, and a name that has no
//! business there fails the test. Crates keep the walls around domain, node and proto as far as their manifests go; this test
//! keeps those manifests too.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A room: where it is, and what may not be named in it.
struct Room {
    path: &'static str,
    forbidden: &'static [&'static str],
}

const PROTOBUF: &[&str] = &["bulkhead_proto", "tonic", "prost", "prost_types"];
const WASM: &[&str] = &["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http"];
const HTTP: &[&str] = &["hyper", "hyper_util", "http_body_util", "hyper_rustls", "rustls"];
const KERNEL: &[&str] = &["rustix", "libc", "procfs"];
const FILES: &[&str] = &["std::fs", "fs::", "File::open", "std::process::Command"];
/// What only the wiring joins.
const JOINED: &[&str] = &["bulkhead_node", "crate::csi", "crate::wasm", "crate::imports", "crate::registry"];
const ASYNC: &[&str] = &["tokio", "async fn", "async move"];

/// Rooms from the inside out. A file belongs to the longest path that fits.
const ROOMS: &[(Room, &[&[&str]])] = &[
    (
        Room { path: "host/domain/src", forbidden: &["bulkhead_node", "std::net", "std::thread"] },
        &[PROTOBUF, WASM, HTTP, KERNEL, FILES, ASYNC],
    ),
    (Room { path: "host/node/src", forbidden: &[] }, &[PROTOBUF, WASM, HTTP, ASYNC]),
    (
        Room { path: "proto/src", forbidden: &["bulkhead_domain", "bulkhead_node", "bulkhead::"] },
        &[WASM, KERNEL, FILES],
    ),
    (
        Room {
            path: "host/src/csi",
            forbidden: &[
                "bulkhead_node",
                "crate::wasm",
                "crate::imports",
                "crate::loader",
                "crate::config",
                "crate::registry",
            ],
        },
        &[WASM, HTTP, KERNEL],
    ),
    (
        Room { path: "host/src/ops", forbidden: &["crate::loader", "crate::config"] },
        &[JOINED, PROTOBUF, WASM, HTTP, KERNEL, FILES],
    ),
    (
        Room { path: "host/src/wasm", forbidden: &["bulkhead_node", "crate::csi", "crate::config", "crate::registry"] },
        &[PROTOBUF, HTTP, KERNEL],
    ),
    (Room { path: "host/src/loader", forbidden: &["crate::ops"] }, &[JOINED, PROTOBUF, WASM, HTTP, KERNEL, ASYNC]),
    // The one import that is a file.
    (
        Room {
            path: "host/src/imports/state",
            forbidden: &["bulkhead_node", "crate::csi", "crate::ops", "crate::wasm", "crate::registry"],
        },
        &[PROTOBUF, WASM, HTTP, KERNEL],
    ),
    // Values of secrets are in files.
    (
        Room {
            path: "host/src/imports/secrets",
            forbidden: &["bulkhead_node", "crate::csi", "crate::ops", "crate::wasm", "crate::registry"],
        },
        &[PROTOBUF, WASM, HTTP, KERNEL],
    ),
    (
        Room { path: "host/src/imports", forbidden: &["crate::csi", "crate::ops", "crate::wasm", "crate::registry"] },
        &[PROTOBUF, WASM, KERNEL, FILES],
    ),
    (
        Room { path: "host/src/config", forbidden: &["crate::ops", "crate::loader"] },
        &[JOINED, PROTOBUF, WASM, HTTP, KERNEL, ASYNC],
    ),
    (
        Room { path: "host/src/health", forbidden: &["crate::ops", "crate::config", "crate::loader"] },
        &[JOINED, PROTOBUF, WASM, KERNEL, FILES],
    ),
    (
        Room {
            path: "host/src/cloud",
            forbidden: &[
                "bulkhead_node",
                "crate::csi",
                "crate::ops",
                "crate::wasm",
                "crate::registry",
                "crate::directory",
            ],
        },
        &[PROTOBUF, WASM, KERNEL, FILES],
    ),
    // The wiring may name every room, but neither protobuf nor wasmtime nor HTTP nor the kernel.
    (Room { path: "host/src", forbidden: &[] }, &[PROTOBUF, WASM, HTTP, KERNEL]),
];

/// The only files with `unsafe` code outside the node engine and the guests' allocator.
const UNSAFE: &[&str] = &["host/src/wasm/cache.rs"];
/// Longest source file in lines.
const LINES: usize = 400;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the repository")
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let root = root();
    let mut paths = vec![];
    for dir in ["proto", "host", "sdk-guest", "plugins", "tests"] {
        sources(&root.join(dir), &mut paths);
    }
    let relative = |path: &Path| path.strip_prefix(&root).expect("below the root").to_str().expect("UTF-8").to_owned();
    paths.iter().map(|path| (relative(path), fs::read_to_string(path).expect("a source"))).collect()
}

/// The source without comments and texts, and without what is compiled for tests only.
fn code(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source.split("#[cfg(test)]").next().unwrap_or_default();
    while !rest.is_empty() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            closing_quote(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..length]);
            length
        };
        rest = &rest[skip..];
    }
    out
}

fn closing_quote(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `name` stands in `code` as a name of its own, not as a part of a longer one.
fn names(code: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        // `crate::bulkhead_node` would be as bad as `bulkhead_node`, `my_tonic` is another name.
        !before.is_some_and(part_of_name) && (name.ends_with(':') || !after.is_some_and(part_of_name))
    })
}

/// Imports in braces stand in many lines: `use crate::{csi, wasm}` is read as `crate::csi` and `crate::wasm`.
fn flattened(code: &str) -> String {
    let mut out = code.to_owned();
    for (at, _) in code.match_indices("crate::{") {
        let inside = &code[at + "crate::{".len()..];
        let mut depth = 0usize;
        let mut item = String::new();
        for c in inside.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    out += &format!("\ncrate::{} ", item.trim());
                    item.clear();
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                item.push(c);
            }
        }
        out += &format!("\ncrate::{} ", item.trim());
    }
    out
}

/// What is compiled for tests only belongs to no room.
fn room_of(path: &str) -> Option<&'static (Room, &'static [&'static [&'static str]])> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return None;
    }
    ROOMS.iter().find(|(room, _)| path.starts_with(&format!("{}/", room.path)))
}

fn violations(path: &str, source: &str) -> Vec<String> {
    let Some((room, groups)) = room_of(path) else { return vec![] };
    let code = flattened(&code(source));
    let forbidden = room.forbidden.iter().chain(groups.iter().copied().flatten());
    forbidden
        .filter(|name| names(&code, name))
        .map(|name| format!("{path} names {name}, which {} may not", room.path))
        .collect()
}

#[test]
fn no_room_names_what_it_must_not_know() {
    let sources = all_sources();
    for (room, _) in ROOMS {
        let here = sources.iter().filter(|(path, _)| room_of(path).is_some_and(|(r, _)| r.path == room.path)).count();
        assert!(here > 0, "{} has no source: is the table still right?", room.path);
    }
    let found: Vec<_> = sources.iter().flat_map(|(path, source)| violations(path, source)).collect();
    assert!(found.is_empty(), "walls are crossed:\n{}", found.join("\n"));
}

/// The test of the test: a forbidden import, in each form, in a real file of each room.
#[test]
fn a_forbidden_import_is_found_in_every_room() {
    let sources = all_sources();
    for (room, groups) in ROOMS {
        let of_room = |path: &str| room_of(path).is_some_and(|(r, _)| r.path == room.path);
        let (path, source) = sources.iter().find(|(path, _)| of_room(path)).expect("a source");
        for name in room.forbidden.iter().chain(groups.iter().copied().flatten()) {
            let import = match name.strip_prefix("crate::") {
                Some(inner) => format!("use crate::{{\n    {inner}::Thing,\n    other,\n}};\n{source}"),
                None => format!("use {name};\n{source}"),
            };
            assert!(!violations(path, &import).is_empty(), "{name} in {path} is not found");
        }
        let harmless =
            format!("// use wasmtime::Engine and tonic, rustix\nconst TEXT: &str = \"crate::csi tonic\";\n{source}");
        assert_eq!(violations(path, &harmless), Vec::<String>::new(), "comments and texts are not imports");
    }
}

#[test]
fn manifests_keep_the_crates_apart() {
    let manifest = |path: &str| fs::read_to_string(root().join(path)).expect("a manifest");
    let normal = |path: &str| manifest(path).split("[dev-dependencies]").next().unwrap_or_default().to_owned();
    for (path, forbidden) in [
        ("host/domain/Cargo.toml", &["tokio", "tonic", "prost", "wasmtime", "rustix", "libc", "bulkhead-node"][..]),
        ("host/node/Cargo.toml", &["tokio", "tonic", "prost", "wasmtime", "bulkhead-proto"][..]),
        ("host/Cargo.toml", &["rustix", "libc", "procfs", "nix"][..]),
        ("proto/Cargo.toml", &["bulkhead-domain", "wasmtime", "tokio"][..]),
    ] {
        for name in forbidden {
            let found = normal(path)
                .lines()
                .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '='])));
            assert!(!found, "{path} depends on {name}");
        }
    }
    let versions =
        |path: &str| manifest(path).lines().any(|line| line.contains("version = \"") && !line.starts_with("version"));
    for path in [
        "host/Cargo.toml",
        "host/domain/Cargo.toml",
        "host/node/Cargo.toml",
        "proto/Cargo.toml",
        "plugins/ebs/Cargo.toml",
        "plugins/nfs/Cargo.toml",
        "tests/Cargo.toml",
        "tests/model/Cargo.toml",
        "tests/ec2/Cargo.toml",
        "tests/vm/Cargo.toml",
    ] {
        assert!(!versions(path), "{path} names a version: they stand in the workspace's manifest only");
    }
}

#[test]
fn unsafe_code_is_where_it_is_known_to_be() {
    for (path, source) in all_sources() {
        let elsewhere = ["host/src/", "host/domain/", "proto/", "plugins/"].iter().any(|dir| path.starts_with(dir));
        if elsewhere && !UNSAFE.contains(&path.as_str()) {
            assert!(!names(&code(&source), "unsafe"), "{path} has unsafe code");
        }
    }
}

#[test]
fn files_stay_short() {
    for (path, source) in all_sources() {
        let lines = source.lines().count();
        assert!(lines <= LINES, "{path} has {lines} lines: split it by subject");
    }
}

/// The README prints a whole backend. It is the one that is built and called by the api tier.
#[test]
fn the_readmes_backend_is_the_compiled_one() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("a file");
    let example = read("tests/backends/example/src/lib.rs");
    let block = format!("```rust\n{}\n```", example.trim_end());
    assert!(read("README.md").contains(&block), "README.md differs from tests/backends/example/src/lib.rs");
}
