//! The part of [`Lower`] about where the keys of Signature Version 4 come from.

use super::auth::Reading;
use crate::config::Place;
use crate::config::lower::Lower;
use crate::config::raw::Maybe;
use crate::config::raw::auth::{RawCredentials, RawRole};
use crate::config::types::{CredentialSource, Role};
use crate::config::units;
use std::time::Duration;

/// Where clouds serve the metadata of an instance.
const METADATA: &str = "http://169.254.169.254";
/// How a session is called in the cloud's audit trail.
const SESSION: &str = "bulkhead";
const ROLE_DURATION: Duration = Duration::from_secs(3600);

impl Lower<'_, '_> {
    pub(super) fn credential_source(&mut self, it: &Reading<'_>, raw: &RawCredentials) -> Option<CredentialSource> {
        const TYPES: [&str; 3] = ["static", "webIdentity", "instanceMetadata"];
        let kind = self.read(&format!("{}.type", it.path), &raw.kind, |text| units::word(text, &TYPES))?;
        let allowed: &[&str] = match kind {
            "static" => &["accessKeyId", "secretAccessKey", "sessionToken"],
            "webIdentity" => &["tokenFile", "roleArn", "sessionName", "stsEndpoint"],
            _ => &["endpoint"],
        };
        self.only(it, kind, allowed, &keys(raw));
        match kind {
            "static" => {
                let access_key_id = self.secret(it, "accessKeyId", &raw.access_key_id);
                let secret_access_key = self.secret(it, "secretAccessKey", &raw.secret_access_key);
                let session_token = match &raw.session_token.0 {
                    Some(_) => Some(self.secret(it, "sessionToken", &raw.session_token)?),
                    None => None,
                };
                let (access_key_id, secret_access_key) = (access_key_id?, secret_access_key?);
                Some(CredentialSource::Static { access_key_id, secret_access_key, session_token })
            }
            "webIdentity" => {
                let base = self.base.clone();
                let token_file = self.needed(it, "tokenFile", &raw.token_file, |text| units::path(text, &base));
                let arn = self.needed(it, "roleArn", &raw.role_arn, role_arn);
                let role = Role {
                    arn: arn?,
                    session_name: self.session_name(it, &raw.session_name),
                    external_id: None,
                    duration: ROLE_DURATION,
                    sts_endpoint: self.sts_endpoint(it, &raw.sts_endpoint),
                };
                Some(CredentialSource::WebIdentity { token_file: token_file?, role })
            }
            _ => {
                let path = format!("{}.endpoint", it.path);
                let endpoint = self.read_or(&path, &raw.endpoint, METADATA.to_owned(), units::login_endpoint);
                Some(CredentialSource::InstanceMetadata { endpoint })
            }
        }
    }

    pub(super) fn role(&mut self, it: &Reading<'_>, raw: &RawRole) -> Option<Role> {
        let path = it.path;
        let arn = self.read(&format!("{path}.roleArn"), &raw.role_arn, role_arn);
        let times = Duration::from_secs(900)..=Duration::from_secs(12 * 3600);
        let role = Role {
            arn: arn?,
            session_name: self.session_name(it, &raw.session_name),
            external_id: self
                .read_or(&format!("{path}.externalId"), &raw.external_id, None, |t| external_id(t).map(Some)),
            duration: self.read_or(&format!("{path}.duration"), &raw.duration, ROLE_DURATION, |text| {
                units::duration(text, times)
            }),
            sts_endpoint: self.sts_endpoint(it, &raw.sts_endpoint),
        };
        Some(role)
    }

    fn session_name(&mut self, it: &Reading<'_>, text: &Maybe) -> String {
        self.read_or(&format!("{}.sessionName", it.path), text, SESSION.to_owned(), |text| {
            let fits = (2..=64).contains(&text.len())
                && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
            fits.then(|| text.to_owned())
                .ok_or_else(|| "is not the name of a session: write 2 to 64 letters, digits and _ + = , . @ -".into())
        })
    }

    fn sts_endpoint(&mut self, it: &Reading<'_>, text: &Maybe) -> Option<String> {
        self.read_or(&format!("{}.stsEndpoint", it.path), text, None, |text| units::login_endpoint(text).map(Some))
    }
}

fn keys(raw: &RawCredentials) -> [(&'static str, Option<Place>); 8] {
    let text = |maybe: &Maybe| maybe.0.as_ref().map(|text| text.at);
    [
        ("accessKeyId", text(&raw.access_key_id)),
        ("secretAccessKey", text(&raw.secret_access_key)),
        ("sessionToken", text(&raw.session_token)),
        ("tokenFile", text(&raw.token_file)),
        ("roleArn", text(&raw.role_arn)),
        ("sessionName", text(&raw.session_name)),
        ("stsEndpoint", text(&raw.sts_endpoint)),
        ("endpoint", text(&raw.endpoint)),
    ]
}

/// A service's or region's name, as it stands in a signature.
pub(super) fn scope_part(text: &str) -> Result<String, units::Problem> {
    let fits = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    fits.then(|| text.to_owned())
        .ok_or_else(|| "is not such a name: write lower-case letters, digits and dashes".into())
}

fn role_arn(text: &str) -> Result<String, units::Problem> {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    let fits = matches!(parts[..], ["arn", partition, "iam", "", account, role]
        if !partition.is_empty() && account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit())
            && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
        && text.len() <= 2048
        && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| text.to_owned()).ok_or_else(|| "is not the ARN of a role: write arn:aws:iam::ACCOUNT:role/NAME".into())
}

fn external_id(text: &str) -> Result<String, units::Problem> {
    let fits = (2..=1224).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b));
    fits.then(|| text.to_owned())
        .ok_or_else(|| "is not an external id: write 2 to 1224 letters, digits and _ + = , . @ : / -".into())
}
