//! The rules that the specification sets for every call: repeats, conflicts, order, restarts, two processes.

use crate::sandboxed;
use bulkhead_proto::v1::{self, volume_capability::access_mode::Mode};
use bulkhead_tests::{
    Client, Driver, Host, HostBuilder, Places, Sandbox, Snapshot,
    client::{Use, capability, capability_with, create_request},
};
use rustix::process::Signal;
use std::{fs, path::Path};
use tonic::{Code, Status};

const MIB: i64 = 1 << 20;
const DIRECTORY: &[(&str, &str)] = &[("type", "directory")];

/// How a volume is used, its parameters, its bytes.
type Kind = (Use, &'static [(&'static str, &'static str)], i64);

const KINDS: [Kind; 4] = [
    (Use::Mount("ext4"), &[], 16 * MIB),
    (Use::Mount("xfs"), &[], 300 * MIB),
    (Use::Block, &[], 16 * MIB),
    (Use::Mount(""), DIRECTORY, MIB),
];

async fn start(sandbox: &Sandbox) -> (Host, Client) {
    let host = HostBuilder::new(sandbox, [Driver::local(sandbox)]).start();
    let client = host.client().await;
    (host, client)
}

fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    answer.map_or_else(|e| e.code(), |_| Code::Ok)
}

fn mode(usage: Use, mode: Mode) -> v1::VolumeCapability {
    capability_with(usage, mode, &[])
}

/// One step of a volume's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Create,
    Stage,
    Publish,
    PublishReadOnly,
    Expand,
    NodeExpand,
    Stats,
    Unpublish,
    Unstage,
    Delete,
}

const LIFE: [Step; 12] = {
    use Step::*;
    [Create, Stage, Publish, Expand, NodeExpand, Stats, Unpublish, Unstage, Stage, PublishReadOnly, Unpublish, Unstage]
};

/// One volume and what a client remembers of it.
struct Volume {
    usage: Use,
    parameters: &'static [(&'static str, &'static str)],
    bytes: i64,
    known: v1::Volume,
}

impl Volume {
    fn new((usage, parameters, bytes): Kind) -> Self {
        Self { usage, parameters, bytes, known: v1::Volume { volume_id: "fast/pvc".into(), ..Default::default() } }
    }

    /// Does one step; the answer as text, to be compared.
    async fn step(&mut self, client: &Client, step: Step) -> Result<String, Status> {
        let (id, cap) = (self.known.volume_id.clone(), capability(self.usage));
        Ok(match step {
            Step::Create => {
                self.known = client.create(create_request("pvc", self.bytes, self.usage, self.parameters)).await?;
                format!("{:?}", self.known)
            }
            Step::Stage => format!("{:?}", client.stage(&self.known, cap).await?),
            Step::Publish => client.publish(&self.known, cap, "pod", false).await?,
            Step::PublishReadOnly => client.publish(&self.known, cap, "pod", true).await?,
            Step::Expand => format!("{:?}", client.expand(&id, 2 * self.bytes, cap).await?),
            Step::NodeExpand => match client.node_expand(&id, &client.staging(&id), 2 * self.bytes).await {
                // ext4 that may not grow while mounted grows at the next stage.
                Err(e) if e.code() == Code::FailedPrecondition && self.usage == Use::Mount("ext4") => "later".into(),
                answer => answer?.to_string(),
            },
            Step::Stats => {
                let usage = client.stats(&id, &client.target("pod", &id)).await?;
                format!("{:?}", usage.iter().map(|line| (line.unit, line.total)).collect::<Vec<_>>())
            }
            Step::Unpublish => format!("{:?}", client.unpublish(&id, "pod").await?),
            Step::Unstage => format!("{:?}", client.unstage(&id).await?),
            Step::Delete => format!("{:?}", client.delete(&id).await?),
        })
    }
}

