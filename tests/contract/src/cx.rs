//! What a case works with: the driver, names of its own, and the list of what to take away afterwards.

use crate::{Driver, Side, Stop, Usage, undo::Undo};
use bulkhead_proto::v1;
use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::Duration,
};

/// A call that was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its RPC.
    pub rpc: &'static str,
    /// How it ended.
    pub code: tonic::Code,
    /// How long it took.
    pub took: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) undo: Vec<Undo>,
    pub(crate) calls: Vec<Made>,
    /// The first RPC that was not asked because of `--controller-only`.
    pub(crate) beyond: Option<&'static str>,
    /// Rules that no answer may break, and one did.
    pub(crate) violations: Vec<String>,
}

/// The context of one case. Clones share everything but the side and the deadline.
#[derive(Clone)]
pub struct Cx {
    /// The driver.
    pub driver: Arc<Driver>,
    /// How volumes are used in this case.
    pub usage: Usage,
    pub(crate) side: Side,
    pub(crate) deadline: Duration,
    state: Arc<Mutex<State>>,
}

impl Cx {
    pub(crate) fn new(driver: Arc<Driver>, usage: Usage) -> Self {
        let deadline = driver.options.timeout;
        Self { driver, usage, side: Side::Node, deadline, state: Arc::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, with node calls and `node_id` of that side.
    #[must_use]
    pub fn on(&self, side: Side) -> Self {
        Self { side, ..self.clone() }
    }

    /// The same, with another deadline for every call.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// A name that nothing else has, of at most 60 bytes if `what` has at most 20.
    pub fn name(&self, what: &str) -> String {
        let number = self.driver.counter.fetch_add(1, Ordering::Relaxed);
        format!("contract-{}-{number}-{what}", self.driver.run_id)
    }

    /// A name of exactly so many bytes, at least 60.
    pub fn name_of(&self, bytes: usize) -> String {
        let name = self.name("long-");
        format!("{name}{}", "x".repeat(bytes.saturating_sub(name.len())))
    }

    /// The node's id; empty without a Node service.
    pub fn node_id(&self) -> String {
        let info = match self.side {
            Side::SecondNode => &self.driver.second_node_info,
            _ => &self.driver.node_info,
        };
        info.as_ref().map(|info| info.node_id.clone()).unwrap_or_default()
    }

    /// The volume's size in bytes.
    pub fn bytes(&self) -> i64 {
        self.driver.options.bytes()
    }

    fn work_dir(&self) -> &Path {
        let options = &self.driver.options;
        match (&options.second_work_dir, self.side) {
            (Some(second), Side::SecondNode) => second,
            _ => &options.work_dir,
        }
    }

    /// A staging path that exists, as an orchestrator makes it. Removed after the case.
    ///
    /// # Errors
    /// It can't be made.
    pub fn staging_path(&self) -> Result<String, Stop> {
        let path = self.work_dir().join("staging").join(self.name("volume"));
        let path = self.directory(path)?;
        path.into_os_string().into_string().map_err(|_| Stop::fail("--work-dir is not UTF-8"))
    }

    /// A target path whose parent exists and which does not itself, as an orchestrator gives it. Removed after the case.
    ///
    /// # Errors
    /// The parent can't be made.
    pub fn target_path(&self) -> Result<String, Stop> {
        let parent = self.directory(self.work_dir().join("targets").join(self.name("pod")))?;
        parent.join("mount").into_os_string().into_string().map_err(|_| Stop::fail("--work-dir is not UTF-8"))
    }

    fn directory(&self, path: PathBuf) -> Result<PathBuf, Stop> {
        std::fs::create_dir_all(&path).map_err(|e| Stop::fail(format!("can't make {}: {e}", path.display())))?;
        self.made(Undo::Directory(path.clone()));
        Ok(path)
    }

    /// The capability SINGLE_NODE_WRITER for this case's use.
    pub fn capability(&self) -> v1::VolumeCapability {
        self.capability_of(v1::volume_capability::access_mode::Mode::SingleNodeWriter)
    }

    /// A capability for this case's use.
    pub fn capability_of(&self, mode: v1::volume_capability::access_mode::Mode) -> v1::VolumeCapability {
        capability(&self.usage, mode)
    }

    /// Kills the driver, starts it again and waits until it is ready.
    ///
    /// # Errors
    /// It does not come up.
    pub async fn restart(&self) -> Result<(), Stop> {
        let Some(control) = &self.driver.control else { return Err(Stop::skip("no --restart-command")) };
        control.restart().await.map_err(Stop::fail)?;
        self.driver.wait_until_ready().await.map_err(Stop::fail)
    }

    /// A rule that any answer may break.
    pub(crate) fn violation(&self, why: String) {
        let mut state = self.lock();
        if !state.violations.contains(&why) {
            state.violations.push(why);
        }
    }

    /// The last calls, for a report.
    pub(crate) fn trace(&self) -> String {
        let state = self.lock();
        let mut text = String::new();
        for made in state.calls.iter().rev().take(12).rev() {
            let _ = write!(text, "{} {} {} ms; ", made.rpc, crate::check::name(made.code), made.took.as_millis());
        }
        text.trim_end_matches("; ").to_owned()
    }
}

/// A capability.
pub fn capability(usage: &Usage, mode: v1::volume_capability::access_mode::Mode) -> v1::VolumeCapability {
    use v1::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
    let access_type = match usage {
        Usage::Block => AccessType::Block(BlockVolume {}),
        Usage::Mount(fs_type) => AccessType::Mount(MountVolume { fs_type: fs_type.clone(), ..Default::default() }),
    };
    v1::VolumeCapability { access_type: Some(access_type), access_mode: Some(AccessMode { mode: mode.into() }) }
}
