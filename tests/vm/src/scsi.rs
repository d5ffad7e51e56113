//! Disks of SCSI: the kernel's own target (LIO) behind its loopback fabric, and its simulated host adapter (scsi_debug).

use crate::{
    Loop,
    machine::{PATIENCE, configfs, get, load, names, set, try_set, unload, wait},
};
use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

static TARGETS: AtomicU32 = AtomicU32::new(1);

/// A target of LIO with its LUNs, at a SCSI host of its own. All of it is gone when it is dropped.
#[derive(Debug)]
pub struct LunTarget {
    number: u32,
    fabric: PathBuf,
    group: PathBuf,
    luns: BTreeMap<u32, Loop>,
}

impl LunTarget {
    /// A target without LUNs.
    ///
    /// # Panics
    /// Outside the VM; the kernel refuses.
    pub fn start() -> Self {
        for module in ["sd_mod", "target_core_mod", "target_core_file", "tcm_loop"] {
            load(module, &[]);
        }
        let number = TARGETS.fetch_add(1, Ordering::Relaxed);
        let fabric = configfs().join(format!("target/loopback/naa.500140500000{number:04x}"));
        let target = Self { number, group: fabric.join("tpgt_1"), fabric, luns: BTreeMap::new() };
        fs::create_dir_all(&target.group).expect("a target port group");
        set(&target.group.join("nexus"), &format!("naa.500140510000{number:04x}"));
        target
    }

    /// Adds a LUN of `size` bytes, all zero. `serial` is its unit serial number (VPD page 0x80); LIO's WWID (page 0x83) is
    /// `naa.6001405` and the first 25 hexadecimal digits of the serial, filled up with zeros. Returns its node.
    ///
    /// # Panics
    /// The kernel refuses; the disk doesn't appear.
    pub fn add(&mut self, lun: u32, size: u64, serial: &str) -> PathBuf {
        let device = Loop::new(size);
        let store = self.store(lun);
        fs::create_dir_all(&store).expect("a backing store");
        set(&store.join("control"), &format!("fd_dev_name={},fd_dev_size={size}", device.path().display()));
        set(&store.join("wwn/vpd_unit_serial"), serial);
        set(&store.join("enable"), "1");
        self.luns.insert(lun, device);
        let dir = self.lun(lun);
        fs::create_dir(&dir).expect("a LUN");
        symlink(&store, dir.join("store")).expect("the LUN's store");
        self.disk(lun)
    }

    /// Takes a LUN away, with what is on it: the disk goes, whoever uses it.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn remove(&mut self, lun: u32) {
        let node = self.find(lun);
        self.take_down(lun);
        self.luns.remove(&lun);
        let gone = wait(|| node.as_ref().is_none_or(|node| !node.exists()).then_some(()));
        assert!(gone.is_some(), "the disk of LUN {lun} stays");
    }

    /// Makes a LUN larger. The disk shows it after a rescan: `echo 1 > /sys/block/sdX/device/rescan`.
    ///
    /// # Panics
    /// There is none of that number; the kernel refuses.
    pub fn resize(&self, lun: u32, size: u64) {
        self.luns[&lun].resize(size);
    }

    /// The device behind a LUN: to look past SCSI at what has reached the disk.
    pub fn behind(&self, lun: u32) -> &Path {
        self.luns[&lun].path()
    }

    /// Unplugs a LUN's disk while the LUN stays. [`LunTarget::scan`] brings it back.
    ///
    /// # Panics
    /// There is no such disk.
    pub fn unplug(&self, lun: u32) {
        set(&self.device(lun).join("device/delete"), "1");
    }

    /// Looks for LUNs that have no disk.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn scan(&self) {
        let host = self.address().0;
        set(Path::new(&format!("/sys/class/scsi_host/host{host}/scan")), "- - -");
    }

    /// The node of a LUN, waiting for it to appear.
    ///
    /// # Panics
    /// It doesn't appear.
    pub fn disk(&self, lun: u32) -> PathBuf {
        wait(|| self.find(lun)).unwrap_or_else(|| panic!("no disk of LUN {lun} after {PATIENCE:?}"))
    }

    /// The node of a LUN, if it is there now.
    pub fn find(&self, lun: u32) -> Option<PathBuf> {
        node_of(&self.device(lun))
    }

    fn device(&self, lun: u32) -> PathBuf {
        let (host, channel, target) = self.address();
        PathBuf::from(format!("/sys/class/scsi_device/{host}:{channel}:{target}:{lun}"))
    }

    /// Host, channel and target.
    fn address(&self) -> (u32, u32, u32) {
        let text = get(self.group.join("address"));
        let parts: Vec<u32> = text.split(':').filter_map(|part| part.parse().ok()).collect();
        let [host, channel, target] = parts[..] else { panic!("{text:?} is no SCSI address") };
        (host, channel, target)
    }

    fn store(&self, lun: u32) -> PathBuf {
        configfs().join(format!("target/core/fileio_{}/lun_{lun}", self.number))
    }

    fn lun(&self, lun: u32) -> PathBuf {
        self.group.join(format!("lun/lun_{lun}"))
    }

    fn take_down(&self, lun: u32) {
        let _ = fs::remove_file(self.lun(lun).join("store"));
        let _ = fs::remove_dir(self.lun(lun));
        let _ = fs::remove_dir(self.store(lun));
    }
}

