//! Disks of NVMe: the kernel's own target (nvmet) over TCP at 127.0.0.1, and the kernel's own initiator.
//!
//! The VM boots with `nvme_core.multipath=N`, so a disk hangs on its controller in sysfs as one in a PCI slot does.

use crate::{
    Loop,
    machine::{configfs, get, load, names, set, try_set, wait},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
};

/// Number of a port in configfs; its TCP port is 4420 more.
static PORTS: AtomicU16 = AtomicU16::new(1);

/// Model of Amazon's disks.
const EBS: &str = "Amazon Elastic Block Store";

/// A subsystem with namespaces, offered at a TCP port of its own. Gone when it is dropped, after whatever is connected to it.
#[derive(Debug)]
pub struct NvmeTarget {
    nqn: String,
    root: PathBuf,
    port: PathBuf,
    service: u16,
    namespaces: BTreeMap<u32, Loop>,
}

impl NvmeTarget {
    /// A subsystem without namespaces. Serial: up to 20 characters; model: up to 40.
    ///
    /// # Panics
    /// Outside the VM; the kernel refuses.
    pub fn start(serial: &str, model: &str) -> Self {
        load("nvmet-tcp", &[]);
        load("nvme-tcp", &[]);
        let number = PORTS.fetch_add(1, Ordering::Relaxed);
        let nqn = format!("nqn.2014-08.org.nvmexpress:bulkhead-test-{number}");
        let nvmet = configfs().join("nvmet");
        let (root, port) = (nvmet.join("subsystems").join(&nqn), nvmet.join(format!("ports/{number}")));
        fs::create_dir(&root).expect("a subsystem");
        let target = Self { root, port, service: 4420 + number, namespaces: BTreeMap::new(), nqn };
        set(&target.root.join("attr_allow_any_host"), "1");
        set(&target.root.join("attr_serial"), serial);
        set(&target.root.join("attr_model"), model);
        fs::create_dir(&target.port).expect("a port");
        set(&target.port.join("addr_trtype"), "tcp");
        set(&target.port.join("addr_adrfam"), "ipv4");
        set(&target.port.join("addr_traddr"), "127.0.0.1");
        set(&target.port.join("addr_trsvcid"), &target.service.to_string());
        symlink(&target.root, target.port.join("subsystems").join(&target.nqn)).expect("the subsystem at its port");
        target
    }

    /// One with EBS's model and serial, by the id of a volume such as `vol-0123456789abcdef0`, and one namespace.
    ///
    /// # Panics
    /// As [`NvmeTarget::start`].
    pub fn ebs(volume: &str, size: u64) -> Self {
        let mut target = Self::start(&volume.replace('-', ""), EBS);
        target.add(1, size, None);
        target
    }

    /// As [`NvmeTarget::ebs`], with what is in this file, which stays.
    ///
    /// # Panics
    /// As [`NvmeTarget::start`].
    pub fn ebs_over(volume: &str, file: &Path) -> Self {
        let mut target = Self::start(&volume.replace('-', ""), EBS);
        target.offer(1, Loop::over(file), None);
        target
    }

    /// Adds a namespace of `size` bytes, all zero, with this UUID or one by chance. Who is connected sees it come.
    ///
    /// # Panics
    /// The kernel refuses, as it does for a number that is taken.
    pub fn add(&mut self, number: u32, size: u64, uuid: Option<&str>) {
        self.offer(number, Loop::new(size), uuid);
    }

    fn offer(&mut self, number: u32, device: Loop, uuid: Option<&str>) {
        let dir = self.namespace(number);
        fs::create_dir(&dir).expect("a namespace");
        set(&dir.join("device_path"), device.path().to_str().expect("UTF-8"));
        if let Some(uuid) = uuid {
            set(&dir.join("device_uuid"), uuid);
        }
        set(&dir.join("enable"), "1");
        self.namespaces.insert(number, device);
    }

