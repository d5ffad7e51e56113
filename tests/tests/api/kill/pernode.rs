//! Kills while a node grows a volume, its object included. Then the same call again, or, as after a claim that asked for too
//! much, one for less.

use super::{
    Bench,
    cases::Variant,
    more::{killed, up},
};
use crate::sandboxed;
use bulkhead_tests::{
    Client, Places, Sandbox,
    client::{capability, create_request},
    pernode::per_node,
};
use std::{fs, path::Path};
use tonic::{Code, Status};

const POD: &str = "pod";

/// All that is killed at here.
pub const FAILPOINTS: [&str; 5] =
    ["pool-resize.grown", "pool-resize.done", "expand.object", "expand.capacity", "expand.grown"];

fn reached(variant: Variant) -> Vec<&'static str> {
    let here = |name: &&str| match *name {
        "pool-resize.grown" | "expand.capacity" => variant.has_device(),
        // ext4 may not grow while it is mounted.
        "expand.grown" => matches!(variant, Variant::Xfs | Variant::Block),
        _ => true,
    };
    FAILPOINTS.into_iter().filter(here).collect()
}

/// The size afterwards. None: ext4, which grows at the next stage.
async fn expand(client: &Client, variant: Variant, id: &str, bytes: i64) -> Result<Option<i64>, Status> {
    match client.node_expand(id, &client.target(POD, id), bytes).await {
        Err(e) if variant == Variant::Ext4 && e.code() == Code::FailedPrecondition => Ok(None),
        size => size.map(Some),
    }
}

async fn expansions(sandbox: &Sandbox, variant: Variant) {
    let builder = per_node(sandbox, "node-1").env("BULKHEAD_LOG", "warn,bulkhead_node=error");
    let places =
        Places { kubelet: builder.kubelet(), state: builder.state(), pool: builder.drivers[0].pools[0].1.clone() };
    let bench = Bench { sandbox, places, builder };
    let cap = || capability(variant.usage());
    let (size, twice, between) = (variant.size(), 2 * variant.size(), variant.size() / 2 * 3);
    for (n, name) in reached(variant).into_iter().enumerate() {
        for again in [twice, between] {
            println!("{variant:?} killed at {name}, then to {again} bytes");
            let (host, client) = up(&bench).await;
            let request = create_request(&format!("v-{n}-{again}"), size, variant.usage(), variant.parameters());
            let volume = client.create(request).await.unwrap();
            let id = volume.volume_id.as_str();
            client.stage(&volume, cap()).await.unwrap();
            let target = client.publish(&volume, cap(), POD, false).await.unwrap();
            if variant != Variant::Block {
                fs::write(Path::new(&target).join("data"), name).unwrap();
            }
            drop(host);
            killed(&bench, name, async |client| expand(client, variant, id, twice).await.map(drop)).await;
            let (_host, client) = up(&bench).await;
            let mut has = None;
            for _ in 0..2 {
                let told = expand(&client, variant, id, again).await.unwrap();
                let found = bench.places.snapshot(sandbox, id);
                let bytes = found.object.expect("the object")["size_bytes"].as_i64().expect("a size");
                assert!(bytes == twice || bytes == again, "{bytes}");
                assert!(told.is_none_or(|told| told == bytes), "{told:?}, the pool says {bytes}");
                assert_eq!(found.image_bytes, variant.has_device().then(|| bytes.try_into().unwrap()));
                assert_eq!(*has.get_or_insert(bytes), bytes, "what is done stays done");
            }
            client.unpublish(id, POD).await.unwrap();
            client.unstage(id).await.unwrap();
            client.stage(&volume, cap()).await.unwrap();
            let target = client.publish(&volume, cap(), POD, false).await.unwrap();
            if variant != Variant::Block {
                assert_eq!(fs::read_to_string(Path::new(&target).join("data")).unwrap(), name);
            }
            assert_eq!(expand(&client, variant, id, again).await.unwrap(), has, "now at the latest");
            client.unpublish(id, POD).await.unwrap();
            client.unstage(id).await.unwrap();
            client.delete(id).await.unwrap();
            bench.places.assert_empty(sandbox);
        }
    }
}

#[test]
fn an_ext4_volume_that_the_node_grows_survives() {
    sandboxed(async |s| expansions(&s, Variant::Ext4).await);
}

#[test]
fn an_xfs_volume_that_the_node_grows_survives() {
    sandboxed(async |s| expansions(&s, Variant::Xfs).await);
}

#[test]
fn a_raw_block_volume_that_the_node_grows_survives() {
    sandboxed(async |s| expansions(&s, Variant::Block).await);
}

#[test]
fn a_directory_volume_that_the_node_grows_survives() {
    sandboxed(async |s| expansions(&s, Variant::Directory).await);
}
