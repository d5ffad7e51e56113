//! Paths that lead out of the kubelet root, through links, or to nothing.

use super::ground::{Ground, mount_capability, secrets};
use crate::sandboxed;
use bulkhead_proto::v1;
use prost_reflect::prost::Message;
use std::{fs, os::unix::fs::symlink};
use tonic::Code;

/// Things in the kubelet root that a pod or a careless admin may have put there.
fn traps(ground: &Ground) -> String {
    let root = ground.sandbox.path().to_str().unwrap().to_owned();
    let kubelet = ground.sandbox.dir("kubelet");
    ground.sandbox.dir("outside/globalmount");
    fs::write(ground.sandbox.path().join("outside/file"), "precious").unwrap();
    ground.sandbox.dir("kubelet/plain/globalmount");
    fs::write(kubelet.join("file"), "precious").unwrap();
    symlink("../outside", kubelet.join("out")).unwrap();
    symlink(ground.sandbox.path().join("outside"), kubelet.join("absolute")).unwrap();
    symlink("plain", kubelet.join("in")).unwrap();
    symlink("/proc/self/root", kubelet.join("magic")).unwrap();
    symlink("nowhere", kubelet.join("dangling")).unwrap();
    symlink("loop", kubelet.join("loop")).unwrap();
    root
}

/// Paths of the wrong shape: INVALID_ARGUMENT wherever a path is given.
fn malformed(root: &str) -> Vec<String> {
    vec![
        "relative".into(),
        "./kubelet/plain".into(),
        "..".into(),
        format!("{root}/kubelet/../outside/globalmount"),
        format!("{root}/kubelet/plain/../plain/globalmount"),
        format!("{root}/kubelet/./plain/globalmount"),
        format!("{root}/kubelet/plain/.."),
    ]
}

/// Well-formed paths that lead to where nothing may be done.
fn forbidden(root: &str) -> Vec<String> {
    let outside = ["/", "/etc", "/etc/kubernetes", "/proc/self/root/etc", "/dev/shm/x"].map(str::to_owned);
    let below = ["", "/", "//plain/globalmount", "/plain//globalmount", "-sibling/x"];
    let links = ["out/globalmount", "absolute/globalmount", "in/globalmount", "magic/etc", "loop/x", "file/x"];
    let mut all: Vec<_> = outside.into();
    all.push(format!("{root}/outside/globalmount"));
    all.extend(below.map(|path| format!("{root}/kubelet{path}")));
    all.extend(links.map(|path| format!("{root}/kubelet/{path}")));
    all
}

/// Whose last component is a link or a file.
fn wrong_ends(root: &str) -> Vec<String> {
    ["out", "absolute", "in", "magic", "dangling", "loop"].map(|path| format!("{root}/kubelet/{path}")).into()
}

impl Ground {
    fn stage(&self, path: &str) -> Vec<u8> {
        // Another volume than the one in use: it would be staged anew.
        let request = v1::NodeStageVolumeRequest {
            volume_id: self.volume.volume_id.clone(),
            staging_target_path: path.into(),
            volume_capability: Some(mount_capability()),
            secrets: secrets(),
            volume_context: self.volume.volume_context.clone(),
            ..Default::default()
        };
        request.encode_to_vec()
    }

    fn publish(&self, staging: &str, target: &str) -> Vec<u8> {
        let request = v1::NodePublishVolumeRequest {
            volume_id: self.volume.volume_id.clone(),
            staging_target_path: staging.into(),
            target_path: target.into(),
            volume_capability: Some(mount_capability()),
            secrets: secrets(),
            volume_context: self.volume.volume_context.clone(),
            ..Default::default()
        };
        request.encode_to_vec()
    }
}

#[test]
fn staging_and_target_paths_stay_below_the_kubelet_root() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        let root = traps(&ground);
        let staging = ground.client.staging(&ground.volume.volume_id);
        let all = malformed(&root).into_iter().chain(forbidden(&root)).chain(wrong_ends(&root));
        for path in all {
            let refuse = |rpc: &'static str, message| {
                let (ground, path) = (&ground, &path);
                async move {
                    ground.is_refused(path, &format!("/csi.v1.Node/{rpc}"), message, Code::InvalidArgument).await;
                }
            };
            refuse("NodeStageVolume", ground.stage(&path)).await;
            refuse("NodePublishVolume", ground.publish(&staging, &path)).await;
        }
        let file = format!("{root}/kubelet/file");
        ground.is_refused("a file", "/csi.v1.Node/NodeStageVolume", ground.stage(&file), Code::InvalidArgument).await;
        let nested = format!("{staging}/mount");
        let message = ground.publish(&staging, &nested);
        ground.is_refused("a nested target", "/csi.v1.Node/NodePublishVolume", message, Code::InvalidArgument).await;
        ground.is_well().await;
    });
}

