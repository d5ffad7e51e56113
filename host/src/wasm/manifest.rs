//! What a component exports and imports, read from its type without running anything.

use super::{bindings::offered, load::LoadError, store::CallState};
use bulkhead_domain::offer::Interface;
use std::collections::BTreeSet;
use wasmtime::component::{Component, Instance, InstancePre};

/// The package that this host speaks.
const PACKAGE: &str = "bulkhead:backend";
/// Its version; another patch or, from 1.0 on, minor version is compatible.
const VERSION: (u64, u64) = (0, 1);

/// One import of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Import {
    /// `call`, `logging`, `config` and interfaces of types only: always there.
    Always(String),
    /// An interface of this host that wants a grant: `pools`, `state`, `secrets`, `secrets-sign`, `secrets-reveal`.
    Granted(String),
    /// wasi:http, which wants a grant.
    Http(String),
    /// WASI that is linked inert (clocks, randomness) or closed (files, sockets).
    Wasi(String),
}

/// What a component offers and asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Exported interfaces of the package.
    pub exports: BTreeSet<Interface>,
    /// All imports.
    pub imports: BTreeSet<Import>,
}

impl Manifest {
    /// Reads the manifest.
    ///
    /// # Errors
    /// Another version of the package, an interface of it that this host does not know, a foreign import, no `identity`.
    pub fn read(component: &Component, engine: &wasmtime::Engine) -> Result<Self, LoadError> {
        let ty = component.component_type();
        let mut manifest = Self { exports: BTreeSet::new(), imports: BTreeSet::new() };
        for (name, _) in ty.imports(engine) {
            manifest.imports.insert(classify_import(name)?);
        }
        for (name, _) in ty.exports(engine) {
            // Language runtimes export things of their own; only names of our package are judged.
            let Some(name) = ours(name)? else { continue };
            match Interface::from_name(&name) {
                Some(interface) => {
                    manifest.exports.insert(interface);
                }
                None if is_types_only(&name) => {}
                None => return Err(LoadError::UnknownExport(name)),
            }
        }
        if !manifest.exports.contains(&Interface::Identity) {
            return Err(LoadError::NoIdentity);
        }
        Ok(manifest)
    }

    /// Names of the interfaces that want a grant, for `grants`.
    pub fn wanted_grants(&self) -> Vec<&str> {
        self.imports
            .iter()
            .filter_map(|import| match import {
                Import::Granted(name) => Some(name.as_str()),
                Import::Http(_) => Some("http"),
                Import::Always(_) | Import::Wasi(_) => None,
            })
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect()
    }
}

/// The interface's name if `full` belongs to our package, in a version that fits.
fn ours(full: &str) -> Result<Option<String>, LoadError> {
    let Some(rest) = full.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')) else { return Ok(None) };
    let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
    let mut numbers = version.split(['.', '-']).map(str::parse::<u64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) == VERSION && !version.contains('-') => {
            Ok(Some(name.to_owned()))
        }
        _ => Err(LoadError::OtherVersion { version: version.to_owned(), host: format!("{}.{}", VERSION.0, VERSION.1) }),
    }
}

fn is_types_only(name: &str) -> bool {
    matches!(name, "types" | "node-types" | "plan-types")
}

fn classify_import(full: &str) -> Result<Import, LoadError> {
    const INERT: [&str; 6] =
        ["wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:cli/", "wasi:filesystem/", "wasi:sockets/"];
    if let Some(name) = ours(full)? {
        return match name.as_str() {
            "call" | "logging" | "config" => Ok(Import::Always(name)),
            n if is_types_only(n) => Ok(Import::Always(name)),
            "pools" | "state" | "secrets" | "secrets-sign" | "secrets-reveal" => Ok(Import::Granted(name)),
            _ => Err(LoadError::UnknownImport(full.to_owned())),
        };
    }
    if full.starts_with("wasi:http/") {
        return Ok(Import::Http(full.to_owned()));
    }
    if INERT.iter().any(|prefix| full.starts_with(prefix)) {
        return Ok(Import::Wasi(full.to_owned()));
    }
    Err(LoadError::UnknownImport(full.to_owned()))
}

macro_rules! indices {
    ($($(#[$doc:meta])* $field:ident = $interface:ident),* $(,)?) => {
        /// Where each exported interface is found in an instance; none for those that are not exported.
        #[derive(Clone)]
        pub struct Indices { $($(#[$doc])* pub $field: Option<offered::$field::GuestIndices>),* }

        impl Indices {
            /// Looks up what the manifest names. An interface that lacks a function is an error, not "not offered".
            pub fn find(pre: &InstancePre<CallState>, manifest: &Manifest) -> Result<Self, LoadError> {
                $(let $field = if manifest.exports.contains(&Interface::$interface) {
                    Some(offered::$field::GuestIndices::new(pre).map_err(|e| LoadError::incomplete(Interface::$interface, &e))?)
                } else {
                    None
                };)*
                Ok(Self { $($field),* })
            }

            /// Compares the types of every interface: the look-up compares names only.
            pub fn check_types(
                &self,
                store: &mut wasmtime::Store<CallState>,
                instance: &Instance,
            ) -> Result<(), LoadError> {
                $(if let Some(indices) = &self.$field {
                    indices.load(&mut *store, instance).map_err(|e| LoadError::incomplete(Interface::$interface, &e))?;
                })*
                Ok(())
            }
        }
    };
}
indices! {
    identity = Identity,
    volumes = Volumes,
    cloning = Cloning,
    listing = Listing,
    inspection = Inspection,
    capacity = Capacity,
    expansion = Expansion,
    modification = Modification,
    attachment = Attachment,
    snapshots = Snapshots,
    snapshot_listing = SnapshotListing,
    group_snapshots = GroupSnapshots,
    changed_blocks = ChangedBlocks,
    health = Health,
    health_listing = HealthListing,
    storage_health = StorageHealth,
    node = Node,
    ephemeral = Ephemeral,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions() {
        assert!(matches!(ours("bulkhead:backend/volumes@0.1.0"), Ok(Some(n)) if n == "volumes"));
        assert!(matches!(ours("bulkhead:backend/volumes@0.1.7"), Ok(Some(_))));
        for other in ["0.2.0", "1.1.0", "0.1.0-rc1", ""] {
            assert!(matches!(ours(&format!("bulkhead:backend/volumes@{other}")), Err(LoadError::OtherVersion { .. })));
        }
        assert!(matches!(ours("wasi:io/poll@0.2.0"), Ok(None)));
        assert!(matches!(classify_import("wasi:io/poll@0.2.9"), Ok(Import::Wasi(_))));
        assert!(matches!(classify_import("acme:evil/shell@1.0.0"), Err(LoadError::UnknownImport(_))));
        assert!(matches!(classify_import("bulkhead:backend/volumes@0.1.0"), Err(LoadError::UnknownImport(_))));
    }
}
