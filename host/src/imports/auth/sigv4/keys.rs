//! Where keys come from: secrets, a web identity, the machine's own role, and a role that is assumed with those.

use super::super::error::Problem;
use super::courier::{Courier, Unsigned};
use crate::{
    config::{self, CredentialSource, Role},
    imports::{BackendSecrets, Transport, secrets::Value},
};
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, AssumeRoleWithWebIdentityCredentialProvider, Credential, IMDSv2CredentialProvider,
    StaticCredentialProvider,
};
use reqsign_core::{ProvideCredential, Signer, time::Timestamp};
use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long secrets are used before their files are looked at again, where they aren't the only source.
const SECRETS_LIFETIME: Duration = Duration::from_secs(60);

/// An access key.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::imports::auth) struct Keys {
    pub(super) id: String,
    pub(super) secret: Value,
    pub(super) token: Option<Value>,
    ends: Ends,
}

#[derive(Clone, PartialEq, Eq)]
enum Ends {
    /// It comes from files, which may change.
    Reread,
    At(Option<Timestamp>),
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

impl Keys {
    pub(super) fn of(credential: &Credential) -> Self {
        let value = |text: &String| Value::new(text.as_bytes().to_vec());
        Self {
            id: credential.access_key_id.clone(),
            secret: value(&credential.secret_access_key),
            token: credential.session_token.as_ref().map(value),
            ends: Ends::At(credential.expires_in),
        }
    }

    #[cfg(test)]
    pub(super) fn fixed(id: &str, secret: &str, token: Option<&str>) -> Self {
        let token = token.map(|token| Value::new(token.into()));
        Self { id: id.into(), secret: Value::new(secret.into()), token, ends: Ends::Reread }
    }

    /// How long it lives from now on.
    ///
    /// # Errors
    /// It has ended already.
    pub(super) fn lifetime(&self) -> Result<Option<Duration>, Problem> {
        let end = match self.ends {
            Ends::Reread => return Ok(Some(SECRETS_LIFETIME)),
            Ends::At(None) => return Ok(None),
            Ends::At(Some(end)) => end,
        };
        match end.as_system_time().duration_since(Timestamp::now().as_system_time()) {
            Ok(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(Problem::unauthenticated(
                "the keys that were fetched have expired already: is this host's clock right (clock skew)?",
            )),
        }
    }
}

/// The sources, in order, and the role on top of them.
pub(super) struct Chain {
    label: String,
    config: config::SigV4,
    secrets: BackendSecrets,
    transport: Arc<dyn Transport>,
}

impl Chain {
    pub(super) fn new(
        label: &str,
        config: config::SigV4,
        secrets: BackendSecrets,
        transport: Arc<dyn Transport>,
    ) -> Self {
        Self { label: label.to_owned(), config, secrets, transport }
    }

    /// Whose it is.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The keys, if they come from secrets and nothing else has to be asked.
    pub(super) async fn secrets_alone(&self) -> Option<Result<Keys, Problem>> {
        match (&self.config.credentials[..], &self.config.assume_role) {
            ([source @ CredentialSource::Static { .. }, ..], None) => Some(self.keys_in_secrets(source).await),
            _ => None,
        }
    }

    /// What is fetched is masked from now on.
    pub(super) fn remember(&self, keys: &Keys) {
        let seen = self.secrets.seen();
        seen.add(&format!("{} key", self.label), &keys.secret);
        if let Some(token) = &keys.token {
            seen.add(&format!("{} token", self.label), token);
        }
    }

    pub(super) async fn load(&self, deadline: Instant) -> Result<Keys, Problem> {
        let keys = self.first(deadline).await?;
        match &self.config.assume_role {
            Some(role) => {
                self.remember(&keys);
                self.assume(role, &keys, deadline).await
            }
            None => Ok(keys),
        }
    }

