//! One call of a backend: a fresh store, the deadline, the limits, and what goes wrong.

use super::{
    bindings::{imports::types::Error as WitError, offered},
    convert,
    engine::Engine,
    fault::{Fault, trap_text},
    load::Ready,
    store::{CallState, Shared},
};
use crate::ops::ports::{Backend, BoxFuture, CallContext, CreateOrder, PlanRequest};
use bulkhead_domain::{
    Error, Result,
    error::clean_text,
    limits::Violation,
    node::{NodeFacts, NodeInfo},
    offer::Offer,
    plan::Plan,
    request::{ExpandVolume, GetCapacity, ValidateVolumeCapabilities},
    volume::{Available, Expanded, ListedVolume, Page, PageRequest, Volume, VolumeId},
};
use std::{future::Future, sync::Arc, time::Duration};
use wasmtime::{Store, component::Instance};

/// Bytes that a guest may make the host copy out of it in one call.
const HOSTCALL_BYTES: usize = 4 << 20;
/// Longest time for a pure call of the node half, whatever the deadline.
const PURE_TIMEOUT: Duration = Duration::from_secs(1);

/// A store for one call.
pub(super) fn new_store(engine: &Engine, cx: CallContext, shared: Arc<Shared>) -> Store<CallState> {
    let mut store = Store::new(&engine.wasm, CallState::new(cx, shared, engine.budget.clone()));
    store.limiter(CallState::limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    // Every tick the guest yields, so that the deadline can be looked at; it is never let run for longer than that. A new
    // store's deadline is epoch 0, which is past: without setting it every call would begin by yielding.
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}

/// Why a call trapped, for the operator.
pub(super) fn trap_reason(error: &wasmtime::Error, state: &CallState) -> String {
    let after = if state.memory_was_refused() { ", after it asked for more memory than it may have" } else { "" };
    format!("{}{after}", trap_text(error))
}

/// The two ways in which a call of a guest ends with an answer.
type GuestResult<T> = wasmtime::Result<std::result::Result<T, WitError>>;

impl Ready {
    /// Runs `call` on a fresh instance and checks its answer with `check`.
    async fn call<W, T, F, Fut>(
        &self,
        function: &'static str,
        cx: CallContext,
        call: F,
        check: impl FnOnce(W) -> std::result::Result<T, Violation>,
    ) -> Result<T>
    where
        F: FnOnce(Store<CallState>, Instance) -> Fut,
        Fut: Future<Output = (GuestResult<W>, Store<CallState>)>,
    {
        let (effect, deadline) = (cx.effect, cx.deadline.into());
        let secrets = cx.secrets.clone();
        let fault = |fault: Fault| fault.report(&self.shared.driver, function, effect);
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => match tokio::time::timeout_at(deadline, self.places.clone().acquire_owned()).await {
                Ok(Ok(place)) => place,
                Ok(Err(_)) | Err(_) => return Err(fault(Fault::Busy)),
            },
        };
        let mut store = new_store(&self.engine, cx, self.shared.clone());
        let steps = store.data().steps.clone();
        let run = async move {
            let instance = match self.pre.instantiate_async(&mut store).await {
                Ok(instance) => instance,
                Err(e) => return Err(Fault::NoInstance(trap_text(&e))),
            };
            let (answer, store) = call(store, instance).await;
            match answer {
                Ok(answer) => {
                    self.engine.clear_up((store, place));
                    Ok(answer)
                }
                Err(e) => Err(Fault::Trap(trap_reason(&e, store.data()))),
            }
        };
        let ended = tokio::time::timeout_at(deadline, run).await;
        match ended {
            Ok(Ok(Ok(answer))) => check(answer).map_err(|violation| fault(Fault::BadAnswer(violation))),
            Ok(Ok(Err(error))) => Err(convert::error(error, effect, &secrets)),
            Ok(Err(broken)) => Err(fault(broken)),
            Err(_) => {
                // The guest is gone, but a step of a pool may still run. The operation ends, and frees its locks, after it;
                // the client has had its answer at the deadline.
                steps.close();
                steps.wait().await;
                Err(fault(Fault::Timeout))
            }
        }
    }

    /// Makes an instance and drops it: what every call costs before it calls anything. For benchmarks.
    ///
    /// # Errors
    /// It can't be instantiated.
    pub async fn instantiate_only(&self, cx: CallContext) -> anyhow::Result<()> {
        let mut store = new_store(&self.engine, cx, self.shared.clone());
        self.pre.instantiate_async(&mut store).await?;
        Ok(())
    }

    fn not_offered(&self, interface: &str) -> Error {
        Error::unimplemented(format_args!("the backend of driver {} does not export {interface}", self.shared.driver))
    }
}

/// Calls one function of one interface: the interface's guest is bound to the instance, then called with references.
macro_rules! guest_call {
    ($self:ident, $cx:ident, $interface:ident . $function:ident ( $($argument:expr),* ), $name:literal, $check:expr) => {{
        let Some(indices) = $self.indices.$interface.clone() else {
            return Err($self.not_offered(stringify!($interface)));
        };
        $self
            .call($name, $cx, move |mut store, instance| async move {
                let answer = async {
                    let guest: offered::$interface::Guest = indices.load(&mut store, &instance)?;
                    guest.$function(&mut store, $($argument),*).await
                }
                .await;
                (answer, store)
            }, $check)
            .await
    }};
}

