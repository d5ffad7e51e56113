//! Work that a file server can hold up for ever, done by a process that can be killed: this program itself, run again.
//!
//! A thread that waits for an NFS server can't be stopped, and it would keep its volume's lock. A process can, so everything that may
//! ask a server is a [`Job`]. Job and answer go through a socket, for options of a mount must not show among a process's arguments;
//! a mount comes back as a descriptor, not attached anywhere: where the process was killed, there is nothing.

mod work;

use crate::error::{Context, io_error};
use crate::fence::Place;
use crate::helper;
use bulkhead_domain::{Error, Result};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::time::Duration;

/// First argument of such a process; the numbers of its descriptors follow.
const MARK: &str = "__bulkhead-node-helper";
/// Longest job or answer.
const MESSAGE_MAX: usize = 64 << 10;

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Mount an export of a server, unattached.
    MountNfs(MountNfs),
    /// Clone what is mounted at the place, unattached.
    Clone,
    /// Read the root at the place, and how much is in the file system.
    Look,
    /// Unmount the topmost mount at the place; lazily: at once, busy or not. Even that waits for a server of NFSv4.1 to end the
    /// session, once it is the last mount of it; being killed ends the wait, and the mount is gone by then.
    Unmount { lazily: bool },
}

/// One server's export.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MountNfs {
    /// Name or address; a name is looked up there.
    pub(crate) server: String,
    /// Of the NFS service; none: as the version has it.
    pub(crate) port: Option<u16>,
    /// As the mount table will show it.
    pub(crate) source: String,
    /// Versions to try, best first: values of the option `vers`.
    pub(crate) versions: Vec<String>,
    /// Further options of the file system.
    pub(crate) options: Vec<(String, Option<String>)>,
}

/// How much is in a file system, as fstatvfs(3) has it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) block_bytes: u64,
    pub(crate) blocks: u64,
    pub(crate) blocks_free: u64,
    pub(crate) blocks_available: u64,
    pub(crate) inodes: u64,
    pub(crate) inodes_free: u64,
    pub(crate) inodes_available: u64,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// errno(3) of what failed.
    pub(crate) errno: Option<i32>,
    /// What failed, without options.
    pub(crate) text: String,
    /// Of [`Job::Look`].
    pub(crate) content: Option<Content>,
}

/// What was done.
pub(crate) struct Done {
    pub(crate) answer: Answer,
    /// The mount, where the job makes one.
    pub(crate) mount: Option<OwnedFd>,
}

/// Does a helper's work and gives its exit code, if this process was started as one; none otherwise. A program that uses the
/// engine calls it first of all in `main`.
pub fn helper_main() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != MARK {
        return None;
    }
    let mut numbers = arguments.map(|number| number.to_str().and_then(|number| number.parse::<RawFd>().ok()));
    let socket = numbers.next().flatten().map(own);
    let parent = numbers.next().flatten().map(own);
    Some(match socket {
        Some(Ok(socket)) => work::serve(&socket, parent.and_then(Result::ok)),
        _ => ExitCode::FAILURE,
    })
}

/// A descriptor that was handed over under this number.
fn own(number: RawFd) -> Result<OwnedFd> {
    if number < 3 {
        return Err(Error::internal("a standard stream was handed over"));
    }
    // SAFETY: the process that started this one named the number, each once, and nothing else here uses it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has a job done within `timeout`. `place`: where, for all but mounting.
///
/// # Errors
/// DeadlineExceeded: it was killed. Unavailable: the process can't be started, or died. What the job itself met is in the
/// answer.
pub(crate) fn run(job: &Job, place: Option<&Place>, timeout: Duration) -> Result<Done> {
    let what = "cannot start a helper";
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let (ours, theirs) = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None).during(what)?;
    let directory = place.map(|place| place.parent().try_clone_to_owned()).transpose().during(what)?;
    // The name of the last component is the client's, and not secret; it goes through the socket all the same.
    let name = place.map(|place| place.name().to_string_lossy().into_owned());
    send(&ours, &(job, name), None)?;
    let mut descriptors: Vec<BorrowedFd<'_>> = vec![theirs.as_fd()];
    descriptors.extend(directory.as_ref().map(AsFd::as_fd));
    let mut arguments = vec![MARK.to_owned()];
    arguments.extend(descriptors.iter().map(|descriptor| descriptor.as_raw_fd().to_string()));
    let ended = helper::run_self(&arguments, &descriptors, timeout)?;
    drop(theirs);
    let (answer, mount) = receive(&ours)
        .map_err(|e| Error::unavailable(format_args!("a helper died without an answer ({}): {e}", ended.output)))?;
    Ok(Done { answer, mount })
}

fn send<T: Serialize>(socket: &OwnedFd, message: &T, descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
    let bytes = serde_json::to_vec(message)
        .map_err(|e| Error::internal(format_args!("cannot write a helper's message as JSON: {e}")))?;
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(Error::internal("no room for a descriptor"));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
        .map(drop)
        .during("cannot send to or from a helper")
}

fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> Result<(T, Option<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags)
        .map_err(|e| io_error("cannot receive from a helper", e))?;
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let message = serde_json::from_slice(&bytes[..got.bytes])
        .map_err(|e| Error::unavailable(format_args!("cannot understand a helper: {e}")))?;
    Ok((message, descriptor))
}
