//! NFS exports: mounting, looking at and unmounting what a server may hold up for ever.
//!
//! Which mount is ours is read from the mount table alone. All that may ask the server is done apart, with a deadline.

use super::Engine;
use super::device::Live;
use super::source::expected_at_staging;
use super::standing::{Standing, standing};
use super::wanted::Wanted;
use crate::apart::{self, Answer, Content, Job, MountNfs};
use crate::error::Context;
use crate::failpoint;
use crate::fence::Place;
use crate::fs::mount::DetachedMount;
use crate::journal::{ExportSource, Record, Source, StagePhase};
use crate::{mounts, nfs};
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::HostPort;
use bulkhead_domain::{Error, ErrorKind, Result};
use rustix::io::Errno;
use std::time::{Duration, Instant};

/// How long a server may take to show that it is there.
const LOOK: Duration = Duration::from_secs(10);
/// How long writing back what is cached and unmounting may take.
const UNMOUNT: Duration = Duration::from_secs(30);
/// How long a mount may be busy before that is taken for more than a passing descriptor.
const BUSY: Duration = Duration::from_secs(1);
/// Longest time for one server, whatever the call allows.
const MOUNT: Duration = Duration::from_secs(60);

/// What a server says when it is asked for the root of an export.
#[derive(Debug)]
pub(super) enum Said {
    /// It is there.
    Well(Content),
    /// This mount will never work again.
    Dead(Errno),
    /// Another error.
    Ill(Errno),
    /// Nothing, for so long.
    Nothing,
}

/// Asks the server of what is mounted at a place.
///
/// # Errors
/// Unavailable: the helper can't be started.
pub(super) fn look(place: &Place, timeout: Duration) -> Result<Said> {
    let done = match apart::run(&Job::Look, Some(place), timeout) {
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => return Ok(Said::Nothing),
        done => done?,
    };
    Ok(match (done.answer.errno.map(Errno::from_raw_os_error), done.answer.content) {
        (None, Some(content)) => Said::Well(content),
        (Some(errno @ (Errno::STALE | Errno::NOTCONN | Errno::IO | Errno::SHUTDOWN)), _) => Said::Dead(errno),
        (errno, _) => Said::Ill(errno.unwrap_or(Errno::IO)),
    })
}

/// Takes an export off a place at once. What the kernel does after that may be cut off.
fn detach(place: &Place) -> Result<()> {
    let done = match apart::run(&Job::Unmount { lazily: true }, Some(place), LOOK) {
        Err(error) if error.kind() == ErrorKind::DeadlineExceeded => return Ok(()),
        done => done?,
    };
    match done.answer.errno.map(Errno::from_raw_os_error) {
        None => Ok(()),
        Some(errno) => Err(errno).during(format_args!("cannot unmount {}", place.canonical().display())),
    }
}