#[test]
fn every_call_can_be_repeated_and_gives_and_leaves_the_same() {
    sandboxed(async |s| {
        let (_host, client) = start(&s).await;
        let places = Places::of(&s);
        for kind in KINDS {
            let mut volume = Volume::new(kind);
            for step in LIFE.into_iter().chain([Step::Delete]) {
                let first = volume.step(&client, step).await.unwrap();
                let after = places.snapshot(&s, "fast/pvc");
                for _ in 0..2 {
                    assert_eq!(volume.step(&client, step).await.unwrap(), first, "{kind:?} {step:?}");
                    assert_eq!(places.snapshot(&s, "fast/pvc"), after, "{kind:?} {step:?}");
                }
            }
            assert_eq!(places.snapshot(&s, "fast/pvc"), Snapshot::default());
        }
        places.assert_empty(&s);
    });
}

#[test]
fn a_restart_between_any_two_calls_changes_nothing() {
    sandboxed(async |s| {
        let places = Places::of(&s);
        for (number, kind) in KINDS.into_iter().enumerate() {
            let mut volume = Volume::new(kind);
            let mut expected = vec![];
            {
                let (_host, client) = start(&s).await;
                for step in LIFE.into_iter().chain([Step::Delete]) {
                    expected.push((volume.step(&client, step).await.unwrap(), places.snapshot(&s, "fast/pvc")));
                }
            }
            let mut volume = Volume::new(kind);
            for (step, (answer, after)) in LIFE.into_iter().chain([Step::Delete]).zip(&expected) {
                let (mut host, client) = start(&s).await;
                assert_eq!(volume.step(&client, step).await.unwrap(), *answer, "{kind:?} {step:?}");
                assert_eq!(places.snapshot(&s, "fast/pvc"), *after, "{kind:?} {step:?}");
                // It is asked to stop, or dies.
                let signal = if number % 2 == 0 { Signal::TERM } else { Signal::KILL };
                host.signal(signal);
                // Elsewhere: the client must be able to hear that the host goes.
                let status = tokio::task::spawn_blocking(move || host.wait()).await.unwrap();
                assert_eq!(status.success(), signal == Signal::TERM, "{status}");
                assert_eq!(places.snapshot(&s, "fast/pvc"), *after, "{kind:?} {step:?}, after the host has ended");
            }
        }
        places.assert_empty(&s);
    });
}

#[test]
fn a_name_belongs_to_one_request() {
    sandboxed(async |s| {
        let mut driver = Driver::local(&s);
        driver.pools.push(("slow".into(), s.dir("slow")));
        driver.config = "defaultPool: fast".into();
        let host = HostBuilder::new(&s, [driver]).start();
        let client = host.client().await;
        let request = |bytes, usage, parameters| create_request("pvc", bytes, usage, parameters);
        let ext4 = Use::Mount("ext4");
        let first = request(32 * MIB, ext4, &[("type", "image")]);
        let volume = client.create(first.clone()).await.unwrap();
        let others: [(&str, v1::CreateVolumeRequest); 8] = [
            ("type", request(32 * MIB, ext4, DIRECTORY)),
            ("provisioning", request(32 * MIB, ext4, &[("type", "image"), ("provisioning", "thick")])),
            ("pool", request(32 * MIB, ext4, &[("type", "image"), ("pool", "slow")])),
            ("a larger size", request(64 * MIB, ext4, &[("type", "image")])),
            ("a smaller limit", {
                let mut r = first.clone();
                r.capacity_range = Some(v1::CapacityRange { required_bytes: 16 * MIB, limit_bytes: 16 * MIB });
                r
            }),
            ("file system", request(32 * MIB, Use::Mount(""), &[("type", "image")])),
            ("block", request(32 * MIB, Use::Block, &[("type", "image")])),
            ("access mode", {
                let mut r = first.clone();
                r.volume_capabilities = vec![mode(ext4, Mode::SingleNodeMultiWriter)];
                r
            }),
        ];
        for (what, other) in others {
            assert_eq!(code(client.create(other).await), Code::AlreadyExists, "{what}");
        }
        for (required_bytes, limit_bytes) in [(32, 0), (16, 0), (1, 64), (0, 32), (32, 32)] {
            let mut r = first.clone();
            let (required_bytes, limit_bytes) = (required_bytes * MIB, limit_bytes * MIB);
            r.capacity_range = Some(v1::CapacityRange { required_bytes, limit_bytes });
            assert_eq!(client.create(r).await.unwrap(), volume, "{required_bytes} to {limit_bytes}");
        }
        let mut any = first.clone();
        any.capacity_range = None;
        assert_eq!(client.create(any).await.unwrap(), volume);
        // What is for people only, and what is secret, makes no other request.
        let mut named = first.clone();
        named.parameters.insert("csi.storage.k8s.io/pvc/name".into(), "claim".into());
        assert_eq!(client.create(named).await.unwrap(), volume);
        assert_eq!(fs::read_dir(s.path().join("slow/objects")).unwrap().count(), 0);
        client.delete(&volume.volume_id).await.unwrap();
        // The name is free again.
        let other = client.create(request(64 * MIB, ext4, &[("pool", "slow")])).await.unwrap();
        assert_eq!(other.volume_id, "slow/pvc");
        client.delete(&other.volume_id).await.unwrap();
        Places::of(&s).assert_empty(&s);
    });
}

