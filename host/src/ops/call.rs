//! One call of the backend on behalf of a client: its circumstances, its locks, where it runs.

use super::{
    Driver,
    ports::{Backend, CallContext, Effect, Role},
};
use bulkhead_domain::{Result, request::Secrets};
use std::{
    future::Future,
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
}

impl Call {
    /// Only asks: nothing is changed. `timeout` is the client's.
    pub(super) fn reading(timeout: Option<Duration>, secrets: Secrets) -> Self {
        Self { effect: Effect::None, timeout, idempotency_key: None, secrets }
    }

    /// May change the storage system.
    pub(super) fn changing(timeout: Option<Duration>, secrets: Secrets) -> Self {
        Self { effect: Effect::Possible, ..Self::reading(timeout, secrets) }
    }

    /// Makes something, under an idempotency key.
    pub(super) fn creating(timeout: Option<Duration>, secrets: Secrets, idempotency_key: String) -> Self {
        Self { idempotency_key: Some(idempotency_key), ..Self::changing(timeout, secrets) }
    }
}

impl Driver {
    /// Runs `call` of the backend to its end, also if the client hangs up. `guards` are dropped when it has ended.
    pub(super) async fn ask<T, F, Fut>(&self, like: Call, guards: impl Send + 'static, call: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<dyn Backend>, CallContext) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let cx = self.context(Role::Controller, like.effect, like.timeout, like.idempotency_key, like.secrets);
        let deadline = cx.deadline;
        let call = call(self.inner.backend.clone(), cx);
        let operation = async move {
            let _guards = guards;
            call.await
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
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        // Asked once: it is a system call.
        static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);
        let timeout = timeout.map_or(self.inner.call_timeout, |t| t.min(self.inner.call_timeout));
        CallContext {
            request_id: format!("{:x}-{:x}", *PROCESS, COUNTER.fetch_add(1, Ordering::Relaxed)),
            deadline: Instant::now() + timeout,
            role,
            effect,
            idempotency_key,
            secrets,
        }
    }
}
