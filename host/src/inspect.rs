//! `bulkhead inspect`: what a component offers and what it asks for, before anybody grants it anything.

use crate::{
    config::grant_snippet,
    imports::Granted,
    loader,
    wasm::{Compiled, Engine, EngineSettings, Import, LoadError, Permissions},
};
use anyhow::Context;
use bulkhead_domain::{
    offer::{Info, Offer},
    plan::Access,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

/// Memory for the one instance that is asked what it is, in bytes.
const MEMORY_BYTES: u64 = 256 << 20;

/// The report, ready to print.
///
/// # Errors
/// Not a component, or not one for this host.
pub async fn report(path: &Path) -> anyhow::Result<String> {
    let verified = loader::fetch(path)?.verify(None)?;
    let engine =
        Engine::new(EngineSettings { max_instance_memory: MEMORY_BYTES, max_calls: 1, total_memory: MEMORY_BYTES })?;
    let (size, digest) = (verified.bytes().len(), hex::encode(verified.digest()));
    let compiled = Compiled::new(&engine, None, &verified).with_context(|| format!("{}", path.display()))?;
    let manifest = compiled.manifest().clone();
    // Linked closed: it may say what it is, and nothing else works.
    let permissions = Permissions {
        driver: "inspect".into(),
        config: BTreeMap::new(),
        granted: Granted::default(),
        access: BTreeSet::new(),
        memory_bytes: MEMORY_BYTES,
        concurrency: 1,
        log_lines: 0,
        node_only: true,
    };
    let (offer, silent) = match compiled.ready(&engine, permissions).await {
        Ok(ready) => (ready.describe().clone(), None),
        Err(LoadError::ConfigRefused(why)) => (Offer::of(manifest.exports.clone(), Info::default()), Some(why)),
        Err(e) => return Err(e).with_context(|| format!("{}", path.display())),
    };
    let mut out = String::new();
    // Writing to a String can't fail.
    let _ = write_facts(&mut out, path, size, &digest, &offer);
    if let Some(why) = silent {
        let _ = writeln!(out, "  (it tells its version, its promises and its topology only with a config: {why})");
    }
    let _ = write_imports(&mut out, &manifest.imports);
    let _ = write_config(&mut out, path, &digest, &manifest.wanted_grants());
    Ok(out)
}

fn write_facts(out: &mut String, path: &Path, size: usize, digest: &str, offer: &Offer) -> std::fmt::Result {
    fn names(items: impl IntoIterator<Item = &'static str>) -> String {
        let names: Vec<_> = items.into_iter().collect();
        if names.is_empty() { "-".into() } else { names.join(", ") }
    }
    writeln!(out, "{}", path.display())?;
    writeln!(out, "  size        {size} bytes")?;
    writeln!(out, "  digest      sha256:{digest}")?;
    if !offer.info.vendor_version.is_empty() {
        writeln!(out, "  version     {}", offer.info.vendor_version)?;
    }
    writeln!(out, "offers")?;
    writeln!(out, "  interfaces  {}", names(offer.interfaces.iter().map(|i| i.name())))?;
    writeln!(out, "  plugin      {}", names(offer.plugin_capabilities().iter().map(|c| c.name())))?;
    writeln!(out, "  controller  {}", names(offer.controller_capabilities().iter().map(|c| c.name())))?;
    writeln!(out, "  node        {}", names(offer.node_capabilities(true).iter().map(|c| c.name())))?;
    if !offer.group_capabilities().is_empty() {
        writeln!(out, "  group       {}", names(offer.group_capabilities().iter().map(|c| c.name())))?;
    }
    if !offer.info.topology_keys.is_empty() {
        writeln!(out, "  topology    {}", offer.info.topology_keys.join(", "))?;
    }
    Ok(())
}

fn write_imports(out: &mut String, imports: &BTreeSet<Import>) -> std::fmt::Result {
    writeln!(out, "asks for")?;
    for import in imports {
        match import {
            Import::Always(name) => writeln!(out, "  {name}: always there")?,
            Import::Granted(name) => writeln!(out, "  {name}: wants a grant")?,
            Import::Http(name) => writeln!(out, "  {name}: wants a grant")?,
            Import::Wasi(name) => writeln!(out, "  {name}: there, inert or closed")?,
        }
    }
    Ok(())
}

fn write_config(out: &mut String, path: &Path, digest: &str, wanted: &[&str]) -> std::fmt::Result {
    let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_else(|| "backend".into());
    writeln!(out, "config")?;
    writeln!(out, "  - name: {name}.csi.example.com")?;
    writeln!(out, "    endpoint: unix:///run/bulkhead/{name}.sock")?;
    writeln!(out, "    backend:")?;
    writeln!(out, "      source: {}", path.display())?;
    writeln!(out, "      digest: sha256:{digest}")?;
    match grant_snippet(wanted.iter().copied()) {
        Some(grants) => grants.lines().try_for_each(|line| writeln!(out, "      {line}"))?,
        None => {
            writeln!(out, "      # grants.access: the kinds of plans it may make, of {}", Access::NAMES.join(", "))?
        }
    }
    Ok(())
}
