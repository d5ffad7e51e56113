//! A kubelet, as far as the registration of CSI drivers goes: it looks for sockets in `plugins_registry`, asks each new one
//! once, calls the driver's NodeGetInfo, and says how that went. A driver whose socket goes is forgotten.

use crate::client::{Client, connect_as};
use bulkhead_proto::{
    registration::{InfoRequest, PluginInfo, RegistrationStatus, registration_client::RegistrationClient},
    v1,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tonic::transport::Endpoint;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A socket's file, so that another one of the same name is known to be another.
type File = (u64, u64, i64, i64);

/// A kubelet that acts only while it is polled.
#[derive(Debug)]
pub struct Kubelet {
    registry: PathBuf,
    root: PathBuf,
    asked: BTreeMap<PathBuf, File>,
    /// What registered drivers have said about themselves, and their node ids.
    pub drivers: BTreeMap<String, (PluginInfo, String)>,
    /// Refuses every driver with this text.
    pub refuses: Option<String>,
    /// How many sockets it has asked.
    pub questions: usize,
}

impl Kubelet {
    /// Starts with the root directory `root`, knowing nothing.
    ///
    /// # Panics
    /// Its directory can't be made.
    pub fn start(root: &Path) -> Self {
        let registry = root.join("plugins_registry");
        fs::create_dir_all(&registry).expect("plugins_registry");
        let (asked, drivers) = Default::default();
        Self { registry, root: root.to_owned(), asked, drivers, refuses: None, questions: 0 }
    }

    /// Looks once.
    ///
    /// # Panics
    /// A socket does not speak the protocol.
    pub async fn look(&mut self) {
        let there = sockets(&self.registry);
        let gone: Vec<_> = self.asked.iter().filter(|(path, file)| there.get(*path) != Some(file)).collect();
        for path in gone.into_iter().map(|(path, _)| path.clone()).collect::<Vec<_>>() {
            self.asked.remove(&path);
            self.drivers.retain(|name, _| path != self.registry.join(format!("{name}@reg.sock")));
        }
        for (path, file) in there {
            // Bound, but nobody listens (yet): as kubelet, try again later.
            if !self.asked.contains_key(&path) && UnixStream::connect(&path).is_ok() {
                self.asked.insert(path.clone(), file);
                self.ask(&path).await;
            }
        }
    }

    async fn ask(&mut self, path: &Path) {
        self.questions += 1;
        let origin = format!("http://{}", authority(path)).parse().expect("an authority");
        let endpoint = Endpoint::from_static("http://localhost").origin(origin);
        let mut plugin = RegistrationClient::new(connect_as(endpoint, path).await);
        let info = plugin.get_info(InfoRequest {}).await.expect("GetInfo").into_inner();
        let status = match &self.refuses {
            Some(error) => RegistrationStatus { plugin_registered: false, error: error.clone() },
            None => {
                let mut driver = Client::connect(Path::new(&info.endpoint), &self.root).await;
                let node =
                    driver.node.node_get_info(v1::NodeGetInfoRequest {}).await.expect("NodeGetInfo").into_inner();
                self.drivers.insert(info.name.clone(), (info, node.node_id));
                RegistrationStatus { plugin_registered: true, error: String::new() }
            }
        };
        plugin.notify_registration_status(status).await.expect("NotifyRegistrationStatus");
    }

    /// Looks until `done`.
    ///
    /// # Panics
    /// That does not happen.
    pub async fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "{what} does not happen: {self:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.look().await;
        }
    }

    /// Looks until exactly these drivers are registered.
    ///
    /// # Panics
    /// That does not happen.
    pub async fn has(&mut self, drivers: &[&str]) {
        let names = |kubelet: &Self| kubelet.drivers.keys().cloned().collect::<Vec<_>>();
        self.until(&format!("registration of {drivers:?}"), |kubelet| names(kubelet) == drivers).await;
    }
}

fn sockets(registry: &Path) -> BTreeMap<PathBuf, File> {
    let Ok(entries) = fs::read_dir(registry) else { return BTreeMap::new() };
    let file = |path: PathBuf| {
        let meta = fs::symlink_metadata(&path).ok()?;
        // The number of a file that was removed may be given to the next one.
        Some((path, (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec())))
    };
    entries.filter_map(|entry| file(entry.ok()?.path())).collect()
}

/// What kubelet's gRPC library sends as the authority where it dials a bare path: the path, with what can't stand there
/// escaped.
fn authority(path: &Path) -> String {
    let text = path.to_str().expect("UTF-8");
    let escaped = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ if b"-_.~!$&'()*+,;=:[]@".contains(&byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}
