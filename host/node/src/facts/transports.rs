//! Ways to reach storage that this machine has now. A module counts if it is there or built in, or if the kernel would load it by itself;
//! whether it can is read from the module lists of the running kernel.

use super::FactFinder;
use std::collections::HashSet;

impl FactFinder {
    /// The names of `node-facts.transports`, sorted.
    pub(super) fn transports(&self) -> Vec<String> {
        let modules = self.modules();
        let module = |name: &str| modules.contains(name);
        let filesystems = self.read("proc/filesystems").unwrap_or_default();
        let filesystem =
            |name: &str| filesystems.lines().any(|line| line.split_ascii_whitespace().last() == Some(name));
        let program = |name: &str| self.has_program(name);
        let fabrics = self.exists("dev/nvme-fabrics");
        let fc = !self.list("sys/class/fc_host").is_empty();
        // The kernel loads the transport itself once somebody writes to the fabrics device.
        let nvme = |name: &str| self.is_loaded(name) || (fabrics && module(name));
        let found = [
            ("cephfs", filesystem("ceph") || module("ceph")),
            ("fc", fc),
            ("glusterfs", program("glusterfs") && self.exists("dev/fuse")),
            ("iscsi", program("iscsiadm") && module("iscsi_tcp")),
            ("loop", self.exists("dev/loop-control")),
            ("luks", program("cryptsetup") && module("dm_crypt")),
            ("lvm", program("lvm") && self.exists("dev/mapper/control")),
            ("multipath", self.runs_multipath()),
            ("nfs", filesystem("nfs") || filesystem("nfs4") || module("nfs")),
            ("nvme-fc", fc && nvme("nvme_fc")),
            ("nvme-rdma", nvme("nvme_rdma") && !self.list("sys/class/infiniband").is_empty()),
            ("nvme-tcp", nvme("nvme_tcp")),
            ("rbd", module("rbd")),
            ("smb", filesystem("cifs") || filesystem("smb3") || module("cifs")),
        ];
        found.iter().filter(|(_, works)| *works).map(|(name, _)| (*name).to_owned()).collect()
    }

    fn is_loaded(&self, module: &str) -> bool {
        self.exists(&format!("sys/module/{module}"))
    }

    /// multipathd(8) listens on an abstract socket of this name, and leaves its id in /run.
    fn runs_multipath(&self) -> bool {
        let sockets = self.read("proc/net/unix").unwrap_or_default();
        self.exists("run/multipathd.pid") || sockets.contains("@/org/kernel/linux/storage/multipathd")
    }

    /// Modules that are loaded, built in or to be loaded, with underscores for dashes.
    fn modules(&self) -> HashSet<String> {
        let mut found: HashSet<String> = self.list("sys/module").into_iter().collect();
        let Some(release) = self.read("proc/sys/kernel/osrelease") else { return found };
        let release = release.trim();
        if release.is_empty() || release.contains('/') || release.starts_with('.') {
            return found;
        }
        for list in ["modules.dep", "modules.builtin"] {
            let text = self.read(&format!("lib/modules/{release}/{list}")).unwrap_or_default();
            found.extend(text.lines().filter_map(module_name));
        }
        found
    }
}

/// Of a line like `kernel/fs/nfs/nfs.ko.xz: kernel/net/sunrpc/sunrpc.ko.xz`.
fn module_name(line: &str) -> Option<String> {
    let path = line.split(':').next()?;
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}
