//! A plan keeps to what the operator allows this backend.

use super::load::Ready;
use bulkhead_domain::{
    Error, Result,
    plan::{Access, EphemeralPlan, Plan, Scratch},
};

impl Ready {
    pub(super) fn allowed(&self, plan: Plan) -> Result<Plan> {
        self.access_granted(plan.access.name())?;
        if let Access::PoolDirectory(object) | Access::PoolImage(object) = &plan.access {
            self.pool_granted(&object.pool)?;
        }
        Ok(plan)
    }

    pub(super) fn allowed_ephemeral(&self, plan: EphemeralPlan) -> Result<EphemeralPlan> {
        self.access_granted(match plan.scratch {
            Scratch::Image(_) => "pool-image",
            Scratch::Directory(_) => "pool-directory",
        })?;
        self.pool_granted(&plan.pool)?;
        Ok(plan)
    }

    fn access_granted(&self, access: &str) -> Result<()> {
        if self.access.contains(access) { Ok(()) } else { self.denied(&format!("{access} is not in grants.access")) }
    }

    fn pool_granted(&self, pool: &str) -> Result<()> {
        if self.shared.granted.pool_names().iter().any(|granted| granted == pool) {
            return Ok(());
        }
        self.denied(&format!("pool {pool:?} is not in grants.pools"))
    }

    fn denied(&self, what: &str) -> Result<()> {
        tracing::error!(driver = self.shared.driver, what, "the backend's plan is not allowed");
        Err(Error::failed_precondition(format_args!("the backend's plan is not allowed here: {what}")))
    }
}