fn pure(mut cx: CallContext) -> CallContext {
    cx.deadline = cx.deadline.min(std::time::Instant::now() + PURE_TIMEOUT);
    cx
}

impl Backend for Ready {
    fn offer(&self) -> &Offer {
        &self.offer
    }

    fn probe(&self, cx: CallContext) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move { guest_call!(self, cx, identity.call_probe(), "identity.probe", Ok) })
    }

    fn create_volume(&self, cx: CallContext, order: CreateOrder) -> BoxFuture<'_, Result<Volume>> {
        Box::pin(async move {
            let request = convert::create_request(order);
            let keys = &self.offer.info.topology_keys;
            guest_call!(self, cx, volumes.call_create_volume(&request), "volumes.create-volume", |v| convert::volume(
                v, keys
            ))
        })
    }

    fn delete_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            guest_call!(self, cx, volumes.call_delete_volume(volume_id.as_str()), "volumes.delete-volume", Ok)
        })
    }

    fn validate_volume_capabilities(
        &self,
        cx: CallContext,
        request: ValidateVolumeCapabilities,
    ) -> BoxFuture<'_, Result<Option<String>>> {
        Box::pin(async move {
            let request = convert::validate_request(request);
            guest_call!(
                self,
                cx,
                volumes.call_validate_volume_capabilities(&request),
                "volumes.validate-volume-capabilities",
                |why: Option<String>| Ok(why.map(|text| clean_text(&text, Error::MAX_MESSAGE_BYTES)))
            )
        })
    }

    fn list_volumes(&self, cx: CallContext, page: PageRequest) -> BoxFuture<'_, Result<Page<ListedVolume>>> {
        Box::pin(async move {
            let keys = &self.offer.info.topology_keys;
            let (max, from_start, page) = (page.max_entries, page.token.is_none(), convert::page_request(page));
            let answer = guest_call!(self, cx, listing.call_list_volumes(&page), "listing.list-volumes", |p| {
                convert::volume_page(p, max, keys)
            });
            // The backend says invalid-argument of a token that is no longer good; CSI wants ABORTED.
            answer.map_err(|e| match e.kind() {
                bulkhead_domain::ErrorKind::InvalidArgument if !from_start => Error::aborted(e.message()),
                _ => e,
            })
        })
    }

    fn get_volume(&self, cx: CallContext, volume_id: VolumeId) -> BoxFuture<'_, Result<ListedVolume>> {
        Box::pin(async move {
            let keys = &self.offer.info.topology_keys;
            guest_call!(self, cx, inspection.call_get_volume(volume_id.as_str()), "inspection.get-volume", |v| {
                convert::listed_volume(v, keys)
            })
        })
    }

    fn get_capacity(&self, cx: CallContext, request: GetCapacity) -> BoxFuture<'_, Result<Available>> {
        Box::pin(async move {
            let request = convert::capacity_request(request);
            guest_call!(self, cx, capacity.call_get_capacity(&request), "capacity.get-capacity", convert::available)
        })
    }

    fn expand_volume(&self, cx: CallContext, request: ExpandVolume) -> BoxFuture<'_, Result<Expanded>> {
        Box::pin(async move {
            let range = request.capacity;
            let request = convert::expand_request(request);
            guest_call!(self, cx, expansion.call_expand_volume(&request), "expansion.expand-volume", |e| {
                convert::expanded(e, range)
            })
        })
    }

    fn get_node_info(&self, cx: CallContext, facts: NodeFacts) -> BoxFuture<'_, Result<NodeInfo>> {
        Box::pin(async move {
            let cx = pure(cx);
            let facts = convert::facts_to_wit(facts);
            let keys = &self.offer.info.topology_keys;
            guest_call!(self, cx, node.call_get_node_info(&facts), "node.get-node-info", |i| convert::node_info(
                i, keys
            ))
        })
    }

    fn plan_volume(&self, cx: CallContext, request: PlanRequest) -> BoxFuture<'_, Result<Plan>> {
        Box::pin(async move {
            let cx = pure(cx);
            let request = convert::plan_request(request);
            let plan = guest_call!(self, cx, node.call_plan_volume(&request), "node.plan-volume", convert::plan)?;
            self.allowed(plan)
        })
    }
}

impl Ready {
    /// The plan keeps to what the operator allows this backend.
    fn allowed(&self, plan: Plan) -> Result<Plan> {
        let denied = |what: String| {
            tracing::error!(driver = self.shared.driver, what, "the backend's plan is not allowed");
            Err(Error::failed_precondition(format_args!("the backend's plan is not allowed here: {what}")))
        };
        let access = plan.access.name();
        if !self.access.contains(access) {
            return denied(format!("{access} is not in grants.access"));
        }
        if let bulkhead_domain::plan::Access::PoolDirectory(object) | bulkhead_domain::plan::Access::PoolImage(object) =
            &plan.access
            && !self.shared.granted.pool_names().contains(&object.pool)
        {
            return denied(format!("pool {:?} is not in grants.pools", object.pool));
        }
        Ok(plan)
    }
}
