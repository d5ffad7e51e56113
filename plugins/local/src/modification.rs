//! Changing a volume that is there.

use crate::Local;
use crate::parameters::Mutable;
use crate::records::{Change, change, find};
use bulkhead_sdk::pools::Object;
use bulkhead_sdk::prelude::*;

impl Modification for Local {
    /// All parameters are checked first; then one change of the object makes all of them true.
    fn modify_volume(volume_id: String, mutable_parameters: StringMap) -> Result<()> {
        let wanted = Mutable::parse(&mutable_parameters)?;
        let (place, _) = find(&volume_id)?;
        let modify = |object: &Object| {
            Ok(match wanted.provisioning.filter(|wanted| *wanted != object.spec.provisioning) {
                None => Change::None(()),
                Some(provisioning) => Change::To(provisioning, object.spec.metadata.clone(), ()),
            })
        };
        change(&place, modify)?.ok_or_else(|| Error::not_found(format!("volume {volume_id}")))
    }
}
