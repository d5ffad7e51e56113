//! One operation in a process of its own, to be killed.

use crate::env::{Env, Kind, POOL, assert_data, read_only, write_data};
use bulkhead_domain::plan::Plan;
use bulkhead_domain::{ErrorKind, Result};
use bulkhead_node::pool::{CopyOrder, Object, ObjectSpec, PoolStore, Provisioning};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

pub const MARK: &str = "__operation";
/// Holds another plan for staging than the kind's.
const PLAN: &str = "BULKHEAD_TEST_PLAN";

/// How a child ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    Killed,
    Failed(String),
}

/// Runs `operation` on the volume `v` in another process, with these failpoints.
pub fn operation(env: &Env, operation: &str, kind: Kind, failpoints: &str) -> Ended {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([MARK, env.root().to_str().unwrap(), operation, kind.name()])
        .env(bulkhead_node::failpoint::VARIABLE, failpoints)
        .output()
        .unwrap();
    ended(&output)
}

fn ended(output: &Output) -> Ended {
    match (output.status.success(), output.status.signal()) {
        (true, _) => Ended::Done,
        (false, Some(9)) => Ended::Killed,
        _ => Ended::Failed(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// As [`operation`], with another plan for staging.
pub fn operation_of(env: &Env, operation: &str, kind: Kind, plan: &Plan, failpoints: &str) -> Ended {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([MARK, env.root().to_str().unwrap(), operation, kind.name()])
        .env(bulkhead_node::failpoint::VARIABLE, failpoints)
        .env(PLAN, serde_json::to_string(plan).unwrap())
        .output()
        .unwrap();
    ended(&output)
}

/// The failpoints that an operation comes by, in that order, from a run that nothing disturbs.
pub fn steps(env: &Env, operation: &str, kind: Kind, plan: Option<&Plan>) -> Vec<&'static str> {
    let trace = env.root().join("trace");
    let failpoints = format!("*=trace:{}", trace.display());
    let ended = match plan {
        Some(plan) => operation_of(env, operation, kind, plan, &failpoints),
        None => self::operation(env, operation, kind, &failpoints),
    };
    assert_eq!(ended, Ended::Done, "{operation} of {kind:?}");
    let trace = std::fs::read_to_string(trace).unwrap_or_default();
    let all = bulkhead_node::failpoint::ALL;
    let mut steps: Vec<_> = trace.lines().map(|line| *all.iter().find(|name| **name == line).unwrap()).collect();
    // Twice at one place: the process dies at the first.
    let mut seen = std::collections::BTreeSet::new();
    steps.retain(|name| seen.insert(*name));
    steps
}

/// The other process.
pub fn run(arguments: &[String]) -> ExitCode {
    let [root, operation, kind] = arguments else { panic!("bad arguments {arguments:?}") };
    match perform(&Env::existing(root), operation, Kind::parse(kind)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{:?}: {e}", e.kind());
            ExitCode::FAILURE
        }
    }
}

fn perform(env: &Env, operation: &str, kind: Kind) -> Result<()> {
    let engine = env.engine();
    let pools = engine.pools();
    match operation {
        "stage" => {
            let mut stage = env.stage("v", kind);
            if let Ok(plan) = std::env::var(PLAN) {
                stage.plan = serde_json::from_str(&plan).unwrap();
            }
            engine.stage(&stage)
        }
        "unstage" => engine.unstage(&env.unstage("v")),
        "publish" => engine.publish(&env.publish("v", kind, "pod", false)),
        "publish-read-only" => engine.publish(&env.publish("v", kind, "pod", true)),
        "publish-ephemeral" => engine.publish_ephemeral(&env.ephemeral("v", kind, "pod")),
        "stage-read-only" => engine.stage(&read_only(env.stage("v", kind))),
        "unpublish" => engine.unpublish(&env.unpublish("v", "pod")),
        "expand" => engine.expand(&env.expand("v", env.staging("v"), 2 * kind.size())).map(drop),
        "expand-node" => env.growing().expand(&env.expand("v", env.staging("v"), 2 * kind.size())).map(drop),
        "life" => life(env, &engine, kind),
        "pool-create" => {
            env.create(&engine, "v", kind);
            Ok(())
        }
        "pool-delete" => pools.delete_object(POOL, "v"),
        "pool-resize" => pools.resize_object(POOL, "v", 2 * kind.size()).map(drop),
        "pool-thin" => {
            let version = pools.stat_object(POOL, "v")?.unwrap().version;
            pools.update_object(POOL, "v", version, Provisioning::Thin, &Default::default()).map(drop)
        }
        "pool-copy" => pools.copy_objects(POOL, &copies_of_all(pools)).map(drop),
        // Failures to make copies are expected here, what follows is not.
        "pool-copy-anew" => {
            let orders = copies_of_all(pools);
            drop(pools.copy_objects(POOL, &orders));
            orders.iter().try_for_each(|order| pools.delete_object(POOL, &order.target.name))?;
            match pools.copy_objects(POOL, &orders) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => Err(e),
                _ => Ok(()),
            }
        }
        other => panic!("no operation {other}"),
    }
}

/// One copy of every object, `copy-NAME`, never to change.
pub fn copies_of_all(pools: &PoolStore) -> Vec<CopyOrder> {
    let copy = |object: Object| CopyOrder {
        source: object.spec.name.clone(),
        target: ObjectSpec { name: format!("copy-{}", object.spec.name), ..object.spec },
        read_only: true,
    };
    pools.list_objects(POOL, "", None).unwrap().objects.into_iter().map(copy).collect()
}

/// All of a volume's life but its end.
fn life(env: &Env, engine: &bulkhead_node::Engine, kind: Kind) -> Result<()> {
    // As the host does: it changes who owns the process's files in /proc.
    bulkhead_node::forbid_core_dumps().unwrap();
    env.create(engine, "v", kind);
    engine.stage(&env.stage("v", kind))?;
    engine.publish(&env.publish("v", kind, "pod", false))?;
    engine.publish(&env.publish("v", kind, "reader", true))?;
    write_data(&env.target("pod"), kind);
    assert_data(&env.target("reader"), kind);
    assert!(std::fs::write(env.target("reader").join("x"), "x").is_err());
    engine.stats(&env.stats("v", env.target("pod")), Duration::from_secs(5))?;
    engine.unpublish(&env.unpublish("v", "pod"))?;
    engine.unpublish(&env.unpublish("v", "reader"))?;
    engine.unstage(&env.unstage("v"))
}