#[test]
fn a_path_that_is_in_the_way_or_missing_is_a_failed_precondition() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        let root = traps(&ground);
        let staging = ground.client.staging(&ground.volume.volume_id);
        fs::write(ground.sandbox.path().join("kubelet/plain/globalmount/data"), "precious").unwrap();
        let missing = format!("{root}/kubelet/no/such");
        for (what, rpc, message) in [
            ("a missing staging path", "NodeStageVolume", ground.stage(&missing)),
            ("another staging path", "NodeStageVolume", ground.stage(&format!("{root}/kubelet/plain"))),
            (
                "a target whose parent is missing",
                "NodePublishVolume",
                ground.publish(&staging, &format!("{missing}/x")),
            ),
            ("a target that is a file", "NodePublishVolume", ground.publish(&staging, &format!("{root}/kubelet/file"))),
            (
                "a target with something in it",
                "NodePublishVolume",
                ground.publish(&staging, &format!("{root}/kubelet/plain/globalmount")),
            ),
            (
                "a staging path where it is not staged",
                "NodePublishVolume",
                ground.publish(&format!("{root}/kubelet/plain"), &format!("{root}/kubelet/new")),
            ),
        ] {
            ground.is_refused(what, &format!("/csi.v1.Node/{rpc}"), message, Code::FailedPrecondition).await;
        }
        ground.is_well().await;
    });
}

/// A path outside is refused also where something is taken away. One below, at which the volume is not, is done
/// already; and what is there stays.
#[test]
fn nothing_is_taken_away_where_nothing_was_put() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        let root = traps(&ground);
        let unstage = |path: &str| {
            let request = v1::NodeUnstageVolumeRequest {
                volume_id: ground.volume.volume_id.clone(),
                staging_target_path: path.into(),
            };
            request.encode_to_vec()
        };
        let unpublish = |path: &str| {
            let request =
                v1::NodeUnpublishVolumeRequest { volume_id: ground.volume.volume_id.clone(), target_path: path.into() };
            request.encode_to_vec()
        };
        let outside = ["/", "/etc", "/proc/self/root/etc"].map(str::to_owned);
        for path in malformed(&root).into_iter().chain(outside) {
            ground.is_refused(&path, "/csi.v1.Node/NodeUnstageVolume", unstage(&path), Code::InvalidArgument).await;
            ground.is_refused(&path, "/csi.v1.Node/NodeUnpublishVolume", unpublish(&path), Code::InvalidArgument).await;
        }
        let other = ["out", "out/globalmount", "in/globalmount", "magic/etc", "plain/globalmount", "file", "dangling"];
        for path in other.map(|path| format!("{root}/kubelet/{path}")) {
            let before = ground.world();
            for (rpc, message) in [("NodeUnpublishVolume", unpublish(&path)), ("NodeUnstageVolume", unstage(&path))] {
                let answer =
                    bulkhead_tests::raw::call(&ground.client.channel, &format!("/csi.v1.Node/{rpc}"), message).await;
                let code = answer.as_ref().err().map_or(Code::Ok, tonic::Status::code);
                let fine = [Code::Ok, Code::InvalidArgument, Code::FailedPrecondition].contains(&code);
                assert!(fine, "{rpc} of {path}: {answer:?}");
            }
            ground.world().assert_same(&before, &path);
        }
        ground.is_well().await;
    });
}

#[test]
fn a_path_at_which_the_volume_is_not_has_no_statistics() {
    sandboxed(async |s| {
        let ground = Ground::new(s).await;
        let root = traps(&ground);
        let stats = |path: &str| v1::NodeGetVolumeStatsRequest {
            volume_id: ground.volume.volume_id.clone(),
            volume_path: path.into(),
            ..Default::default()
        };
        let expand = |path: &str| v1::NodeExpandVolumeRequest {
            volume_id: ground.volume.volume_id.clone(),
            volume_path: path.into(),
            ..Default::default()
        };
        let dotted = [format!("{root}/kubelet/../outside"), format!("{root}/kubelet/./plain"), "..".to_owned()];
        let elsewhere =
            ["some/path".to_owned(), "/etc".into(), format!("{root}/kubelet/plain"), format!("{root}/kubelet/out")];
        let dotted = dotted.map(|path| (path, Code::InvalidArgument));
        for (path, code) in dotted.into_iter().chain(elsewhere.map(|path| (path, Code::NotFound))) {
            ground.is_refused(&path, "/csi.v1.Node/NodeGetVolumeStats", stats(&path).encode_to_vec(), code).await;
            ground.is_refused(&path, "/csi.v1.Node/NodeExpandVolume", expand(&path).encode_to_vec(), code).await;
        }
        ground.is_well().await;
    });
}
