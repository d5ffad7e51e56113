//! The kernel's NFS server (knfsd) at 127.0.0.1, with a file system to export.

use crate::{
    Loop, MIB, Mounted,
    machine::{get, load, run, set, try_run, wait},
};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Where the server listens.
pub const ADDRESS: &str = "127.0.0.1";
const SERVED: &str = "/run/bulkhead-nfs";

/// A version of NFS that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 3, with mountd and rpcbind.
    V3,
    /// 4.0.
    V4_0,
    /// 4.1.
    V4_1,
    /// 4.2.
    V4_2,
}

impl Version {
    /// As rpc.nfsd and mount.nfs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V3 => "3",
            Self::V4_0 => "4.0",
            Self::V4_1 => "4.1",
            Self::V4_2 => "4.2",
        }
    }
}

/// What the server makes of a client's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Squash {
    /// Root stays root (`no_root_squash`).
    None,
    /// Root becomes nobody (`root_squash`).
    Root,
}

/// A server with one ext4 file system, of 64 MiB where nothing else is said, whose directories it exports. There is one at a time. Dropped, it ends, also
/// when clients still have it mounted: their calls then wait for a server that doesn't come back.
#[derive(Debug)]
pub struct NfsServer {
    versions: Vec<Version>,
    exports: Vec<PathBuf>,
    daemons: Vec<Daemon>,
    threads: bool,
    // Unmounted after the server is down, and before its device goes.
    served: Option<Mounted>,
    _device: Loop,
}

impl NfsServer {
    /// Starts a server that speaks exactly these versions. It exports nothing yet.
    ///
    /// # Panics
    /// Outside the VM; another server is there; a part of it doesn't start.
    pub fn start(versions: &[Version]) -> Self {
        Self::sized(versions, 64 * MIB)
    }

    /// As [`NfsServer::start`], with a file system of `size` bytes, on a sparse file.
    ///
    /// # Panics
    /// As there.
    pub fn sized(versions: &[Version], size: u64) -> Self {
        load("nfsd", &[]);
        prepare();
        assert!(!Path::new(SERVED).exists(), "a NfsServer is there: only one at a time");
        let device = Loop::new(size);
        let served = Mounted::fresh("ext4", device.path());
        std::os::unix::fs::symlink(served.path(), SERVED).expect("a link to what is served");
        let mut server = Self {
            versions: versions.into(),
            exports: vec![],
            daemons: vec![],
            threads: false,
            served: Some(served),
            _device: device,
        };
        // Without any export of its own the root of NFSv4 is made by mountd; it needs a file system that can be exported.
        let root = server.path().display().to_string();
        fs::write("/etc/nfs.conf", format!("[exports]\nrootdir={root}\n")).expect("/etc/nfs.conf");
        server.daemons.push(Daemon::start("rpcbind", &["-f", "-w"], 111));
        server.daemons.push(Daemon::start("rpc.mountd", &["-F", "-p", "20048"], 20048));
        server.resume();
        if server.versions.iter().any(|version| *version != Version::V3) {
            // No client has anything to reclaim from a new server; the first to open a file would wait for the end all the same.
            set(Path::new("/proc/fs/nfsd/v4_end_grace"), "Y");
        }
        server
    }

    /// What is exported is made here: the file system as the server itself sees it.
    ///
    /// # Panics
    /// Never while the server is there.
    pub fn path(&self) -> &Path {
        self.served.as_ref().expect("served").path()
    }

