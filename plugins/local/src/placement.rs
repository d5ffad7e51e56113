//! Which pools a volume may go to, best first.

use crate::host::pools::pool_names;
use crate::parameters::POOL;
use crate::settings::Settings;
use bulkhead_sdk::prelude::*;

/// The pools that this backend may use, and what the operator says of them.
pub struct Pools {
    granted: Vec<String>,
    pub settings: Settings,
}

impl Pools {
    /// As the operator has configured them.
    pub fn configured() -> Result<Self> {
        let pools = Self { granted: pool_names(), settings: Settings::configured()? };
        if pools.granted.is_empty() {
            return Err(no_pool());
        }
        Ok(pools)
    }

    /// All of them, sorted.
    pub fn all(&self) -> &[String] {
        &self.granted
    }

    /// Pools for a volume that may lie anywhere, if its class names `named`. Without topology the operator chooses, by class
    /// or `defaultPool`, and a full pool is an error. With it each pool is a place of its own, so all count, the
    /// default first. Empty: nobody says which of several.
    pub fn anywhere(&self, named: Option<&str>) -> Result<Vec<&str>> {
        let default = self.settings.default_pool.as_deref();
        match (named, default, self.granted.as_slice()) {
            (Some(pool), _, _) => Ok(vec![self.granted(pool, Error::invalid)?]),
            (None, None, [only]) => Ok(vec![only]),
            (None, Some(default), all) => {
                let default = self.granted(default, Error::precondition)?;
                let others = all.iter().map(String::as_str).filter(|pool| *pool != default);
                let others = others.filter(|_| !self.settings.topology_keys.is_empty());
                Ok(std::iter::once(default).chain(others).collect())
            }
            (None, None, _) => Ok(Vec::new()),
        }
    }

    /// Pools for a new volume, best first, at least one.
    ///
    /// # Errors
    /// `invalid-argument`: nobody says which pool, or the one named isn't granted, or `refused` says why none of them can
    /// serve. `resource-exhausted`: none that can is where it must be.
    pub fn candidates(
        &self,
        named: Option<&str>,
        requirement: Option<&TopologyRequirement>,
        refused: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<&str>> {
        let mut pools = self.anywhere(named)?;
        if pools.is_empty() {
            if requirement.is_none() {
                return Err(self.which());
            }
            pools = self.granted.iter().map(String::as_str).collect();
        }
        let reason = pools.iter().find_map(|pool| refused(pool));
        pools.retain(|pool| refused(pool).is_none());
        if let (true, Some(reason)) = (pools.is_empty(), reason) {
            return Err(Error::invalid(reason));
        }
        let pools = self.ordered(pools, requirement);
        if pools.is_empty() {
            return Err(Error::exhausted("no pool for such a volume can be reached from any of the places asked for"));
        }
        Ok(pools)
    }

    /// Those that meet the requirement: by the order of what is preferred, then of what is requisite; where that says
    /// nothing, as they were.
    fn ordered<'a>(&self, pools: Vec<&'a str>, requirement: Option<&TopologyRequirement>) -> Vec<&'a str> {
        let Some(requirement) = requirement else { return pools };
        let mut ordered: Vec<&str> = Vec::new();
        let terms = requirement.preferred.iter().chain(&requirement.requisite);
        for term in terms {
            for pool in &pools {
                if !ordered.contains(pool) && self.settings.fits(pool, term) {
                    ordered.push(pool);
                }
            }
        }
        // Without requisite terms the others do too.
        let rest: Vec<&str> = pools.into_iter().filter(|pool| !ordered.contains(pool)).collect();
        ordered.extend(rest);
        ordered.retain(|pool| self.settings.meets(pool, Some(requirement)));
        ordered
    }

    fn granted(&self, pool: &str, error: fn(String) -> Error) -> Result<&str> {
        let found = self.granted.iter().find(|granted| *granted == pool);
        let refuse = || error(format!("pool `{pool}` isn't granted to this backend; it has {}", self.names()));
        found.map(String::as_str).ok_or_else(refuse)
    }

    fn which(&self) -> Error {
        let names = self.names();
        Error::invalid(format!(
            "which pool? Set parameter `{POOL}` to one of {names}, or `defaultPool` in the backend's config"
        ))
    }

    fn names(&self) -> String {
        self.granted.join(", ")
    }

    /// What the config names must be granted, or its settings are without effect.
    pub fn check(&self) -> Result<()> {
        self.settings.named_pools().try_for_each(|pool| self.granted(pool, Error::precondition).map(drop))
    }
}