    /// Of the first source that is there. One that is there and refuses is an error: to take the next instead would be to act as
    /// somebody else.
    async fn first(&self, deadline: Instant) -> Result<Keys, Problem> {
        let mut absent = Vec::new();
        for source in &self.config.credentials {
            let found = match source {
                CredentialSource::Static { .. } => self.keys_in_secrets(source).await.map(Ok)?,
                CredentialSource::WebIdentity { token_file, role } => {
                    self.keys_for_web_identity(token_file, role, deadline).await?
                }
                CredentialSource::InstanceMetadata { endpoint } => self.keys_in_metadata(endpoint, deadline).await?,
            };
            match found {
                Ok(keys) => return Ok(keys),
                Err(reason) => absent.push(reason),
            }
        }
        // The last one may come: metadata is reached over a network.
        let reasons = absent.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("; ");
        let kind = absent.last().map(|problem| problem.kind);
        let problem = Problem::unauthenticated(format_args!("no keys are there: {reasons}"));
        Err(kind.map_or(problem.clone(), |kind| Problem { kind, ..problem }))
    }

    async fn keys_in_secrets(&self, source: &CredentialSource) -> Result<Keys, Problem> {
        let CredentialSource::Static { access_key_id, secret_access_key, session_token } = source else {
            return Err(Problem::unauthenticated("no keys are there"));
        };
        let id = self.secrets.get(access_key_id).await?;
        let id = super::super::exchange::text(access_key_id, &id)?.to_owned();
        let secret = self.secrets.get(secret_access_key).await?;
        let token = match session_token {
            Some(name) => Some(self.secrets.get(name).await?),
            None => None,
        };
        Ok(Keys { id, secret, token, ends: Ends::Reread })
    }

    async fn keys_for_web_identity(
        &self,
        token_file: &Path,
        role: &Role,
        deadline: Instant,
    ) -> Result<Result<Keys, Problem>, Problem> {
        let file = token_file.to_owned();
        let there = tokio::task::spawn_blocking(move || file.try_exists()).await;
        if matches!(there, Ok(Ok(false))) {
            return Ok(Err(Problem::unauthenticated(format_args!("{} is not there", token_file.display()))));
        }
        let courier = Courier::new(&self.transport, &self.secrets, role.sts_endpoint.clone(), deadline);
        let provider =
            AssumeRoleWithWebIdentityCredentialProvider::with_config(role.arn.clone(), token_file.to_owned())
                .with_role_session_name(role.session_name.clone())
                .with_duration_seconds(seconds(role.duration))
                .with_region(self.config.region.clone())
                .with_regional_sts_endpoint();
        provide(&courier, provider).await.map(Ok)
    }

    async fn keys_in_metadata(&self, endpoint: &str, deadline: Instant) -> Result<Result<Keys, Problem>, Problem> {
        let courier = Courier::new(&self.transport, &self.secrets, None, deadline);
        // Made anew: it keeps a session, and a machine that was restarted forgets its sessions.
        match provide(&courier, IMDSv2CredentialProvider::new().with_endpoint(endpoint)).await {
            Err(problem) if courier.nobody_there() => Ok(Err(problem)),
            found => found.map(Ok),
        }
    }

    async fn assume(&self, role: &Role, keys: &Keys, deadline: Instant) -> Result<Keys, Problem> {
        let courier = Courier::new(&self.transport, &self.secrets, role.sts_endpoint.clone(), deadline)
            .signing(keys, &self.config.region);
        // The library wants keys to hand to the signer, which does not look at them.
        let signer = Signer::new(courier.context(), StaticCredentialProvider::new(&keys.id, "none"), Unsigned);
        let mut provider = AssumeRoleCredentialProvider::new(role.arn.clone(), signer)
            .with_role_session_name(role.session_name.clone())
            .with_duration_seconds(seconds(role.duration))
            .with_region(self.config.region.clone())
            .with_regional_sts_endpoint();
        if let Some(id) = &role.external_id {
            provider = provider.with_external_id(id.clone());
        }
        provide(&courier, provider).await
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

async fn provide(
    courier: &Courier,
    provider: impl ProvideCredential<Credential = Credential>,
) -> Result<Keys, Problem> {
    match provider.provide_credential(&courier.context()).await {
        Ok(Some(credential)) if !credential.access_key_id.is_empty() && !credential.secret_access_key.is_empty() => {
            Ok(Keys::of(&credential))
        }
        Ok(_) => Err(Problem::unavailable("the answer holds no keys")),
        Err(error) => Err(courier.problem(&error)),
    }
}
