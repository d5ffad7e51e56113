//! Components made of nothing but a WIT world: they have the right imports and exports, and every function traps. For
//! tests of what happens before a function is called: what is loaded, and what is refused and why.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, PackageId, Resolve, SourceMap};

/// Folder of the WIT package that the host speaks.
pub fn wit_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/v0.1")
}

/// A change to the text of one file of the WIT package: file name, what is there, what comes in its place. An empty "what
/// is there" appends.
pub type Edit<'a> = (&'a str, &'a str, &'a str);

/// The WIT package, changed by `edits`.
///
/// # Errors
/// If an edit's text isn't there exactly once, or the result is no WIT.
pub fn resolve(edits: &[Edit<'_>]) -> Result<(Resolve, PackageId)> {
    let mut sources = read_sources()?;
    for (file, from, to) in edits {
        let (_, text) = sources.iter_mut().find(|(name, _)| name == file).with_context(|| format!("no file {file}"))?;
        let found = if from.is_empty() { 1 } else { text.matches(from).count() };
        anyhow::ensure!(found == 1, "{file} has {found} times: {from}");
        *text = if from.is_empty() { format!("{text}\n{to}\n") } else { text.replace(from, to) };
    }
    parse(sources)
}

fn read_sources() -> Result<Vec<(String, String)>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(wit_dir())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wit") {
            let name = path.file_name().context("a file has a name")?.to_string_lossy().into_owned();
            sources.push((name, std::fs::read_to_string(&path)?));
        }
    }
    Ok(sources)
}

fn parse(sources: Vec<(String, String)>) -> Result<(Resolve, PackageId)> {
    let mut map = SourceMap::new();
    for (name, text) in sources {
        map.push_str(&name, text);
    }
    let group = map.parse().map_err(|(map, error)| anyhow::anyhow!(error.render(&map)))?;
    let mut resolve = Resolve::default();
    let package = resolve.push_group(group)?;
    Ok((resolve, package))
}

/// A component of one of the WIT package's own worlds: `base` or `everything`.
///
/// # Errors
/// If there is no such world.
pub fn component_of_world(world: &str) -> Result<Vec<u8>> {
    let (resolve, package) = resolve(&[])?;
    component(&resolve, package, world)
}

/// A component of the world `test` that `wit` defines, in a package that may use `bulkhead:backend@0.1.0`. Other packages
/// can be nested in `wit`.
///
/// # Errors
/// If that is no WIT, or uses what isn't there.
pub fn component_of(wit: &str) -> Result<Vec<u8>> {
    component_of_edited(&[], wit)
}

