//! What a plan and a client may ask of an NFS mount. Options of a plan pass a list; those of a client go through.

use crate::fs::options::MountOptions;
use bulkhead_domain::error::clean_text;
use bulkhead_domain::plan::{HostPort, Nfs};
use bulkhead_domain::{Error, Result};

/// All versions that this host asks for, best first.
const VERSIONS: [&str; 4] = ["4.2", "4.1", "4.0", "3"];

/// An export, ready to be mounted.
pub(crate) struct Wanted {
    /// Alternatives, best first.
    pub(crate) servers: Vec<HostPort>,
    /// Path on the servers.
    pub(crate) export: String,
    /// To be tried, best first.
    pub(crate) versions: Vec<String>,
    /// Of the mount, and of the file system.
    pub(crate) options: MountOptions,
    /// Locks stay on this node.
    pub(crate) local_locks: bool,
}

/// Checks an export of a plan. `mount_options`: the plan's. `flags`: the client's.
///
/// # Errors
/// FailedPrecondition: an option that is not allowed, a path of the wrong shape. InvalidArgument: the client's version or port is
/// not the plan's.
pub(crate) fn wanted(nfs: &Nfs, mount_options: &[String], flags: MountOptions) -> Result<Wanted> {
    let refuse = |what: &str, value: &str| {
        Err(Error::failed_precondition(format_args!("the backend's plan has {what} {:?}", clean_text(value, 128))))
    };
    if nfs.servers.is_empty() {
        return refuse("no server for the export", &nfs.export_path);
    }
    if !is_path(&nfs.export_path) {
        return refuse("an export that is no absolute path:", &nfs.export_path);
    }
    let mut options = MountOptions::default();
    for option in mount_options {
        let (key, value) = split(option);
        if !is_allowed(key, value) {
            return refuse("a mount option that this host does not allow:", option);
        }
        options.add(key, value);
    }
    let ports = nfs.servers.iter().any(|server| server.port().is_some());
    if ports && flags.filesystem.iter().any(|(key, _)| key == "port") {
        return Err(Error::invalid_argument("a mount flag asks for a port, and the backend's plan names one already"));
    }
    let mut options = options.then(flags);
    let asked = version_of(&mut options)?;
    let version = match (nfs.version.as_deref(), asked) {
        (Some(plan), Some(asked)) if !of_version(plan, &asked) => {
            return Err(Error::invalid_argument(
                "a mount flag asks for another version of NFS than the backend's plan",
            ));
        }
        (_, Some(asked)) => Some(asked),
        (plan, None) => plan.map(str::to_owned),
    };
    let versions: Vec<String> = VERSIONS
        .iter()
        .filter(|known| version.as_deref().is_none_or(|version| of_version(version, known)))
        .map(|&known| known.to_owned())
        .collect();
    if versions.is_empty() {
        return refuse("a version of NFS that this host does not know:", &version.unwrap_or_default());
    }
    let has = |key: &str, value: Option<&str>| {
        options.filesystem.iter().any(|(known, is)| known == key && is.as_deref() == value)
    };
    let local_locks = has("nolock", None) || has("local_lock", Some("all"));
    // As the kernel shows it: without a slash at the end.
    let export =
        nfs.export_path.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(&nfs.export_path).to_owned();
    Ok(Wanted { servers: nfs.servers.clone(), export, versions, options, local_locks })
}

/// `4` stands for all of 4.
fn of_version(asked: &str, known: &str) -> bool {
    asked == known || (asked == "4" && known.starts_with("4."))
}

/// Takes the version out of options: the kernel is told which one is tried.
fn version_of(options: &mut MountOptions) -> Result<Option<String>> {
    let mut found = None;
    let mut minor = None;
    options.filesystem.retain(|(key, value)| match (key.as_str(), value) {
        ("vers" | "nfsvers", Some(value)) => {
            found = Some(value.clone());
            false
        }
        ("minorversion", Some(value)) => {
            minor = Some(value.clone());
            false
        }
        (key, None) if key.strip_prefix('v').is_some_and(is_version) => {
            found = key.strip_prefix('v').map(str::to_owned);
            false
        }
        _ => true,
    });
    let found = match (found, minor) {
        (Some(major), Some(minor)) if major == "4" => Some(format!("4.{minor}")),
        (None, Some(minor)) => Some(format!("4.{minor}")),
        (found, _) => found,
    };
    match found {
        Some(version) if !is_version(&version) => {
            Err(Error::invalid_argument("a mount flag asks for a version of NFS that this host does not know"))
        }
        found => Ok(found),
    }
}

fn is_version(text: &str) -> bool {
    text == "4" || VERSIONS.contains(&text)
}

fn split(option: &str) -> (&str, Option<&str>) {
    option.split_once('=').map_or((option, None), |(key, value)| (key, Some(value)))
}

fn is_path(text: &str) -> bool {
    let parts = text.strip_prefix('/').map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let whole = |rest: &str| rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    text.len() <= 1024 && !text.chars().any(char::is_control) && parts.is_some_and(whole)
}

