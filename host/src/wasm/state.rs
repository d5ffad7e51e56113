//! `bulkhead:backend/state`, as the guest sees it.

use super::{
    bindings::imports::state::{Entry, Host, KeyPage, StateError},
    store::CallState,
};
use crate::{
    imports::{self, State},
    ops::ports::Role,
};
use std::future::Future;

type Answer<T> = Result<T, StateError>;

impl CallState {
    /// Runs one step on the state of this driver. It is counted as a step of the call and goes on when the guest is stopped: the
    /// locks of the operation outlive it.
    async fn state<T, F, Fut>(&mut self, step: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(State) -> Fut,
        Fut: Future<Output = Result<T, imports::StateError>> + Send + 'static,
    {
        let state = match self.cx.role {
            Role::Controller => self.shared.granted.state().cloned(),
            Role::Node | Role::Check => None,
        };
        let state = state.ok_or(StateError::Denied)?;
        let answer = self.steps.spawn(step(state)).await;
        let lost = |_| Err(imports::StateError::Unavailable("the host has failed".to_owned()));
        answer.unwrap_or_else(lost).map_err(|e| self.state_error(e))
    }

    /// The guest is told what the interface has room for, the operator the rest.
    fn state_error(&self, error: imports::StateError) -> StateError {
        match error {
            imports::StateError::Conflict(version) => StateError::Conflict(version),
            imports::StateError::QuotaExceeded => {
                let (driver, request_id) = (self.shared.driver.as_str(), self.cx.request_id.as_str());
                tracing::warn!(driver, request_id, "the backend has used up its state (grants.state.quota)");
                StateError::QuotaExceeded
            }
            imports::StateError::Denied(why) => {
                let (driver, request_id) = (self.shared.driver.as_str(), self.cx.request_id.as_str());
                tracing::warn!(driver, request_id, why, "the backend was denied an access to its state");
                StateError::Denied
            }
            imports::StateError::Unavailable(why) => StateError::Unavailable(why),
        }
    }
}

impl Host for CallState {
    async fn get(&mut self, key: String) -> Answer<Option<Entry>> {
        let found = self.state(|state| async move { state.get(key).await }).await?;
        Ok(found.map(|entry| Entry { value: entry.value, version: entry.version }))
    }

    async fn compare_and_swap(&mut self, key: String, expected: Option<u64>, value: Vec<u8>) -> Answer<u64> {
        self.state(move |state| async move { state.compare_and_swap(key, expected, value).await }).await
    }

    async fn delete(&mut self, key: String, expected: u64) -> Answer<()> {
        self.state(move |state| async move { state.delete(key, expected).await }).await
    }

    async fn list_keys(&mut self, prefix: String, after: Option<String>) -> Answer<KeyPage> {
        let page = self.state(|state| async move { state.list_keys(prefix, after).await }).await?;
        Ok(KeyPage { keys: page.keys, next: page.next })
    }
}