#[test]
fn a_volume_is_staged_in_one_way() {
    sandboxed(async |s| {
        let (_host, client) = start(&s).await;
        let places = Places::of(&s);
        for (usage, parameters, bytes) in KINDS {
            let volume = client.create(create_request("pvc", bytes, usage, parameters)).await.unwrap();
            let id = volume.volume_id.as_str();
            let publish = async |cap| code(client.publish(&volume, cap, "pod", false).await);
            assert_eq!(publish(capability(usage)).await, Code::FailedPrecondition, "not staged");
            assert!(places.snapshot(&s, id).is_idle(), "a refused publish leaves nothing");
            client.stage(&volume, capability(usage)).await.unwrap();
            let staged = places.snapshot(&s, id);
            let another = client.stage(&volume, mode(usage, Mode::SingleNodeMultiWriter)).await;
            assert_eq!(code(another), Code::AlreadyExists, "{usage:?}");
            if usage != Use::Block {
                let flags = capability_with(usage, Mode::SingleNodeWriter, &["noatime"]);
                assert_eq!(code(client.stage(&volume, flags).await), Code::AlreadyExists, "{usage:?}");
            }
            let elsewhere = v1::NodeStageVolumeRequest {
                volume_id: id.into(),
                staging_target_path: client.staging("elsewhere"),
                volume_capability: Some(capability(usage)),
                volume_context: volume.volume_context.clone(),
                ..Default::default()
            };
            let elsewhere = client.node.clone().node_stage_volume(elsewhere).await;
            assert_eq!(code(elsewhere), Code::FailedPrecondition, "staged elsewhere");
            let other_type = if usage == Use::Block { Use::Mount("") } else { Use::Block };
            assert_eq!(publish(capability(other_type)).await, Code::FailedPrecondition, "{usage:?}");
            assert_eq!(places.snapshot(&s, id), staged, "a refused call changes nothing");
            client.publish(&volume, capability(usage), "pod", false).await.unwrap();
            let published = places.snapshot(&s, id);
            assert_eq!(code(client.unstage(id).await), Code::FailedPrecondition, "published");
            assert_eq!(code(client.delete(id).await), Code::FailedPrecondition, "published");
            assert_eq!(places.snapshot(&s, id), published, "a refused call changes nothing");
            client.unpublish(id, "pod").await.unwrap();
            assert_eq!(code(client.delete(id).await), Code::FailedPrecondition, "staged");
            client.unstage(id).await.unwrap();
            assert_eq!(publish(capability(usage)).await, Code::FailedPrecondition, "unstaged");
            client.delete(id).await.unwrap();
        }
        places.assert_empty(&s);
    });
}