impl Drop for LunTarget {
    fn drop(&mut self) {
        for &lun in self.luns.keys() {
            self.take_down(lun);
        }
        let _ = try_set(&self.group.join("nexus"), "NULL");
        let _ = fs::remove_dir(&self.group);
        let _ = fs::remove_dir(&self.fabric);
        let _ = fs::remove_dir(configfs().join(format!("target/core/fileio_{}", self.number)));
    }
}

/// The node of a disk by its directory below /sys/class/scsi_device.
fn node_of(device: &Path) -> Option<PathBuf> {
    let node = Path::new("/dev").join(names(device.join("device/block")).pop()?);
    node.exists().then_some(node)
}

/// The simulated host adapter with one disk in memory. There is one at a time; gone when it is dropped.
#[derive(Debug)]
pub struct ScsiDebug {
    disk: PathBuf,
}

impl ScsiDebug {
    /// A disk of so many mebibytes, all zero. Reading any of the sectors (of 512 bytes) `unreadable` is a medium error.
    ///
    /// # Panics
    /// Outside the VM; another one is there; the disk doesn't appear.
    pub fn load(mebibytes: u64, unreadable: Option<Range<u64>>) -> Self {
        load("sd_mod", &[]);
        assert!(!Path::new("/sys/module/scsi_debug").exists(), "a ScsiDebug is there: only one at a time");
        let mut options = vec![format!("dev_size_mb={mebibytes}"), "delay=0".to_owned()];
        if let Some(range) = unreadable {
            // 2: SDEBUG_OPT_MEDIUM_ERR.
            options.push("opts=2".to_owned());
            options.push(format!("medium_error_start={}", range.start));
            options.push(format!("medium_error_count={}", range.end - range.start));
        }
        load("scsi_debug", &options.iter().map(String::as_str).collect::<Vec<_>>());
        let root = Path::new("/sys/bus/pseudo/drivers/scsi_debug/adapter0");
        let disk = wait(|| {
            let host = names(root).into_iter().find(|name| name.starts_with("host"))?.replace("host", "");
            node_of(&Path::new("/sys/class/scsi_device").join(format!("{host}:0:0:0")))
        });
        match disk {
            Some(disk) => Self { disk },
            None => {
                unload("scsi_debug");
                panic!("scsi_debug's disk doesn't appear after {PATIENCE:?}");
            }
        }
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.disk
    }

    /// Unplugs the disk: whoever uses it gets errors.
    ///
    /// # Panics
    /// It is gone already.
    pub fn unplug(&self) {
        set(&crate::disk::sysfs(&self.disk).join("device/delete"), "1");
    }
}

impl Drop for ScsiDebug {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            unload("scsi_debug");
        } else if crate::machine::try_run("modprobe", ["-r", "scsi_debug"]).is_err() {
            eprintln!("scsi_debug is still in use and stays");
        }
    }
}
