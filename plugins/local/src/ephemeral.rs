//! Inline volumes: scratch space that lives as long as its pod. Pure: nodes see no pools, so the pool is named by the pod
//! or by `defaultPool`, and the host checks that it is granted.

use crate::Local;
use crate::access::Access;
use crate::parameters::{KINDS, POOL, TYPE};
use crate::settings::Settings;
use crate::volumes::rules;
use bulkhead_sdk::pools::ObjectKind;
use bulkhead_sdk::prelude::*;
use bulkhead_sdk::size::GIB;

const SIZE: &str = "size";
const FS_TYPE: &str = "fsType";

impl Ephemeral for Local {
    fn plan_ephemeral_volume(
        _volume_id: String,
        context: StringMap,
        capability: VolumeCapability,
    ) -> Result<EphemeralPlan> {
        plan(&Settings::configured()?, &context, &capability)
    }
}

fn plan(settings: &Settings, context: &StringMap, capability: &VolumeCapability) -> Result<EphemeralPlan> {
    let mut attributes = Parameters::new(context);
    let pool = attributes.optional(POOL).map(str::to_owned).or_else(|| settings.default_pool.clone());
    let size = attributes.size(SIZE)?;
    let kind = attributes.choice(TYPE, ObjectKind::Image, &KINDS)?;
    let named = attributes.optional(FS_TYPE).unwrap_or_default().to_owned();
    attributes.finish()?;
    let pool = pool.ok_or_else(|| {
        Error::invalid(format!("which pool? Set attribute `{POOL}`, or `defaultPool` in the backend's config"))
    })?;
    if capability.is_block() || capability.access_mode.is_multi_node() || capability.access_mode.is_reader_only() {
        return Err(Error::precondition("an inline volume is a file system that one node can write to"));
    }
    // Said twice: by the pod's volume and by its attributes.
    let both = [capability.clone(), VolumeCapability::mount(capability.access_mode, named.as_str())];
    let said = Access::of(&both[1..]).map_err(Error::invalid).and(Access::of(&both).map_err(Error::precondition))?;
    let fs_type = said.fs_type(None).unwrap_or(crate::access::FsType::DEFAULT);
    let range = size.map(|size| CapacityRange { required: Some(size), limit: None });
    let size_bytes = choose_size(range.as_ref(), &rules(GIB, said.min_bytes(kind, None)))?;
    let scratch = match kind {
        ObjectKind::Image => Scratch::Image(Filesystem::new(fs_type.name())),
        ObjectKind::Directory => Scratch::Directory(Directory { mount_options: Vec::new(), read_only: false }),
    };
    Ok(EphemeralPlan { pool, size_bytes, scratch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::map;
    use bulkhead_sdk::size::MIB;

    fn asked(context: &[(&str, &str)], fs_type: &str) -> Result<EphemeralPlan> {
        let settings = Settings::parse(&map(&[("defaultPool", "fast")])).expect("good settings");
        plan(&settings, &map(context), &VolumeCapability::mount(AccessMode::SingleNodeWriter, fs_type))
    }

    #[test]
    fn attributes_have_defaults() {
        let plain = EphemeralPlan {
            pool: "fast".to_owned(),
            size_bytes: GIB,
            scratch: Scratch::Image(Filesystem::new("ext4")),
        };
        assert_eq!(asked(&[("csi.storage.k8s.io/ephemeral", "true")], ""), Ok(plain.clone()));
        let given = [("pool", "slow"), ("size", "100Mi"), ("type", "directory")];
        let scratch = Scratch::Directory(Directory { mount_options: Vec::new(), read_only: false });
        let directory = EphemeralPlan { pool: "slow".to_owned(), size_bytes: 100 * MIB, scratch };
        assert_eq!(asked(&given, ""), Ok(directory));
        let scratch = Scratch::Image(Filesystem::new("xfs"));
        let xfs = EphemeralPlan { size_bytes: 300 * MIB, scratch, ..plain };
        assert_eq!(asked(&[("fsType", "xfs"), ("size", "1")], ""), Ok(xfs.clone()));
        assert_eq!(asked(&[("size", "1")], "xfs"), Ok(xfs.clone()));
        assert_eq!(asked(&[("fsType", "xfs"), ("size", "1")], "xfs"), Ok(xfs));
    }

    #[test]
    fn users_can_not_ask_for_anything() {
        for bad in [("sizes", "1Gi"), ("size", "1GB"), ("size", "-1"), ("type", "tape"), ("fsType", "ntfs")] {
            assert!(matches!(asked(&[bad], ""), Err(Error::InvalidArgument(_))), "{bad:?}");
        }
        assert!(matches!(asked(&[("size", "16777216Ti")], ""), Err(Error::InvalidArgument(_))));
        assert!(matches!(asked(&[("size", "9000000Ti")], ""), Err(Error::OutOfRange(_))));
        assert!(matches!(asked(&[("fsType", "xfs")], "ext4"), Err(Error::FailedPrecondition(_))));
        assert!(matches!(asked(&[], "ntfs"), Err(Error::FailedPrecondition(_))));
        let nowhere = Settings::parse(&[]).expect("no settings");
        let capability = VolumeCapability::mount(AccessMode::SingleNodeWriter, "");
        assert!(matches!(plan(&nowhere, &map(&[]), &capability), Err(Error::InvalidArgument(_))));
    }

    #[test]
    fn uses_that_a_scratch_volume_can_not_have_are_refused() {
        let settings = Settings::parse(&map(&[("defaultPool", "fast")])).expect("good settings");
        for capability in [
            VolumeCapability::block(AccessMode::SingleNodeWriter),
            VolumeCapability::mount(AccessMode::SingleNodeReaderOnly, ""),
            VolumeCapability::mount(AccessMode::MultiNodeMultiWriter, ""),
        ] {
            let refused = plan(&settings, &map(&[]), &capability);
            assert!(matches!(refused, Err(Error::FailedPrecondition(_))), "{refused:?}");
        }
    }
}
