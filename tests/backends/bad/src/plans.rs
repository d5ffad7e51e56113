//! Answers to NodeStageVolume: sound plans of every kind, and plans that no host may carry out.

use bulkhead_sdk::prelude::*;

/// Sound plans, one of each kind of access.
#[cfg(test)]
pub const PLANS: [&str; 11] = [
    "nfs",
    "smb",
    "iscsi",
    "nvme-of",
    "fibre-channel",
    "local-device",
    "fuse-cluster",
    "pool-directory",
    "pool-image",
    "rbd",
    "lvm",
];

/// Plans that are refused, whatever the operator allows.
#[cfg(test)]
pub const LIES: [&str; 15] = [
    "pool-ungranted",
    "object-traversal",
    "object-absolute",
    "object-missing",
    "mkfs-evil",
    "mount-evil",
    "fs-evil",
    "device-path-evil",
    "nfs-traversal",
    "nfs-no-server",
    "server-evil",
    "nfs-filesystem",
    "image-directory",
    "identity-empty",
    "size-max",
];

/// The plan of that name.
pub fn plan(what: &str, capability: &VolumeCapability) -> Option<Plan> {
    let device = Usage::of(capability, "ext4");
    let directory = Usage::directory(capability).unwrap_or_else(|_| device.clone());
    match access(what) {
        Some(access @ (Access::Nfs(_) | Access::Smb(_) | Access::FuseCluster(_) | Access::PoolDirectory(_))) => {
            Some(Plan::new(access, directory))
        }
        Some(access) => Some(Plan::new(access, device)),
        None => lie(what, device, directory),
    }
}

fn object(pool: &str, name: &str) -> PoolObject {
    PoolObject { pool: pool.to_owned(), name: name.to_owned() }
}

fn access(what: &str) -> Option<Access> {
    let text = str::to_owned;
    Some(match what {
        "nfs" => Access::Nfs(Nfs::new("nfs.example.com", "/export")),
        "smb" => Access::Smb(Smb {
            server: text("smb.example.com"),
            share: text("share"),
            subdirectory: None,
            domain: None,
            username: Some(SecretRef::new("username")),
            password: Some(SecretRef::new("password")),
        }),
        "iscsi" => Access::Iscsi(Iscsi {
            portals: vec![IscsiPortal {
                address: text("192.0.2.1:3260"),
                target_iqn: text("iqn.2026-01.com.example:target"),
            }],
            lun: 1,
            device: DeviceIdentity::serial("serial"),
            chap: None,
            mutual_chap: None,
            multipath: MultipathPolicy::Off,
            min_paths: 0,
            shared_target: false,
        }),
        "nvme-of" => Access::NvmeOf(NvmeOf {
            transport: NvmeTransport::Tcp,
            addresses: vec![text("192.0.2.1:4420")],
            subsystem_nqn: text("nqn.2026-01.com.example:subsystem"),
            device: DeviceIdentity::uuid("6d0c5e6a-7f52-4b46-9a75-1f6c2f5f0c11"),
            dhchap: None,
            dhchap_controller: None,
            ctrl_loss_timeout_s: None,
            shared_subsystem: false,
        }),
        "fibre-channel" => Access::FibreChannel(FibreChannel {
            target_wwpns: vec![text("514f0c5000000001")],
            lun: 1,
            device: DeviceIdentity::wwid("514f0c5000000002"),
            multipath: MultipathPolicy::Off,
            min_paths: 0,
        }),
        "local-device" => Access::LocalDevice(device(DeviceMatch::ById(text("nvme-bad")))),
        "fuse-cluster" => Access::FuseCluster(FuseCluster {
            kind: ClusterKind::Glusterfs,
            servers: vec![text("gluster.example.com")],
            volume: text("volume"),
            subdirectory: None,
            username: None,
            credential: None,
        }),
        "pool-directory" => Access::PoolDirectory(object("bad", "object")),
        "pool-image" => Access::PoolImage(object("bad", "object")),
        "rbd" => Access::Rbd(Rbd {
            monitors: vec![text("192.0.2.1:6789")],
            pool: text("pool"),
            namespace: None,
            image: text("image"),
            username: text("user"),
            credential: SecretRef::new("key"),
        }),
        "lvm" => Access::Lvm(Lvm { volume_group: text("vg"), logical_volume: text("lv") }),
        _ => return None,
    })
}

fn device(find: DeviceMatch) -> LocalDevice {
    LocalDevice { find, device: Some(DeviceIdentity::serial("serial")), partition: None, appear_timeout_s: 1 }
}

fn lie(what: &str, device_usage: Usage, directory: Usage) -> Option<Plan> {
    let with = |access: Access| Some(Plan::new(access, device_usage.clone()));
    let shown = |access: Access| Some(Plan::new(access, directory.clone()));
    let mounted = |change: fn(&mut Filesystem)| {
        let mut filesystem = Filesystem::new("ext4");
        change(&mut filesystem);
        Some(Plan::new(Access::PoolImage(object("bad", "object")), Usage::Filesystem(filesystem)))
    };
    match what {
        "pool-ungranted" => with(Access::PoolImage(object("somebody-elses", "object"))),
        "object-traversal" => with(Access::PoolImage(object("bad", "../x"))),
        "object-absolute" => shown(Access::PoolDirectory(object("bad", "/etc"))),
        "object-missing" => with(Access::PoolImage(object("bad", "nobody-made-this"))),
        "mkfs-evil" => mounted(|filesystem| filesystem.mkfs_options = vec!["--evil".to_owned()]),
        "mount-evil" => mounted(|filesystem| filesystem.mount_options = vec!["suid,dev".to_owned()]),
        "fs-evil" => mounted(|filesystem| filesystem.fs_type = "../../bin/sh".to_owned()),
        "device-path-evil" => with(Access::LocalDevice(device(DeviceMatch::Path("/dev/pxd/../sda".to_owned())))),
        "nfs-traversal" => shown(Access::Nfs(Nfs::new("nfs.example.com", "/export/../../etc"))),
        "nfs-no-server" => shown(Access::Nfs(Nfs { servers: Vec::new(), ..Nfs::new("", "/export") })),
        "server-evil" => shown(Access::Nfs(Nfs::new("nfs.example.com:/x -o suid", "/export"))),
        "nfs-filesystem" => with(Access::Nfs(Nfs::new("nfs.example.com", "/export"))),
        "image-directory" => shown(Access::PoolImage(object("bad", "object"))),
        "identity-empty" => {
            let nothing = DeviceIdentity { wwid: None, serial: None, uuid: None, nguid: None };
            with(Access::LocalDevice(LocalDevice { device: Some(nothing), ..device(DeviceMatch::Identity) }))
        }
        "size-max" => with(Access::PoolImage(object("bad", "object")))
            .map(|plan| Plan { expected_size_bytes: Some(u64::MAX), ..plan }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_plan_exists() {
        let capability = VolumeCapability::mount(AccessMode::SingleNodeWriter, "");
        let usage = Usage::of(&capability, "ext4");
        for what in PLANS {
            assert!(access(what).is_some() && lie(what, usage.clone(), usage.clone()).is_none(), "{what}");
        }
        for what in LIES {
            assert!(access(what).is_none() && plan(what, &capability).is_some(), "{what}");
        }
        assert_eq!(plan("nonsense", &capability), None);
    }
}
