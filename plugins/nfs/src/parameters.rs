//! Parameters of a StorageClass and a VolumeSnapshotClass.

use bulkhead_sdk::pools::Provisioning;
use bulkhead_sdk::prelude::*;

/// All that a class can set. None of them is a secret.
pub const KEYS: [&str; 2] = [SHARE, PROVISIONING];
pub const SHARE: &str = "share";
const PROVISIONING: &str = "provisioning";

/// What a StorageClass asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// `share`: one of the config's that has a pool. Default: `defaultShare`, or the only one there is.
    pub share: Option<String>,
    /// `provisioning: thin | thick`: thick takes the volume's size off what the share has left, so that no other thick volume
    /// gets it. Default: thin.
    pub provisioning: Provisioning,
}

impl Class {
    /// Refuses unknown keys and values with `invalid-argument`.
    pub fn parse(parameters: &StringMap) -> Result<Self> {
        let mut p = Parameters::new(parameters);
        let provisioning = [("thin", Provisioning::Thin), ("thick", Provisioning::Thick)];
        let class = Self {
            share: p.optional(SHARE).map(str::to_owned),
            provisioning: p.choice(PROVISIONING, Provisioning::Thin, &provisioning)?,
        };
        p.finish()?;
        Ok(class)
    }
}

/// Snapshot classes have no parameters. Refuses all but the CO's own.
pub fn none(parameters: &StringMap) -> Result<()> {
    Parameters::new(parameters).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::map;

    #[test]
    fn classes_have_defaults_and_refuse_what_they_do_not_know() {
        let default = Class { share: None, provisioning: Provisioning::Thin };
        assert_eq!(Class::parse(&map(&[("csi.storage.k8s.io/pvc/name", "claim")])), Ok(default));
        let given = Class { share: Some("fast".to_owned()), provisioning: Provisioning::Thick };
        assert_eq!(Class::parse(&map(&[("share", "fast"), ("provisioning", "thick")])), Ok(given));
        for bad in [("provisioning", "eager"), ("Share", "fast"), ("server", "evil.example")] {
            assert!(matches!(Class::parse(&map(&[bad])), Err(Error::InvalidArgument(_))), "{bad:?}");
        }
        assert!(none(&map(&[("csi.storage.k8s.io/volumesnapshot/name", "s")])).is_ok());
        assert!(matches!(none(&map(&[("share", "fast")])), Err(Error::InvalidArgument(_))));
    }
}
