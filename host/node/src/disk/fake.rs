//! A tree like /sys with disks of every kind, as Linux 6.1 shows them.

use super::sysfs::Sysfs;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

pub(super) struct Fake(tempfile::TempDir);

impl Fake {
    pub(super) fn new() -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        for dir in ["block", "dev/block", "devices", "class/scsi_host/host0"] {
            fs::create_dir_all(fake.path().join(dir)).unwrap();
        }
        fs::write(fake.path().join("class/scsi_host/host0/scan"), "").unwrap();
        fake
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn sysfs(&self) -> Sysfs {
        Sysfs::new(self.path())
    }

    fn attribute(dir: &Path, name: &str, value: impl AsRef<[u8]>) {
        fs::write(dir.join(name), value).unwrap();
    }

    /// A disk that says nothing about itself. `at`: its parent below `devices`.
    fn disk_at(&self, at: &str, name: &str, number: &str, size: u64) -> PathBuf {
        let dir = self.path().join("devices").join(at).join(name);
        fs::create_dir_all(dir.join("holders")).unwrap();
        Self::attribute(&dir, "dev", format!("{number}\n"));
        Self::attribute(&dir, "size", format!("{}\n", size / 512));
        Self::attribute(&dir, "ro", "0\n");
        Self::attribute(&dir, "hidden", "0\n");
        symlink(&dir, self.path().join("block").join(name)).unwrap();
        symlink(&dir, self.path().join("dev/block").join(number)).unwrap();
        dir
    }

    pub(super) fn bare(&self, name: &str, number: &str, size: u64) {
        self.disk_at("virtual/block", name, number, size);
    }

    pub(super) fn nvme(&self, name: &str, number: &str, serial: &str, size: u64) {
        let controller = name.rsplit_once('n').unwrap().0;
        let at = format!("pci/nvme/{controller}");
        let dir = self.disk_at(&at, name, number, size);
        let device = self.path().join("devices").join(at);
        Self::attribute(&device, "serial", format!("{serial:<20}\n"));
        Self::attribute(&device, "model", "Amazon Elastic Block Store              \n");
        Self::attribute(&device, "rescan_controller", "");
        Self::attribute(&dir, "uuid", "00000000-0000-0000-0000-000000000000\n");
        symlink(&device, dir.join("device")).unwrap();
    }

    /// One disk of a subsystem with a path that is hidden.
    pub(super) fn nvme_multipath(&self, name: &str, number: &str, serial: &str, uuid: &str) {
        let dir = self.disk_at("virtual/nvme-subsystem/nvme-subsys1", name, number, 1 << 30);
        let subsystem = self.path().join("devices/virtual/nvme-subsystem/nvme-subsys1");
        Self::attribute(&subsystem, "serial", format!("{serial}\n"));
        Self::attribute(&dir, "uuid", format!("{uuid}\n"));
        symlink(&subsystem, dir.join("device")).unwrap();
        let path = self.path().join("devices/pci/nvme1c1n1");
        fs::create_dir_all(&path).unwrap();
        Self::attribute(&path, "hidden", "1\n");
        Self::attribute(&path, "size", "2097152\n");
        symlink(&path, self.path().join("block/nvme1c1n1")).unwrap();
    }

    pub(super) fn scsi(&self, name: &str, number: &str, address: &str, serial: &str, wwid: &str, size: u64) {
        let at = format!("pci/host0/{address}/block");
        let dir = self.disk_at(&at, name, number, size);
        let device = self.path().join("devices/pci/host0").join(address);
        let page = |code: u8, body: &[u8]| [&[0, code, 0, u8::try_from(body.len()).unwrap()], body].concat();
        let naa = hex::decode(wwid).unwrap();
        let naa = [&[1, 3, 0, u8::try_from(naa.len()).unwrap()], naa.as_slice()].concat();
        Self::attribute(&device, "vpd_pg80", page(0x80, serial.as_bytes()));
        Self::attribute(&device, "vpd_pg83", page(0x83, &naa));
        Self::attribute(&device, "rescan", "");
        symlink(&device, dir.join("device")).unwrap();
    }

    pub(super) fn virtio(&self, name: &str, number: &str, serial: &str, size: u64) {
        let dir = self.disk_at("pci/virtio1/block", name, number, size);
        Self::attribute(&dir, "serial", serial);
    }

    pub(super) fn partition(&self, disk: &str, name: &str, index: u32, number: &str, size: u64) {
        let dir = self.path().join("block").join(disk).canonicalize().unwrap().join(name);
        fs::create_dir_all(dir.join("holders")).unwrap();
        Self::attribute(&dir, "partition", format!("{index}\n"));
        Self::attribute(&dir, "dev", format!("{number}\n"));
        Self::attribute(&dir, "size", format!("{}\n", size / 512));
        symlink(&dir, self.path().join("dev/block").join(number)).unwrap();
    }

    pub(super) fn hold(&self, disk: &str, holder: &str) {
        fs::create_dir_all(self.path().join("block").join(disk).join("holders").join(holder)).unwrap();
    }

    pub(super) fn unplug(&self, name: &str) {
        let link = self.path().join("block").join(name);
        fs::remove_dir_all(link.canonicalize().unwrap()).unwrap();
        fs::remove_file(link).unwrap();
    }

    /// A file below `block`.
    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join("block").join(name)).unwrap()
    }

    pub(super) fn scan(&self) -> String {
        fs::read_to_string(self.path().join("class/scsi_host/host0/scan")).unwrap()
    }
}