/// As [`component_of`], with the WIT package changed by `edits`.
///
/// # Errors
/// As [`component_of`] and [`resolve`].
pub fn component_of_edited(edits: &[Edit<'_>], wit: &str) -> Result<Vec<u8>> {
    let (mut resolve, _) = resolve(edits)?;
    let package =
        resolve.push_source("test.wit", wit).map_err(|error| anyhow::anyhow!(resolve.render_error(&error)))?;
    component(&resolve, package, "test")
}

fn component(resolve: &Resolve, package: PackageId, world: &str) -> Result<Vec<u8>> {
    let world = resolve.select_world(&[package], Some(world))?;
    let mut module = dummy_module(resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

/// Exports `identity` alone.
///
/// # Errors
/// If the WIT package is broken; so for all functions below.
pub fn empty() -> Result<Vec<u8>> {
    component_of_world("base")
}

/// Exports all that there is and imports all that there is.
///
/// # Errors
/// See [`empty`].
pub fn complete() -> Result<Vec<u8>> {
    component_of_world("everything")
}

/// Imports `state` and `secrets` beside what is always linked: refused without the grants.
///
/// # Errors
/// See [`empty`].
pub fn greedy() -> Result<Vec<u8>> {
    component_of(
        "package test:greedy;
         world test {
           include bulkhead:backend/base@0.1.0;
           import bulkhead:backend/state@0.1.0;
           import bulkhead:backend/secrets@0.1.0;
         }",
    )
}

/// Imports an interface of WASI that no backend gets.
///
/// # Errors
/// See [`empty`].
pub fn wants_sockets() -> Result<Vec<u8>> {
    component_of(
        "package test:sockets;
         package wasi:sockets@0.2.0 {
           interface instance-network { resource network; instance-network: func() -> network; }
         }
         world test {
           include bulkhead:backend/base@0.1.0;
           import wasi:sockets/instance-network@0.2.0;
         }",
    )
}

/// Imports an interface that nobody has ever heard of.
///
/// # Errors
/// See [`empty`].
pub fn wants_unknown() -> Result<Vec<u8>> {
    component_of(
        "package test:unknown;
         package acme:host@1.0.0 { interface backdoor { open: func(); } }
         world test {
           include bulkhead:backend/base@0.1.0;
           import acme:host/backdoor@1.0.0;
         }",
    )
}

/// Imports a `bulkhead:backend` interface that this host doesn't have.
///
/// # Errors
/// See [`empty`].
pub fn wants_telepathy() -> Result<Vec<u8>> {
    component_of_edited(
        &[("host.wit", "", "/// Unheard of.\ninterface telepathy { /// Thinks.\n  think: func(); }")],
        "package test:telepathy;
         world test { include bulkhead:backend/base@0.1.0; import bulkhead:backend/telepathy@0.1.0; }",
    )
}

/// Exports a `bulkhead:backend` interface that this host doesn't know: refused, it may matter.
///
/// # Errors
/// See [`empty`].
pub fn teleport() -> Result<Vec<u8>> {
    component_of_edited(
        &[("host.wit", "", "/// Unheard of.\ninterface teleport { /// Beams.\n  beam: func(); }")],
        "package test:teleport;
         world test { include bulkhead:backend/base@0.1.0; export bulkhead:backend/teleport@0.1.0; }",
    )
}

/// Exports something of its own beside `identity`: harmless, some language runtimes do.
///
/// # Errors
/// See [`empty`].
pub fn foreign_export() -> Result<Vec<u8>> {
    component_of(
        "package test:foreign;
         interface runtime { version: func() -> string; }
         world test { include bulkhead:backend/base@0.1.0; export runtime; }",
    )
}

/// An empty backend of `bulkhead:backend` in another version, such as `0.2.0`.
///
/// # Errors
/// See [`empty`].
pub fn of_version(version: &str) -> Result<Vec<u8>> {
    let other = format!("package bulkhead:backend@{version};");
    let sources = read_sources()?;
    let sources =
        sources.into_iter().map(|(name, text)| (name, text.replace("package bulkhead:backend@0.1.0;", &other)));
    let (resolve, package) = parse(sources.collect())?;
    component(&resolve, package, "base")
}

/// Exports volumes but not `identity`.
///
/// # Errors
/// See [`empty`].
pub fn without_identity() -> Result<Vec<u8>> {
    component_of("package test:anonymous; world test { export bulkhead:backend/volumes@0.1.0; }")
}

/// Exports `identity` without `probe`.
///
/// # Errors
/// See [`empty`].
pub fn lacks_a_function() -> Result<Vec<u8>> {
    component_of_edited(
        &[("identity.wit", "  probe: func() -> result<bool, error>;", "")],
        "package test:short; world test { export bulkhead:backend/identity@0.1.0; }",
    )
}

/// Exports `identity` with all its functions, one of which has another type.
///
/// # Errors
/// See [`empty`].
pub fn other_types() -> Result<Vec<u8>> {
    component_of_edited(
        &[("identity.wit", "  probe: func() -> result<bool, error>;", "  probe: func() -> result<string, error>;")],
        "package test:skewed; world test { export bulkhead:backend/identity@0.1.0; }",
    )
}

/// Exports `volumes` with all its functions, where a record that they share has one field more.
///
/// # Errors
/// See [`empty`].
pub fn other_record() -> Result<Vec<u8>> {
    component_of_edited(
        &[(
            "types.wit",
            "    capacity-bytes: u64,\n    /// CSI volume_context",
            "    capacity-bytes: u64,\n    colour: string,\n    /// CSI volume_context",
        )],
        "package test:wider;
         world test { export bulkhead:backend/identity@0.1.0; export bulkhead:backend/volumes@0.1.0; }",
    )
}