#[test]
fn the_access_mode_decides_about_a_second_target() {
    sandboxed(async |s| {
        let (_host, client) = start(&s).await;
        let places = Places::of(&s);
        let modes = [
            (Mode::SingleNodeSingleWriter, Code::FailedPrecondition),
            // The driver offers SINGLE_NODE_MULTI_WRITER, so this one means a single writer.
            (Mode::SingleNodeWriter, Code::FailedPrecondition),
            (Mode::SingleNodeMultiWriter, Code::Ok),
        ];
        for (usage, parameters, bytes) in KINDS {
            for (access, second) in modes {
                let cap = || mode(usage, access);
                let mut request = create_request("pvc", bytes, usage, parameters);
                request.volume_capabilities = vec![cap()];
                let volume = client.create(request).await.unwrap();
                let id = volume.volume_id.as_str();
                let publish = async |cap, pod, readonly| code(client.publish(&volume, cap, pod, readonly).await);
                client.stage(&volume, cap()).await.unwrap();
                assert_eq!(publish(cap(), "one", false).await, Code::Ok);
                let published = places.snapshot(&s, id);
                assert_eq!(publish(cap(), "one", true).await, Code::AlreadyExists, "{usage:?} {access:?} read-only");
                let changed = if access == Mode::SingleNodeMultiWriter {
                    mode(usage, Mode::SingleNodeWriter)
                } else {
                    mode(usage, Mode::SingleNodeMultiWriter)
                };
                assert_eq!(publish(changed, "one", false).await, Code::AlreadyExists, "{usage:?} {access:?} other");
                assert_eq!(publish(cap(), "one", false).await, Code::Ok, "the same again");
                assert_eq!(places.snapshot(&s, id), published, "nothing has changed");
                assert_eq!(publish(cap(), "two", true).await, second, "{usage:?} {access:?} second");
                if second == Code::Ok {
                    assert_ne!(places.snapshot(&s, id), published);
                } else {
                    assert_eq!(places.snapshot(&s, id), published, "a refused target leaves nothing");
                }
                client.unpublish(id, "two").await.unwrap();
                assert_eq!(places.snapshot(&s, id), published, "one target does not touch the other");
                client.unpublish(id, "one").await.unwrap();
                // Once the first target is gone, another one is fine.
                assert_eq!(publish(cap(), "two", false).await, Code::Ok);
                client.unpublish(id, "two").await.unwrap();
                client.unstage(id).await.unwrap();
                client.delete(id).await.unwrap();
            }
        }
        places.assert_empty(&s);
    });
}

#[test]
fn controller_and_node_can_be_two_processes_with_nothing_but_the_pool_in_common() {
    sandboxed(async |s| {
        let builder = |mode| HostBuilder::new(&s, [Driver::local(&s)]).apart(mode).mode(mode);
        let (controller_host, node_host) = (builder("controller").start(), builder("node").start());
        let (controller, node) = (controller_host.client().await, node_host.client().await);
        let places =
            Places { state: s.path().join("node/state"), kubelet: s.path().join("node/kubelet"), pool: s.dir("pool") };
        for (usage, parameters, bytes) in KINDS {
            let cap = || capability(usage);
            let request = create_request("pvc", bytes, usage, parameters);
            assert_eq!(code(node.create(request.clone()).await), Code::Unimplemented);
            let volume = controller.create(request).await.unwrap();
            let id = volume.volume_id.as_str();
            assert_eq!(code(controller.stage(&volume, cap()).await), Code::Unimplemented);
            node.stage(&volume, cap()).await.unwrap();
            let target = node.publish(&volume, cap(), "pod", false).await.unwrap();
            if usage != Use::Block {
                fs::write(Path::new(&target).join("hello"), "from the pod").unwrap();
            }
            // The controller sees in the pool that a node uses it.
            assert_eq!(code(controller.delete(id).await), Code::FailedPrecondition);
            let expanded = controller.expand(id, 2 * bytes, cap()).await.unwrap();
            assert_eq!(expanded.capacity_bytes, 2 * bytes);
            // Only a process that has the device can say that it has grown.
            assert_eq!(expanded.node_expansion_required, parameters != DIRECTORY, "{usage:?}");
            match node.node_expand(id, &target, 2 * bytes).await {
                Ok(now) => assert_eq!(now, 2 * bytes),
                Err(e) => assert_eq!((usage, e.code()), (Use::Mount("ext4"), Code::FailedPrecondition), "{e}"),
            }
            node.unpublish(id, "pod").await.unwrap();
            node.unstage(id).await.unwrap();
            node.stage(&volume, cap()).await.unwrap();
            let target = node.publish(&volume, cap(), "pod", true).await.unwrap();
            if usage != Use::Block {
                assert_eq!(fs::read_to_string(Path::new(&target).join("hello")).unwrap(), "from the pod");
            }
            node.unpublish(id, "pod").await.unwrap();
            node.unstage(id).await.unwrap();
            controller.delete(id).await.unwrap();
        }
        places.assert_empty(&s);
    });
}
