//! One call of the backend on behalf of a client: its circumstances, its locks, where it runs.

use super::{
    Driver,
    pending::RequestId,
    ports::{Backend, CallContext, Effect, Role},
};
use bulkhead_domain::{Result, request::Secrets};
use std::{
    future::Future,
    hash::Hash,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What a call of the controller half is like.
pub(super) struct Call {
    effect: Effect,
    timeout: Option<Duration>,
    idempotency_key: Option<String>,
    secrets: Secrets,
    about: Option<RequestId>,
}

impl Call {
    /// Only asks: nothing is changed. `timeout` is the client's.
    pub(super) fn reading(timeout: Option<Duration>, secrets: Secrets) -> Self {
        Self { effect: Effect::None, timeout, idempotency_key: None, secrets, about: None }
    }

    /// May change the storage system.
    pub(super) fn changing(timeout: Option<Duration>, secrets: Secrets) -> Self {
        Self { effect: Effect::Possible, ..Self::reading(timeout, secrets) }
    }

    /// Makes something, under an idempotency key.
    pub(super) fn creating(timeout: Option<Duration>, secrets: Secrets, idempotency_key: String) -> Self {
        Self { idempotency_key: Some(idempotency_key), ..Self::changing(timeout, secrets) }
    }

    /// It is `request` to `rpc`, which a client will repeat as it is: what the backend leaves for the next try is kept until then.
    pub(super) fn about(self, rpc: &str, request: &impl Hash) -> Self {
        Self { about: Some(RequestId::of(rpc, request)), ..self }
    }
}

impl Driver {
    /// Runs `call` of the backend with `request` to its end, also if the client hangs up, and again where that promises something.
    /// `guards` are dropped when it has ended. What `call` holds beside them is let go between two tries.
    pub(super) async fn ask<T, R, F, Fut>(
        &self,
        like: Call,
        guards: impl Send + 'static,
        request: R,
        call: F,
    ) -> Result<T>
    where
        T: Send + 'static,
        R: Clone + Send + 'static,
        F: Fn(Arc<dyn Backend>, CallContext, R) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let cx = self.context(Role::Controller, like.effect, like.timeout, like.idempotency_key, like.secrets);
        let (deadline, driver, about) = (cx.deadline, self.clone(), like.about);
        let backend = self.inner.backend.clone();
        let operation = async move {
            let _guards = guards;
            driver.inner.asking.ask(cx, about, move |cx| call(backend.clone(), cx, request.clone())).await
        };
        self.inner.work.run(deadline, operation).await
    }

    /// The circumstances of a call. `timeout` is the client's; the configured one is the ceiling.
    pub(super) fn context(
        &self,
        role: Role,
        effect: Effect,
        timeout: Option<Duration>,
        idempotency_key: Option<String>,
        secrets: Secrets,
    ) -> CallContext {
        let timeout = timeout.map_or(self.inner.call_timeout, |t| t.min(self.inner.call_timeout));
        CallContext {
            request_id: new_request_id(),
            deadline: Instant::now() + timeout,
            role,
            effect,
            idempotency_key,
            secrets,
            resume: None,
        }
    }
}

/// Another one for each try.
pub(super) fn new_request_id() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    // Asked once: it is a system call.
    static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
    format!("{:x}-{:x}", *PROCESS, COUNTER.fetch_add(1, Ordering::Relaxed))
}
