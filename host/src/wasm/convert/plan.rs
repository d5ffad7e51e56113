//! The mount plan from the guest. Checked for shape here; the node engine checks options against its allow-lists and paths
//! against its fences.

use super::list;
use crate::wasm::bindings::{imports::plan_types as wit, offered};
use bulkhead_domain::{
    limits::{self, Violation},
    plan::{
        Access, BlockUsage, Chap, ClusterKind, DeviceIdentity, DeviceMatch, Directory, Encryption, EphemeralPlan,
        FibreChannel, Filesystem, FormatPolicy, FsckPolicy, FuseCluster, HostPort, Iscsi, IscsiPortal, LocalDevice,
        Lvm, MultipathPolicy, Nfs, NvmeOf, NvmeTransport, Plan, PoolObject, Rbd, Scratch, SecretRef, Smb, Usage,
    },
};

type Checked<T> = Result<T, Violation>;

/// Longest path or option in a plan, in bytes.
const LONG_TEXT_BYTES: usize = 1024;
/// Longest name of an NVMe subsystem or iSCSI target, in bytes (NVMe base specification, RFC 3720).
const QUALIFIED_NAME_BYTES: usize = 223;

/// The whole plan.
pub fn plan(plan: wit::Plan) -> Checked<Plan> {
    let plan = Plan {
        access: access(plan.access)?,
        usage: usage(plan.usage)?,
        encryption: plan.encryption.map(encryption).transpose()?,
        expected_size_bytes: plan.expected_size_bytes,
    };
    plan.check()?;
    if plan.expected_size_bytes.is_some_and(|bytes| bytes > limits::MAX_BYTES) {
        return Err("expected-size-bytes is larger than 2^63 - 1".into());
    }
    Ok(plan)
}

fn text(what: &str, value: String) -> Checked<String> {
    limits::required_text(what, &value, LONG_TEXT_BYTES)?;
    Ok(value)
}

fn optional(what: &str, value: Option<String>) -> Checked<Option<String>> {
    value.map(|value| text(what, value)).transpose()
}

fn texts(what: &str, values: Vec<String>) -> Checked<Vec<String>> {
    list(what, values, |value| text(what, value))
}

fn server(what: &str, value: &str) -> Checked<HostPort> {
    HostPort::parse(value).map_err(|why| format!("{what}: {why}"))
}

fn servers(what: &str, values: Vec<String>) -> Checked<Vec<HostPort>> {
    at_least_one(what, list(what, values, |value| server(what, &value))?)
}

fn at_least_one<T>(what: &str, values: Vec<T>) -> Checked<Vec<T>> {
    if values.is_empty() { Err(format!("{what} is empty")) } else { Ok(values) }
}

fn qualified(what: &str, value: String) -> Checked<String> {
    limits::required_text(what, &value, QUALIFIED_NAME_BYTES)?;
    Ok(value)
}

/// A directory on a server or in a file system: no `..` that could leave what the operator allows.
fn path(what: &str, value: String) -> Checked<String> {
    let value = text(what, value)?;
    if value.split('/').any(|segment| segment == "..") {
        return Err(format!("{what} has a '..' segment"));
    }
    Ok(value)
}

fn secret(secret: wit::SecretRef) -> Checked<SecretRef> {
    limits::required_text("a secret's key", &secret.key, limits::STRING_BYTES)?;
    Ok(SecretRef { key: secret.key })
}

fn optional_secret(value: Option<wit::SecretRef>) -> Checked<Option<SecretRef>> {
    value.map(secret).transpose()
}

fn chap(chap: wit::Chap) -> Checked<Chap> {
    Ok(Chap { username: secret(chap.username)?, password: secret(chap.password)? })
}

fn identity(device: wit::DeviceIdentity) -> Checked<DeviceIdentity> {
    let device = DeviceIdentity {
        wwid: optional("wwid", device.wwid)?,
        serial: optional("serial", device.serial)?,
        uuid: optional("uuid", device.uuid)?,
        nguid: optional("nguid", device.nguid)?,
    };
    if device == DeviceIdentity::default() {
        return Err("device says nothing by which it could be known".into());
    }
    Ok(device)
}

