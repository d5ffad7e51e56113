//! Whom to trust, and what to show to those who ask.

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::Arc;

/// PEM of a client certificate and its key.
pub(super) struct Identity<'a> {
    pub certificate: &'a [u8],
    pub key: &'a [u8],
}

/// Trusts the certificates in `ca`, or the system's.
///
/// # Errors
/// What is wrong with the PEM, or that the system has no certificates. Never shows the key.
pub(super) fn client(ca: Option<&[u8]>, identity: Option<Identity<'_>>) -> Result<Arc<ClientConfig>, NetError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| NetError::Ca(e.to_string()))?
        .with_root_certificates(roots(ca)?);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let chain = certificates(certificate).map_err(NetError::Identity)?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| NetError::Identity("the key file holds no private key in PEM".into()))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| NetError::Identity(e.to_string()))?
        }
    };
    Ok(Arc::new(config))
}

/// Which of the files of [`HttpSettings`](crate::config::HttpSettings) is wrong, and what about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetError {
    /// `ca`, or the system's certificates.
    Ca(String),
    /// `clientCertificate`.
    Identity(String),
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, NetError> {
    let mut store = RootCertStore::empty();
    match ca {
        Some(pem) => {
            for certificate in certificates(pem).map_err(NetError::Ca)? {
                store.add(certificate).map_err(|e| NetError::Ca(format!("a certificate can't be used: {e}")))?;
            }
        }
        None => {
            // What of the system's can't be read is passed over, as everybody does.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("the file holds no certificate in PEM".into()),
        Ok(found) => Ok(found),
        Err(e) => Err(format!("the file is not PEM: {e}")),
    }
}
