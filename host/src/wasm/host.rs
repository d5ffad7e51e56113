//! The imports, as the guest sees them. What is not granted answers "denied": a component that asks for it in a controller
//! was refused at load already, so this is met on nodes, where one component serves both halves.

use super::{
    bindings::imports::{
        call, config, logging, node_types, plan_types,
        pools::{self, Created, Object, ObjectPage, ObjectSpec, PoolError, PoolInfo},
        state,
        types::{self, StringMap},
    },
    convert::{self, object_spec, object_to_wit, pool_error},
    store::{CallState, HasState},
};
use crate::{
    imports,
    ops::{lane::Wait, ports::Role},
};
use bulkhead_domain::{Error, Result};
use std::time::Instant;
use wasmtime::component::Linker;

/// Links every import that this host knows.
pub fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    types::add_to_linker::<_, HasState>(linker, |s| s)?;
    node_types::add_to_linker::<_, HasState>(linker, |s| s)?;
    plan_types::add_to_linker::<_, HasState>(linker, |s| s)?;
    call::add_to_linker::<_, HasState>(linker, |s| s)?;
    logging::add_to_linker::<_, HasState>(linker, |s| s)?;
    config::add_to_linker::<_, HasState>(linker, |s| s)?;
    super::secrets::link(linker)?;
    state::add_to_linker::<_, HasState>(linker, |s| s)?;
    pools::add_to_linker::<_, HasState>(linker, |s| s)
}

impl types::Host for CallState {}
impl node_types::Host for CallState {}
impl plan_types::Host for CallState {}

impl call::Host for CallState {
    fn role(&mut self) -> call::HostRole {
        match self.cx.role {
            Role::Controller => call::HostRole::Controller,
            Role::Node => call::HostRole::Node,
            Role::Check => call::HostRole::Check,
        }
    }

    fn remaining_ms(&mut self) -> u64 {
        let left = self.cx.deadline.saturating_duration_since(Instant::now());
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    fn request_id(&mut self) -> String {
        self.cx.request_id.clone()
    }

    fn idempotency_key(&mut self) -> Option<String> {
        self.cx.idempotency_key.clone()
    }

    fn resume(&mut self) -> Option<String> {
        self.cx.resume.as_ref().map(|resume| resume.expose().to_owned())
    }
}

impl logging::Host for CallState {
    fn log(&mut self, level: logging::Level, message: String) {
        let level = match level {
            logging::Level::Trace => tracing::Level::TRACE,
            logging::Level::Debug => tracing::Level::DEBUG,
            logging::Level::Info => tracing::Level::INFO,
            logging::Level::Warn => tracing::Level::WARN,
            logging::Level::Error => tracing::Level::ERROR,
        };
        CallState::log(self, level, &message);
    }
}

impl config::Host for CallState {
    fn get(&mut self, key: String) -> Option<String> {
        self.shared.config.get(&key).cloned()
    }

    fn keys(&mut self) -> Vec<String> {
        self.shared.config.keys().cloned().collect()
    }
}

impl CallState {
    /// Runs one step on a pool of this backend, on a thread that may block. It doesn't wait for a pool that does not answer: it would
    /// keep the place of a call that another pool could answer, and the call is made again anyway. `unfit`: see
    /// [`convert::pool_error`].
    async fn pool<T: Send + 'static>(
        // Exclusive, though nothing is changed: the state may be sent to another thread, not shared between two.
        &mut self,
        pool: String,
        unfit: fn(String) -> PoolError,
        step: impl FnOnce(&imports::PoolStore, &str) -> Result<T> + Send + 'static,
    ) -> Answer<T> {
        let store = match self.cx.role {
            Role::Controller => self.shared.granted.pool_store().map_err(|e| pool_error(&e, unfit))?,
            Role::Node | Role::Check => return Err(PoolError::Denied),
        };
        let Some(lane) = self.shared.lanes.get(&pool) else { return Err(PoolError::NoSuchPool) };
        let running = self.steps.token();
        let step = move || {
            let _running = running;
            step(&store, &pool)
        };
        lane.run(Wait::WhileItMoves, step).await.map_err(|e| pool_error(&e, unfit))
    }
}

