//! The tool as it is called: what it writes, what it says, its exit status.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

/// A module as a compiler would give it, of a world that exports `identity` of some `bulkhead:backend`.
fn core_module(package: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let wit =
        format!("package {package}; interface identity {{ probe: func() -> bool; }} world test {{ export identity; }}");
    let package = resolve.push_source("test.wit", &wit).unwrap();
    let world = resolve.select_world(&[package], Some("test")).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

/// Exit status, standard output, standard error.
fn run(arguments: &[&Path]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bulkhead-componentize")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Runs the tool over `input`; its output file, if it wrote one.
fn convert(input: &[u8]) -> (Option<i32>, String, String, Option<Vec<u8>>) {
    let directory = tempfile::tempdir().unwrap();
    let (from, to) = (directory.path().join("in.wasm"), directory.path().join("out.wasm"));
    std::fs::write(&from, input).unwrap();
    let (status, out, err) = run(&[&from, &to]);
    (status, out, err, std::fs::read(&to).ok())
}

#[test]
fn a_module_becomes_a_component_and_a_component_stays_one() {
    let (status, out, err, component) = convert(&core_module("bulkhead:backend@0.1.0"));
    assert_eq!((status, err.as_str()), (Some(0), ""));
    assert!(out.contains("exports bulkhead:backend/identity@0.1.0"), "{out}");
    let component = component.unwrap();
    assert_eq!(component[..8], [0, b'a', b's', b'm', 0x0d, 0, 1, 0], "layer 1");
    let (status, _, _, copy) = convert(&component);
    assert_eq!((status, copy), (Some(0), Some(component)));
}

#[test]
fn what_is_no_backend_is_refused_and_nothing_is_written() {
    let preview_1 =
        [b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x23\x01\x16wasi_snapshot_preview1".as_slice(), b"\x08fd_close\0\0"]
            .concat();
    let stranger = core_module("acme:backend@0.1.0");
    let mut cut = ComponentEncoder::default().module(&core_module("bulkhead:backend@0.1.0")).unwrap().encode().unwrap();
    cut.truncate(cut.len() / 2);
    for (input, reason) in [
        (b"".as_slice(), "not a Wasm binary"),
        (b"#!/bin/sh\n", "not a Wasm binary"),
        (b"\0asm\x01\0\0\0", "exports no interface of bulkhead:backend"),
        (&stranger, "exports no interface of bulkhead:backend"),
        (&preview_1, "build it for wasm32-unknown-unknown"),
        (&cut, "not a valid component"),
    ] {
        let (status, out, err, written) = convert(input);
        assert_eq!((status, out.as_str(), written), (Some(1), "", None), "{err}");
        assert!(err.contains(reason) && err.contains("in.wasm"), "{err}");
    }
}

#[test]
fn wrong_usage_is_told_from_failure() {
    assert_eq!(run(&[]).0, Some(2));
    assert_eq!(run(&[Path::new("one")]).0, Some(2));
    let (status, help, _) = run(&[Path::new("--help")]);
    assert!(status == Some(0) && help.starts_with("usage:"), "{help}");
    let (status, _, err) = run(&[Path::new("/nowhere/in.wasm"), Path::new("/nowhere/out.wasm")]);
    assert!(status == Some(1) && err.contains("/nowhere/in.wasm"), "{err}");
}