fn is_allowed(key: &str, value: Option<&str>) -> bool {
    let number = |value: &str| value.len() <= 9 && value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty();
    match (key, value) {
        ("ro" | "nosuid" | "nodev" | "noexec" | "noatime" | "nodiratime" | "relatime", None) => true,
        ("hard" | "soft" | "softerr" | "softreval" | "nosoftreval" | "lock" | "nolock" | "ac" | "noac", None) => true,
        ("cto" | "nocto" | "acl" | "noacl" | "rdirplus" | "nordirplus" | "sync" | "async", None) => true,
        ("resvport" | "noresvport" | "sharecache" | "nosharecache" | "fsc" | "nofsc", None) => true,
        ("timeo" | "retrans" | "rsize" | "wsize" | "actimeo" | "acregmin" | "acregmax", Some(value)) => number(value),
        ("acdirmin" | "acdirmax" | "mountport" | "max_connect", Some(value)) => number(value),
        ("nconnect", Some(value)) => value.parse::<u8>().is_ok_and(|n| (1..=16).contains(&n)),
        ("proto" | "mountproto", Some(value)) => matches!(value, "tcp" | "tcp6" | "rdma" | "rdma6" | "udp" | "udp6"),
        ("lookupcache", Some(value)) => matches!(value, "all" | "none" | "pos" | "positive"),
        ("local_lock", Some(value)) => matches!(value, "all" | "flock" | "posix" | "none"),
        ("sec", Some(value)) => matches!(value, "sys" | "krb5" | "krb5i" | "krb5p"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_domain::ErrorKind;

    fn nfs(version: Option<&str>) -> Nfs {
        let servers = ["a.example", "[fd00::1]"].map(|server| server.parse().unwrap());
        Nfs { servers: servers.into(), export_path: "/srv/x".into(), version: version.map(str::to_owned) }
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn flags(flags: &[&str]) -> MountOptions {
        MountOptions::from_flags(&texts(flags)).unwrap()
    }

    #[test]
    fn versions_come_from_the_plan_or_the_client() {
        for (plan, client, expected) in [
            (None, &[][..], &["4.2", "4.1", "4.0", "3"][..]),
            (Some("4"), &[], &["4.2", "4.1", "4.0"]),
            (Some("4.1"), &[], &["4.1"]),
            (Some("3"), &["nolock"], &["3"]),
            (None, &["nfsvers=4.1"], &["4.1"]),
            (None, &["vers=3"], &["3"]),
            (None, &["v4.2"], &["4.2"]),
            (None, &["vers=4", "minorversion=1"], &["4.1"]),
            (Some("4"), &["vers=4.2"], &["4.2"]),
        ] {
            let wanted = wanted(&nfs(plan), &[], flags(client)).unwrap();
            assert_eq!(wanted.versions, expected, "{plan:?} {client:?}");
            assert!(wanted.options.filesystem.iter().all(|(key, _)| key == "nolock"));
        }
        for (plan, client) in [(Some("4.1"), "vers=4.2"), (Some("3"), "vers=4"), (None, "vers=2"), (None, "vers=5")] {
            let refused = wanted(&nfs(plan), &[], flags(&[client])).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{plan:?} {client}");
        }
        assert_eq!(wanted(&nfs(Some("2")), &[], flags(&[])).err().unwrap().kind(), ErrorKind::FailedPrecondition);
    }

    #[test]
    fn options_of_a_plan_pass_a_list_and_those_of_a_client_do_not() {
        let good = ["hard", "nconnect=4", "timeo=600", "retrans=2", "rsize=1048576", "nolock", "sec=krb5p", "noatime"];
        let good = texts(&[&good[..], &["ro"]].concat());
        let wanted_ = wanted(&nfs(None), &good, flags(&["context=a:b:c"])).unwrap();
        assert!(wanted_.options.read_only() && wanted_.local_locks);
        assert!(wanted_.options.filesystem.contains(&("context".to_owned(), Some("a:b:c".to_owned()))));
        let bad = [
            "addr=10.0.0.1",
            "clientaddr=1.2.3.4",
            "mounthost=evil",
            "vers=4.2",
            "nconnect=99",
            "sec=none",
            "timeo=-1",
            "suid",
            "dev",
            "exec",
            "context=x",
            "bg",
            "",
            "port=2050",
            "mountport=",
            "hard=1",
        ];
        for option in bad {
            let refused = wanted(&nfs(None), &texts(&[option]), flags(&[])).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{option}");
        }
    }

    #[test]
    fn paths_have_a_shape() {
        for export in ["x", "", "/x/../y", "/x//y", "/x/./y", "/x\n"] {
            let plan = Nfs { export_path: export.into(), ..nfs(None) };
            let refused = wanted(&plan, &[], flags(&[])).err().unwrap();
            assert_eq!(refused.kind(), ErrorKind::FailedPrecondition, "{export}");
        }
        for (export, shown) in [("/", "/"), ("/a b/c", "/a b/c"), ("/x/", "/x")] {
            let plan = Nfs { export_path: export.into(), ..nfs(None) };
            assert_eq!(wanted(&plan, &[], flags(&[])).unwrap().export, shown);
        }
        let none = Nfs { servers: vec![], ..nfs(None) };
        assert_eq!(wanted(&none, &[], flags(&[])).err().unwrap().kind(), ErrorKind::FailedPrecondition);
        assert_eq!(super::super::source("fd00::1", "/x"), "[fd00::1]:/x");
        assert_eq!(super::super::source("a", "/x"), "a:/x");
    }

    #[test]
    fn a_port_comes_from_the_plan_or_the_client() {
        let with_port = Nfs { servers: vec!["a".parse().unwrap(), "b:2050".parse().unwrap()], ..nfs(None) };
        wanted(&with_port, &[], flags(&["hard"])).unwrap();
        wanted(&nfs(None), &[], flags(&["port=2050"])).unwrap();
        let refused = wanted(&with_port, &[], flags(&["port=2050"])).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    }
}
