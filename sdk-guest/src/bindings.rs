//! What wit-bindgen makes of the WIT package. Nobody but this crate and its macros names anything in here.
//!
//! The imports and all shared types are generated once, from one world. Each exported interface is then generated from a
//! one-line world of its own, with `with` pointing the shared types at the first. A component's type is carried by a
//! custom section that sits inside each export macro: an interface whose macro isn't called isn't exported.
#![allow(missing_docs, unused_qualifications, clippy::all, clippy::undocumented_unsafe_blocks)]

/// All imports and all shared types. The linker keeps only imports that some code calls, so naming all of them
/// here costs a component nothing.
pub mod imports {
    wit_bindgen::generate!({
        inline: "package bulkhead:sdk;
            world imports {
                import bulkhead:backend/types@0.1.0;
                import bulkhead:backend/node-types@0.1.0;
                import bulkhead:backend/plan-types@0.1.0;
                import bulkhead:backend/call@0.1.0;
                import bulkhead:backend/logging@0.1.0;
                import bulkhead:backend/config@0.1.0;
                import bulkhead:backend/secrets@0.1.0;
                import bulkhead:backend/secrets-sign@0.1.0;
                import bulkhead:backend/secrets-reveal@0.1.0;
                import bulkhead:backend/state@0.1.0;
                import bulkhead:backend/pools@0.1.0;
            }",
        path: "../wit/v0.1",
        generate_all,
        additional_derives: [PartialEq],
    });
}

/// Bindings of one exported interface. An entry of `with` that the interface doesn't use is an error of wit-bindgen,
/// so each names just what it needs.
macro_rules! offer {
    ($module:ident, $macro:literal, $path:literal, $world:literal, $($interface:literal = $types:ident),+) => {
        pub mod $module {
            wit_bindgen::generate!({
                inline: $world,
                path: "../wit/v0.1",
                pub_export_macro: true,
                export_macro_name: $macro,
                default_bindings_module: $path,
                additional_derives: [PartialEq],
                with: { $($interface: crate::bindings::imports::bulkhead::backend::$types),+ },
            });
        }
    };
}

offer!(
    identity,
    "export_identity",
    "bulkhead_sdk::bindings::identity",
    "package bulkhead:sdk; world offers-identity { export bulkhead:backend/identity@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    volumes,
    "export_volumes",
    "bulkhead_sdk::bindings::volumes",
    "package bulkhead:sdk; world offers-volumes { export bulkhead:backend/volumes@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    cloning,
    "export_cloning",
    "bulkhead_sdk::bindings::cloning",
    "package bulkhead:sdk; world offers-cloning { export bulkhead:backend/cloning@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    listing,
    "export_listing",
    "bulkhead_sdk::bindings::listing",
    "package bulkhead:sdk; world offers-listing { export bulkhead:backend/listing@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    inspection,
    "export_inspection",
    "bulkhead_sdk::bindings::inspection",
    "package bulkhead:sdk; world offers-inspection { export bulkhead:backend/inspection@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    capacity,
    "export_capacity",
    "bulkhead_sdk::bindings::capacity",
    "package bulkhead:sdk; world offers-capacity { export bulkhead:backend/capacity@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    expansion,
    "export_expansion",
    "bulkhead_sdk::bindings::expansion",
    "package bulkhead:sdk; world offers-expansion { export bulkhead:backend/expansion@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    modification,
    "export_modification",
    "bulkhead_sdk::bindings::modification",
    "package bulkhead:sdk; world offers-modification { export bulkhead:backend/modification@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    attachment,
    "export_attachment",
    "bulkhead_sdk::bindings::attachment",
    "package bulkhead:sdk; world offers-attachment { export bulkhead:backend/attachment@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types,
    "bulkhead:backend/node-types@0.1.0" = node_types
);
offer!(
    snapshots,
    "export_snapshots",
    "bulkhead_sdk::bindings::snapshots",
    "package bulkhead:sdk; world offers-snapshots { export bulkhead:backend/snapshots@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    snapshot_listing,
    "export_snapshot_listing",
    "bulkhead_sdk::bindings::snapshot_listing",
    "package bulkhead:sdk; world offers-snapshot-listing { export bulkhead:backend/snapshot-listing@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    group_snapshots,
    "export_group_snapshots",
    "bulkhead_sdk::bindings::group_snapshots",
    "package bulkhead:sdk; world offers-group-snapshots { export bulkhead:backend/group-snapshots@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    changed_blocks,
    "export_changed_blocks",
    "bulkhead_sdk::bindings::changed_blocks",
    "package bulkhead:sdk; world offers-changed-blocks { export bulkhead:backend/changed-blocks@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    health,
    "export_health",
    "bulkhead_sdk::bindings::health",
    "package bulkhead:sdk; world offers-health { export bulkhead:backend/health@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    health_listing,
    "export_health_listing",
    "bulkhead_sdk::bindings::health_listing",
    "package bulkhead:sdk; world offers-health-listing { export bulkhead:backend/health-listing@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    storage_health,
    "export_storage_health",
    "bulkhead_sdk::bindings::storage_health",
    "package bulkhead:sdk; world offers-storage-health { export bulkhead:backend/storage-health@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types
);
offer!(
    node,
    "export_node",
    "bulkhead_sdk::bindings::node",
    "package bulkhead:sdk; world offers-node { export bulkhead:backend/node@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types,
    "bulkhead:backend/node-types@0.1.0" = node_types,
    "bulkhead:backend/plan-types@0.1.0" = plan_types
);
offer!(
    ephemeral,
    "export_ephemeral",
    "bulkhead_sdk::bindings::ephemeral",
    "package bulkhead:sdk; world offers-ephemeral { export bulkhead:backend/ephemeral@0.1.0; }",
    "bulkhead:backend/types@0.1.0" = types,
    "bulkhead:backend/plan-types@0.1.0" = plan_types
);
