//! What the tests stand on: one moto for all of them, a proxy for each.

use bulkhead_ec2::{Boto, Direct, Moto, Proxy, Settings, moto::available};
use serde_json::{Value, json};
use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(20);

/// A state that does not end until the settings say otherwise: tests change them instead of measuring time.
pub const LONG: u64 = 3_600_000;

/// moto; it ends with this process.
fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(|| Moto::start().unwrap())
}

pub struct Ground {
    pub moto: &'static Moto,
    pub proxy: Proxy,
    pub boto: Boto,
    pub name: &'static str,
    pub record: tempfile::NamedTempFile,
}

impl Ground {
    /// A proxy and a client of it. What the test makes carries its name. Nothing, where there is no moto.
    pub fn new(name: &'static str, settings: Settings) -> Option<Self> {
        if !available() {
            return None;
        }
        let moto = moto();
        let record = tempfile::NamedTempFile::new().unwrap();
        let proxy = Proxy::start(moto, settings, Some(record.path())).unwrap();
        let boto = Boto::new(&proxy.url(), &moto.facts.region, &moto.key("driver"));
        Some(Self { moto, proxy, boto, name, record })
    }

    /// Parameters of a volume with the test's tag.
    pub fn volume(&self, more: Value) -> Value {
        let mut args = json!({
            "AvailabilityZone": self.moto.facts.zones[0],
            "Size": 8,
            "VolumeType": "gp3",
            "TagSpecifications": [{ "ResourceType": "volume", "Tags": [{ "Key": "test", "Value": self.name }] }],
        });
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    }

    /// A volume that is available.
    pub fn made(&mut self) -> String {
        let args = self.volume(json!({}));
        let made = self.boto.ok("create_volume", &args);
        let id = made["VolumeId"].as_str().unwrap().to_owned();
        self.until(&id, "available");
        id
    }

    /// A volume as the client sees it.
    pub fn seen(&mut self, id: &str) -> Value {
        self.boto.ok("describe_volumes", &json!({ "VolumeIds": [id] }))["Volumes"][0].take()
    }

    /// Waits until the volume has this state.
    pub fn until(&mut self, id: &str, state: &str) {
        let start = Instant::now();
        loop {
            let seen = self.seen(id);
            if seen["State"] == state {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{id} does not become {state}: {seen}");
        }
    }

    /// An instance of the first zone.
    pub fn instance(&self, number: usize) -> String {
        let zone = &self.moto.facts.zones[0];
        let mut here = self.moto.facts.instances.iter().filter(|instance| instance.zone == *zone);
        here.nth(number).unwrap().id.clone()
    }

    /// An instance of another zone.
    pub fn elsewhere(&self) -> String {
        let zone = &self.moto.facts.zones[0];
        self.moto.facts.instances.iter().find(|instance| instance.zone != *zone).unwrap().id.clone()
    }

    /// Volumes of this test, counted at moto itself.
    pub fn count(&self) -> usize {
        self.moto.direct().volumes_with("test", self.name).unwrap().len()
    }

    /// Moto's own client at the proxy, with this user's key.
    pub fn raw(&self, user: &str) -> Direct {
        Direct::new(self.proxy.port(), &self.moto.facts.region, self.moto.key(user))
    }
}
