//! What the other process does.

use super::{Answer, Content, Job, MountNfs, receive, send};
use crate::fs::mount::{Failure, mount_source};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, UnmountFlags};
use std::net::{IpAddr, ToSocketAddrs};
use std::process::ExitCode;

type Outcome = Result<(Option<Content>, Option<OwnedFd>), Failure>;

/// Reads one job, does it and answers.
pub(super) fn serve(socket: &OwnedFd, parent: Option<OwnedFd>) -> ExitCode {
    let Ok(((job, name), _)) = receive::<(Job, Option<String>)>(socket) else { return ExitCode::FAILURE };
    let place = parent.as_ref().map(AsFd::as_fd).zip(name.as_deref());
    let (answer, mount) = match perform(&job, place) {
        Ok((content, mount)) => (Answer { errno: None, text: String::new(), content }, mount),
        Err(Failure { errno, text }) => (Answer { errno: Some(errno.raw_os_error()), text, content: None }, None),
    };
    match send(socket, &answer, mount.as_ref().map(AsFd::as_fd)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn perform(job: &Job, place: Option<(BorrowedFd<'_>, &str)>) -> Outcome {
    let plain = |errno| Failure { errno, text: String::new() };
    let place = || place.ok_or_else(|| plain(Errno::INVAL));
    match job {
        Job::MountNfs(wanted) => mount_nfs(wanted).map(|mount| (None, Some(mount))),
        Job::Clone => {
            let (parent, name) = place()?;
            let flags =
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
            rustix::mount::open_tree(parent, name, flags).map(|mount| (None, Some(mount))).map_err(plain)
        }
        Job::Look => {
            let (parent, name) = place()?;
            look(parent, name).map(|content| (Some(content), None)).map_err(plain)
        }
        Job::Unmount { lazily } => {
            let flags = if *lazily { UnmountFlags::DETACH } else { UnmountFlags::empty() };
            let (parent, name) = place()?;
            let path = format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&parent));
            rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW).map(|()| (None, None)).map_err(plain)
        }
    }
}

/// Asks the server itself, for what is cached may be long gone.
fn look(parent: BorrowedFd<'_>, name: &str) -> Result<Content, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let force = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    rustix::fs::statx(&root, "", force, rustix::fs::StatxFlags::BASIC_STATS)?;
    let found = rustix::fs::fstatvfs(&root)?;
    Ok(Content {
        block_bytes: found.f_frsize,
        blocks: found.f_blocks,
        blocks_free: found.f_bfree,
        blocks_available: found.f_bavail,
        inodes: found.f_files,
        inodes_free: found.f_ffree,
        inodes_available: found.f_favail,
    })
}

/// Tries each address of the server with each version.
fn mount_nfs(wanted: &MountNfs) -> Result<OwnedFd, Failure> {
    let addresses = resolve(&wanted.server)?;
    let mut last = Failure { errno: Errno::HOSTUNREACH, text: "the server has no address".to_owned() };
    for address in addresses {
        for version in &wanted.versions {
            match mount_source("nfs", wanted.source.as_ref(), false, &options(wanted, address, version)) {
                Ok(mount) => return Ok(mount),
                Err(failure) => last = Failure { text: format!("version {version}: {}", failure.text), ..failure },
            }
            // The next version is for a server that does not speak this one, or shows the export only to older ones.
            if !matches!(last.errno, Errno::PROTONOSUPPORT | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOENT) {
                break;
            }
        }
        // The server has answered; its other addresses would say the same.
        if !matches!(last.errno, Errno::CONNREFUSED | Errno::TIMEDOUT | Errno::HOSTUNREACH | Errno::NETUNREACH) {
            break;
        }
    }
    Err(last)
}

fn resolve(server: &str) -> Result<Vec<IpAddr>, Failure> {
    if let Ok(address) = server.parse() {
        return Ok(vec![address]);
    }
    let failed =
        |e: std::io::Error| Failure { errno: Errno::HOSTUNREACH, text: format!("its name can't be looked up: {e}") };
    let mut found: Vec<IpAddr> = (server, 2049).to_socket_addrs().map_err(failed)?.map(|found| found.ip()).collect();
    found.dedup();
    Ok(found)
}

fn options(wanted: &MountNfs, address: IpAddr, version: &str) -> Vec<(String, Option<String>)> {
    let mut options =
        vec![("vers".to_owned(), Some(version.to_owned())), ("addr".to_owned(), Some(address.to_string()))];
    if let Some(port) = wanted.port {
        options.push(("port".to_owned(), Some(port.to_string())));
    }
    // Version 3 asks another daemon for the root, which is as good at TCP.
    if version == "3" && !wanted.options.iter().any(|(key, _)| key == "mountproto") {
        options.push(("mountproto".to_owned(), Some(if address.is_ipv6() { "tcp6" } else { "tcp" }.to_owned())));
    }
    options.extend(wanted.options.iter().cloned());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(options: &[(&str, Option<&str>)]) -> MountNfs {
        MountNfs {
            server: "127.0.0.1".into(),
            port: None,
            source: "127.0.0.1:/x".into(),
            versions: vec!["4.2".into()],
            options: options.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect(),
        }
    }

    #[test]
    fn the_address_and_version_are_options() {
        let address: IpAddr = "127.0.0.1".parse().unwrap();
        let texts = |wanted: &MountNfs, version| -> Vec<String> {
            let show = |(key, value): (String, Option<String>)| match value {
                Some(value) => format!("{key}={value}"),
                None => key,
            };
            options(wanted, address, version).into_iter().map(show).collect()
        };
        assert_eq!(texts(&wanted(&[("hard", None)]), "4.2"), ["vers=4.2", "addr=127.0.0.1", "hard"]);
        assert_eq!(texts(&wanted(&[]), "3"), ["vers=3", "addr=127.0.0.1", "mountproto=tcp"]);
        let other_port = MountNfs { port: Some(2050), ..wanted(&[]) };
        assert_eq!(texts(&other_port, "4.2"), ["vers=4.2", "addr=127.0.0.1", "port=2050"]);
        let udp = wanted(&[("mountproto", Some("udp"))]);
        assert_eq!(texts(&udp, "3"), ["vers=3", "addr=127.0.0.1", "mountproto=udp"]);
    }

    #[test]
    fn names_are_looked_up_and_addresses_are_not() {
        assert_eq!(resolve("::1").ok(), Some(vec!["::1".parse().unwrap()]));
        assert!(resolve("localhost").is_ok_and(|found| !found.is_empty()));
        assert!(resolve("no-such-name.invalid").is_err_and(|failure| failure.text.contains("looked up")));
    }
}