    /// Takes a namespace away, with what is on it. Who is connected sees it go.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn remove(&mut self, number: u32) {
        let dir = self.namespace(number);
        set(&dir.join("enable"), "0");
        fs::remove_dir(&dir).expect("a namespace");
        self.namespaces.remove(&number);
    }

    /// Makes a namespace larger while it is in use. An initiator that is connected is told so.
    ///
    /// # Panics
    /// There is none of that number; the kernel refuses.
    pub fn resize(&self, number: u32, size: u64) {
        self.namespaces[&number].resize(size);
        set(&self.namespace(number).join("revalidate_size"), "1");
    }

    /// The device behind a namespace: to look past the initiator at what has reached the disk.
    pub fn behind(&self, number: u32) -> &Path {
        self.namespaces[&number].path()
    }

    /// Connects the initiator. Disks appear for all namespaces, also for those that come later.
    ///
    /// # Panics
    /// The kernel refuses; a namespace doesn't appear.
    pub fn connect(&self) -> NvmeController {
        // What nvme-cli does too. The reply names the controller.
        let fabrics = Path::new("/dev/nvme-fabrics");
        let mut file = fs::OpenOptions::new().read(true).write(true).open(fabrics).expect("/dev/nvme-fabrics");
        let options = format!("transport=tcp,traddr=127.0.0.1,trsvcid={},nqn={}", self.service, self.nqn);
        file.write_all(options.as_bytes()).unwrap_or_else(|e| panic!("can't connect with {options}: {e}"));
        let mut reply = String::new();
        file.read_to_string(&mut reply).expect("a reply of /dev/nvme-fabrics");
        let instance = reply.split(',').find_map(|part| part.strip_prefix("instance=")).expect("an instance");
        let controller = NvmeController { name: format!("nvme{}", instance.trim()) };
        for &number in self.namespaces.keys() {
            controller.disk(number);
        }
        controller
    }

    fn namespace(&self, number: u32) -> PathBuf {
        self.root.join("namespaces").join(number.to_string())
    }
}

impl Drop for NvmeTarget {
    fn drop(&mut self) {
        // In the order in which configfs lets go.
        let _ = fs::remove_file(self.port.join("subsystems").join(&self.nqn));
        let _ = fs::remove_dir(&self.port);
        for &number in self.namespaces.keys() {
            let _ = try_set(&self.namespace(number).join("enable"), "0");
            let _ = fs::remove_dir(self.namespace(number));
        }
        let _ = fs::remove_dir(&self.root);
    }
}

/// An initiator's connection to a target. Disconnected when it is dropped.
#[derive(Debug)]
pub struct NvmeController {
    name: String,
}

impl NvmeController {
    /// `nvme0` and the like.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory in sysfs, with `serial`, `model`, `rescan_controller`.
    pub fn sysfs(&self) -> PathBuf {
        Path::new("/sys/class/nvme").join(&self.name)
    }

    /// The node of a namespace, waiting for it to appear.
    ///
    /// # Panics
    /// It doesn't appear.
    pub fn disk(&self, number: u32) -> PathBuf {
        wait(|| self.find(number)).unwrap_or_else(|| panic!("no namespace {number} at {}", self.name))
    }

    /// Waits until a namespace is gone.
    ///
    /// # Panics
    /// It stays.
    pub fn wait_gone(&self, number: u32) {
        wait(|| self.find(number).is_none().then_some(())).unwrap_or_else(|| panic!("namespace {number} stays"));
    }

    /// The node of a namespace, if it is there now.
    pub fn find(&self, number: u32) -> Option<PathBuf> {
        let dir = self.sysfs();
        let disks = names(&dir).into_iter().filter(|name| name.starts_with(&format!("{}n", self.name)));
        let found = disks.into_iter().find(|name| get(dir.join(name).join("nsid")) == number.to_string())?;
        let node = Path::new("/dev").join(found);
        node.exists().then_some(node)
    }
}

impl Drop for NvmeController {
    fn drop(&mut self) {
        // Returns when it is gone.
        let _ = try_set(&self.sysfs().join("delete_controller"), "1");
    }
}
