//! The cases, one file for each subject.
//!
//! To add one: write an `async fn(Cx) -> Outcome` in the file of its subject, add a line to that file's `cases()`, name the rules
//! of `rules.md` that it covers, and tick them off there. A new subject is a new file and one line in [`all`].

use crate::{Case, Cx, Need, Stop};
use bulkhead_proto::v1::{
    controller_service_capability::rpc::Type as ControllerRpc, plugin_capability::service::Type as Service,
};
use std::time::Duration;
use tonic::{Code, Status};

mod attach;
mod attach_nodes;
mod capacity;
mod create;
mod create_names;
mod create_topology;
mod data_blocks;
mod data_copy;
mod data_cuts;
mod data_life;
mod delete;
mod every_rpc;
mod expand;
mod get;
mod group;
mod group_delete;
mod health;
mod identity;
mod life;
mod list;
mod list_snapshots;
mod metadata;
mod modify;
mod node;
mod node_ephemeral;
mod node_expand;
mod node_info;
mod node_publish;
mod node_readonly;
mod node_stage;
mod node_stats;
mod node_unstage;
mod rpcs;
mod snapshot;
mod source;
mod steps;
mod timing;
mod validate;

/// Every case.
pub fn all() -> Vec<Case> {
    let subjects = [
        identity::cases(),
        every_rpc::cases(),
        timing::cases(),
        create::cases(),
        create_names::cases(),
        create_topology::cases(),
        source::cases(),
        delete::cases(),
        attach::cases(),
        attach_nodes::cases(),
        validate::cases(),
        list::cases(),
        get::cases(),
        capacity::cases(),
        expand::cases(),
        modify::cases(),
        snapshot::cases(),
        list_snapshots::cases(),
        group::cases(),
        group_delete::cases(),
        metadata::cases(),
        health::cases(),
        // Node and data:
        node_info::cases(),
        node_stage::cases(),
        node_unstage::cases(),
        node_publish::cases(),
        node_readonly::cases(),
        node_stats::cases(),
        node_expand::cases(),
        node_ephemeral::cases(),
        data_life::cases(),
        data_copy::cases(),
        data_cuts::cases(),
        data_blocks::cases(),
        life::cases(),
    ];
    subjects.into_iter().flatten().collect()
}

const VOLUMES: Need = Need::Controller(ControllerRpc::CreateDeleteVolume);
const ATTACH: Need = Need::Controller(ControllerRpc::PublishUnpublishVolume);
const LIST: Need = Need::Controller(ControllerRpc::ListVolumes);
const SNAPSHOTS: Need = Need::Controller(ControllerRpc::CreateDeleteSnapshot);
const LIST_SNAPSHOTS: Need = Need::Controller(ControllerRpc::ListSnapshots);
const CLONE: Need = Need::Controller(ControllerRpc::CloneVolume);
const EXPAND: Need = Need::Controller(ControllerRpc::ExpandVolume);
const TOPOLOGY: Need = Need::Plugin(Service::VolumeAccessibilityConstraints);

/// Repeats a call as an orchestrator does, as long as its outcome is uncertain, at most the timeout of the options.
async fn settled<T, F>(cx: &Cx, mut call: impl FnMut() -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let start = tokio::time::Instant::now();
    loop {
        let answer = call().await;
        let uncertain = |s: &Status| matches!(s.code(), Code::Aborted | Code::Unavailable | Code::DeadlineExceeded);
        match answer {
            Err(status) if uncertain(&status) && start.elapsed() < cx.driver.options.timeout => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            answer => return answer,
        }
    }
}

/// An id that no driver has given.
fn no_such_id(cx: &Cx) -> String {
    cx.name("no-such-thing")
}

/// Fails the case unless Probe says that the driver is there.
async fn alive(cx: &Cx, after: &str) -> Result<(), Stop> {
    let probe = bulkhead_proto::v1::ProbeRequest {};
    crate::check::ok(cx.probe(probe).await, &format!("Probe after {after}")).map(drop)
}
