//! What a case is: a name, the rules that it covers, what it needs, and what it does.

use crate::{Cx, Driver, Side, Usage};
use bulkhead_proto::v1::{
    controller_service_capability::rpc::Type as ControllerRpc, node_service_capability::rpc::Type as NodeRpc,
    plugin_capability::service::Type as Service, plugin_capability::volume_expansion::Type as Expansion,
};
use std::{fmt, pin::Pin, sync::Arc};

/// Why a case ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The driver broke a rule.
    Fail(String),
    /// It turned out that the case can't be tried here.
    Skip(String),
}

impl Stop {
    /// A failure.
    pub fn fail(why: impl fmt::Display) -> Self {
        Self::Fail(why.to_string())
    }

    /// A reason not to try.
    pub fn skip(why: impl fmt::Display) -> Self {
        Self::Skip(why.to_string())
    }
}

/// What a case gives: nothing when the driver keeps the rules.
pub type Outcome<T = ()> = Result<T, Stop>;

/// What must be there for a case to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A capability of GetPluginCapabilities.
    Plugin(Service),
    /// How volumes may grow.
    Expansion(Expansion),
    /// A capability of ControllerGetCapabilities.
    Controller(ControllerRpc),
    /// A capability of NodeGetCapabilities.
    Node(NodeRpc),
    /// Group snapshots: the service and its one capability.
    Groups,
    /// A capability that must *not* be there.
    NoPlugin(Service),
    /// Group snapshots must not be there.
    NoGroups,
    /// As `NoPlugin`.
    NoController(ControllerRpc),
    /// As `NoPlugin`.
    NoNode(NodeRpc),
    /// The Node service. Every driver has it; a controller's socket need not.
    NodeService,
    /// `--second-node-endpoint`.
    SecondNode,
    /// A way to kill and restart the driver.
    Restart,
    /// The suite runs as root and sees the driver's mounts.
    Root,
    /// An option of this name was given, like `mutable-parameters`.
    Option(&'static str),
    /// The volume is mounted.
    Mount,
    /// The volume is a raw device.
    Block,
}

impl Need {
    /// Whether it is there.
    ///
    /// # Errors
    /// What is missing, for the report.
    pub fn check(self, driver: &Driver, usage: &Usage) -> Result<(), String> {
        let caps = &driver.caps;
        let missing = |there: bool, what: String| if there { Ok(()) } else { Err(what) };
        match self {
            Self::Plugin(service) => {
                missing(caps.plugin.contains(&service.into()), format!("no {} of the plugin", service.as_str_name()))
            }
            Self::Expansion(how) => {
                missing(caps.expansion.contains(&how.into()), format!("no {} expansion", how.as_str_name()))
            }
            Self::Controller(rpc) => missing(caps.has(rpc), format!("no controller {}", rpc.as_str_name())),
            Self::Node(rpc) => missing(caps.node_has(rpc), format!("no node {}", rpc.as_str_name())),
            Self::Groups => missing(caps.groups(), "no group snapshots".into()),
            Self::NoPlugin(service) => {
                missing(!caps.plugin.contains(&service.into()), format!("{} is offered", service.as_str_name()))
            }
            Self::NoGroups => missing(!caps.groups(), "group snapshots are offered".into()),
            Self::NoController(rpc) => missing(!caps.has(rpc), format!("{} is offered", rpc.as_str_name())),
            Self::NoNode(rpc) => missing(!caps.node_has(rpc), format!("{} is offered", rpc.as_str_name())),
            Self::NodeService => missing(driver.node_info.is_some(), "no Node service at the endpoint".into()),
            Self::SecondNode => missing(driver.has(Side::SecondNode), "no --second-node-endpoint".into()),
            Self::Restart => missing(driver.control.is_some(), "no --restart-command".into()),
            // Whose mounts are seen is on a node.
            Self::Root if driver.options.controller_only => Err("--controller-only: it uses volumes on a node".into()),
            Self::Root => missing(rustix::process::geteuid().is_root(), "not root".into()),
            Self::Option(name) => missing(driver.options.is_set(name), format!("no --{name}")),
            Self::Mount => missing(!usage.is_block(), "the volume is a raw device".into()),
            Self::Block => missing(usage.is_block(), "the volume is mounted".into()),
        }
    }
}

type Run = Arc<dyn Fn(Cx) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync>;

/// One case.
#[derive(Clone)]
pub struct Case {
    /// `subject/what`, unique.
    pub name: String,
    /// Ids of `rules.md`.
    pub rules: Vec<&'static str>,
    /// All of them must be there.
    pub needs: Vec<Need>,
    /// Nothing else runs meanwhile.
    pub alone: bool,
    /// Runs once for each use that was asked for, not only for the first.
    pub every_use: bool,
    pub(crate) run: Run,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// A case. `run` gets a context that cleans up after it, however it ends.
pub fn case<F, Running>(name: impl Into<String>, rules: &[&'static str], needs: &[Need], run: F) -> Case
where
    F: Fn(Cx) -> Running + Send + Sync + 'static,
    Running: Future<Output = Outcome> + Send + 'static,
{
    Case {
        name: name.into(),
        rules: rules.to_vec(),
        needs: needs.to_vec(),
        alone: false,
        every_use: false,
        run: Arc::new(move |cx| Box::pin(run(cx))),
    }
}

impl Case {
    /// Nothing else runs meanwhile: it restarts the driver, or counts what others make.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Runs for each file system and for raw devices, as far as they were asked for.
    #[must_use]
    pub fn every_use(mut self) -> Self {
        self.every_use = true;
        self
    }
}
