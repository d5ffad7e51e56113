//! AWS Signature Version 4.
//!
//! Keys come by way of `reqsign`. The signature itself is made here: its signer adds `x-amz-content-sha256` to every request, which
//! a server may then believe instead of looking at the body; and it encodes paths once, as only S3 does.

mod courier;
mod keys;
mod sign;

use super::{
    error::Problem,
    lease::{Fetched, Lease},
};
use crate::{
    config,
    imports::{BackendSecrets, Transport},
};
use http::request::Parts;
use keys::{Chain, Keys};
use reqsign_core::time::Timestamp;
use std::{sync::Arc, time::Instant};

/// A profile that signs this way.
pub(super) struct SigV4 {
    service: String,
    region: String,
    chain: Lease<Chain>,
}

/// What signed a request.
#[derive(Debug, Clone)]
pub(in crate::imports::auth) enum SignedWith {
    /// Secrets, as they were then.
    Secrets(Arc<Keys>),
    /// Keys that were fetched.
    Fetched(u64),
}

impl SigV4 {
    pub(super) fn new(
        label: &str,
        config: config::SigV4,
        secrets: &BackendSecrets,
        transport: &Arc<dyn Transport>,
    ) -> Self {
        let (service, region) = (config.service.clone(), config.region.clone());
        let chain = Chain::new(label, config, secrets.clone(), transport.clone());
        Self { service, region, chain: Lease::new(chain) }
    }

    pub(super) async fn sign(&self, parts: &mut Parts, body: &[u8], deadline: Instant) -> Result<SignedWith, Problem> {
        let (keys, with) = match self.chain.source().secrets_alone().await {
            // A look at the files each time: what was rotated counts at once.
            Some(keys) => {
                let keys = Arc::new(keys?);
                (keys.clone(), SignedWith::Secrets(keys))
            }
            None => {
                let held = self.chain.get(deadline).await?;
                (held.item, SignedWith::Fetched(held.generation))
            }
        };
        let hash = sign::hash(body);
        let scope = sign::Scope { service: &self.service, region: &self.region };
        sign::sign(parts, &hash, &keys, scope, Timestamp::now()).map_err(Problem::unauthenticated)?;
        Ok(with)
    }

    /// Signing anew may help.
    pub(super) async fn renew(&self, with: &SignedWith, deadline: Instant) -> bool {
        match with {
            SignedWith::Secrets(used) => match self.chain.source().secrets_alone().await {
                Some(Ok(now)) => now != **used,
                _ => false,
            },
            SignedWith::Fetched(generation) => self.chain.renew(*generation, deadline).await,
        }
    }
}

impl super::lease::Source for Chain {
    type Item = Keys;

    async fn fetch(&self, deadline: Instant) -> Result<Fetched<Keys>, Problem> {
        let keys = self.load(deadline).await?;
        let lifetime = keys.lifetime()?;
        self.remember(&keys);
        tracing::info!(?lifetime, "{} has got keys", self.label());
        Ok(Fetched { item: keys, lifetime })
    }
}
