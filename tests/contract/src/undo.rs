//! What a case has made and what takes it away again, last made first. The calls themselves keep this list.

use crate::{Cx, Side};
use bulkhead_proto::v1;
use std::{path::PathBuf, time::Duration};
use tonic::{Code, Status};

/// One thing to undo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// DeleteVolume.
    Volume(String),
    /// ControllerUnpublishVolume: volume, node.
    Attached(String, String),
    /// NodeUnstageVolume: volume, path.
    Staged(Side, String, String),
    /// NodeUnpublishVolume: volume, path.
    Published(Side, String, String),
    /// DeleteSnapshot.
    Snapshot(String),
    /// DeleteVolumeGroupSnapshot, with its members.
    Group(String, Vec<String>),
    /// A directory that the suite made. Only removed if it is empty.
    Directory(PathBuf),
}

impl Cx {
    pub(crate) fn made(&self, what: Undo) {
        let mut list = self.lock();
        if !list.undo.contains(&what) {
            list.undo.push(what);
        }
    }

    pub(crate) fn gone(&self, is: impl Fn(&Undo) -> bool) {
        self.lock().undo.retain(|undo| !is(undo));
    }

    /// Takes away all that was made: what could not be taken away.
    pub(crate) async fn clean_up(&self) -> Vec<String> {
        // What failed the first time gets a second chance once the rest is gone.
        let mut left = vec![];
        for _ in 0..2 {
            left.clear();
            let list: Vec<_> = self.lock().undo.clone();
            for what in list.into_iter().rev() {
                match self.undo(&what).await {
                    Ok(()) => self.gone(|undo| *undo == what),
                    Err(why) => left.push(format!("{what:?}: {why}")),
                }
            }
            if left.is_empty() {
                break;
            }
        }
        left
    }

    async fn undo(&self, what: &Undo) -> Result<(), String> {
        // Nothing is there that was never asked for.
        if self.driver.options.controller_only && matches!(what, Undo::Staged(..) | Undo::Published(..)) {
            return Ok(());
        }
        if let Undo::Directory(path) = what {
            return match std::fs::remove_dir(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
                _ => Ok(()),
            };
        }
        let mut last = String::new();
        for _ in 0..20 {
            match self.undo_call(what).await {
                Ok(()) => return Ok(()),
                // Some drivers forget a path together with its volume.
                Err(s) if s.code() == Code::NotFound => return Ok(()),
                Err(s) if matches!(s.code(), Code::Aborted | Code::Unavailable) => last = s.to_string(),
                Err(s) => return Err(s.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(last)
    }

    async fn undo_call(&self, what: &Undo) -> Result<(), Status> {
        match what.clone() {
            Undo::Volume(volume_id) => {
                self.delete_volume(v1::DeleteVolumeRequest { volume_id, ..Default::default() }).await.map(drop)
            }
            Undo::Attached(volume_id, node_id) => {
                let request = v1::ControllerUnpublishVolumeRequest { volume_id, node_id, ..Default::default() };
                self.controller_unpublish_volume(request).await.map(drop)
            }
            Undo::Staged(side, volume_id, staging_target_path) => {
                let request = v1::NodeUnstageVolumeRequest { volume_id, staging_target_path };
                self.on(side).node_unstage_volume(request).await.map(drop)
            }
            Undo::Published(side, volume_id, target_path) => {
                let request = v1::NodeUnpublishVolumeRequest { volume_id, target_path };
                self.on(side).node_unpublish_volume(request).await.map(drop)
            }
            Undo::Snapshot(snapshot_id) => {
                self.delete_snapshot(v1::DeleteSnapshotRequest { snapshot_id, ..Default::default() }).await.map(drop)
            }
            Undo::Group(group_snapshot_id, snapshot_ids) => {
                let request =
                    v1::DeleteVolumeGroupSnapshotRequest { group_snapshot_id, snapshot_ids, ..Default::default() };
                self.delete_volume_group_snapshot(request).await.map(drop)
            }
            Undo::Directory(_) => Ok(()),
        }
    }
}
