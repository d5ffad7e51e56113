//! What holds for backends of vendors: how much code one is, and what its component may import. `plugins/ebs` is the first, and the
//! one that others are copied from.

use std::{
    fs,
    path::{Path, PathBuf},
};
use wit_component::DecodedWasm;

/// Most lines of code of a vendor's backend: without comments, tests, and tables of the vendor's products.
const LINES: usize = 2000;
/// Most bytes of its component.
const BYTES: usize = 1 << 20;
const TABLES: &[&str] = &["limits.rs"];
/// Files that are for tests only.
const TESTS: &[&str] = &["fake", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Lines with code on them. A test module is the last thing in its file.
fn lines_of_code(source: &str) -> usize {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let counted = entries.map(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        match path.is_dir() {
            _ if TESTS.contains(&name.as_str()) || TABLES.contains(&name.as_str()) => 0,
            true => count(&path),
            false => lines_of_code(&fs::read_to_string(&path).expect("a source")),
        }
    });
    counted.sum()
}

#[test]
fn comments_and_tests_are_no_code() {
    let source =
        "//! Doc.\n\nuse x;\n// Why.\nfn f() {\n    g(); // yes\n}\n\n#[cfg(test)]\nmod tests {\n    fn t() {}\n}\n";
    assert_eq!(lines_of_code(source), 4);
}

#[test]
fn a_vendors_backend_is_small() {
    let lines = count(&root().join("plugins/ebs/src"));
    assert!((500..LINES).contains(&lines), "plugins/ebs has {lines} lines of code");
}

/// What a component imports, sorted, held against its golden file.
fn imports(backend: &str) -> String {
    let component = fs::read(root().join(format!("dist/backends/{backend}.wasm"))).expect("run `make build`");
    assert!(component.len() < BYTES, "{backend}: {} bytes", component.len());
    let decoded = wit_component::decode(&component).expect("a component");
    let DecodedWasm::Component(resolve, world) = decoded else { panic!("not a component") };
    let names = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key));
    let mut imports: Vec<String> = names.map(|name| format!("{name}\n")).collect();
    imports.sort();
    let (imports, golden) = (imports.concat(), root().join(format!("tests/golden/imports-{backend}.txt")));
    if std::env::var_os("BULKHEAD_BLESS").is_some() {
        fs::write(&golden, &imports).expect("the golden file");
    }
    let expected = fs::read_to_string(&golden).expect("the golden file");
    assert_eq!(imports, expected, "the imports of {backend}.wasm have changed");
    imports
}

/// Nothing but the host's own imports, HTTP, and what is inert in WASI: no files, no sockets, no environment.
#[test]
fn a_vendors_component_is_small_and_imports_what_is_on_record() {
    for import in imports("ebs").lines() {
        let fits = |prefix: &&str| import.starts_with(*prefix);
        let known = ["bulkhead:backend/", "wasi:http/", "wasi:clocks/", "wasi:io/", "wasi:random/"].iter().any(fits);
        assert!(known, "{import} is neither ours, nor HTTP, nor inert");
    }
}

/// A backend without an API of its own asks for pools and nothing else.
#[test]
fn the_component_of_shares_asks_for_pools_only() {
    let imports = imports("nfs");
    assert!(
        imports.contains("/pools@") && imports.lines().all(|import| import.starts_with("bulkhead:backend/")),
        "{imports}"
    );
}
