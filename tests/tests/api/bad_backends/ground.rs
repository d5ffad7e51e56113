//! The bad backend behind a driver, and calls that ask it to misbehave.

use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Driver, Host, Sandbox, World,
    client::{Use, capability, create_request},
};
use std::time::{Duration, Instant};
use tonic::{Code, Status};

/// `limits.callTimeout` of the drivers here.
pub const TIMEOUT: Duration = Duration::from_millis(500);

/// Longest wait for a line of the log.
const PATIENCE: Duration = Duration::from_secs(5);
const GIB: i64 = 1 << 30;

/// A driver called `NAME.csi.bulkhead.dev` with a pool of its own.
pub fn bad(sandbox: &Sandbox, name: &str, config: &str) -> Driver {
    Driver {
        name: format!("{name}.csi.bulkhead.dev"),
        pools: vec![("bad".into(), sandbox.dir(&format!("pool-{name}")))],
        config: config.into(),
        limits: "callTimeout: 500ms\nmemory: 16MiB\n".into(),
        ..Driver::bad(sandbox)
    }
}

/// A call that finds its behaviour in the volume's name or id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Create,
    Delete,
    Validate,
    Expand,
    Plan,
}

impl Call {
    pub const ALL: [Self; 5] = [Self::Create, Self::Delete, Self::Validate, Self::Expand, Self::Plan];

    /// The function of the WIT.
    pub fn function(self) -> &'static str {
        match self {
            Self::Create => "volumes.create-volume",
            Self::Delete => "volumes.delete-volume",
            Self::Validate => "volumes.validate-volume-capabilities",
            Self::Expand => "expansion.expand-volume",
            Self::Plan => "node.plan-volume",
        }
    }

    /// What a trap, or an answer that can't be, is for the client. A call that may have changed something has no certain
    /// outcome then. That of a plan is not certain either: the volume may be staged from before.
    pub fn code_of_a_fault(self) -> Code {
        if self == Self::Validate { Code::Internal } else { Code::Unavailable }
    }

    /// Name or id with which the backend does `what`.
    pub fn subject(self, what: &str) -> String {
        let call = match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Validate => "validate",
            Self::Expand => "expand",
            Self::Plan => "plan",
        };
        format!("{call}.{what}--1")
    }

    /// Makes the call.
    pub async fn run(self, client: &Client, what: &str) -> Result<(), Status> {
        let subject = self.subject(what);
        match self {
            Self::Create => client.create(create_request(&subject, GIB, Use::Mount(""), &[])).await.map(drop),
            Self::Delete => client.delete(&subject).await,
            Self::Expand => client.expand(&subject, GIB, capability(Use::Mount(""))).await.map(drop),
            Self::Plan => {
                let volume = v1::Volume { volume_id: subject, ..Default::default() };
                client.stage(&volume, capability(Use::Mount(""))).await
            }
            Self::Validate => {
                let request = v1::ValidateVolumeCapabilitiesRequest {
                    volume_id: subject,
                    volume_capabilities: vec![capability(Use::Mount(""))],
                    ..Default::default()
                };
                client.controller.clone().validate_volume_capabilities(request).await.map(drop)
            }
        }
    }
}

/// What is watched: everything but the host's log and config.
pub fn world(sandbox: &Sandbox) -> World {
    World::of(sandbox, &["pool-bad", "pool-all", "pool", "kubelet/pods", "state"])
}

/// How long something took, and what came of it.
pub async fn timed<T>(run: impl Future<Output = T>) -> (Duration, T) {
    let start = Instant::now();
    let answer = run.await;
    (start.elapsed(), answer)
}

/// An error as every error must be.
pub fn is_proper(status: &Status, what: &str) {
    assert!(!status.message().trim().is_empty() && status.message().len() <= 1024, "{what}: {status}");
    assert!(!status.message().chars().any(char::is_control), "{what}: {status:?}");
    assert!(status.details().is_empty(), "{what} has details");
}

/// The log's lines since `from`, which it moves on. Waits for a line that has all of `parts`: a client may have its
/// answer a moment before the guest has been stopped.
///
/// # Panics
/// No such line comes.
pub async fn new_log(host: &Host, from: &mut usize, parts: &[&str]) -> String {
    let start = Instant::now();
    loop {
        let log = host.log();
        let new = &log[*from..];
        if has_line(new, parts) {
            let new = new.to_owned();
            *from = log.len();
            return new;
        }
        assert!(start.elapsed() < PATIENCE, "no line of the log has {parts:?}:\n{new}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A line of the log has all of these.
pub fn has_line(log: &str, parts: &[&str]) -> bool {
    log.lines().any(|line| parts.iter().all(|part| line.contains(part)))
}