type Answer<T> = std::result::Result<T, PoolError>;

impl pools::Host for CallState {
    async fn pool_names(&mut self) -> Vec<String> {
        match self.cx.role {
            Role::Controller => self.shared.granted.pool_names(),
            Role::Node | Role::Check => vec![],
        }
    }

    async fn stat_pool(&mut self, pool: String) -> Answer<PoolInfo> {
        self.pool(pool, PoolError::InUse, |p, pool| p.stat_pool(pool)).await.map(convert::pool_info_to_wit)
    }

    async fn create_object(&mut self, pool: String, spec: ObjectSpec) -> Answer<Created> {
        let spec = object_spec(spec).map_err(invalid)?;
        let made = self.pool(pool, PoolError::InUse, move |p, pool| p.make_object(pool, &spec)).await;
        made.map(convert::created_to_wit)
    }

    async fn stat_object(&mut self, pool: String, name: String) -> Answer<Option<Object>> {
        let found = self.pool(pool, PoolError::InUse, move |p, pool| p.stat_object(pool, &name)).await;
        found.map(|object| object.map(object_to_wit))
    }

    async fn list_objects(&mut self, pool: String, prefix: String, after: Option<String>) -> Answer<ObjectPage> {
        let list = move |p: &imports::PoolStore, pool: &str| p.list_objects(pool, &prefix, after.as_deref());
        self.pool(pool, PoolError::InUse, list).await.map(convert::object_page_to_wit)
    }

    async fn delete_object(&mut self, pool: String, name: String) -> Answer<()> {
        self.pool(pool, PoolError::InUse, move |p, pool| p.delete_object(pool, &name)).await
    }

    async fn resize_object(&mut self, pool: String, name: String, size_bytes: u64) -> Answer<Object> {
        let resize = move |p: &imports::PoolStore, pool: &str| p.resize_object(pool, &name, size_bytes);
        self.pool(pool, PoolError::Invalid, resize).await.map(object_to_wit)
    }

    async fn update_object(
        &mut self,
        pool: String,
        name: String,
        expected: u64,
        provisioning: pools::Provisioning,
        metadata: StringMap,
    ) -> Answer<Object> {
        let provisioning = convert::provisioning(provisioning);
        let metadata = convert::pool_metadata(metadata).map_err(invalid)?;
        let update =
            move |p: &imports::PoolStore, pool: &str| p.update_object(pool, &name, expected, provisioning, &metadata);
        self.pool(pool, PoolError::InUse, update).await.and_then(convert::updated_to_wit)
    }

    async fn copy_objects(&mut self, pool: String, copies: Vec<pools::CopyOrder>) -> Answer<Vec<Object>> {
        let copies: Result<Vec<_>> = copies.into_iter().map(convert::copy_order).collect();
        let copies = copies.map_err(invalid)?;
        let made = self.pool(pool, PoolError::InUse, move |p, pool| p.copy_objects(pool, &copies)).await?;
        Ok(made.into_iter().map(object_to_wit).collect())
    }

    async fn allocated_extents(&mut self, pool: String, name: String, offset: u64) -> Answer<pools::ExtentPage> {
        let ask = move |p: &imports::PoolStore, pool: &str| p.allocated_extents(pool, &name, offset);
        self.pool(pool, PoolError::Invalid, ask).await.map(convert::extent_page_to_wit)
    }

    async fn differing_extents(
        &mut self,
        pool: String,
        base: String,
        target: String,
        offset: u64,
    ) -> Answer<pools::ExtentPage> {
        let ask = move |p: &imports::PoolStore, pool: &str| p.differing_extents(pool, &base, &target, offset);
        self.pool(pool, PoolError::Invalid, ask).await.map(convert::extent_page_to_wit)
    }
}

fn invalid(error: Error) -> PoolError {
    PoolError::Invalid(error.message().to_owned())
}
