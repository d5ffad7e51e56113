//! Names to addresses. Looked up once for a connection; what is connected to is what was checked.

use super::{
    address,
    error::HttpError,
    target::{Host, Target},
};
use crate::{
    config::{AddressKind, Addresses},
    imports::transport::BoxFuture,
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};

/// Looks names up.
pub trait Resolve: Send + Sync {
    /// The addresses of `name`, in the order in which they are to be tried.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// What a look-up gave.
pub(super) enum Found {
    /// These may be connected to; at least one.
    Allowed(Vec<SocketAddr>),
    /// None of them may. Their kinds; none stands for what is never connected to.
    Denied(Vec<Option<AddressKind>>),
}

/// Addresses of the target's host: those that may be connected to, or why none may.
///
/// # Errors
/// The name has no address.
pub(super) async fn find(resolver: &dyn Resolve, target: &Target, allowed: Addresses) -> Result<Found, HttpError> {
    let addresses = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => resolver.resolve(name).await.unwrap_or_default(),
    };
    if addresses.is_empty() {
        return Err(HttpError::NoSuchName(target.to_string()));
    }
    let kinds: Vec<_> = addresses.iter().map(|address| address::kind(*address)).collect();
    let good = addresses.iter().zip(&kinds).filter(|(_, kind)| kind.is_some_and(|kind| allowed.contains(kind)));
    let good: Vec<_> = good.map(|(address, _)| SocketAddr::new(*address, target.port)).collect();
    Ok(if good.is_empty() { Found::Denied(kinds) } else { Found::Allowed(good) })
}

/// Every address of the target's host may be connected to, for a proxy that looks it up again by itself. A name that has no address
/// here is the proxy's to resolve.
///
/// # Errors
/// The kinds of those that may not.
pub(super) async fn all_allowed(
    resolver: &dyn Resolve,
    target: &Target,
    allowed: Addresses,
) -> Result<(), Vec<Option<AddressKind>>> {
    let addresses = match &target.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => resolver.resolve(name).await.unwrap_or_default(),
    };
    let kinds = addresses.into_iter().map(address::kind);
    let bad: Vec<_> = kinds.filter(|kind| !kind.is_some_and(|kind| allowed.contains(kind))).collect();
    if bad.is_empty() { Ok(()) } else { Err(bad) }
}
