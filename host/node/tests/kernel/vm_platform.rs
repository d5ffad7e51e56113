//! Platforms that attach disks for real: nvmet over TCP and LIO. In the test VM only.

use crate::env::*;
use bulkhead_domain::node::Stage;
use bulkhead_domain::plan::{Access, DeviceIdentity, DeviceMatch, LocalDevice, Nfs, Plan, Usage};
use bulkhead_node::{DeviceConfig, Engine, EngineConfig};
use bulkhead_vm::{LunTarget, NvmeController, NvmeTarget};
use std::time::Duration;

/// Attaches one disk after the other.
pub trait Platform {
    /// A new disk of this size, all zero.
    fn plug(&mut self, size: u64) -> DeviceIdentity;
    /// The disk of the last [`Platform::plug`] becomes larger.
    fn enlarge(&mut self, size: u64);
    /// It goes.
    fn unplug(&mut self);
}

pub struct Nvme {
    target: NvmeTarget,
    number: u32,
    // Before the target, which it uses.
    controller: Option<NvmeController>,
}

impl Nvme {
    pub fn start() -> Self {
        let target = NvmeTarget::start("platform", "Any");
        let controller = Some(target.connect());
        Self { target, number: 0, controller }
    }

    fn controller(&self) -> &NvmeController {
        self.controller.as_ref().unwrap()
    }
}

impl Drop for Nvme {
    fn drop(&mut self) {
        self.controller.take();
    }
}

impl Platform for Nvme {
    fn plug(&mut self, size: u64) -> DeviceIdentity {
        self.number += 1;
        let uuid = format!("1b4e28ba-2fa1-41d2-883f-{:012x}", self.number);
        self.target.add(self.number, size, Some(&uuid));
        self.controller().disk(self.number);
        DeviceIdentity { uuid: Some(uuid), ..Default::default() }
    }

    fn enlarge(&mut self, size: u64) {
        self.target.resize(self.number, size);
    }

    fn unplug(&mut self) {
        self.target.remove(self.number);
        self.controller().wait_gone(self.number);
    }
}

pub struct Scsi {
    target: LunTarget,
    number: u32,
}

impl Scsi {
    pub fn start() -> Self {
        Self { target: LunTarget::start(), number: 0 }
    }
}

impl Platform for Scsi {
    fn plug(&mut self, size: u64) -> DeviceIdentity {
        self.number += 1;
        let serial = format!("beaf{:04x}", self.number);
        self.target.add(self.number, size, &serial);
        DeviceIdentity { serial: Some(serial), ..Default::default() }
    }

    fn enlarge(&mut self, size: u64) {
        self.target.resize(self.number, size);
    }

    fn unplug(&mut self) {
        self.target.remove(self.number);
    }
}

/// An engine that looks at the real disks.
pub fn engine(env: &Env) -> Engine {
    Engine::open(EngineConfig { devices: DeviceConfig::default(), ..env.config() }).unwrap()
}

/// Of a disk.
pub fn stage_disk(env: &Env, find: DeviceMatch, device: Option<DeviceIdentity>, kind: Kind) -> Stage {
    let access = Access::LocalDevice(LocalDevice { find, device, partition: None, appear_timeout_s: 0 });
    Stage { plan: Plan { access, ..env.plan_of_disk("any", kind) }, ..env.stage("v", kind) }
}

/// Of a disk that was plugged a moment ago: its node may be there before it says who it is.
pub fn stage_plugged(env: &Env, identity: DeviceIdentity, kind: Kind) -> Stage {
    let mut stage = stage_disk(env, DeviceMatch::Identity, Some(identity), kind);
    if let Access::LocalDevice(device) = &mut stage.plan.access {
        device.appear_timeout_s = 10;
    }
    stage
}

/// Of the export `data` at these servers. With a version also the security is fixed: without, the client asks for it, and knfsd
/// starts modprobe for each flavor of Kerberos before it answers, at each mount. Programs start slowly in the VM.
pub fn stage_export(env: &Env, servers: &[&str], version: Option<&str>, options: &[&str]) -> Stage {
    let access = Access::Nfs(Nfs {
        servers: servers.iter().map(|server| server.parse().unwrap()).collect(),
        export_path: "/data".into(),
        version: version.map(str::to_owned),
    });
    let options = [options, version.map_or(&[][..], |_| &["sec=sys"])].concat();
    let (usage, stage) = (Usage::Directory(directory(&options)), env.stage("v", EXPORT));
    // The first mount has the client's modules loaded.
    Stage { plan: Plan { access, usage, ..plan("v", EXPORT) }, timeout: Duration::from_secs(60), ..stage }
}

/// What stands for an export: its file system is the server's.
pub const EXPORT: Kind = Kind::Ext4;