fn multipath(policy: wit::MultipathPolicy) -> MultipathPolicy {
    match policy {
        wit::MultipathPolicy::Off => MultipathPolicy::Off,
        wit::MultipathPolicy::Preferred => MultipathPolicy::Preferred,
        wit::MultipathPolicy::Required => MultipathPolicy::Required,
    }
}

fn pool_object(object: wit::PoolObject) -> Checked<PoolObject> {
    limits::object_name("pool", &object.pool)?;
    limits::object_name("object name", &object.name)?;
    Ok(PoolObject { pool: object.pool, name: object.name })
}

fn access(access: wit::Access) -> Checked<Access> {
    Ok(match access {
        wit::Access::Nfs(nfs) => Access::Nfs(Nfs {
            servers: servers("servers", nfs.servers)?,
            export_path: path("export-path", nfs.export_path)?,
            version: optional("version", nfs.version)?,
        }),
        wit::Access::Smb(smb) => Access::Smb(Smb {
            server: server("server", &smb.server)?,
            share: text("share", smb.share)?,
            subdirectory: smb.subdirectory.map(|s| path("subdirectory", s)).transpose()?,
            domain: optional("domain", smb.domain)?,
            username: optional_secret(smb.username)?,
            password: optional_secret(smb.password)?,
        }),
        wit::Access::Iscsi(it) => Access::Iscsi(iscsi(it)?),
        wit::Access::NvmeOf(it) => Access::NvmeOf(nvme_of(it)?),
        wit::Access::FibreChannel(fc) => Access::FibreChannel(FibreChannel {
            target_wwpns: at_least_one("target-wwpns", texts("target-wwpns", fc.target_wwpns)?)?,
            lun: fc.lun,
            device: identity(fc.device)?,
            multipath: multipath(fc.multipath),
            min_paths: fc.min_paths,
        }),
        wit::Access::LocalDevice(it) => Access::LocalDevice(local_device(it)?),
        wit::Access::FuseCluster(cluster) => Access::FuseCluster(FuseCluster {
            kind: match cluster.kind {
                wit::ClusterKind::Glusterfs => ClusterKind::Glusterfs,
                wit::ClusterKind::Cephfs => ClusterKind::Cephfs,
            },
            servers: servers("servers", cluster.servers)?,
            volume: text("volume", cluster.volume)?,
            subdirectory: cluster.subdirectory.map(|s| path("subdirectory", s)).transpose()?,
            username: optional("username", cluster.username)?,
            credential: optional_secret(cluster.credential)?,
        }),
        wit::Access::PoolDirectory(object) => Access::PoolDirectory(pool_object(object)?),
        wit::Access::PoolImage(object) => Access::PoolImage(pool_object(object)?),
        wit::Access::Rbd(rbd) => Access::Rbd(Rbd {
            monitors: servers("monitors", rbd.monitors)?,
            pool: text("pool", rbd.pool)?,
            namespace: optional("namespace", rbd.namespace)?,
            image: text("image", rbd.image)?,
            username: text("username", rbd.username)?,
            credential: secret(rbd.credential)?,
        }),
        wit::Access::Lvm(lvm) => Access::Lvm(Lvm {
            volume_group: text("volume-group", lvm.volume_group)?,
            logical_volume: text("logical-volume", lvm.logical_volume)?,
        }),
    })
}

fn iscsi(it: wit::Iscsi) -> Checked<Iscsi> {
    let portals = list("portals", it.portals, |portal| {
        Ok(IscsiPortal {
            address: server("portal address", &portal.address)?,
            target_iqn: qualified("target-iqn", portal.target_iqn)?,
        })
    })?;
    Ok(Iscsi {
        portals: at_least_one("portals", portals)?,
        lun: it.lun,
        device: identity(it.device)?,
        chap: it.chap.map(chap).transpose()?,
        mutual_chap: it.mutual_chap.map(chap).transpose()?,
        multipath: multipath(it.multipath),
        min_paths: it.min_paths,
        shared_target: it.shared_target,
    })
}

