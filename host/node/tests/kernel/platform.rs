//! Disks that a platform attaches, played by loop devices that the test attaches, and reached through links below an allowed path.
//! With [`Env::say`] they have serials: in a tree like /sys beside the real one.

use crate::env::*;
use bulkhead_domain::plan::{Access, BlockUsage, DeviceIdentity, DeviceMatch, LocalDevice, Plan, Usage};
use bulkhead_node::DeviceConfig;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

impl Env {
    /// Holds a link for each disk: what the operator allows.
    pub fn dev(&self) -> PathBuf {
        self.root().join("dev")
    }

    /// Holds what is on the disks.
    pub fn content(&self, name: &str) -> PathBuf {
        self.root().join("disks").join(name)
    }

    fn sys(&self) -> PathBuf {
        self.root().join("sys")
    }

    pub fn devices(&self) -> DeviceConfig {
        let real = DeviceConfig::default();
        let told = self.sys().exists();
        DeviceConfig {
            prefixes: vec![format!("{}/", self.dev().display())],
            sysfs: if told { self.sys() } else { real.sysfs },
            by_id: self.root().join("by-id"),
        }
    }

    /// The platform attaches a new disk.
    pub fn plug(&self, name: &str, size: u64) {
        let file = self.content(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::create_dir_all(self.dev()).unwrap();
        if !file.exists() {
            fs::File::create(&file).unwrap().set_len(size).unwrap();
        }
        let device = tool("losetup", &["-f", "--show", file.to_str().unwrap()]);
        let link = self.dev().join(name);
        let _ = fs::remove_file(&link);
        symlink(device.trim(), link).unwrap();
    }

    /// The device of a disk.
    pub fn device(&self, name: &str) -> PathBuf {
        fs::read_link(self.dev().join(name)).unwrap()
    }

    /// The platform takes a disk away. One that is mounted is gone when the last mount is.
    pub fn unplug(&self, name: &str) {
        // A loop device keeps this for whoever has its number next.
        tool("blockdev", &["--setrw", self.device(name).to_str().unwrap()]);
        tool("losetup", &["-d", self.device(name).to_str().unwrap()]);
        fs::remove_file(self.dev().join(name)).unwrap();
    }

    /// The platform makes a disk larger.
    pub fn enlarge(&self, name: &str, size: u64) {
        fs::File::options().write(true).open(self.content(name)).unwrap().set_len(size).unwrap();
        tool("losetup", &["-c", self.device(name).to_str().unwrap()]);
    }

    /// From now on disks say who they are: this one by a serial. What is known of it otherwise is copied from /sys.
    pub fn say(&self, name: &str, serial: &str) {
        let device = self.device(name);
        let disk = device.file_name().unwrap();
        let (real, told) = (Path::new("/sys/block").join(disk), self.sys().join("block").join(disk));
        fs::create_dir_all(told.join("device")).unwrap();
        fs::create_dir_all(told.join("holders")).unwrap();
        for attribute in ["dev", "size", "ro", "diskseq", "hidden"] {
            if let Ok(value) = fs::read(real.join(attribute)) {
                fs::write(told.join(attribute), value).unwrap();
            }
        }
        fs::write(told.join("device/serial"), format!("{serial}\n")).unwrap();
        let number = fs::read_to_string(told.join("dev")).unwrap();
        fs::create_dir_all(self.sys().join("dev/block")).unwrap();
        let link = self.sys().join("dev/block").join(number.trim());
        let _ = fs::remove_file(&link);
        symlink(told, link).unwrap();
    }

    /// The kernel shows a disk that says who it is no more.
    pub fn vanish(&self, name: &str) {
        let told = self.sys().join("block").join(self.device(name).file_name().unwrap());
        let number = fs::read_to_string(told.join("dev")).unwrap();
        fs::remove_file(self.sys().join("dev/block").join(number.trim())).unwrap();
        fs::remove_dir_all(told).unwrap();
    }

    /// The journal is of a boot before this one.
    pub fn another_boot(&self) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        for record in self.records() {
            let text = fs::read_to_string(&record).unwrap();
            assert!(text.contains(boot.trim()), "{text}");
            fs::write(&record, text.replace(boot.trim(), "00000000-0000-4000-8000-000000000000")).unwrap();
        }
    }

    pub fn is_plugged(&self, device: &str) -> bool {
        let links = fs::read_dir(self.dev()).into_iter().flatten().flatten();
        links.into_iter().any(|link| fs::read_link(link.path()).is_ok_and(|target| target == Path::new(device)))
    }

    pub fn unplug_all(&self) {
        for link in fs::read_dir(self.dev()).into_iter().flatten().flatten() {
            if let Ok(device) = fs::read_link(link.path()) {
                let _ = Command::new("blockdev").arg("--setrw").arg(&device).status();
                let _ = Command::new("losetup").arg("-d").arg(device).status();
            }
        }
    }

    /// By its path.
    pub fn plan_of_disk(&self, name: &str, kind: Kind) -> Plan {
        let find = DeviceMatch::Path(self.dev().join(name).to_str().unwrap().to_owned());
        Plan {
            access: Access::LocalDevice(LocalDevice { find, device: None, partition: None, appear_timeout_s: 0 }),
            usage: if kind.is_block() {
                Usage::Block(BlockUsage { read_only: false })
            } else {
                Usage::Filesystem(filesystem(kind))
            },
            encryption: None,
            expected_size_bytes: None,
        }
    }

    /// By its serial.
    pub fn plan_of_serial(&self, serial: &str, kind: Kind) -> Plan {
        let device = Some(DeviceIdentity { serial: Some(serial.to_owned()), ..Default::default() });
        let find = DeviceMatch::ById(format!("nvme-Amazon_Elastic_Block_Store_{serial}"));
        let access = Access::LocalDevice(LocalDevice { find, device, partition: None, appear_timeout_s: 0 });
        Plan { access, ..self.plan_of_disk("any", kind) }
    }
}