    /// Makes a directory, exports it for reading and writing, and returns what a client mounts: `127.0.0.1:/NAME`.
    ///
    /// # Panics
    /// The kernel or exportfs refuses.
    pub fn export(&mut self, name: &str, squash: Squash) -> String {
        let dir = self.path().join(name);
        fs::create_dir_all(&dir).expect("a directory");
        // Whoever root is squashed to may write.
        fs::set_permissions(&dir, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("permissions");
        let squash = if squash == Squash::None { "no_root_squash" } else { "root_squash" };
        let options = format!("rw,sync,insecure,no_subtree_check,{squash}");
        run("exportfs", ["-i", "-o", &options, &format!("127.0.0.0/8:/{name}")]);
        self.exports.push(dir);
        format!("{ADDRESS}:/{name}")
    }

    /// Exports no longer what [`NfsServer::export`] exported: clients that have it mounted get ESTALE.
    ///
    /// # Panics
    /// It isn't exported.
    pub fn withdraw(&mut self, name: &str) {
        run("exportfs", ["-u", &format!("127.0.0.0/8:/{name}")]);
        run("exportfs", ["-f"]);
        self.exports.retain(|dir| !dir.ends_with(name));
    }

    /// The server hangs: it answers nobody until [`NfsServer::resume`]. Calls of clients with hard mounts wait.
    ///
    /// # Panics
    /// rpc.nfsd fails.
    pub fn stop(&mut self) {
        run("rpc.nfsd", ["0"]);
        self.threads = false;
    }

    /// Ends [`NfsServer::stop`].
    ///
    /// # Panics
    /// rpc.nfsd fails; the server doesn't listen.
    pub fn resume(&mut self) {
        let mut arguments = vec!["--host".to_owned(), ADDRESS.to_owned(), "--lease-time".to_owned(), "10".to_owned()];
        arguments.extend(["--grace-time".to_owned(), "10".to_owned()]);
        for version in [Version::V3, Version::V4_0, Version::V4_1, Version::V4_2] {
            let flag = if self.versions.contains(&version) { "-V" } else { "-N" };
            arguments.extend([flag.to_owned(), version.name().to_owned()]);
        }
        if !self.versions.iter().any(|version| *version != Version::V3) {
            arguments.extend(["-N".to_owned(), "4".to_owned()]);
        }
        run("rpc.nfsd", arguments.into_iter().chain(["4".to_owned()]));
        self.threads = true;
        let listens = wait(|| TcpStream::connect((ADDRESS, 2049)).ok());
        assert!(listens.is_some(), "nobody listens at {ADDRESS}:2049");
    }
}

impl Drop for NfsServer {
    fn drop(&mut self) {
        if self.threads {
            let _ = try_run("rpc.nfsd", ["0"]);
        }
        let _ = try_run("exportfs", ["-ua"]);
        let _ = try_run("exportfs", ["-f"]);
        self.daemons.clear();
        let _ = fs::remove_file(SERVED);
        // Its cache of exports holds the file system until then.
        for table in ["auth.unix.ip", "nfsd.fh", "nfsd.export"] {
            let _ = fs::write(format!("/proc/net/rpc/{table}/flush"), "2147483647");
        }
        self.served.take();
    }
}

/// rpc.statd, without which locks of NFSv3 don't work, and which mount.nfs starts by itself where it may. Ends when it is dropped.
#[derive(Debug)]
pub struct LockDaemon(#[expect(dead_code, reason = "it is there for its drop")] Daemon);

impl LockDaemon {
    /// Starts it. It needs the rpcbind of a [`NfsServer`].
    ///
    /// # Panics
    /// Outside the VM; it doesn't start.
    pub fn start() -> Self {
        prepare();
        Self(Daemon::start("rpc.statd", &["-F", "--no-notify", "-p", "662"], 662))
    }
}

/// A daemon in the foreground, killed when it is dropped.
#[derive(Debug)]
struct Daemon(Child);

impl Daemon {
    fn start(program: &str, arguments: &[&str], port: u16) -> Self {
        let log = PathBuf::from(format!("/run/{program}.log"));
        let file = fs::File::create(&log).expect("a log");
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone().expect("a log")).stderr(file);
        let mut daemon = Self(command.spawn().unwrap_or_else(|e| panic!("{program}: {e}")));
        let listens = wait(|| {
            let ended = daemon.0.try_wait().expect("its state");
            assert!(ended.is_none(), "{program} has ended: {ended:?}\n{}", get(&log));
            TcpStream::connect((ADDRESS, port)).ok()
        });
        assert!(listens.is_some(), "{program} doesn't listen at {ADDRESS}:{port}\n{}", get(&log));
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What installing Debian's packages would have done.
fn prepare() {
    let passwd = get("/etc/passwd");
    let mut users = passwd.clone();
    for (user, id) in [("_rpc", 990), ("statd", 991)] {
        if !passwd.lines().any(|line| line.starts_with(&format!("{user}:"))) {
            users += &format!("\n{user}:x:{id}:65534::/run/rpcbind:/usr/sbin/nologin");
        }
    }
    fs::write("/etc/passwd", users + "\n").expect("/etc/passwd");
    for dir in [
        "/var/lib/nfs/sm",
        "/var/lib/nfs/sm.bak",
        "/var/lib/nfs/v4recovery",
        "/var/lib/nfs/nfsdcltrack",
        "/run/rpcbind",
    ] {
        fs::create_dir_all(dir).expect("a directory");
    }
    for file in ["/var/lib/nfs/etab", "/var/lib/nfs/rmtab"] {
        fs::OpenOptions::new().create(true).append(true).open(file).expect("a file");
    }
    if !Path::new("/proc/fs/nfsd/threads").exists() {
        load("nfsd", &[]);
        run("mount", ["-t", "nfsd", "nfsd", "/proc/fs/nfsd"]);
    }
}
