//! What is done with the volume of a case before, at and after the kill.

use super::cases::{Case, Op, Start, Variant};
use bulkhead_proto::v1;
use bulkhead_tests::{
    Client, Places, Sandbox,
    client::{capability, create_request},
};
use std::{
    fs,
    os::unix::fs::{FileExt, FileTypeExt},
    path::Path,
};
use tonic::{Code, Status};

const POD: &str = "pod";
const SEED: &str = "seed";

/// The volume of one case. Everything but the client and the node forgets it between two calls.
#[derive(Debug, Clone)]
pub struct Subject {
    pub case: Case,
    name: String,
}

impl Subject {
    pub fn new(case: Case, which: &str) -> Self {
        let name = format!("{:?}-{:?}-{}", case.op, case.start, which.replace('.', "-"));
        Self { case, name: name.to_lowercase() }
    }

    pub fn id(&self) -> String {
        format!("fast/{}", self.name)
    }

    /// Its image, to look at and to change behind the host's back.
    pub fn image(&self, places: &Places) -> fs::File {
        let path = places.pool.join("objects").join(&self.name).join("image");
        fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    fn variant(&self) -> Variant {
        self.case.variant
    }

    fn capability(&self) -> v1::VolumeCapability {
        capability(self.variant().usage())
    }

    /// As CreateVolume returns it.
    async fn create(&self, client: &Client) -> Result<v1::Volume, Status> {
        let variant = self.variant();
        let request = create_request(&self.name, variant.size(), variant.usage(), variant.parameters());
        let volume = client.create(request).await?;
        assert_eq!(volume.volume_id, self.id());
        Ok(volume)
    }

    fn volume(&self) -> v1::Volume {
        let context: &[(&str, &str)] = match self.variant() {
            Variant::Ext4 => &[("type", "image"), ("fsType", "ext4")],
            Variant::Xfs => &[("type", "image"), ("fsType", "xfs")],
            Variant::Block => &[("type", "image")],
            Variant::Directory => &[("type", "directory"), ("fsType", "ext4")],
        };
        v1::Volume {
            volume_id: self.id(),
            volume_context: context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..Default::default()
        }
    }

    async fn stage(&self, client: &Client) -> Result<(), Status> {
        client.stage(&self.volume(), self.capability()).await
    }

    async fn publish(&self, client: &Client, pod: &str) -> Result<String, Status> {
        let read_only = self.case.op == Op::PublishReadOnly && pod == POD;
        client.publish(&self.volume(), self.capability(), pod, read_only).await
    }

    async fn expand(&self, client: &Client) -> Result<(), Status> {
        let bytes = 2 * self.variant().size();
        let expanded = client.expand(&self.id(), bytes, self.capability()).await?;
        assert_eq!(expanded.capacity_bytes, bytes);
        Ok(())
    }

    async fn node_expand(&self, client: &Client) -> Result<(), Status> {
        let bytes = 2 * self.variant().size();
        match client.node_expand(&self.id(), &client.target(POD, &self.id()), bytes).await {
            Err(e) if e.code() == Code::FailedPrecondition && self.case.kernel_refuses_to_grow() => Ok(()),
            Ok(capacity) => {
                assert_eq!(capacity, bytes);
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Brings the volume to where the operation begins.
    pub async fn prepare(&self, client: &Client) {
        if self.case.op == Op::Create {
            return;
        }
        self.create(client).await.unwrap();
        if self.case.start == Start::Empty {
            return;
        }
        self.stage(client).await.unwrap();
        write_data(self.variant(), &self.publish(client, SEED).await.unwrap());
        client.unpublish(&self.id(), SEED).await.unwrap();
        if matches!(self.case.op, Op::Stage | Op::Delete) || self.case.start == Start::Grown {
            client.unstage(&self.id()).await.unwrap();
        }
        if self.case.start == Start::Grown {
            self.expand(client).await.unwrap();
        }
        if self.case.op == Op::NodeExpand {
            self.stage(client).await.unwrap();
        }
        if matches!(self.case.op, Op::Unpublish | Op::Expand | Op::NodeExpand) {
            self.publish(client, POD).await.unwrap();
        }
        if self.case.op == Op::NodeExpand {
            self.expand(client).await.unwrap();
        }
    }

    /// The operation itself.
    pub async fn act(&self, client: &Client) -> Result<(), Status> {
        match self.case.op {
            Op::Create => self.create(client).await.map(drop),
            Op::Delete => client.delete(&self.id()).await,
            Op::Expand => self.expand(client).await,
            Op::Stage => self.stage(client).await,
            Op::Publish | Op::PublishReadOnly => self.publish(client, POD).await.map(drop),
            Op::Unpublish => client.unpublish(&self.id(), POD).await,
            Op::Unstage => client.unstage(&self.id()).await,
            Op::NodeExpand => self.node_expand(client).await,
        }
    }

    /// What undoes it. Nothing makes a volume smaller: after an expansion it is taken off the node.
    pub async fn opposite(&self, client: &Client) -> Result<(), Status> {
        match self.case.op {
            Op::Create => client.delete(&self.id()).await,
            Op::Delete => self.create(client).await.map(drop),
            Op::Stage => client.unstage(&self.id()).await,
            Op::Publish | Op::PublishReadOnly => client.unpublish(&self.id(), POD).await,
            Op::Unpublish => self.publish(client, POD).await.map(drop),
            Op::Unstage => self.stage(client).await,
            Op::Expand | Op::NodeExpand => {
                client.unpublish(&self.id(), POD).await?;
                client.unstage(&self.id()).await
            }
        }
    }

    /// From wherever the volume is: it can be used, its data is there, and it can be taken away. Twice, since the second
    /// stage meets what the first one left.
    pub async fn finish(&self, client: &Client, sandbox: &Sandbox, places: &Places) {
        let (id, case) = (self.id(), self.case);
        let is_new = matches!(case.op, Op::Create | Op::Delete) || case.start == Start::Empty;
        if matches!(case.op, Op::Create | Op::Delete) {
            self.create(client).await.unwrap();
        }
        if case.expands() {
            self.expand(client).await.unwrap();
        }
        for (round, pod) in [POD, SEED].into_iter().enumerate() {
            self.stage(client).await.unwrap();
            let target = self.publish(client, pod).await.unwrap();
            if is_new && round == 0 {
                write_data(self.variant(), &target);
            }
            assert_data(self.variant(), &target);
            if case.expands() && round == 1 {
                self.assert_grown(client, &target).await;
            }
            client.unpublish(&id, pod).await.unwrap();
            client.unstage(&id).await.unwrap();
            let left = places.snapshot(sandbox, &id);
            assert!(left.is_idle(), "{left:#?}");
        }
        for _ in 0..2 {
            client.delete(&id).await.unwrap();
        }
        let left = places.snapshot(sandbox, &id);
        assert!(left.is_empty(), "{left:#?}");
    }

    async fn assert_grown(&self, client: &Client, target: &str) {
        let stats = client.stats(&self.id(), target).await.unwrap();
        let total = stats.iter().find(|usage| usage.unit == 1).expect("a line about bytes").total;
        let (before, after) = (self.variant().size(), 2 * self.variant().size());
        match self.variant() {
            // Some of it is the file system's own.
            Variant::Ext4 | Variant::Xfs => assert!(total > before && total <= after, "{total}"),
            Variant::Block => assert_eq!(total, after),
            Variant::Directory => {}
        }
    }
}

/// 300,000 bytes that no file system and no hole looks like.
fn pattern() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Where data begins on a raw device: past what a file system would put its head into.
const AT: u64 = 5 << 20;

fn write_data(variant: Variant, target: &str) {
    if variant == Variant::Block {
        assert!(fs::metadata(target).unwrap().file_type().is_block_device());
        let device = fs::OpenOptions::new().write(true).open(target).unwrap();
        device.write_all_at(&pattern(), AT).unwrap();
    } else {
        fs::write(Path::new(target).join("data"), pattern()).unwrap();
    }
}

fn assert_data(variant: Variant, target: &str) {
    let mut found = vec![0; pattern().len()];
    if variant == Variant::Block {
        fs::File::open(target).unwrap().read_exact_at(&mut found, AT).unwrap();
    } else {
        found = fs::read(Path::new(target).join("data")).unwrap();
    }
    assert!(found == pattern(), "the data is not what was written");
}
