//! Secrets, as the guest sees them: handles, signing with them, and, where it is granted, their values.
//!
//! A call has the secrets of its CSI request and those of the backend. On nodes and at load it has none.

use super::{
    bindings::imports::{secrets, secrets_reveal, secrets_sign},
    store::{CallState, HasState},
};
use crate::{
    imports::{SECRET_BYTES, SIGNED_BYTES, Value, hmac_sha256},
    ops::ports::{CallContext, Role},
};
use bulkhead_domain::{Error, Result};
use std::collections::BTreeSet;
use wasmtime::component::{Linker, Resource, ResourceType};

/// What a guest holds in place of a secret.
#[derive(Debug)]
pub struct SecretHandle {
    key: String,
}

/// Links the three interfaces.
pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    secrets::add_to_linker::<_, HasState>(linker, |s| s)?;
    secrets_sign::add_to_linker::<_, HasState>(linker, |s| s)?;
    secrets_reveal::add_to_linker::<_, HasState>(linker, |s| s)?;
    // They use the type of the first. Where unknown imports become traps (on nodes), that name would count as unknown too, and
    // become a type of its own.
    for interface in ["bulkhead:backend/secrets-sign@0.1.0", "bulkhead:backend/secrets-reveal@0.1.0"] {
        linker.instance(interface)?.resource("secret", ResourceType::host::<SecretHandle>(), |_, _| Ok(()))?;
    }
    Ok(())
}

/// That a name stands for two secrets, in the request and in the config: neither may shadow the other silently. Only of
/// backends that may ask for secrets.
pub(super) fn check_names(cx: &CallContext, own: &crate::imports::BackendSecrets) -> Result<()> {
    if cx.role != Role::Controller || own.grant().is_none() {
        return Ok(());
    }
    match cx.secrets.keys().find(|key| own.has(key)) {
        Some(key) => Err(Error::invalid_argument(format_args!(
            "secret {key:?} is in the request and in the host's config (backend.secrets): rename one of them"
        ))),
        None => Ok(()),
    }
}

impl CallState {
    /// Secrets can be had in this call.
    fn secrets_are_open(&self) -> bool {
        self.cx.role == Role::Controller && self.shared.granted.secrets().grant().is_some()
    }

    /// The value behind a handle.
    async fn secret(&mut self, handle: &Resource<SecretHandle>) -> wasmtime::Result<(String, Value)> {
        let key = self.table.get(handle)?.key.clone();
        let value = match self.cx.secrets.expose(&key) {
            Some(value) => Value::new(value.as_bytes().to_vec()),
            None => self.shared.granted.secrets().get(&key).await.map_err(|e| wasmtime::Error::msg(e.to_string()))?,
        };
        if value.expose().len() > SECRET_BYTES {
            return Err(wasmtime::Error::msg(format!("secret {key} is larger than 64KiB")));
        }
        Ok((key, value))
    }
}

impl secrets::Host for CallState {
    fn keys(&mut self) -> Vec<String> {
        if !self.secrets_are_open() {
            return vec![];
        }
        let all: BTreeSet<&str> = self.cx.secrets.keys().chain(self.shared.granted.secrets().names()).collect();
        all.into_iter().map(str::to_owned).collect()
    }

    fn get(&mut self, key: String) -> wasmtime::Result<Option<Resource<SecretHandle>>> {
        let there = self.cx.secrets.expose(&key).is_some() || self.shared.granted.secrets().has(&key);
        if !self.secrets_are_open() || !there {
            return Ok(None);
        }
        Ok(Some(self.table.push(SecretHandle { key })?))
    }
}

impl secrets::HostSecret for CallState {
    fn key(&mut self, secret: Resource<SecretHandle>) -> wasmtime::Result<String> {
        Ok(self.table.get(&secret)?.key.clone())
    }

    fn drop(&mut self, secret: Resource<SecretHandle>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

impl secrets_sign::Host for CallState {
    async fn hmac_sha256(&mut self, secret: Resource<SecretHandle>, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        if data.len() > SIGNED_BYTES {
            return Err(wasmtime::Error::msg(format!(
                "hmac-sha256 over {} bytes: at most 64KiB are allowed",
                data.len()
            )));
        }
        let (_, value) = self.secret(&secret).await?;
        Ok(hmac_sha256(value.expose(), &data).to_vec())
    }
}

impl secrets_reveal::Host for CallState {
    async fn reveal(&mut self, secret: Resource<SecretHandle>) -> wasmtime::Result<Vec<u8>> {
        let (key, value) = self.secret(&secret).await?;
        let times = self.shared.granted.secrets().count_reveal();
        let (driver, request_id) = (self.shared.driver.as_str(), self.cx.request_id.as_str());
        tracing::info!(driver, request_id, secret = key, times, "the backend looks at the value of a secret");
        Ok(value.expose().to_vec())
    }
}
