//! Generated from the WIT. The world `everything` is bound for its types only: `EverythingPre` would want every export;
//! each interface is bound by itself instead (see `manifest`).

#![allow(missing_docs, clippy::all, unused_qualifications)]

wasmtime::component::bindgen!({
    path: "../wit/v0.1",
    world: "bulkhead:backend/everything",
    imports: {
        "bulkhead:backend/pools": async,
        "bulkhead:backend/state": async,
        "bulkhead:backend/secrets-sign": async | trappable,
        "bulkhead:backend/secrets-reveal": async | trappable,
        "bulkhead:backend/secrets.get": trappable,
        "bulkhead:backend/secrets.[method]secret.key": trappable,
    },
    exports: { default: async },
    with: { "bulkhead:backend/secrets.secret": crate::wasm::secrets::SecretHandle },
    additional_derives: [PartialEq],
});

pub use self::bulkhead::backend as imports;
pub use self::exports::bulkhead::backend as offered;