/// Takes an export off a place: properly if its server answers, else at once.
///
/// # Errors
/// Unavailable: the server answers, and the mount is in use.
pub(super) fn unmount(place: &Place) -> Result<()> {
    let shown = place.canonical().display();
    match look(place, LOOK)? {
        Said::Well(_) | Said::Ill(_) => {}
        Said::Dead(errno) => {
            tracing::warn!(path = %shown, error = %std::io::Error::from(errno), "a dead NFS mount is taken off");
            return detach(place);
        }
        Said::Nothing => {
            tracing::warn!(path = %shown, "an NFS mount whose server does not answer is taken off; the kernel keeps what was not written");
            return detach(place);
        }
    }
    let deadline = Instant::now() + BUSY;
    loop {
        let done = match apart::run(&Job::Unmount { lazily: false }, Some(place), UNMOUNT) {
            Err(error) if error.kind() == ErrorKind::DeadlineExceeded => return detach(place),
            done => done?,
        };
        match done.answer.errno.map(Errno::from_raw_os_error) {
            None => return Ok(()),
            Some(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            Some(errno) => return Err(errno).during(format_args!("cannot unmount {shown}")),
        }
    }
}

impl Engine {
    pub(super) fn stage_export(
        &self,
        request: &Stage,
        (wanted, export): (&Wanted, &nfs::Wanted),
        place: &Place,
    ) -> Result<()> {
        if export.versions.iter().all(|version| version == "3") && !export.local_locks && !nfs::has_lock_daemon() {
            return Err(Error::failed_precondition(
                "NFS version 3 needs a lock daemon, and this node runs none: start rpcbind and rpc.statd on it, or have the \
                 plan or the mount flags say nolock (locks then hold on one node only), or use version 4",
            ));
        }
        let exports = export.servers.iter().map(|server| nfs::source(server.host(), &export.export)).collect();
        let source = Source::Export(ExportSource { exports, read_only: wanted.read_only });
        let mut record = self.begin(request, place, source, None)?;
        let done = (|| {
            failpoint::hit("stage.intent")?;
            let mount = mount_any(export, request.timeout)?;
            failpoint::hit("stage.opened")?;
            mount.attach(place)?;
            failpoint::hit("stage.mounted")?;
            record.phase = StagePhase::Staged;
            self.journal.store(&record)
        })();
        self.end(&mut record, done)
    }

    /// The volume is an export, and its mount at the staging path will never work again.
    ///
    /// # Errors
    /// Unavailable: the server does not answer now.
    pub(super) fn is_dead_export(&self, record: &Record, place: &Place) -> Result<bool> {
        let Source::Export(export) = &record.source else { return Ok(false) };
        match look(place, LOOK)? {
            Said::Well(_) | Said::Ill(_) => Ok(false),
            Said::Dead(errno) => {
                let error = std::io::Error::from(errno);
                tracing::warn!(volume = %record.volume_id, %error, "the volume's NFS mount is dead; it is mounted anew");
                Ok(true)
            }
            Said::Nothing => Err(Error::unavailable(format_args!(
                "volume {} is mounted, and its server ({}) does not answer",
                record.volume_id,
                export.exports.join(", ")
            ))),
        }
    }

    /// The export that is mounted at the staging path, once more, unattached. The server is not asked.
    pub(super) fn clone_export(&self, record: &Record, staging: &Place) -> Result<DetachedMount> {
        let gone = || Error::failed_precondition("the staging path is not ours any more; stage the volume again");
        let expected = expected_at_staging(record, &Live::default()).ok_or_else(gone)?;
        if standing(staging, &expected)? != Standing::Ours {
            return Err(gone());
        }
        let ours = mounts::at(staging.canonical())?.pop().ok_or_else(gone)?;
        let done = apart::run(&Job::Clone, Some(staging), LOOK)?;
        let what = || format!("cannot clone the mount at {}", staging.canonical().display());
        let mount = mount_of(done.answer, done.mount).during(what())?;
        // What was checked is what was cloned.
        if crate::disk::show_number(mount.device().during(what())?) != ours.device {
            return Err(gone());
        }
        Ok(mount)
    }
}

/// Mounts the export from the first server that gives it. Each has its part of the time.
///
/// # Errors
/// FailedPrecondition: all servers refuse it for good. DeadlineExceeded: the last one does not answer. Unavailable: the rest.
pub(super) fn mount_any(export: &nfs::Wanted, timeout: Duration) -> Result<DetachedMount> {
    let deadline = Instant::now() + timeout;
    let mut said: Vec<Error> = Vec::new();
    for (index, server) in export.servers.iter().enumerate() {
        let left = u32::try_from(export.servers.len() - index).unwrap_or(1);
        let share = (deadline.saturating_duration_since(Instant::now()) / left).min(MOUNT);
        match mount_from(export, server, share) {
            Ok(mount) => {
                let what =
                    format!("cannot set the flags of the mount of {}", nfs::source(server.host(), &export.export));
                mount.set_attributes(export.options.set, export.options.clear).during(what)?;
                return Ok(mount);
            }
            Err(error) => said.push(error),
        }
    }
    let all: Vec<&str> = said.iter().map(Error::message).collect();
    let final_for_all = said.iter().all(|error| error.kind() == ErrorKind::FailedPrecondition);
    let kind = match said.last().map(Error::kind) {
        Some(ErrorKind::FailedPrecondition) if final_for_all => ErrorKind::FailedPrecondition,
        Some(ErrorKind::DeadlineExceeded) => ErrorKind::DeadlineExceeded,
        _ => ErrorKind::Unavailable,
    };
    Err(Error::new(kind, all.join("; ")))
}

fn mount_from(export: &nfs::Wanted, server: &HostPort, timeout: Duration) -> Result<DetachedMount> {
    let source = nfs::source(server.host(), &export.export);
    let job = Job::MountNfs(MountNfs {
        server: server.host().to_owned(),
        port: server.port(),
        source: source.clone(),
        versions: export.versions.clone(),
        options: export.options.filesystem.clone(),
    });
    let done = apart::run(&job, None, timeout).map_err(|error| match error.kind() {
        ErrorKind::DeadlineExceeded => Error::deadline_exceeded(format_args!(
            "{source} does not answer within {} s; look at the server and the network",
            timeout.as_secs()
        )),
        _ => error,
    })?;
    let errno = done.answer.errno.map(Errno::from_raw_os_error);
    let text = done.answer.text.clone();
    mount_of(done.answer, done.mount).map_err(|error| {
        let detail = if text.is_empty() { String::new() } else { format!(" ({text})") };
        let message = format!("cannot mount {source}: {error}{detail}");
        match errno {
            Some(Errno::NODEV) => {
                Error::failed_precondition(format_args!("{message}: this node's kernel has no NFS client"))
            }
            Some(Errno::ACCESS | Errno::PERM) => {
                Error::failed_precondition(format_args!("{message}: the server does not export it to this node"))
            }
            Some(Errno::NOENT | Errno::NOTDIR) => {
                Error::failed_precondition(format_args!("{message}: the server has no such directory"))
            }
            Some(Errno::INVAL | Errno::PROTONOSUPPORT | Errno::OPNOTSUPP) => Error::failed_precondition(message),
            _ => Error::unavailable(message),
        }
    })
}

fn mount_of(answer: Answer, mount: Option<std::os::fd::OwnedFd>) -> std::io::Result<DetachedMount> {
    match (answer.errno, mount) {
        (None, Some(mount)) => Ok(DetachedMount::of_descriptor(mount)),
        (errno, _) => Err(std::io::Error::from_raw_os_error(errno.unwrap_or(libc::EIO))),
    }
}
