//! From verified bytes to a backend that can be called, a type for each stage: `Verified -> Compiled -> Ready`.

use super::{
    bindings::offered,
    cache::{CompileCache, Origin},
    convert,
    engine::Engine,
    fault::one_line,
    manifest::{Import, Indices, Manifest},
    store::{CallState, Shared},
};
use crate::{
    imports::Granted,
    loader::Verified,
    ops::{
        lane::{self, Lane},
        ports::{CallContext, Effect, Role},
    },
};
use bulkhead_domain::{
    offer::{CsiVersion, ExpandedBy, Info, Interface, Offer},
    request::Secrets,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use wasmtime::component::{Component, InstancePre, Linker};

/// How long `get-info` may take.
const INFO_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a component was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not a component, or one that this engine can't run.
    #[error("is not a WebAssembly component that this host can run ({0}): name one that is")]
    NotAComponent(String),
    /// Speaks another version of the interface.
    #[error(
        "is made for version {version:?} of bulkhead:backend, and this host speaks {host}: use a build for this version"
    )]
    OtherVersion {
        /// The component's.
        version: String,
        /// Ours.
        host: String,
    },
    /// Exports an interface of our package that this host does not know.
    #[error("exports bulkhead:backend/{0}, which this host does not know: use a newer host or another build")]
    UnknownExport(String),
    /// Imports something that this host has not.
    #[error("imports {0}, which this host does not provide: use a build that does without it")]
    UnknownImport(String),
    /// Has no identity.
    #[error("does not export bulkhead:backend/identity, so it is not a backend: name one")]
    NoIdentity,
    /// An exported interface is not as the WIT says.
    #[error(
        "exports bulkhead:backend/{interface} in another shape than this host speaks ({reason}): build it against this host's WIT"
    )]
    Incomplete {
        /// Which one.
        interface: &'static str,
        /// Wasmtime's words.
        reason: String,
    },
    /// Imports what the config does not grant.
    #[error("imports {import}, which is not granted: {advice}")]
    NotGranted {
        /// Full name of the import.
        import: String,
        /// The line of config that grants it.
        advice: String,
    },
    /// Imports what this version of the host can't provide, granted or not.
    #[error("imports {0}, which this host does not support yet: use a newer host or a build that does without it")]
    NotSupported(String),
    /// Can't be linked or instantiated.
    #[error("can't be instantiated ({0}): use another build")]
    NotInstantiable(String),
    /// `get-info` trapped or took too long.
    #[error("failed to say what it is in identity.get-info ({0}): use another build, or check its config")]
    InfoFailed(String),
    /// `get-info` can't work with the config. The backend's words.
    #[error("does not suit the backend, as it says in identity.get-info: {0}")]
    ConfigRefused(String),
    /// `get-info` said something that breaks a rule.
    #[error("says something unacceptable in identity.get-info ({0}): use another build")]
    BadInfo(String),
}

impl LoadError {
    pub(super) fn incomplete(interface: Interface, error: &wasmtime::Error) -> Self {
        Self::Incomplete { interface: interface.name(), reason: one_line(format_args!("{error:#}")) }
    }
}

fn not_instantiable(error: &wasmtime::Error) -> LoadError {
    LoadError::NotInstantiable(one_line(format_args!("{error:#}")))
}

/// What a backend may have, and how much of it.
#[derive(Debug)]
pub struct Permissions {
    /// CSI driver name.
    pub driver: String,
    /// The backend's own settings.
    pub config: BTreeMap<String, String>,
    /// Pools.
    pub granted: Granted,
    /// Kinds of access that plans may use.
    pub access: BTreeSet<String>,
    /// Bytes of memory of one call.
    pub memory_bytes: u64,
    /// Calls in flight.
    pub concurrency: u32,
    /// Lines that one call may log.
    pub log_lines: u32,
    /// The host runs as a node only: what is not granted is linked closed instead of refused.
    pub node_only: bool,
}

/// Compiled code and its manifest. Nothing of it has run.
pub struct Compiled {
    component: Component,
    manifest: Manifest,
    origin: Origin,
}

