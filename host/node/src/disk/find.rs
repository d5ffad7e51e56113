//! Which disk a plan means.
//!
//! Every disk that sysfs shows is asked who it is. A link in /dev/disk/by-id is a hint: one that leads to another disk is told in the
//! log and not followed, for udev may be late or wrong.

use super::DeviceConfig;
use super::device::{OpenDisk, is_claimed};
use super::identity::{describe, differences};
use super::sysfs::{Disk, Sysfs};
use super::used::Usage;
use bulkhead_domain::error::clean_text;
use bulkhead_domain::plan::{DeviceIdentity, DeviceMatch, LocalDevice};
use bulkhead_domain::{Error, ErrorKind, Result};
use rustix::fs::FileType;
use std::time::{Duration, Instant};

/// First pause between two looks; doubled up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A look that finds nothing makes SCSI hosts scan at most so often.
const SCAN_EVERY: Duration = Duration::from_secs(5);
/// Disks that are named in an error.
const NAMED_MAX: usize = 8;

/// What one look gives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Name and number of the disk or partition.
    Found(String, u64),
    /// Not there yet; what was seen instead.
    Missing(String),
}

/// Finds the disk that is meant, waiting for it as long as the plan says, and at most `timeout`.
///
/// # Errors
/// FailedPrecondition: several disks fit, or the path is not one that the operator allows. Unavailable: it did not appear.
/// DeadlineExceeded: the call's time ended before the plan's.
pub(crate) fn wait_for(config: &DeviceConfig, wanted: &LocalDevice, timeout: Duration) -> Result<OpenDisk> {
    let sysfs = Sysfs::new(&config.sysfs);
    let patience = Duration::from_secs(wanted.appear_timeout_s.into());
    let start = Instant::now();
    let (mut pause, mut scanned) = (PAUSE, None::<Instant>);
    loop {
        let seen = match look(config, &sysfs, wanted)? {
            Look::Found(name, number) => match open(&sysfs, wanted, &name, number) {
                Ok(disk) => return Ok(disk),
                Err(error) if error.kind() == ErrorKind::Unavailable => error.message().to_owned(),
                Err(error) => return Err(error),
            },
            Look::Missing(seen) => seen,
        };
        let waited = start.elapsed();
        if waited >= patience.min(timeout) {
            let kind = if timeout < patience { ErrorKind::DeadlineExceeded } else { ErrorKind::Unavailable };
            return Err(Error::new(
                kind,
                format_args!("{} did not appear within {} s; {seen}", show(wanted), waited.as_secs()),
            ));
        }
        if let DeviceMatch::ScsiLun(lun) = wanted.find
            && scanned.is_none_or(|at| at.elapsed() >= SCAN_EVERY)
        {
            sysfs.scan_hosts(lun);
            scanned = Some(Instant::now());
        }
        std::thread::sleep(pause.min(patience.min(timeout).saturating_sub(waited)));
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Opens what was found, and only then believes it: while it is open nothing else gets its number.
fn open(sysfs: &Sysfs, wanted: &LocalDevice, name: &str, number: u64) -> Result<OpenDisk> {
    let open = OpenDisk::open(sysfs, name, number)?;
    let differs = wanted.device.as_ref().map(|device| differences(device, &open.disk.identity)).unwrap_or_default();
    if differs.is_empty() && open.partition == wanted.partition {
        return Ok(open);
    }
    Err(Error::unavailable(format_args!("{name} became another disk ({})", describe(&open.disk.identity))))
}

/// One look.
///
/// # Errors
/// FailedPrecondition, as for [`wait_for`].
pub(super) fn look(config: &DeviceConfig, sysfs: &Sysfs, wanted: &LocalDevice) -> Result<Look> {
    let disk = match &wanted.find {
        DeviceMatch::Path(path) => return at_path(config, sysfs, wanted, path),
        DeviceMatch::Identity => by_identity(sysfs, needed(wanted)?)?,
        DeviceMatch::ById(link) => {
            let disk = by_identity(sysfs, needed(wanted)?)?;
            compare_hint(config, sysfs, link, disk.as_ref().ok());
            disk
        }
        DeviceMatch::ScsiLun(lun) => by_lun(sysfs, *lun, wanted.device.as_ref())?,
    };
    Ok(match disk {
        Ok(disk) => part_of(&disk, wanted),
        Err(seen) => Look::Missing(seen),
    })
}

fn needed(wanted: &LocalDevice) -> Result<&DeviceIdentity> {
    wanted.device.as_ref().filter(|device| **device != DeviceIdentity::default()).ok_or_else(|| {
        Error::failed_precondition("the backend's plan looks for a disk by identity and does not say which")
    })
}

fn part_of(disk: &Disk, wanted: &LocalDevice) -> Look {
    let Some(index) = wanted.partition else { return Look::Found(disk.name.clone(), disk.number) };
    match disk.partition(index) {
        Some(partition) => Look::Found(partition.name.clone(), partition.number),
        None => Look::Missing(format!("disk {} has no partition {index}", disk.name)),
    }
}

fn by_identity(sysfs: &Sysfs, device: &DeviceIdentity) -> Result<std::result::Result<Disk, String>> {
    let all = sysfs.disks()?;
    let fitting = all.iter().filter(|disk| differences(device, &disk.identity).is_empty()).cloned().collect();
    one_of(fitting, &format_args!("say {}", describe(device)), || list(&all))
}

/// Disks of the operating system are no data disks: whatever is mounted, swapped to or part of another device.
fn by_lun(sysfs: &Sysfs, lun: u32, device: Option<&DeviceIdentity>) -> Result<std::result::Result<Disk, String>> {
    let (all, usage) = (sysfs.disks()?, Usage::now()?);
    let is_it = |disk: &&Disk| {
        disk.lun == Some(lun) && device.is_none_or(|device| differences(device, &disk.identity).is_empty())
    };
    let free = |disk: &&Disk| usage.of_disk(disk).is_empty() && !is_claimed(&disk.name, disk.number);
    let fitting = all.iter().filter(is_it).filter(free).cloned().collect();
    one_of(fitting, &format_args!("are unused and have LUN {lun}"), || {
        let used: Vec<String> = all.iter().filter(is_it).flat_map(|disk| usage.of_disk(disk)).collect();
        if used.is_empty() { list(&all) } else { format!("in use with this LUN: {}", used.join("; ")) }
    })
}

fn one_of(
    mut fitting: Vec<Disk>,
    what: &dyn std::fmt::Display,
    seen: impl FnOnce() -> String,
) -> Result<std::result::Result<Disk, String>> {
    match (fitting.pop(), fitting.last()) {
        (None, _) => Ok(Err(seen())),
        (Some(disk), None) => Ok(Ok(disk)),
        (Some(disk), Some(other)) => Err(Error::failed_precondition(format_args!(
            "several disks {what}: {} and {}; none is touched (are these paths to one disk, and multipath is missing?)",
            other.name, disk.name
        ))),
    }
}

/// Says in the log that a by-id link leads elsewhere.
fn compare_hint(config: &DeviceConfig, sysfs: &Sysfs, link: &str, disk: Option<&Disk>) {
    let Ok(target) = config.by_id.join(link).canonicalize() else { return };
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if disk.is_some_and(|disk| name.starts_with(&disk.name)) {
        return;
    }
    let said = sysfs.disks().ok().and_then(|all| all.into_iter().find(|disk| name.starts_with(&disk.name)));
    tracing::warn!(
        link,
        leads_to = %target.display(),
        which_says = said.map_or_else(|| "nothing".to_owned(), |disk| describe(&disk.identity)),
        "a link of /dev/disk/by-id leads to another disk than the plan means; it is not followed"
    );
}

fn at_path(config: &DeviceConfig, sysfs: &Sysfs, wanted: &LocalDevice, path: &str) -> Result<Look> {
    allowed(config, path)?;
    let Ok(stat) = rustix::fs::stat(path) else { return Ok(Look::Missing(format!("there is no {path}"))) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::BlockDevice {
        return Err(Error::failed_precondition(format_args!("{path} is not a block device")));
    }
    let Some((disk, partition)) = sysfs.by_number(stat.st_rdev) else {
        return Ok(Look::Missing(format!("{path} leads to a device that is gone")));
    };
    let differs = wanted.device.as_ref().map(|device| differences(device, &disk.identity)).unwrap_or_default();
    if !differs.is_empty() {
        return Ok(Look::Missing(format!("{path} leads to {}, which says {}", disk.name, differs.join(", "))));
    }
    match (partition, wanted.partition) {
        (None, _) => Ok(part_of(&disk, wanted)),
        // The path names the partition itself.
        (Some(is), Some(index)) if is == index => Ok(part_of(&disk, wanted)),
        (Some(is), _) => Err(Error::failed_precondition(format_args!(
            "{path} is partition {is} of {}, and the plan does not ask for that",
            disk.name
        ))),
    }
}

fn allowed(config: &DeviceConfig, path: &str) -> Result<()> {
    let plain = path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    let beneath = config.prefixes.iter().any(|prefix| path.len() > prefix.len() && path.starts_with(prefix.as_str()));
    if plain && path.starts_with('/') && beneath {
        return Ok(());
    }
    Err(Error::failed_precondition(format_args!(
        "the backend's plan names the device {}, which begins with none of grants.devices ({})",
        clean_text(path, 128),
        if config.prefixes.is_empty() { "empty".to_owned() } else { config.prefixes.join(", ") }
    )))
}

fn list(disks: &[Disk]) -> String {
    if disks.is_empty() {
        return "this node has no disks".to_owned();
    }
    let known = disks.iter().filter(|disk| disk.identity != DeviceIdentity::default());
    let mut named: Vec<String> =
        known.clone().take(NAMED_MAX).map(|disk| format!("{} ({})", disk.name, describe(&disk.identity))).collect();
    if known.count() > NAMED_MAX {
        named.push("more".to_owned());
    }
    if named.is_empty() {
        "no disk of this node says who it is".to_owned()
    } else {
        format!("seen: {}", named.join(", "))
    }
}

fn show(wanted: &LocalDevice) -> String {
    let who = wanted.device.as_ref().map(|device| format!(" with {}", describe(device))).unwrap_or_default();
    match &wanted.find {
        DeviceMatch::Path(path) => format!("device {}{who}", clean_text(path, 128)),
        DeviceMatch::ScsiLun(lun) => format!("a free disk with LUN {lun}{who}"),
        DeviceMatch::Identity | DeviceMatch::ById(_) => format!("a disk{who}"),
    }
}

/// Where the plan found it, for a disk that says nothing about itself.
pub(crate) fn place_of(wanted: &LocalDevice) -> Option<String> {
    match &wanted.find {
        DeviceMatch::Path(path) => Some(path.clone()),
        DeviceMatch::ScsiLun(lun) => Some(format!("LUN {lun}")),
        DeviceMatch::Identity | DeviceMatch::ById(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::super::parse_number;
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    const EBS: &str = "vol0123456789abcdef0";

    fn serial(text: &str) -> Option<DeviceIdentity> {
        Some(DeviceIdentity { serial: Some(text.to_owned()), ..Default::default() })
    }

    fn wanted(find: DeviceMatch, device: Option<DeviceIdentity>) -> LocalDevice {
        LocalDevice { find, device, partition: None, appear_timeout_s: 0 }
    }

    fn config(fake: &Fake) -> DeviceConfig {
        DeviceConfig { prefixes: vec![], sysfs: fake.path().into(), by_id: fake.path().join("by-id") }
    }

    fn found(fake: &Fake, wanted: &LocalDevice) -> Result<Look> {
        look(&config(fake), &fake.sysfs(), wanted)
    }

    fn is(name: &str, number: &str) -> Look {
        Look::Found(name.to_owned(), parse_number(number).unwrap())
    }

    /// aws-ebs-csi-driver #1224 and #1166: a stale udev link had another volume mounted.
    #[test]
    fn a_link_is_a_hint_and_the_serial_decides() {
        let fake = Fake::new();
        fake.nvme("nvme1n1", "259:1", "vol0ffffffffffffffff", 1 << 30);
        let by_id = fake.path().join("by-id");
        std::fs::create_dir(&by_id).unwrap();
        let link = format!("nvme-Amazon_Elastic_Block_Store_{EBS}");
        symlink("/dev/nvme1n1", by_id.join(&link)).unwrap();
        let wanted = wanted(DeviceMatch::ById(link), serial(EBS));
        let Look::Missing(seen) = found(&fake, &wanted).unwrap() else { panic!("the link was followed") };
        assert!(seen.contains("nvme1n1 (serial vol0ffffffffffffffff)"), "{seen}");
        fake.nvme("nvme2n1", "259:2", EBS, 1 << 30);
        assert_eq!(found(&fake, &wanted).unwrap(), is("nvme2n1", "259:2"));
    }

    #[test]
    fn each_identity_finds_its_disk_and_no_other() {
        let fake = Fake::new();
        fake.nvme("nvme0n1", "259:0", EBS, 1 << 30);
        fake.nvme_multipath("nvme1n1", "259:1", "other", "1b4e28ba-2fa1-11d2-883f-0016d3cca427");
        fake.scsi("sda", "8:0", "0:0:1:7", "beaf11", "60000c29abcdef01", 1 << 30);
        fake.virtio("vda", "254:0", "disk-4", 1 << 30);
        let identity = |wwid: Option<&str>, uuid: Option<&str>| {
            Some(DeviceIdentity { wwid: wwid.map(str::to_owned), uuid: uuid.map(str::to_owned), ..Default::default() })
        };
        for (device, name, number) in [
            (serial(EBS), "nvme0n1", "259:0"),
            (identity(None, Some("1b4e28ba-2fa1-11d2-883f-0016d3cca427")), "nvme1n1", "259:1"),
            (identity(Some("60000c29abcdef01"), None), "sda", "8:0"),
            (serial("beaf11"), "sda", "8:0"),
            (serial("disk-4"), "vda", "254:0"),
        ] {
            assert_eq!(found(&fake, &wanted(DeviceMatch::Identity, device)).unwrap(), is(name, number));
        }
        let nobody = wanted(DeviceMatch::Identity, serial("vol0123456789abcdef"));
        assert!(matches!(found(&fake, &nobody).unwrap(), Look::Missing(_)), "a prefix is not enough");
        let both =
            DeviceIdentity { wwid: Some("60000c29abcdef01".into()), serial: Some(EBS.into()), ..Default::default() };
        assert!(matches!(found(&fake, &wanted(DeviceMatch::Identity, Some(both))).unwrap(), Look::Missing(_)));
        for nothing in [None, Some(DeviceIdentity::default())] {
            found(&fake, &wanted(DeviceMatch::Identity, nothing)).unwrap_err();
        }
    }

    #[test]
    fn two_disks_that_say_the_same_are_both_left_alone() {
        let fake = Fake::new();
        for (name, number, address) in [("sda", "8:0", "0:0:0:1"), ("sdb", "8:16", "1:0:0:1")] {
            fake.scsi(name, number, address, "beaf11", "60000c29abcdef01", 1 << 30);
        }
        let refused = found(&fake, &wanted(DeviceMatch::Identity, serial("beaf11"))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::FailedPrecondition);
        assert!(refused.message().contains("sda and sdb"), "{refused}");
        found(&fake, &wanted(DeviceMatch::ScsiLun(1), None)).unwrap_err();
    }

    #[test]
    fn the_operating_systems_disks_are_no_data_disks() {
        let fake = Fake::new();
        fake.scsi("sda", "8:0", "0:0:0:0", "os", "60000c2900000001", 1 << 30);
        fake.partition("sda", "sda1", 1, "8:1", 1 << 20);
        fake.scsi("sdb", "8:16", "1:0:0:0", "raid", "60000c2900000002", 1 << 30);
        fake.hold("sdb", "dm-0");
        let lun = wanted(DeviceMatch::ScsiLun(0), None);
        // sda1 looks unused here, and sda would do.
        assert_eq!(found(&fake, &lun).unwrap(), is("sda", "8:0"));
        fake.hold("sda/sda1", "md0");
        let Look::Missing(seen) = found(&fake, &lun).unwrap() else { panic!() };
        assert!(seen.contains("sda1 is part of md0") && seen.contains("sdb is part of dm-0"), "{seen}");
        fake.scsi("sdc", "8:32", "3:0:0:0", "data", "60000c2900000003", 1 << 30);
        assert_eq!(found(&fake, &lun).unwrap(), is("sdc", "8:32"));
        // The root of this machine, whatever it is on, is in use.
        let root = crate::mounts::all().unwrap().into_iter().find(|mount| mount.mount_point == Path::new("/")).unwrap();
        fake.scsi("sdd", &root.device, "4:0:0:9", "root", "60000c2900000004", 1 << 30);
        assert!(matches!(found(&fake, &wanted(DeviceMatch::ScsiLun(9), None)).unwrap(), Look::Missing(_)));
    }

    #[test]
    fn a_partition_is_found_on_its_disk() {
        let fake = Fake::new();
        fake.nvme("nvme0n1", "259:0", EBS, 1 << 30);
        let second = LocalDevice { partition: Some(2), ..wanted(DeviceMatch::Identity, serial(EBS)) };
        assert!(matches!(found(&fake, &second).unwrap(), Look::Missing(seen) if seen.contains("no partition 2")));
        fake.partition("nvme0n1", "nvme0n1p2", 2, "259:7", 1 << 20);
        assert_eq!(found(&fake, &second).unwrap(), is("nvme0n1p2", "259:7"));
    }

    #[test]
    fn only_paths_that_the_operator_allows() {
        let fake = Fake::new();
        let mut config = config(&fake);
        let at = |config: &DeviceConfig, path: &str| {
            look(config, &fake.sysfs(), &wanted(DeviceMatch::Path(path.to_owned()), None))
        };
        assert!(at(&config, "/dev/pxd/pxd1").unwrap_err().message().contains("grants.devices"));
        config.prefixes = vec!["/dev/pxd/".into(), "/dev/xvd".into()];
        for good in ["/dev/pxd/pxd1", "/dev/xvdba"] {
            assert!(matches!(at(&config, good).unwrap(), Look::Missing(_)), "{good}");
        }
        for bad in
            ["/dev/sda", "/dev/pxd/", "/dev/pxd/../sda", "/dev/xvd/./a", "/dev/pxd//a", "dev/pxd/a", "/dev/xvd", ""]
        {
            assert_eq!(at(&config, bad).unwrap_err().kind(), ErrorKind::FailedPrecondition, "{bad}");
        }
        config.prefixes = vec!["/dev/".into()];
        assert!(at(&config, "/dev/null").unwrap_err().message().contains("not a block device"));
    }

    #[test]
    fn waiting_ends_with_what_was_looked_for_and_seen() {
        let fake = Fake::new();
        fake.virtio("vda", "254:0", "root-disk", 1 << 30);
        let mut wanted = wanted(DeviceMatch::Identity, serial(EBS));
        let late = wait_for(&config(&fake), &wanted, Duration::from_secs(60)).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Unavailable);
        assert!(late.message().contains(EBS) && late.message().contains("vda (serial root-disk)"), "{late}");
        wanted.appear_timeout_s = 60;
        let late = wait_for(&config(&fake), &wanted, Duration::from_millis(150)).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
        // A disk with a LUN is looked for by the hosts too.
        let lun = LocalDevice { find: DeviceMatch::ScsiLun(5), ..wanted };
        wait_for(&config(&fake), &lun, Duration::from_millis(100)).unwrap_err();
        assert_eq!(fake.scan(), "- - 5");
    }
}
