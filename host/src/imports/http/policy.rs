//! May a request go there? Decided before anything is looked up or connected to.

use super::{
    denied::{Denial, Reason},
    target::{Host, Target},
};
use crate::config::{AddressKind, Addresses, HostPattern, HttpGrant};
use http::Method;
use std::{fmt::Write as _, net::IpAddr};

/// Methods that a grant can name.
const GRANTABLE: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Most characters of a method that are shown.
const METHOD_BYTES: usize = 32;

/// The grants of one backend.
#[derive(Debug)]
pub(super) struct Policy {
    grants: Vec<HttpGrant>,
    /// The key under which more can be granted: `drivers[0].backend.grants.http`.
    key: String,
}

impl Policy {
    /// Of the grants in the config under `key`.
    pub fn new(grants: Vec<HttpGrant>, key: String) -> Self {
        Self { grants, key }
    }

    /// The grant for such a request. Those that name the host exactly come before patterns, then they count in the file's order.
    pub fn decide(&self, target: &Target, method: &Method) -> Result<&HttpGrant, Denial> {
        let mut there: Vec<_> = self.grants.iter().filter(|grant| leads_to(grant, target)).collect();
        there.sort_by_key(|grant| matches!(grant.host, HostPattern::Below(_)));
        if let Some(grant) = there.iter().find(|grant| grant.methods.contains(method.as_str())) {
            return Ok(grant);
        }
        let reason = if there.is_empty() { Reason::Destination } else { Reason::Method };
        let shown: String = method.as_str().chars().take(METHOD_BYTES).collect();
        let why = match reason {
            Reason::Method => "the method is not granted there",
            _ => "no grant names this scheme, host and port",
        };
        let grantable = GRANTABLE.contains(&method.as_str());
        let advice = grantable.then(|| {
            let (scheme, port) = (target.scheme.name(), target.port);
            let host = match &target.host {
                Host::Name(name) => name.clone(),
                Host::Address(IpAddr::V4(address)) => address.to_string(),
                Host::Address(IpAddr::V6(address)) => format!("{:?}", address.to_string()),
            };
            let mut line = format!("- {{ scheme: {scheme}, host: {host}, port: {port}, methods: [{shown}]");
            if let Some(auth) = there.first().and_then(|grant| grant.auth.as_deref()) {
                let _ = write!(line, ", auth: {auth}");
            }
            format!("add to {}: {line} }}", self.key)
        });
        Err(Denial::new(reason, format!("{shown} {target}: {why}"), advice))
    }

    /// That none of these addresses may be connected to under `grant`.
    pub fn wrong_addresses(&self, target: &Target, grant: &HttpGrant, found: &[Option<AddressKind>]) -> Denial {
        wrong_addresses(target, grant.addresses, found, |more| {
            let line = grant.at.line;
            format!("write addresses: [{more}] in the entry of {} at line {line}", self.key)
        })
    }
}

/// That none of these addresses may be connected to.
pub(super) fn wrong_addresses(
    target: &Target,
    allowed: Addresses,
    found: &[Option<AddressKind>],
    advice: impl FnOnce(Addresses) -> String,
) -> Denial {
    let kinds: Vec<_> = found.iter().flatten().copied().collect();
    let named = Addresses::from_iter(kinds.iter().copied());
    let what = match kinds.as_slice() {
        [] => format!("{target}: it leads to addresses that nothing is ever sent to"),
        _ => format!("{target}: it leads to addresses of the kind {named}, and only {allowed} is granted"),
    };
    let more = kinds.iter().fold(allowed, |all, kind| all.with(*kind));
    Denial::new(Reason::Address, what, (!kinds.is_empty()).then(|| advice(more)))
}

fn leads_to(grant: &HttpGrant, target: &Target) -> bool {
    let host = match (&grant.host, &target.host) {
        (HostPattern::Name(granted), Host::Name(name)) => granted == name,
        (HostPattern::Address(granted), Host::Address(address)) => granted == address,
        (HostPattern::Below(suffix), Host::Name(name)) => name.len() > suffix.len() && name.ends_with(suffix.as_str()),
        _ => false,
    };
    host && grant.scheme == target.scheme && grant.port == target.port
}
