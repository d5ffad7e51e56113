//! Which share a volume may go to.

use crate::host::pools::pool_names;
use crate::parameters::SHARE;
use crate::settings::Settings;
use bulkhead_sdk::prelude::*;

/// The shares on which volumes can be made, those with a pool, and what the operator says of all.
pub struct Shares {
    granted: Vec<String>,
    pub settings: Settings,
}

impl Shares {
    /// As the operator has configured them.
    pub fn configured() -> Result<Self> {
        Ok(Self { granted: pool_names(), settings: Settings::configured()? })
    }

    /// All that have a pool, sorted.
    pub fn all(&self) -> &[String] {
        &self.granted
    }

    /// Every pool is of a share that nodes can find, and the default is one of them.
    pub fn check(&self) -> Result<()> {
        if let Some(pool) = self.granted.iter().find(|pool| self.settings.export(pool).is_none()) {
            return Err(Error::precondition(format!(
                "the backend's config: pool `{pool}` is granted, and there is no `shares.{pool}` that says where nodes find it"
            )));
        }
        match &self.settings.default_share {
            Some(share) if !self.granted.contains(share) => Err(Error::precondition(format!(
                "the backend's config: `defaultShare` is `{share}`, and no pool of that name is granted"
            ))),
            _ => Ok(()),
        }
    }

    /// Where a volume goes whose class names `named`: there, or to the default, or to the only one. `None`: nobody says.
    ///
    /// # Errors
    /// `invalid-argument`: there is no such share, or it has no pool.
    pub fn chosen(&self, named: Option<&str>) -> Result<Option<&str>> {
        let granted = |share: &str, refuse: fn(String) -> Error| {
            let found = self.granted.iter().find(|granted| *granted == share).map(String::as_str);
            found.ok_or_else(|| refuse(format!("there is no share `{share}` with a pool")))
        };
        match (named, self.settings.default_share.as_deref(), self.granted.as_slice()) {
            (Some(share), _, _) => granted(share, Error::invalid).map(Some),
            (None, Some(default), _) => granted(default, Error::precondition).map(Some),
            (None, None, [only]) => Ok(Some(only)),
            (None, None, _) => Ok(None),
        }
    }

    /// As [`Shares::chosen`], for a new volume.
    ///
    /// # Errors
    /// As there; `invalid-argument` too if nobody says which, `failed-precondition` if there is none.
    pub fn for_new(&self, named: Option<&str>) -> Result<&str> {
        let none = || match self.granted.as_slice() {
            [] => Error::precondition("no pool is granted, so volumes can't be made: grant one named like a share"),
            all => Error::invalid(format!("parameter `{SHARE}` is required: one of {}", all.join(", "))),
        };
        self.chosen(named)?.ok_or_else(none)
    }
}
