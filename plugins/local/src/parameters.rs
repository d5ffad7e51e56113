//! Parameters of a StorageClass, a VolumeAttributesClass and a VolumeSnapshotClass.

use bulkhead_sdk::pools::{ObjectKind, Provisioning};
use bulkhead_sdk::prelude::*;

/// All that a class can set. None of them is a secret.
pub const KEYS: [&str; 3] = [POOL, TYPE, PROVISIONING];
pub const POOL: &str = "pool";
pub const TYPE: &str = "type";
const PROVISIONING: &str = "provisioning";
/// Values of `type`.
pub const KINDS: [(&str, ObjectKind); 2] = [("image", ObjectKind::Image), ("directory", ObjectKind::Directory)];

/// What a StorageClass asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// `pool`: one of the granted pools. Default: the config's `defaultPool`, or the only one there is.
    pub pool: Option<String>,
    /// `type: image | directory`. A directory shares the pool's file system and can't be a block device. Default:
    /// that of the source, or image.
    pub kind: Option<ObjectKind>,
    /// `provisioning: thin | thick`: whether the space is taken when it is written or at once. Default: thin.
    pub provisioning: Provisioning,
}

impl Class {
    /// Refuses unknown keys and values with `invalid-argument`.
    pub fn parse(parameters: &StringMap) -> Result<Self> {
        let mut p = Parameters::new(parameters);
        let class = Self {
            pool: p.optional(POOL).map(str::to_owned),
            kind: p.choice(TYPE, None, &KINDS.map(|(name, kind)| (name, Some(kind))))?,
            provisioning: provisioning(&mut p)?.unwrap_or(Provisioning::Thin),
        };
        p.finish()?;
        Ok(class)
    }

    /// As [`Class::parse`]; what a VolumeAttributesClass says wins.
    pub fn of(request: &CreateVolumeRequest) -> Result<Self> {
        let class = Self::parse(&request.parameters)?;
        Ok(match Mutable::parse(&request.mutable_parameters)?.provisioning {
            Some(provisioning) => Self { provisioning, ..class },
            None => class,
        })
    }

    /// What a volume without source is made as.
    pub fn kind(&self) -> ObjectKind {
        self.kind.unwrap_or(ObjectKind::Image)
    }
}

/// What a VolumeAttributesClass asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mutable {
    /// As in [`Class`]. `None`: as it is.
    pub provisioning: Option<Provisioning>,
}

impl Mutable {
    /// Refuses unknown keys and values with `invalid-argument`.
    pub fn parse(parameters: &StringMap) -> Result<Self> {
        if parameters.iter().any(|(key, value)| key == PROVISIONING && value.is_empty()) {
            return Err(Error::invalid(format!("parameter `{PROVISIONING}` must be one of `thin`, `thick`")));
        }
        let mut p = Parameters::new(parameters);
        let mutable = Self { provisioning: provisioning(&mut p)? };
        p.finish()?;
        Ok(mutable)
    }
}

fn provisioning(p: &mut Parameters<'_>) -> Result<Option<Provisioning>> {
    p.choice(PROVISIONING, None, &[("thin", Some(Provisioning::Thin)), ("thick", Some(Provisioning::Thick))])
}

/// Snapshot classes have no parameters. Refuses all but the CO's own.
pub fn none(parameters: &StringMap) -> Result<()> {
    Parameters::new(parameters).finish()
}

/// Nor have group snapshot classes. Some write the class's own field `deletionPolicy` among the parameters, the storage suite of the
/// Kubernetes project for one: it is the CO's.
pub fn none_of_group(parameters: &StringMap) -> Result<()> {
    let mut p = Parameters::new(parameters);
    p.optional("deletionPolicy");
    p.finish()
}

/// Value of the parameter and of the context key `type`.
pub fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Image => "image",
        ObjectKind::Directory => "directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::map;

    #[test]
    fn classes_have_defaults_and_refuse_what_they_do_not_know() {
        let default = Class { pool: None, kind: None, provisioning: Provisioning::Thin };
        assert_eq!(Class::parse(&map(&[("csi.storage.k8s.io/pvc/name", "claim")])), Ok(default));
        let given = map(&[("pool", "fast"), ("type", "directory"), ("provisioning", "thick")]);
        let class = Class {
            pool: Some("fast".to_owned()),
            kind: Some(ObjectKind::Directory),
            provisioning: Provisioning::Thick,
        };
        assert_eq!(Class::parse(&given), Ok(class));
        for bad in [("type", "tape"), ("provisioning", "eager"), ("Pool", "fast")] {
            assert!(matches!(Class::parse(&map(&[bad])), Err(Error::InvalidArgument(_))), "{bad:?}");
        }
    }

    #[test]
    fn mutable_parameters_are_few() {
        let parse = |key: &str, value: &str| Mutable::parse(&map(&[(key, value)])).map(|mutable| mutable.provisioning);
        assert_eq!(parse("provisioning", "thick"), Ok(Some(Provisioning::Thick)));
        assert_eq!(parse("csi.storage.k8s.io/pvc/name", "claim"), Ok(None));
        for (key, value) in [("provisioning", "eager"), ("provisioning", ""), ("pool", "fast"), ("type", "image")] {
            assert!(matches!(parse(key, value), Err(Error::InvalidArgument(_))), "{key}={value}");
        }
        assert!(none(&map(&[("csi.storage.k8s.io/volumesnapshot/name", "s")])).is_ok());
        assert!(matches!(none(&map(&[("pool", "fast")])), Err(Error::InvalidArgument(_))));
    }
}