impl Compiled {
    /// Compiles, or takes the code from the cache. Blocks for as long as the compiler needs.
    ///
    /// # Errors
    /// Not a component, or not one for this host.
    pub fn new(engine: &Engine, cache: Option<&CompileCache>, verified: &Verified) -> Result<Self, LoadError> {
        let (component, origin) = match cache {
            Some(cache) => cache.load(engine, verified.bytes(), verified.digest()),
            None => Component::from_binary(&engine.wasm, verified.bytes())
                .map(|component| (component, Origin::Compiler))
                .map_err(anyhow::Error::from),
        }
        .map_err(|e| LoadError::NotAComponent(one_line(format_args!("{e:#}"))))?;
        let manifest = Manifest::read(&component, &engine.wasm)?;
        Ok(Self { component, manifest, origin })
    }

    /// What it exports and imports.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// It was not compiled now.
    pub fn from_cache(&self) -> bool {
        self.origin == Origin::Cache
    }

    /// Links it with what it may have, checks the types of every exported interface on a throw-away instance and asks
    /// it what it is.
    ///
    /// # Errors
    /// It asks for more than is granted, is not in the right shape, or misbehaves.
    pub async fn ready(self, engine: &Engine, permissions: Permissions) -> Result<Ready, LoadError> {
        check_grants(&self.manifest, &permissions)?;
        let mut linker = Linker::new(&engine.wasm);
        super::host::link(&mut linker).map_err(|e| not_instantiable(&e))?;
        if self.manifest.imports.iter().any(|import| matches!(import, Import::Http(_))) {
            super::http::link(&mut linker).map_err(|e| not_instantiable(&e))?;
        }
        let pre = linker.instantiate_pre(&self.component).map_err(|e| not_instantiable(&e))?;
        let indices = Indices::find(&pre, &self.manifest)?;
        let shared = Arc::new(Shared {
            driver: permissions.driver,
            config: permissions.config,
            lanes: lanes(&permissions.granted, permissions.concurrency),
            granted: permissions.granted,
            memory_bytes: usize::try_from(permissions.memory_bytes).unwrap_or(usize::MAX),
            log_lines: permissions.log_lines,
        });
        let info = ask_info(engine, &pre, &indices, &shared).await?;
        info.check().map_err(LoadError::BadInfo)?;
        let offer = Offer::of(self.manifest.exports, info);
        offer.check().map_err(LoadError::BadInfo)?;
        Ok(Ready {
            engine: engine.clone(),
            pre,
            indices,
            shared,
            offer,
            access: permissions.access,
            places: Arc::new(tokio::sync::Semaphore::new(permissions.concurrency as usize)),
        })
    }
}

/// Lanes of the pools. A pool that does not answer may keep a quarter of the calls that the backend may make at once: the others are
/// for its other pools.
fn lanes(granted: &Granted, concurrency: u32) -> BTreeMap<String, Lane> {
    let threads = lane::THREADS.min(concurrency as usize / 4);
    granted.pool_names().into_iter().map(|name| (name.clone(), Lane::new(format!("pool {name}"), threads))).collect()
}

/// A backend that can be called.
pub struct Ready {
    pub(super) engine: Engine,
    pub(super) pre: InstancePre<CallState>,
    pub(super) indices: Indices,
    pub(super) shared: Arc<Shared>,
    pub(super) offer: Offer,
    pub(super) access: BTreeSet<String>,
    pub(super) places: Arc<tokio::sync::Semaphore>,
}

impl Ready {
    /// What it offers.
    pub fn describe(&self) -> &Offer {
        &self.offer
    }

    /// Sets the generation of CSI that is spoken, and offers less than the component exports: as if it did not export
    /// `withheld`, nor promise mount groups. `expanded_by`: which half grows volumes.
    pub fn shape(
        &mut self,
        csi: CsiVersion,
        withheld: &BTreeSet<Interface>,
        withhold_mount_group: bool,
        expanded_by: ExpandedBy,
    ) {
        self.offer.csi = csi;
        self.offer.expanded_by = expanded_by;
        self.offer.health_withheld = withheld.contains(&Interface::Health);
        self.offer.interfaces.retain(|interface| !withheld.contains(interface));
        self.offer.info.promises.volume_mount_group &= !withhold_mount_group;
    }

