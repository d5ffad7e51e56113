//! docs/node.md says what the code does: every message that it helps with is in the source, every step at which a test kills the
//! host is in a diagram, every phase of the journal is a state.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bulkhead_node::failpoint;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/node.md")).unwrap()
}

/// All sources of the engine, texts over several lines joined.
fn sources(dir: &Path, into: &mut String) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for part in code.split("\\\n") {
                into.push_str(part.trim_start());
            }
        }
    }
}

fn source() -> String {
    let mut text = String::new();
    // The engine's, and that of the program around it.
    for directory in ["src", "../src"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(directory), &mut text);
    }
    text
}

#[test]
fn every_message_that_has_advice_is_in_the_source() {
    let (page, source) = (page(), source());
    let table = page.split("| the log or the error says | do |").nth(1).unwrap();
    let rows: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        for part in row.split('…').map(|part| part.trim_matches([' ', ';'])).filter(|part| !part.is_empty()) {
            assert!(source.contains(part), "{row:?}: {part:?} is said nowhere");
        }
    }
}

#[test]
fn every_step_is_in_a_diagram() {
    let page = page();
    let written: BTreeSet<&str> = page
        .split('[')
        .skip(1)
        .filter_map(|rest| rest.split(']').next())
        .filter(|name| failpoint::ALL.iter().any(|known| known.split('.').next() == name.split('.').next()))
        .collect();
    // What pools do is not the engine's.
    let steps: BTreeSet<&str> = failpoint::ALL.iter().copied().filter(|name| !name.starts_with("pool-")).collect();
    assert_eq!(written, steps);
}

#[test]
fn every_phase_is_a_state() {
    let source = source();
    let diagram = page().split("## The states").nth(1).unwrap().split("## pool-image").next().unwrap().to_owned();
    for phases in ["pub(crate) enum StagePhase {", "pub(crate) enum PublishPhase {"] {
        let body = source.split(phases).nth(1).unwrap().split('}').next().unwrap();
        let names = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
        let names: Vec<String> = names.map(|name| name.trim_end_matches(',').to_ascii_lowercase()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        for name in names {
            assert!(diagram.contains(&format!("--> {name}: ")), "{name} is no state");
        }
    }
}
