//! One call of a guest: a fresh store, the deadline, the limits, and what goes wrong.

use super::{
    bindings::imports::types::Error as WitError,
    convert,
    engine::Engine,
    fault::{Fault, trap_text},
    load::Ready,
    store::{CallState, Shared},
};
use crate::ops::ports::CallContext;
use bulkhead_domain::{Error, Result, limits::Violation};
use std::{future::Future, sync::Arc};
use wasmtime::{Store, component::Instance};

/// Bytes that a guest may make the host copy out of it in one call.
const HOSTCALL_BYTES: usize = 4 << 20;

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
    pub(super) async fn call<W, T, F, Fut>(
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
        super::secrets::check_names(&cx, self.shared.granted.secrets())?;
        let mask = |text: &str| self.shared.granted.mask(&secrets, text);
        let fault = |fault: Fault| fault.report(&self.shared.driver, function, effect);
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => match tokio::time::timeout_at(deadline, self.places.clone().acquire_owned()).await {
                Ok(Ok(place)) => place,
                Ok(Err(_)) | Err(_) => return Err(fault(Fault::Busy)),
            },
        };
        let mut store = new_store(&self.engine, cx, self.shared.clone());
        let (steps, notes) = (store.data().steps.clone(), store.data().notes.clone());
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
            Ok(Ok(Ok(answer))) => check(answer).map_err(|violation| fault(Fault::BadAnswer(mask(&violation)))),
            Ok(Ok(Err(error))) => Err(notes.explain(convert::error(error, effect, mask))),
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

    pub(super) fn not_offered(&self, interface: &str) -> Error {
        Error::unimplemented(format_args!("the backend of driver {} does not export {interface}", self.shared.driver))
    }
}

/// Calls one function of one interface: the interface's guest is bound to the instance, then called with references.
macro_rules! guest_call {
    ($self:ident, $cx:ident, $interface:ident . $function:ident ( $($argument:expr),* ), $name:expr, $check:expr) => {{
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

pub(super) use guest_call;