fn nvme_of(it: wit::NvmeOf) -> Checked<NvmeOf> {
    // What is no host has no port either: the address of a Fibre Channel port.
    if it.transport != wit::NvmeTransport::Fc {
        it.addresses.iter().try_for_each(|address| server("addresses", address).map(drop))?;
    }
    Ok(NvmeOf {
        transport: match it.transport {
            wit::NvmeTransport::Tcp => NvmeTransport::Tcp,
            wit::NvmeTransport::Rdma => NvmeTransport::Rdma,
            wit::NvmeTransport::Fc => NvmeTransport::Fc,
        },
        addresses: at_least_one("addresses", texts("addresses", it.addresses)?)?,
        subsystem_nqn: qualified("subsystem-nqn", it.subsystem_nqn)?,
        device: identity(it.device)?,
        dhchap: optional_secret(it.dhchap)?,
        dhchap_controller: optional_secret(it.dhchap_controller)?,
        ctrl_loss_timeout_s: it.ctrl_loss_timeout_s,
        shared_subsystem: it.shared_subsystem,
    })
}

fn local_device(it: wit::LocalDevice) -> Checked<LocalDevice> {
    let find = match it.find {
        wit::DeviceMatch::ById(name) => {
            let name = text("by-id", name)?;
            if name.contains('/') {
                return Err("by-id is a name in /dev/disk/by-id and may not hold a slash".into());
            }
            DeviceMatch::ById(name)
        }
        wit::DeviceMatch::ScsiLun(lun) => DeviceMatch::ScsiLun(lun),
        wit::DeviceMatch::Identity => DeviceMatch::Identity,
        wit::DeviceMatch::Path(value) => DeviceMatch::Path(path("device path", value)?),
    };
    let device = it.device.map(identity).transpose()?;
    if device.is_none() && !matches!(find, DeviceMatch::ScsiLun(_) | DeviceMatch::Path(_)) {
        return Err("device is needed unless the disk is found by scsi-lun or path".into());
    }
    if it.partition == Some(0) {
        return Err("partition counts from 1".into());
    }
    Ok(LocalDevice { find, device, partition: it.partition, appear_timeout_s: it.appear_timeout_s })
}

fn usage(usage: wit::Usage) -> Checked<Usage> {
    Ok(match usage {
        wit::Usage::Block(block) => Usage::Block(BlockUsage { read_only: block.read_only }),
        wit::Usage::Filesystem(fs) => Usage::Filesystem(filesystem(fs)?),
        wit::Usage::Directory(it) => Usage::Directory(directory(it)?),
    })
}

fn directory(directory: wit::Directory) -> Checked<Directory> {
    Ok(Directory { mount_options: texts("mount-options", directory.mount_options)?, read_only: directory.read_only })
}

fn filesystem(fs: wit::Filesystem) -> Checked<Filesystem> {
    limits::text("fs-type", &fs.fs_type, limits::STRING_BYTES)?;
    Ok(Filesystem {
        fs_type: fs.fs_type,
        format: match fs.format {
            wit::FormatPolicy::IfEmpty => FormatPolicy::IfEmpty,
            wit::FormatPolicy::Never => FormatPolicy::Never,
        },
        mkfs_options: texts("mkfs-options", fs.mkfs_options)?,
        mount_options: texts("mount-options", fs.mount_options)?,
        fsck: match fs.fsck {
            wit::FsckPolicy::None => FsckPolicy::None,
            wit::FsckPolicy::Preen => FsckPolicy::Preen,
            wit::FsckPolicy::CheckOnly => FsckPolicy::CheckOnly,
        },
        grow: fs.grow,
        read_only: fs.read_only,
    })
}

/// The plan of an inline ephemeral volume.
pub fn ephemeral_plan(plan: offered::ephemeral::EphemeralPlan) -> Checked<EphemeralPlan> {
    limits::object_name("pool", &plan.pool)?;
    if plan.size_bytes == 0 || plan.size_bytes > limits::MAX_BYTES {
        return Err("size-bytes is 0 or larger than 2^63 - 1".into());
    }
    let scratch = match plan.scratch {
        offered::ephemeral::Scratch::Image(it) => Scratch::Image(filesystem(it)?),
        offered::ephemeral::Scratch::Directory(it) => Scratch::Directory(directory(it)?),
    };
    Ok(EphemeralPlan { pool: plan.pool, size_bytes: plan.size_bytes, scratch })
}

fn encryption(encryption: wit::Encryption) -> Checked<Encryption> {
    Ok(Encryption { passphrase: secret(encryption.passphrase)?, cipher: optional("cipher", encryption.cipher)? })
}
