//! Compiled code on disk.
//!
//! Loading compiled code is running it: whoever can write here owns the host. So the directory is the host's alone
//! (0700, checked at every start), files are written to a temporary name, synced and renamed, named after the
//! component's digest and the engine's settings, and carry a checksum beside them; whatever does not match is compiled anew.
//! Files are mapped, not read, so that clean pages are shared and unused code costs no memory.

use super::engine::Engine;
use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};
use wasmtime::component::Component;

/// A directory of compiled components.
#[derive(Debug, Clone)]
pub struct CompileCache {
    dir: PathBuf,
}

/// Where compiled code came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Mapped from the cache.
    Cache,
    /// Compiled now.
    Compiler,
}

impl CompileCache {
    /// Opens or makes the directory and checks that it is nobody else's.
    ///
    /// # Errors
    /// It can't be made, belongs to somebody else or can be written by others.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        if !dir.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .with_context(|| format!("can't make the compile cache {}", dir.display()))?;
        }
        let meta = fs::symlink_metadata(dir).with_context(|| format!("can't look at {}", dir.display()))?;
        let owner = fs::metadata("/proc/self").map(|m| m.uid()).unwrap_or(0);
        if !meta.is_dir() || meta.uid() != owner || meta.permissions().mode() & 0o022 != 0 {
            bail!(
                "the compile cache {} must be a directory of this user that nobody else can write to: code in it is run \
                 as it is",
                dir.display()
            );
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// The component, from the cache or from the compiler. A cache that can't be written is no reason to fail.
    ///
    /// # Errors
    /// The bytes are not a component that this engine can compile.
    pub fn load(&self, engine: &Engine, bytes: &[u8], digest: &[u8; 32]) -> anyhow::Result<(Component, Origin)> {
        let path = self.dir.join(format!("{}-{}.cwasm", hex::encode(digest), engine.compatibility()));
        match read(engine, &path) {
            Ok(Some(component)) => return Ok((component, Origin::Cache)),
            Ok(None) => {}
            Err(e) => {
                tracing::warn!(path = %path.display(), error = %e, "compiled code is not as it was written: compiling anew")
            }
        }
        let component = Component::from_binary(&engine.wasm, bytes)?;
        if let Err(e) = component.serialize().map_err(anyhow::Error::from).and_then(|code| write(&path, &code)) {
            tracing::warn!(path = %path.display(), error = %e, "can't keep compiled code: the next start compiles again");
        }
        Ok((component, Origin::Compiler))
    }
}

fn checksum_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn read(engine: &Engine, path: &Path) -> anyhow::Result<Option<Component>> {
    let expected = match fs::read_to_string(checksum_path(path)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let code = fs::read(path)?;
    if hex::encode(Sha256::digest(&code)) != expected.trim() {
        bail!("its checksum differs");
    }
    // SAFETY: the file was written by this host with `Component::serialize`: the directory belongs to this user and
    // nobody else can write to it (`open`), the name holds the component's digest and the engine's compatibility hash,
    // and the checksum was compared just now.
    let component = unsafe { Component::deserialize_file(&engine.wasm, path)? };
    Ok(Some(component))
}

fn write(path: &Path, code: &[u8]) -> anyhow::Result<()> {
    // The code first: a checksum without code is a miss that reports itself, code without a checksum is a silent one.
    replace(path, code)?;
    replace(&checksum_path(path), hex::encode(Sha256::digest(code)).as_bytes())
}

fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    Ok(())
}
