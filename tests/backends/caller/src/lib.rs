//! A backend for the host's tests that sends whatever request a volume's parameters describe, by wasi:http itself, and answers with
//! what came of it in the volume's context.
//!
//! | parameter | |
//! |---|---|
//! | `method`, `scheme`, `authority`, `path` | the pieces of the request, as they are; `scheme: none` leaves it out |
//! | `header.NAME` | a header; the value `(long)` is 1 KiB of text |
//! | `headers` | so many headers more |
//! | `body` | bytes of the body |
//! | `length` | `content-length`, whatever the body has |
//! | `abandon` | `true`: the body is dropped before its end |
//! | `times` | so many requests like this, one after the other |
//! | `pause-ms` | the between-bytes timeout |
//! | `hoard` | so many header resources, all kept |
//! | `fail` | `unauthenticated`: the call fails so, whatever came |
//!
//! The context has `outcome` (`status 200`, `error HttpRequestDenied`, `refused header Host`), `bytes`, `body` (the start of it) and
//! `header.NAME` of the answer's headers.

mod send;

use bulkhead_sdk::prelude::*;

struct Caller;

impl Identity for Caller {
    fn get_info() -> Result<Info> {
        if let Some(authority) = config::get("while-loading") {
            let given = [("authority".to_owned(), authority), ("scheme".to_owned(), "http".to_owned())];
            let outcome = send::send(&given).into_iter().find(|(key, _)| key == "outcome");
            return Ok(Info { manifest: outcome.into_iter().collect(), ..Info::new("0.1.0") });
        }
        Ok(Info::new("0.1.0"))
    }

    fn probe() -> Result<bool> {
        Ok(true)
    }
}

impl Volumes for Caller {
    fn create_volume(request: CreateVolumeRequest) -> Result<Volume> {
        let given = &request.parameters;
        let times = lookup(given, "times").and_then(|text| text.parse().ok()).unwrap_or(1u32);
        let mut context = Vec::new();
        for _ in 0..times {
            context = send::send(given);
        }
        if lookup(given, "fail") == Some("unauthenticated") {
            return Err(Error::unauthenticated("the array refused the request"));
        }
        Ok(Volume { context, ..Volume::new(request.name, 1 << 30) })
    }

    fn delete_volume(_volume_id: String) -> Result<()> {
        Ok(())
    }

    fn validate_volume_capabilities(_request: ValidateRequest) -> Result<Option<String>> {
        Ok(None)
    }
}

impl Node for Caller {
    /// On a node no request may leave: the outcome is the node's topology.
    fn get_node_info(_facts: NodeFacts) -> Result<NodeInfo> {
        let Some(authority) = config::get("on-node") else { return Ok(NodeInfo::default()) };
        let given = [("authority".to_owned(), authority), ("scheme".to_owned(), "http".to_owned())];
        let outcome = send::send(&given).into_iter().find(|(key, _)| key == "outcome");
        Err(Error::precondition(outcome.map_or_else(String::new, |(_, outcome)| outcome)))
    }

    fn plan_volume(_request: PlanRequest) -> Result<Plan> {
        Err(Error::precondition("volumes of this backend can't be mounted"))
    }
}

bulkhead_sdk::backend!(Caller: identity, volumes, node);
