//! The JSON schema of the file, for editors and for whoever generates configs.
//!
//! It is made from the types that read the file. As `${NAME}` may stand for any scalar, every scalar may also be a text that
//! holds `${`.

use super::raw::RawConfig;
use super::types::AddressKind;
use bulkhead_domain::plan::Access;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// The JSON schema (draft 2020-12), the same as `docs/config.schema.json`.
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(RawConfig);
    schema.insert("title".into(), "bulkhead config".into());
    schema.to_value()
}

/// Types that exist in the schema only: what a text may look like.
macro_rules! looks {
    ($($name:ident = $schema:tt;)*) => {$(
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                or_environment(json_schema!($schema))
            }
        }
    )*};
}

looks! {
    Version = { "const": 1 };
    Scalar = { "type": ["string", "number", "boolean"] };
    Flag = { "type": "boolean" };
    Size = { "oneOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? *[kKmMgGtT]?[iI]?[bB]?$" }] };
    State = { "anyOf": [
        { "type": "boolean" },
        {
            "type": "object",
            "properties": { "quota": { "oneOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }] } },
            "additionalProperties": false
        }
    ] };
    Time = { "type": "string", "pattern": "^([0-9]+ *[a-zA-Z]+ *)+$" };
    Count = { "type": "integer", "minimum": 0 };
    Port = { "type": "integer", "minimum": 1, "maximum": 65535 };
    Csi = { "enum": ["1.12", "1.13", 1.12, 1.13] };
    OfferedExpansion = { "enum": ["controller", "node", "both", "none", true, false] };
    Digest = { "type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$" };
    SecretUse = { "enum": ["sign", "reveal"] };
    AuthType = { "enum": ["basic", "bearer", "header", "login", "oauth2", "sigv4"] };
    CredentialsType = { "enum": ["static", "webIdentity", "instanceMetadata"] };
    ClientAuthentication = { "enum": ["basic", "body"] };
    SchemeName = { "enum": ["http", "https"] };
    Method = { "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] };
    AddressName = { "enum": (AddressKind::ALL.map(AddressKind::name)) };
    AccessName = { "enum": (Access::NAMES) };
}

/// The schema, or a text that is expanded first.
fn or_environment(schema: Schema) -> Schema {
    json_schema!({ "anyOf": [schema, { "type": "string", "pattern": "\\$\\{" }] })
}