/// Nothing works without a pool.
fn no_pool() -> Error {
    Error::precondition("no pool is granted to this backend; add one under `grants.pools` in the host's config")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{map, start};
    use crate::settings::tests::place;

    fn pools(granted: &[&str], config: &[(&str, &str)]) -> Pools {
        let granted = granted.iter().map(|name| (*name).to_owned()).collect();
        Pools { granted, settings: Settings::parse(&map(config)).expect("good settings") }
    }

    fn any(_: &str) -> Option<String> {
        None
    }

    fn zones(requisite: &[&str], preferred: &[&str]) -> TopologyRequirement {
        let places = |zones: &[&str]| zones.iter().map(|zone| place(&[("x/zone", zone)])).collect();
        TopologyRequirement { requisite: places(requisite), preferred: places(preferred) }
    }

    const ZONES: [(&str, &str); 4] = [
        ("topologyKeys.0", "x/zone"),
        ("pools.a.accessibleFrom.0.x/zone", "1"),
        ("pools.b.accessibleFrom.0.x/zone", "2"),
        ("pools.c.accessibleFrom.0.x/zone", "2"),
    ];

    #[test]
    fn the_pool_is_named_configured_or_the_only_one() {
        let two = pools(&["fast", "slow"], &[]);
        assert_eq!(two.candidates(Some("slow"), None, any), Ok(vec!["slow"]));
        let default = pools(&["fast", "slow"], &[("defaultPool", "slow")]);
        assert_eq!(default.candidates(None, None, any), Ok(vec!["slow"]));
        assert_eq!(pools(&["fast"], &[]).candidates(None, None, any), Ok(vec!["fast"]));
        let error = two.candidates(None, None, any).unwrap_err();
        assert!(matches!(&error, Error::InvalidArgument(text) if text.contains("fast, slow")), "{error:?}");
    }

    #[test]
    fn pools_that_are_not_granted_are_refused() {
        let fast = pools(&["fast"], &[]);
        assert!(matches!(fast.candidates(Some("slow"), None, any), Err(Error::InvalidArgument(_))));
        let elsewhere = pools(&["fast"], &[("defaultPool", "slow")]);
        assert!(matches!(elsewhere.candidates(None, None, any), Err(Error::FailedPrecondition(_))));
        assert!(matches!(elsewhere.check(), Err(Error::FailedPrecondition(_))));
        assert!(matches!(
            pools(&["fast"], &[("pools.fats.shared", "true")]).check(),
            Err(Error::FailedPrecondition(_))
        ));
        assert_eq!(pools(&["fast"], &[("pools.fast.shared", "true")]).check(), Ok(()));
        start(&[], &[]);
        assert!(matches!(Pools::configured(), Err(Error::FailedPrecondition(_))));
    }

    #[test]
    fn places_choose_among_all_pools() {
        let all = pools(&["a", "b", "c", "d"], &ZONES);
        let choose =
            |requisite: &[&str], preferred: &[&str]| all.candidates(None, Some(&zones(requisite, preferred)), any);
        assert_eq!(choose(&["1"], &[]), Ok(vec!["a", "d"]));
        assert_eq!(choose(&["1", "2"], &["2", "1"]), Ok(vec!["b", "c", "d", "a"]));
        assert_eq!(choose(&["1", "2"], &[]), Ok(vec!["a", "d", "b", "c"]));
        assert_eq!(choose(&[], &["2"]), Ok(vec!["b", "c", "d", "a"]));
        assert_eq!(choose(&["3"], &[]), Ok(vec!["d"]));
        assert!(matches!(all.candidates(Some("a"), Some(&zones(&["2"], &[])), any), Err(Error::ResourceExhausted(_))));
        assert!(matches!(all.candidates(None, None, any), Err(Error::InvalidArgument(_))));
    }

    #[test]
    fn the_default_comes_first_where_places_leave_a_choice() {
        let config: Vec<_> = ZONES.into_iter().chain([("defaultPool", "c")]).collect();
        let all = pools(&["a", "b", "c"], &config);
        assert_eq!(all.candidates(None, Some(&zones(&["2", "1"], &[])), any), Ok(vec!["c", "b", "a"]));
        assert_eq!(all.candidates(None, None, any), Ok(vec!["c", "a", "b"]));
        let none = all.candidates(None, Some(&zones(&["3"], &[])), any);
        assert!(matches!(none, Err(Error::ResourceExhausted(_))), "{none:?}");
    }

    #[test]
    fn pools_that_can_not_serve_are_left_out() {
        let all = pools(&["a", "b", "c"], &ZONES);
        let not_b = |pool: &str| (pool == "b").then(|| "not b".to_owned());
        assert_eq!(all.candidates(None, Some(&zones(&["2"], &[])), not_b), Ok(vec!["c"]));
        let none = all.candidates(None, Some(&zones(&["2"], &[])), |_| Some("never".to_owned()));
        assert_eq!(none, Err(Error::invalid("never")));
    }
}
