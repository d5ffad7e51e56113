//! The part of [`Lower`] about a backend's requests: `grants.http` and `http`.

use super::super::lower::Lower;
use super::super::raw::{Placed, RawHttp, RawHttpSettings};
use super::super::types::{
    AddressKind, Addresses, ClientCertificate, HttpGrant, HttpSettings, Scheme, http::addresses,
};
use super::super::units;
use super::METHODS;
use bulkhead_domain::limits;
use std::time::Duration;

impl Lower<'_, '_> {
    /// Types one entry of `grants.http`.
    pub(super) fn http(&mut self, path: &str, raw: &Placed<RawHttp>) -> Option<HttpGrant> {
        let (at, raw) = (raw.at, &raw.value);
        let scheme = self.read(&format!("{path}.scheme"), &raw.scheme, |text| match text {
            "http" => Ok(Scheme::Http),
            "https" => Ok(Scheme::Https),
            _ => Err("is not a scheme that is allowed: write https or http".into()),
        });
        let host = self.read(&format!("{path}.host"), &raw.host, units::host_pattern);
        let default = if scheme == Some(Scheme::Http) { 80 } else { 443 };
        let port = self.read_or(&format!("{path}.port"), &raw.port, default, |text| {
            units::count(text, 1..=u32::from(u16::MAX)).map(|port| port as u16)
        });
        if raw.methods.value.is_empty() {
            self.errors.add(raw.methods.at, format!("{path}.methods"), "is empty: write at least one method");
        }
        let methods = self.words(&format!("{path}.methods"), &raw.methods.value, &METHODS);
        let auth = self.read_or(&format!("{path}.auth"), &raw.auth, None, |text| {
            units::text(text, limits::STRING_BYTES).map(Some)
        });
        let addresses = match &raw.addresses {
            None => Addresses::default(),
            Some(list) => {
                if list.value.is_empty() {
                    self.errors.add(list.at, format!("{path}.addresses"), "is empty: write at least one kind");
                }
                let known = AddressKind::ALL.map(AddressKind::name);
                addresses(&self.words(&format!("{path}.addresses"), &list.value, &known))
            }
        };
        let methods = methods.into_iter().map(str::to_owned).collect();
        Some(HttpGrant { scheme: scheme?, host: host?, port, methods, auth, addresses, at })
    }

    /// Types `http` of a backend.
    pub(super) fn http_settings(&mut self, path: &str, raw: &Placed<RawHttpSettings>) -> HttpSettings {
        let (at, raw) = (raw.at, &raw.value);
        let default = HttpSettings::default();
        let times = || Duration::from_millis(100)..=Duration::from_secs(600);
        let base = self.base.clone();
        let file = |text: &str| units::path(text, &base);
        let client_certificate = raw.client_certificate.as_ref().and_then(|pair| {
            let path = format!("{path}.clientCertificate");
            let certificate = self.read(&format!("{path}.certificate"), &pair.value.certificate, file);
            let key = self.read(&format!("{path}.key"), &pair.value.key, file);
            Some(ClientCertificate { certificate: certificate?, key: key?, at: pair.at })
        });
        let ca = raw.ca.0.as_ref();
        let ca = ca.and_then(|text| Some((self.read(&format!("{path}.ca"), text, file)?, text.at)));
        let mut time = |key: &str, text, default| {
            self.read_or(&format!("{path}.{key}"), text, default, |text| units::duration(text, times()))
        };
        let connect_timeout = time("connectTimeout", &raw.connect_timeout, default.connect_timeout);
        let first_byte_timeout = time("firstByteTimeout", &raw.first_byte_timeout, default.first_byte_timeout);
        let total_timeout = time("totalTimeout", &raw.total_timeout, default.total_timeout);
        let mut size = |key: &str, text, default, range| {
            self.read_or(&format!("{path}.{key}"), text, default, |text| units::size(text, range))
        };
        let max_request = size("maxRequest", &raw.max_request, default.max_request, 0..=64 << 20);
        let max_response = size("maxResponse", &raw.max_response, default.max_response, 0..=1 << 30);
        let heads = HttpSettings::LEAST_HEADERS..=1 << 20;
        let max_headers = size("maxHeaders", &raw.max_headers, default.max_headers, heads);
        let connections = |text: &str| units::count(text, 1..=1000);
        let max_connections =
            self.read_or(&format!("{path}.maxConnections"), &raw.max_connections, default.max_connections, connections);
        let proxy = self.read_or(&format!("{path}.proxy"), &raw.proxy, None, |text| units::proxy(text).map(Some));
        HttpSettings {
            proxy,
            ca,
            client_certificate,
            connect_timeout,
            first_byte_timeout,
            total_timeout,
            max_connections,
            max_request,
            max_response,
            max_headers,
            at,
        }
    }
}