    /// What no function stands for.
    pub fn promises(&self) -> &bulkhead_domain::offer::Promises {
        &self.offer.info.promises
    }
}

fn check_grants(manifest: &Manifest, permissions: &Permissions) -> Result<(), LoadError> {
    if permissions.node_only {
        return Ok(());
    }
    for import in &manifest.imports {
        match import {
            Import::Always(_) | Import::Wasi(_) => {}
            Import::Granted(name) if name == "pools" => {
                if permissions.granted.pool_names().is_empty() {
                    return Err(LoadError::NotGranted {
                        import: "bulkhead:backend/pools".into(),
                        advice: "add grants.pools: { NAME: { path: DIRECTORY } }".into(),
                    });
                }
            }
            Import::Granted(name) if name == "state" => {
                if permissions.granted.state().is_none() {
                    return Err(LoadError::NotGranted {
                        import: "bulkhead:backend/state".into(),
                        advice: "add grants.state: true".into(),
                    });
                }
            }
            Import::Granted(name) if name.starts_with("secrets") => check_secrets(name, permissions)?,
            Import::Granted(name) => return Err(LoadError::NotSupported(format!("bulkhead:backend/{name}"))),
            Import::Http(name) => {
                if permissions.granted.http().is_none() {
                    return Err(LoadError::NotGranted {
                        import: name.clone(),
                        advice: "add grants.http: [{ scheme: https, host: HOST, methods: [GET, POST] }]".into(),
                    });
                }
            }
        }
    }
    Ok(())
}

/// `secrets` wants any grant, the other two want theirs.
fn check_secrets(import: &str, permissions: &Permissions) -> Result<(), LoadError> {
    let grant = permissions.granted.secrets().grant();
    let (granted, word) = match import {
        "secrets-sign" => (grant.is_some_and(|grant| grant.sign), "sign"),
        "secrets-reveal" => (grant.is_some_and(|grant| grant.reveal), "reveal"),
        _ => (grant.is_some(), ""),
    };
    if granted {
        return Ok(());
    }
    let advice = match grant {
        None => format!("add grants.secrets: [{word}]"),
        Some(_) => format!("add {word} to grants.secrets"),
    };
    Err(LoadError::NotGranted { import: format!("bulkhead:backend/{import}"), advice })
}

async fn ask_info(
    engine: &Engine,
    pre: &InstancePre<CallState>,
    indices: &Indices,
    shared: &Arc<Shared>,
) -> Result<Info, LoadError> {
    let deadline = Instant::now() + INFO_TIMEOUT;
    let cx = CallContext {
        request_id: "load".into(),
        deadline,
        role: Role::Check,
        effect: Effect::None,
        idempotency_key: None,
        secrets: Secrets::default(),
        resume: None,
    };
    let (engine, pre, indices, shared) = (engine.clone(), pre.clone(), indices.clone(), shared.clone());
    let runtime = engine.runtime();
    let ask = async move {
        let mut store = super::call::new_store(&engine, cx, shared);
        let instance = pre.instantiate_async(&mut store).await.map_err(|e| not_instantiable(&e))?;
        indices.check_types(&mut store, &instance)?;
        let Some(identity) = &indices.identity else { return Err(LoadError::NoIdentity) };
        let guest: offered::identity::Guest =
            identity.load(&mut store, &instance).map_err(|e| LoadError::incomplete(Interface::Identity, &e))?;
        match guest.call_get_info(&mut store).await {
            Ok(Ok(info)) => Ok(convert::info(info)),
            Ok(Err(refused)) => {
                let refused = convert::error(refused, Effect::None, str::to_owned);
                Err(LoadError::ConfigRefused(refused.message().to_owned()))
            }
            Err(e) => Err(LoadError::InfoFailed(super::call::trap_reason(&e, store.data()))),
        }
    };
    let task = runtime.spawn(async move { tokio::time::timeout_at(deadline.into(), ask).await });
    match task.await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(LoadError::InfoFailed(format!("no answer within {} s", INFO_TIMEOUT.as_secs()))),
        Err(e) => Err(LoadError::InfoFailed(format!("the host failed: {e}"))),
    }
}
