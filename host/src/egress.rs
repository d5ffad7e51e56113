//! The requests of a backend, as its config grants them: files are read, certificates looked at.

use crate::{
    config::{Config, ConfigError, Place},
    imports::{
        BackendSecrets, Pace, Stamp,
        auth::Profiles,
        http::{Egress, Net, NetError, Pem, PemFiles, SystemResolver},
    },
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Largest file of certificates that is read, in bytes: the bundles of whole systems have a quarter of that.
const PEM_BYTES: u64 = 1 << 20;

/// What sends the requests of `drivers[index]`, at `pace`, signed with `secrets` by its auth profiles; none if none are granted.
///
/// # Errors
/// A file that the config names can't be read or used.
pub fn of_driver(
    config: &Config,
    index: usize,
    pace: Pace,
    secrets: &BackendSecrets,
) -> Result<Option<Egress>, ConfigError> {
    let driver = &config.drivers[index];
    let backend = &driver.backend;
    let (grants, settings) = (&backend.grants.http, &backend.http);
    if grants.is_empty() {
        return Ok(None);
    }
    let key = |name: &str| format!("drivers[{index}].backend.http.{name}");
    let read = |path: &Path, place: Place, name: &str| {
        pem(path).map_err(|why| config.error(place, key(name), format!("{} {why}", path.display())))
    };
    let pair = settings.client_certificate.as_ref();
    // Before they are read: what changes meanwhile is read again.
    let watched = Files::new(
        &driver.name,
        settings.ca.as_ref().map(|(path, _)| path.clone()),
        pair.map(|pair| (pair.certificate.clone(), pair.key.clone())),
    );
    let files = Pem {
        ca: settings.ca.as_ref().map(|(path, place)| read(path, *place, "ca")).transpose()?,
        client: pair
            .map(|pair| {
                let certificate = read(&pair.certificate, pair.at, "clientCertificate.certificate")?;
                Ok::<_, ConfigError>((certificate, read(&pair.key, pair.at, "clientCertificate.key")?))
            })
            .transpose()?,
    };
    let net = Net::new(settings.clone(), &files, Arc::new(SystemResolver)).map_err(|e| match e {
        NetError::Ca(why) => {
            let place = settings.ca.as_ref().map_or(settings.at, |(_, place)| *place);
            config.error(place, key("ca"), format!("{why}: name a PEM file of certificates"))
        }
        NetError::Identity(why) => {
            let place = pair.map_or(settings.at, |pair| pair.at);
            config.error(
                place,
                key("clientCertificate"),
                format!("{why}: name a certificate and its key, as PEM files"),
            )
        }
    })?;
    let net = if watched.is_empty() { net } else { net.watching(Arc::new(watched)) };
    let at = format!("drivers[{index}].backend.grants.http");
    let profiles = Profiles::new(&driver.name, &backend.auth, secrets, &net.transport());
    Ok(Some(Egress::new(grants.clone(), at, net, pace, Some(Arc::new(profiles)))))
}

/// The files of `backend.http` that may be replaced at any time.
struct Files {
    driver: String,
    ca: Option<PathBuf>,
    client: Option<(PathBuf, PathBuf)>,
    seen: Mutex<Vec<Option<Stamp>>>,
}

impl Files {
    fn new(driver: &str, ca: Option<PathBuf>, client: Option<(PathBuf, PathBuf)>) -> Self {
        let files = Self { driver: driver.to_owned(), ca, client, seen: Mutex::default() };
        let stamps = files.stamps();
        Self { seen: Mutex::new(stamps), ..files }
    }

    fn is_empty(&self) -> bool {
        self.ca.is_none() && self.client.is_none()
    }

    /// None for a file that isn't there.
    fn stamps(&self) -> Vec<Option<Stamp>> {
        let pair = self.client.iter().flat_map(|(certificate, key)| [certificate, key]);
        let paths = self.ca.iter().chain(pair);
        paths.map(|path| std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))).collect()
    }

    fn read(&self) -> Result<Pem, String> {
        let read = |path: &PathBuf| pem(path).map_err(|why| format!("{} {why}", path.display()));
        let pair = |(certificate, key): &(PathBuf, PathBuf)| Ok::<_, String>((read(certificate)?, read(key)?));
        Ok(Pem { ca: self.ca.as_ref().map(read).transpose()?, client: self.client.as_ref().map(pair).transpose()? })
    }
}

impl PemFiles for Files {
    fn driver(&self) -> &str {
        &self.driver
    }

    fn changed(&self) -> Option<Result<Pem, String>> {
        let now = self.stamps();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return None;
        }
        *seen = now;
        Some(self.read())
    }
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |e: std::io::Error| format!("can't be read ({e}): name a readable PEM file");
    let mut bytes = vec![];
    let file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a file: name a PEM file".into());
    }
    file.take(PEM_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > PEM_BYTES {
        return Err("is larger than 1MiB: name a PEM file".into());
    }
    Ok(bytes)
}
