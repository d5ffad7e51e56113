//! The pools import.

use super::{map, map_to_wit};
use crate::{
    imports::{
        CopyOrder, Created, ExtentPage, Object, ObjectKind, ObjectPage, ObjectSpec, PoolInfo, Provisioning, Updated,
    },
    wasm::bindings::imports::pools as wit,
};
use bulkhead_domain::{Error, ErrorKind, Result, StringMap};

/// What a pool says, for the guest. `unfit`: what it means that the object is not in the state for it.
pub fn pool_error(error: &Error, unfit: fn(String) -> wit::PoolError) -> wit::PoolError {
    let text = error.message().to_owned();
    match error.kind() {
        ErrorKind::NotFound => wit::PoolError::NoSuchObject(text),
        ErrorKind::AlreadyExists => wit::PoolError::Taken(text),
        ErrorKind::FailedPrecondition => unfit(text),
        ErrorKind::Aborted => wit::PoolError::Busy(text),
        ErrorKind::ResourceExhausted => wit::PoolError::NoSpace(text),
        ErrorKind::OutOfRange => wit::PoolError::TooLarge(text),
        ErrorKind::PermissionDenied => wit::PoolError::Denied,
        ErrorKind::InvalidArgument => wit::PoolError::Invalid(text),
        ErrorKind::Unavailable
        | ErrorKind::DeadlineExceeded
        | ErrorKind::Unauthenticated
        | ErrorKind::Unimplemented
        | ErrorKind::Internal => wit::PoolError::Unavailable(text),
    }
}

/// What making an object came to, for the guest.
pub fn created_to_wit(created: Created) -> wit::Created {
    match created {
        Created::Made(object) => wit::Created::Made(object_to_wit(object)),
        Created::There(object) => wit::Created::There(object_to_wit(object)),
    }
}

/// What changing an object came to, for the guest.
///
/// # Errors
/// Somebody else was quicker.
pub fn updated_to_wit(updated: Updated) -> std::result::Result<wit::Object, wit::PoolError> {
    match updated {
        Updated::Done(object) => Ok(object_to_wit(object)),
        Updated::Conflict(version) => Err(wit::PoolError::Conflict(version)),
    }
}

/// A page of objects, for the guest.
pub fn object_page_to_wit(page: ObjectPage) -> wit::ObjectPage {
    wit::ObjectPage { objects: page.objects.into_iter().map(object_to_wit).collect(), next: page.next }
}

/// What a guest wants an object to be. The pool checks name and size itself.
pub fn object_spec(spec: wit::ObjectSpec) -> Result<ObjectSpec> {
    Ok(ObjectSpec {
        name: spec.name,
        kind: match spec.kind {
            wit::ObjectKind::Directory => ObjectKind::Directory,
            wit::ObjectKind::Image => ObjectKind::Image,
        },
        size_bytes: spec.size_bytes,
        provisioning: provisioning(spec.provisioning),
        metadata: pool_metadata(spec.metadata)?,
    })
}

/// Metadata that a guest keeps with an object.
pub fn pool_metadata(pairs: Vec<(String, String)>) -> Result<StringMap> {
    map("metadata", pairs).map_err(Error::invalid_argument)
}

/// Where the bytes come from.
pub fn provisioning(provisioning: wit::Provisioning) -> Provisioning {
    match provisioning {
        wit::Provisioning::Thin => Provisioning::Thin,
        wit::Provisioning::Thick => Provisioning::Thick,
    }
}

/// An object, for the guest.
pub fn object_to_wit(object: Object) -> wit::Object {
    wit::Object {
        spec: wit::ObjectSpec {
            name: object.spec.name,
            kind: match object.spec.kind {
                ObjectKind::Directory => wit::ObjectKind::Directory,
                ObjectKind::Image => wit::ObjectKind::Image,
            },
            size_bytes: object.spec.size_bytes,
            provisioning: match object.spec.provisioning {
                Provisioning::Thin => wit::Provisioning::Thin,
                Provisioning::Thick => wit::Provisioning::Thick,
            },
            metadata: map_to_wit(object.spec.metadata),
        },
        version: object.version,
        allocated_bytes: object.allocated_bytes,
        created_at_ms: object.created_at_ms,
        in_use: object.in_use,
        read_only: object.read_only,
    }
}

/// A pool, for the guest.
pub fn pool_info_to_wit(info: PoolInfo) -> wit::PoolInfo {
    wit::PoolInfo {
        total_bytes: info.total_bytes,
        available_bytes: info.available_bytes,
        reflinks: info.reflinks,
        directory_quotas: info.directory_quotas,
    }
}

/// One copy of a set.
pub fn copy_order(order: wit::CopyOrder) -> Result<CopyOrder> {
    Ok(CopyOrder { source: order.source, target: object_spec(order.target)?, read_only: order.read_only })
}

/// A page of extents, for the guest.
pub fn extent_page_to_wit(page: ExtentPage) -> wit::ExtentPage {
    let extents = page.extents.into_iter();
    wit::ExtentPage {
        extents: extents.map(|e| wit::Extent { byte_offset: e.byte_offset, size_bytes: e.size_bytes }).collect(),
        next_offset: page.next_offset,
    }
}
