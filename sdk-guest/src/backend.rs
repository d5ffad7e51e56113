//! The macro that makes a component out of a type.

/// Exports the named interfaces, implemented by the given type, and nothing else. `identity` must be among them.
///
/// ```
/// use bulkhead_sdk::prelude::*;
///
/// struct Mine;
///
/// impl Identity for Mine {
///     fn get_info() -> Result<Info> {
///         Ok(Info::new(env!("CARGO_PKG_VERSION")))
///     }
///     fn probe() -> Result<bool> {
///         Ok(true)
///     }
/// }
///
/// bulkhead_sdk::backend!(Mine: identity);
/// # fn main() {}
/// ```
///
/// It also sets [`Bump`](crate::allocator) as the global allocator and has panics reported to the host's log. To keep your own
/// allocator, end with `; own allocator`: `backend!(Mine: identity, volumes; own allocator)`.
///
/// On other targets than Wasm nothing is exported, so that a backend's own unit tests run as on any crate; that
/// the type has the named traits is checked there too.
#[macro_export]
macro_rules! backend {
    ($type:ident : $($interface:ident),+ $(,)?) => {
        #[cfg(target_family = "wasm")]
        #[global_allocator]
        static BULKHEAD_ALLOCATOR: $crate::allocator::Bump = $crate::allocator::Bump::new();
        $crate::backend!($type: $($interface),+; own allocator);
    };
    ($type:ident : $($interface:ident),+ $(,)? ; own allocator) => {
        $crate::must_have_identity!($($interface)+);
        const _: () = { $( $crate::implements!($type, $interface); )+ };
        #[cfg(target_family = "wasm")]
        const _: () = {
            #[used]
            #[unsafe(link_section = ".init_array")]
            static INSTALL: extern "C" fn() = $crate::panic::install;
        };
        $( #[cfg(target_family = "wasm")] $crate::export!($type, $interface); )+
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! must_have_identity {
    () => { ::core::compile_error!("every backend offers `identity`: name it in backend!(…)"); };
    (identity $($rest:ident)*) => {};
    ($other:ident $($rest:ident)*) => { $crate::must_have_identity!($($rest)*); };
}

/// Makes a missing trait an error at the macro's call, on every target.
#[doc(hidden)]
#[macro_export]
macro_rules! implements {
    ($type:ident, identity) => { $crate::implements!(@ $type, $crate::identity::Identity); };
    ($type:ident, volumes) => { $crate::implements!(@ $type, $crate::volumes::Volumes); };
    ($type:ident, cloning) => { $crate::implements!(@ $type, $crate::cloning::Cloning); };
    ($type:ident, listing) => { $crate::implements!(@ $type, $crate::listing::Listing); };
    ($type:ident, inspection) => { $crate::implements!(@ $type, $crate::inspection::Inspection); };
    ($type:ident, capacity) => { $crate::implements!(@ $type, $crate::capacity::Capacity); };
    ($type:ident, expansion) => { $crate::implements!(@ $type, $crate::expansion::Expansion); };
    ($type:ident, modification) => { $crate::implements!(@ $type, $crate::modification::Modification); };
    ($type:ident, attachment) => { $crate::implements!(@ $type, $crate::attachment::Attachment); };
    ($type:ident, snapshots) => { $crate::implements!(@ $type, $crate::snapshots::Snapshots); };
    ($type:ident, snapshot_listing) => { $crate::implements!(@ $type, $crate::snapshot_listing::SnapshotListing); };
    ($type:ident, group_snapshots) => { $crate::implements!(@ $type, $crate::group_snapshots::GroupSnapshots); };
    ($type:ident, changed_blocks) => { $crate::implements!(@ $type, $crate::changed_blocks::ChangedBlocks); };
    ($type:ident, health) => { $crate::implements!(@ $type, $crate::health::Health); };
    ($type:ident, health_listing) => { $crate::implements!(@ $type, $crate::health_listing::HealthListing); };
    ($type:ident, storage_health) => { $crate::implements!(@ $type, $crate::storage_health::StorageHealth); };
    ($type:ident, node) => { $crate::implements!(@ $type, $crate::node::Node); };
    ($type:ident, ephemeral) => { $crate::implements!(@ $type, $crate::ephemeral::Ephemeral); };
    ($type:ident, $other:ident) => {
        ::core::compile_error!(::core::concat!(
            "`", ::core::stringify!($other), "` is no interface of bulkhead:backend; WIT's dashes are underscores here"
        ));
    };
    (@ $type:ident, $trait:path) => { const _: fn() = || { fn implemented<T: $trait>() {} implemented::<$type>() }; };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export {
    ($type:ident, identity) => { $crate::bindings::identity::export_identity!($type with_types_in $crate::bindings::identity); };
    ($type:ident, volumes) => { $crate::bindings::volumes::export_volumes!($type with_types_in $crate::bindings::volumes); };
    ($type:ident, cloning) => { $crate::bindings::cloning::export_cloning!($type with_types_in $crate::bindings::cloning); };
    ($type:ident, listing) => { $crate::bindings::listing::export_listing!($type with_types_in $crate::bindings::listing); };
    ($type:ident, inspection) => { $crate::bindings::inspection::export_inspection!($type with_types_in $crate::bindings::inspection); };
    ($type:ident, capacity) => { $crate::bindings::capacity::export_capacity!($type with_types_in $crate::bindings::capacity); };
    ($type:ident, expansion) => { $crate::bindings::expansion::export_expansion!($type with_types_in $crate::bindings::expansion); };
    ($type:ident, modification) => {
        $crate::bindings::modification::export_modification!($type with_types_in $crate::bindings::modification);
    };
    ($type:ident, attachment) => { $crate::bindings::attachment::export_attachment!($type with_types_in $crate::bindings::attachment); };
    ($type:ident, snapshots) => { $crate::bindings::snapshots::export_snapshots!($type with_types_in $crate::bindings::snapshots); };
    ($type:ident, snapshot_listing) => {
        $crate::bindings::snapshot_listing::export_snapshot_listing!($type with_types_in $crate::bindings::snapshot_listing);
    };
    ($type:ident, group_snapshots) => {
        $crate::bindings::group_snapshots::export_group_snapshots!($type with_types_in $crate::bindings::group_snapshots);
    };
    ($type:ident, changed_blocks) => {
        $crate::bindings::changed_blocks::export_changed_blocks!($type with_types_in $crate::bindings::changed_blocks);
    };
    ($type:ident, health) => { $crate::bindings::health::export_health!($type with_types_in $crate::bindings::health); };
    ($type:ident, health_listing) => {
        $crate::bindings::health_listing::export_health_listing!($type with_types_in $crate::bindings::health_listing);
    };
    ($type:ident, storage_health) => {
        $crate::bindings::storage_health::export_storage_health!($type with_types_in $crate::bindings::storage_health);
    };
    ($type:ident, node) => { $crate::bindings::node::export_node!($type with_types_in $crate::bindings::node); };
    ($type:ident, ephemeral) => { $crate::bindings::ephemeral::export_ephemeral!($type with_types_in $crate::bindings::ephemeral); };
    // `implements!` has said what is wrong.
    ($type:ident, $other:ident) => {};
}
