//! The journal against the machine: what was cut short and nobody came back for, what is gone, and what nobody knows of.

use super::Engine;
use super::source::expected_at_staging;
use super::standing::Standing;
use super::undo::Leftover;
use crate::journal::{Entry, PublishPhase, Record, StagePhase};
use crate::mounts;
use bulkhead_domain::Result;
use bulkhead_domain::volume::VolumeId;
use std::path::{Path, PathBuf};

/// What the journal and the machine do not agree on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Disagreement {
    /// Volumes that are staged by the journal, and whose mount or device is not there: after a reboot, or when somebody took it away.
    /// The next NodeStageVolume makes it anew.
    pub lost: Vec<VolumeId>,
    /// Mounts where Kubernetes has volumes of this driver staged, of which nothing is on record. They are left alone.
    pub orphans: Vec<PathBuf>,
}

fn is_cut_short(record: &Record) -> bool {
    record.phase != StagePhase::Staged || record.publishes.values().any(|p| p.phase != PublishPhase::Published)
}

impl Engine {
    /// Volumes of which an operation was cut short.
    ///
    /// # Errors
    /// Unavailable: the journal can't be read.
    pub fn unfinished(&self) -> Result<Vec<VolumeId>> {
        let records = self.journal.all()?.into_iter().filter_map(|entry| match entry {
            Entry::Record(record) if is_cut_short(&record) => Some(record.volume_id),
            _ => None,
        });
        Ok(records.collect())
    }

    /// Finishes what was being undone and undoes what was being done, for a client that does not come back. A volume of which
    /// nothing was cut short stays as it is; so does everything that is not on record.
    ///
    /// # Errors
    /// As for [`Engine::unstage`].
    pub fn reconcile(&self, volume: &VolumeId) -> Result<()> {
        let Some(mut record) = self.journal.load(volume)?.filter(is_cut_short) else { return Ok(()) };
        tracing::info!(%volume, "taking back what was cut short and nobody asked for again");
        if record.ephemeral.is_some() {
            return self.undo_ephemeral(&mut record);
        }
        if record.phase != StagePhase::Staged {
            return self.undo_stage(&mut record);
        }
        let cut_short = record.publishes.iter().filter(|(_, publish)| publish.phase != PublishPhase::Published);
        for target in cut_short.map(|(target, _)| target.clone()).collect::<Vec<_>>() {
            self.undo_publish(&mut record, &target, Leftover::Fails)?;
        }
        Ok(())
    }

    /// Compares the journal with the machine. Changes nothing, and asks no server.
    ///
    /// # Errors
    /// Unavailable: the journal or the mount table can't be read.
    pub fn disagreement(&self) -> Result<Disagreement> {
        let mut found = Disagreement::default();
        let mut staged = Vec::new();
        for entry in self.journal.all()? {
            let Entry::Record(record) = entry else { continue };
            if record.phase == StagePhase::Staged && record.ephemeral.is_none() && !self.stands(&record)? {
                found.lost.push(record.volume_id.clone());
            }
            staged.push(record.staging_path);
        }
        let driver = self.journal.owner().0;
        let mine = self.fence.root().join("plugins/kubernetes.io/csi").join(driver);
        found.orphans = mounts::all()?
            .into_iter()
            .map(|mount| mount.mount_point)
            .filter(|point| is_staging_path(&mine, point) && !staged.contains(point))
            .collect();
        found.orphans.dedup();
        found.lost.sort();
        Ok(found)
    }

    /// Says in the log where journal and machine disagree. What can't be read now is told by the call that needs it. May take for
    /// ever: what is mounted is looked at, and what it lies on may not answer.
    pub fn tell_disagreement(&self) {
        let driver = self.journal.owner().0;
        match self.disagreement() {
            Ok(found) => {
                for volume in &found.lost {
                    tracing::warn!(driver, %volume, "a staged volume is not mounted any more; the next stage mounts it anew");
                }
                for path in &found.orphans {
                    let path = path.display();
                    tracing::warn!(driver, %path, "a mount of this driver's that is not on record; it is left alone, unmount it if nobody needs it");
                }
            }
            Err(error) => tracing::warn!(driver, %error, "the journal could not be compared with the machine"),
        }
    }

    fn stands(&self, record: &Record) -> Result<bool> {
        let live = self.live(record)?;
        match expected_at_staging(record, &live) {
            Some(expected) => {
                Ok(matches!(self.standing_at(&record.staging_path, &expected)?, Standing::Ours | Standing::Covered))
            }
            None => Ok(!live.devices.is_empty()),
        }
    }
}

/// `…/plugins/kubernetes.io/csi/DRIVER/HASH/globalmount`.
fn is_staging_path(mine: &Path, point: &Path) -> bool {
    point.strip_prefix(mine).is_ok_and(|rest| rest.components().count() == 2 && rest.ends_with("globalmount"))
}
