//! Parameters of a StorageClass, and the pool that a volume goes to.

use bulkhead_sdk::pools::{ObjectKind, Provisioning, pool_names};
use bulkhead_sdk::prelude::*;

/// All that a StorageClass can set. None of them is a secret.
pub const KEYS: [&str; 3] = [POOL, TYPE, PROVISIONING];
const POOL: &str = "pool";
const TYPE: &str = "type";
const PROVISIONING: &str = "provisioning";
/// Key of the backend's config.
const DEFAULT_POOL: &str = "defaultPool";

/// What a StorageClass asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// `pool`: one of the granted pools. Default: the config's `defaultPool`, or the only one there is.
    pub pool: Option<String>,
    /// `type: image | directory`. A directory shares the pool's file system and can't be a block device. Default:
    /// image.
    pub kind: ObjectKind,
    /// `provisioning: thin | thick`: whether the space is taken when it is written or at once. Default: thin.
    pub provisioning: Provisioning,
}

impl Class {
    /// Refuses unknown keys and values with `invalid-argument`.
    pub fn parse(parameters: &StringMap) -> Result<Self> {
        let mut p = Parameters::new(parameters);
        let class = Self {
            pool: p.optional(POOL).map(str::to_owned),
            kind: p.choice(
                TYPE,
                ObjectKind::Image,
                &[("image", ObjectKind::Image), ("directory", ObjectKind::Directory)],
            )?,
            provisioning: p.choice(
                PROVISIONING,
                Provisioning::Thin,
                &[("thin", Provisioning::Thin), ("thick", Provisioning::Thick)],
            )?,
        };
        p.finish()?;
        Ok(class)
    }
}

/// The pools that this backend may use.
pub struct Pools {
    granted: Vec<String>,
    default: Option<String>,
}

impl Pools {
    /// As the operator has configured them.
    pub fn configured() -> Self {
        Self { granted: pool_names(), default: config::get(DEFAULT_POOL) }
    }

    /// All of them, sorted.
    pub fn all(&self) -> &[String] {
        &self.granted
    }

    /// The pool for volumes of that class; `None` if neither class nor config say which of several.
    pub fn find(&self, class: &Class) -> Result<Option<&str>> {
        let (wanted, error): (&str, fn(String) -> Error) = match (&class.pool, &self.default, self.granted.as_slice()) {
            (_, _, []) => return Err(no_pool()),
            (Some(pool), _, _) => (pool, Error::invalid),
            (None, Some(pool), _) => (pool, Error::precondition),
            (None, None, [only]) => return Ok(Some(only)),
            (None, None, _) => return Ok(None),
        };
        let found = self.granted.iter().find(|granted| *granted == wanted);
        let refuse = || error(format!("pool `{wanted}` isn't granted to this backend; it has {}", self.names()));
        found.map(|pool| Some(pool.as_str())).ok_or_else(refuse)
    }

    /// As [`Pools::find`], but there must be one.
    pub fn choose(&self, class: &Class) -> Result<&str> {
        let refuse = || {
            let names = self.names();
            Error::invalid(format!(
                "which pool? Set parameter `{POOL}` to one of {names}, or `{DEFAULT_POOL}` in the backend's config"
            ))
        };
        self.find(class)?.ok_or_else(refuse)
    }

    fn names(&self) -> String {
        self.granted.join(", ")
    }
}

/// Nothing works without a pool.
pub fn no_pool() -> Error {
    Error::precondition("no pool is granted to this backend; add one under `grants.pools` in the host's config")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> StringMap {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn pools(granted: &[&str], default: Option<&str>) -> Pools {
        Pools { granted: granted.iter().map(|name| (*name).to_owned()).collect(), default: default.map(str::to_owned) }
    }

    fn in_pool(pool: Option<&str>) -> Class {
        Class { pool: pool.map(str::to_owned), ..Class::parse(&Vec::new()).expect("defaults") }
    }

    #[test]
    fn classes_have_defaults_and_refuse_what_they_do_not_know() {
        let default = Class { pool: None, kind: ObjectKind::Image, provisioning: Provisioning::Thin };
        assert_eq!(Class::parse(&map(&[("csi.storage.k8s.io/pvc/name", "claim")])), Ok(default));
        let given = map(&[("pool", "fast"), ("type", "directory"), ("provisioning", "thick")]);
        let class =
            Class { pool: Some("fast".to_owned()), kind: ObjectKind::Directory, provisioning: Provisioning::Thick };
        assert_eq!(Class::parse(&given), Ok(class));
        for bad in [("type", "tape"), ("provisioning", "eager"), ("Pool", "fast")] {
            assert!(matches!(Class::parse(&map(&[bad])), Err(Error::InvalidArgument(_))), "{bad:?}");
        }
    }

    #[test]
    fn the_pool_is_named_configured_or_the_only_one() {
        let two = pools(&["fast", "slow"], None);
        assert_eq!(two.choose(&in_pool(Some("slow"))), Ok("slow"));
        assert_eq!(pools(&["fast", "slow"], Some("slow")).choose(&in_pool(None)), Ok("slow"));
        assert_eq!(pools(&["fast"], None).choose(&in_pool(None)), Ok("fast"));
        assert_eq!(two.find(&in_pool(None)), Ok(None));
        let error = two.choose(&in_pool(None)).unwrap_err();
        assert!(matches!(&error, Error::InvalidArgument(text) if text.contains("fast, slow")), "{error:?}");
    }

    #[test]
    fn pools_that_are_not_granted_are_refused() {
        assert!(matches!(pools(&["fast"], None).find(&in_pool(Some("slow"))), Err(Error::InvalidArgument(_))));
        assert!(matches!(pools(&["fast"], Some("slow")).find(&in_pool(None)), Err(Error::FailedPrecondition(_))));
        assert!(matches!(pools(&[], None).find(&in_pool(None)), Err(Error::FailedPrecondition(_))));
    }
}
