//! A hostile backend for the host's tests: one component that does every wrong thing, picked by the caller.
//!
//! A behaviour is `CALL.WHAT`. For CreateVolume it is the parameter `behave`, or the volume's name up to `--`. The volume id is the
//! name, so all later calls for that volume find their behaviour in the id: the volume `delete.trap--1` is made like any
//! other and traps when it is deleted. For calls without an id it is the backend's config: `info`, `probe`, `list`, `node`.
//!
//! | call | WHAT |
//! |---|---|
//! | any | `harm::HARMS`, `harm::ERRORS`, `pending-resumed` |
//! | `create` | `create::LIES`, `pending-once`, `pending-steps`; without a behaviour: a sound volume |
//! | `plan` | `plans::PLANS`, `plans::LIES`; without a behaviour: NFS |
//! | `expand` | `shrink`, `max`, `zero` |
//! | `list` | `many`, `endless`, `twice`, `token-long`, `token-control` |
//! | `info` | `version-empty`, `version-long`, `manifest-large`, `topology-key`, `promises`, `named` |
//!
//! It imports the pools; a test that loads it grants it one named `bad`.
//!
//! A behaviour that nobody knows is an `internal` error that says so: a misspelt test fails.

mod create;
mod harm;
mod plans;

use bulkhead_sdk::prelude::*;
use harm::{misbehave, unknown};

struct Bad;

/// WHAT of that call in a volume's id or name.
fn behaviour<'a>(call: &str, name: &'a str) -> Option<&'a str> {
    name.split_once("--")?.0.strip_prefix(call)?.strip_prefix('.')
}

impl Identity for Bad {
    fn get_info() -> Result<Info> {
        let mut info = Info::new("0.1.0");
        match config::get("info").as_deref() {
            None => {}
            Some("version-empty") => info.vendor_version.clear(),
            Some("version-long") => info.vendor_version = "1".repeat(129),
            Some("manifest-large") => info.manifest = vec![("m".to_owned(), "x".repeat(5 << 10))],
            Some("topology-key") => {
                info.topology_keys = vec!["no slash".to_owned(), "a/b".to_owned(), "A/B".to_owned()]
            }
            Some("promises") => info.promises = Promises::PUBLISH_READONLY | Promises::SNAPSHOT_TOPOLOGY,
            Some("named") => return Err(Error::precondition("`info` can't be that")),
            Some(what) => misbehave(what)?,
        }
        Ok(info)
    }

    fn probe() -> Result<bool> {
        match config::get("probe").as_deref() {
            None => Ok(true),
            Some("starting") => Ok(false),
            Some(what) => misbehave(what).map(|()| true),
        }
    }
}

impl Volumes for Bad {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        create::volume(&request)
    }

    fn delete_volume(volume_id: String) -> Result<()> {
        behaviour("delete", &volume_id).map_or(Ok(()), misbehave)
    }

    fn validate_volume_capabilities(request: ValidateRequest) -> Result<Option<String>> {
        match behaviour("validate", &request.volume_id) {
            None => Ok(None),
            Some("refuse-long") => Ok(Some("x".repeat(1 << 20))),
            Some(what) => misbehave(what).map(|()| None),
        }
    }
}

impl Listing for Bad {
    fn list_volumes(page: PageRequest) -> Result<VolumePage> {
        let volumes = |count: u32| (0..count).map(|n| Volume::new(format!("listed-{n}"), 1 << 30).into()).collect();
        let token = |text: String| Ok(VolumePage { entries: volumes(1), next_token: Some(text) });
        match config::get("list").as_deref() {
            None => Ok(VolumePage { entries: volumes(3), next_token: None }),
            Some("many") => Ok(VolumePage { entries: volumes(2000), next_token: None }),
            Some("endless") => token(format!("{}1111", page.token.unwrap_or_default())),
            Some("twice") => Ok(VolumePage {
                entries: vec![Volume::new("a", 1).into(), Volume::new("a", 1).into()],
                next_token: None,
            }),
            Some("token-long") => token("t".repeat(5 << 10)),
            Some("token-control") => token("a\n\0b".to_owned()),
            Some(what) => misbehave(what).map(|()| VolumePage { entries: Vec::new(), next_token: None }),
        }
    }
}

impl Expansion for Bad {
    fn expand_volume(request: ExpandRequest) -> Result<Expanded> {
        let asked = request.capacity.required.unwrap_or(1 << 30);
        let capacity_bytes = match behaviour("expand", &request.volume_id) {
            None => asked,
            Some("shrink") => asked - 1,
            Some("max") => u64::MAX,
            Some("zero") => 0,
            Some(what) => misbehave(what).map(|()| asked)?,
        };
        Ok(Expanded { capacity_bytes, node_expansion_required: true })
    }
}

impl Node for Bad {
    fn get_node_info(_facts: NodeFacts) -> Result<NodeInfo> {
        let segments = |key: &str, value: String| Some(Topology { segments: vec![(key.to_owned(), value)] });
        match config::get("node").as_deref() {
            None => Ok(NodeInfo::default()),
            Some("limit-max") => Ok(NodeInfo { max_volumes: Some(u32::MAX), topology: None }),
            Some("topology-undeclared") => {
                Ok(NodeInfo { max_volumes: None, topology: segments("bad/zone", "a".to_owned()) })
            }
            Some("topology-long") => Ok(NodeInfo { max_volumes: None, topology: segments("bad/zone", "a".repeat(64)) }),
            Some(what) => misbehave(what).map(|()| NodeInfo::default()),
        }
    }

    fn plan_volume(request: PlanRequest) -> Result<Plan> {
        let what = behaviour("plan", &request.volume_id).unwrap_or("nfs");
        match plans::plan(what, &request.capability) {
            Some(plan) => Ok(plan),
            None => misbehave(what).and_then(|()| Err(unknown(what))),
        }
    }
}

bulkhead_sdk::backend!(Bad: identity, volumes, listing, expansion, node);
