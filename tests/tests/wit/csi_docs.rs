//! docs/csi.md leaves nothing out: neither a call nor a capability.

use prost_reflect::DescriptorPool;
use std::path::Path;

/// What a table of a document has in its first column, in backticks.
fn first_column(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name)).collect()
}

/// All calls, and all values of the enums that name a capability but the zero ones, which stand for nothing.
fn calls_and_capabilities() -> Vec<String> {
    let pool = DescriptorPool::decode(bulkhead_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = pool.services().filter(|service| service.package_name() == "csi.v1");
    let mut names: Vec<_> =
        services.flat_map(|s| s.methods().map(|m| m.name().to_owned()).collect::<Vec<_>>()).collect();
    let enums: Vec<_> = pool.all_enums().filter(|e| e.full_name().contains("Capability.")).collect();
    let of_services = enums.iter().filter(|e| !e.full_name().starts_with("csi.v1.VolumeCapability."));
    names.extend(of_services.flat_map(|e| e.values().filter(|v| v.number() != 0).map(|v| v.name().to_owned())));
    assert!(names.len() > 60, "{names:?}");
    names
}

fn missing(text: &str) -> Vec<String> {
    let mut rows = first_column(text);
    // A name that two services have needs two rows.
    let mut take = |name: &String| rows.iter().position(|row| row == name).map(|at| rows.swap_remove(at)).is_some();
    calls_and_capabilities().into_iter().filter(|name| !take(name)).collect()
}

#[test]
fn every_call_and_every_capability_has_a_row() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/csi.md");
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(missing(&text), Vec::<String>::new(), "rows that docs/csi.md lacks");
    let known = calls_and_capabilities();
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_') && name.contains('_');
    let unknown: Vec<_> =
        first_column(&text).into_iter().filter(is_name).filter(|n| !known.iter().any(|k| k == n)).collect();
    assert_eq!(unknown, Vec::<&str>::new(), "rows about capabilities that there are not");
}

#[test]
fn a_row_that_is_missing_is_found() {
    let all: String = calls_and_capabilities().iter().skip(1).map(|name| format!("| `{name}` | x |\n")).collect();
    assert_eq!(missing(&all), [calls_and_capabilities()[0].clone()]);
}

/// Where the short names of the document lead.
const SHORT: [(&str, &str); 3] =
    [("api/", "tests/tests/api/"), ("kernel/", "host/node/tests/kernel/"), ("local/", "plugins/local/src/tests/")];

/// A test that is renamed must be renamed there too.
#[test]
fn the_tests_that_are_named_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("docs/csi.md")).unwrap();
    let named: Vec<_> = text.split('`').filter_map(|part| part.split_once("::")).collect();
    assert!(named.len() > 30, "{named:?}");
    for (file, test) in named {
        let long = SHORT.iter().find_map(|(short, long)| Some(format!("{long}{}", file.strip_prefix(short)?)));
        let long = long.unwrap_or_else(|| panic!("{file} begins with none of {SHORT:?}"));
        let source = std::fs::read_to_string(root.join(&long)).unwrap_or_else(|e| panic!("{long}: {e}"));
        assert!(source.contains(&format!("fn {test}(")), "{long} has no test {test}");
    }
}
