//! What one volume has on this machine: mounts, loop devices, journal record, object, paths. In a form in which two
//! volumes that went the same way look the same.

use crate::Sandbox;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What differs between two volumes that went the same way: ids, random values, device numbers.
const OWN: [&str; 8] = ["salt", "flags_digest", "uid", "ino", "dev", "loop_number", "created_at_ms", "request-digest"];

/// A volume's traces. Names of the volume and of the sandbox are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Mount point, root, options; in the order of the mount table.
    pub mounts: Vec<(String, String, String)>,
    /// Backing file, bytes, read-only.
    pub loops: Vec<(String, u64, bool)>,
    /// Journal record.
    pub record: Option<Value>,
    /// The object's metadata, without its version.
    pub object: Option<Value>,
    /// Who uses the object.
    pub users: Vec<Value>,
    /// Bytes of the object's image.
    pub image_bytes: Option<u64>,
    /// Pods' paths that exist.
    pub targets: Vec<String>,
}

/// Where a host keeps what a snapshot looks at.
#[derive(Debug, Clone)]
pub struct Places {
    /// Kubelet root.
    pub kubelet: PathBuf,
    /// State directory.
    pub state: PathBuf,
    /// The pool.
    pub pool: PathBuf,
}

impl Places {
    /// What a host has that was made with the defaults.
    pub fn of(sandbox: &Sandbox) -> Self {
        Self { kubelet: sandbox.dir("kubelet"), state: sandbox.path().join("state"), pool: sandbox.dir("pool") }
    }

    /// Fails the test if anything of any volume is left: mounts, devices, journal, pool, pods' paths.
    ///
    /// # Panics
    /// Something is left.
    pub fn assert_empty(&self, sandbox: &Sandbox) {
        sandbox.assert_clean();
        // Every entry, also what is not a record: a temporary file that a crash left.
        for driver in entries(&self.state.join("node")) {
            assert_eq!(entries(&driver), Vec::<PathBuf>::new(), "the journal is not empty");
        }
        for part in ["objects", "tmp", "trash"] {
            assert_eq!(entries(&self.pool.join(part)), Vec::<PathBuf>::new(), "the pool is not empty");
        }
        for pod in entries(&self.kubelet.join("pods")) {
            for volume in entries(&pod) {
                assert_eq!(entries(&volume), Vec::<PathBuf>::new(), "a target is left");
            }
        }
    }

    /// Everything that the volume `POOL/OBJECT` has now.
    ///
    /// # Panics
    /// Something can't be read.
    pub fn snapshot(&self, sandbox: &Sandbox, volume_id: &str) -> Snapshot {
        let object = volume_id.rsplit_once('/').expect("POOL/OBJECT").1;
        let mask = Mask { root: sandbox.path().to_str().expect("UTF-8").to_owned(), object: object.to_owned() };
        let dir = self.pool.join("objects").join(object);
        let read =
            |path: PathBuf| fs::read(path).ok().map(|bytes| serde_json::from_slice::<Value>(&bytes).expect("JSON"));
        let mut meta = read(dir.join("meta.json"));
        if let Some(Value::Object(meta)) = &mut meta {
            // An operation that was cut short may count once more.
            meta.remove("version");
        }
        Snapshot {
            mounts: mask.mounts(sandbox),
            loops: mask.loops(sandbox, &dir),
            record: self.record(sandbox, volume_id).map(|record| mask.json(record)),
            object: meta.map(|meta| mask.json(meta)),
            users: entries(&dir.join("users")).into_iter().filter_map(read).map(|user| mask.json(user)).collect(),
            image_bytes: fs::metadata(dir.join("image")).ok().map(|found| found.len()),
            targets: self.targets(volume_id).iter().map(|path| mask.text(&path.to_string_lossy())).collect(),
        }
    }

    fn record(&self, sandbox: &Sandbox, volume_id: &str) -> Option<Value> {
        let of_volume = |path: PathBuf| {
            let record: Value = serde_json::from_slice(&fs::read(path).expect("a record")).expect("JSON");
            (record["volume_id"] == volume_id).then_some(record)
        };
        let mut records = sandbox.journal(&self.state).into_iter().filter_map(of_volume);
        let mut record = records.next();
        assert!(records.next().is_none(), "two records of one volume");
        if let Some(Value::Object(fields)) = &mut record {
            // Formatted by this stage, or before it: the same to everybody. Only a begun one is not.
            fields.retain(|key, value| key != "formatted" || value == "started");
        }
        record
    }

    fn targets(&self, volume_id: &str) -> Vec<PathBuf> {
        let targets = entries(&self.kubelet.join("pods")).into_iter();
        let mut targets: Vec<_> = targets.flat_map(|pod| entries(&pod.join(volume_id.replace('/', "_")))).collect();
        targets.sort();
        targets
    }
}

impl Snapshot {
    /// Nothing is left of the volume.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The object is there, and nothing that a node makes.
    pub fn is_idle(&self) -> bool {
        let node = Self { object: None, image_bytes: None, ..self.clone() };
        self.object.is_some() && node.is_empty()
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(found) = fs::read_dir(dir) else { return vec![] };
    let mut paths: Vec<_> = found.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

struct Mask {
    root: String,
    object: String,
}

impl Mask {
    fn text(&self, text: &str) -> String {
        text.replace(&self.root, "ROOT").replace(&self.object, "VOLUME")
    }

    /// The volume's own part of a path: no name is another one's beginning then.
    fn is_own(&self, path: &Path) -> bool {
        let named =
            |part: &std::ffi::OsStr| part.to_str().is_some_and(|part| part.ends_with(&format!("_{}", self.object)));
        path.iter().any(named)
    }

    fn mounts(&self, sandbox: &Sandbox) -> Vec<(String, String, String)> {
        let own = sandbox.mounts().into_iter().filter(|(point, ..)| self.is_own(point));
        own.map(|(point, root, options)| {
            // Of a raw device it is `/loop7`.
            let root = self.text(&root).trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
            (self.text(&point.to_string_lossy()), root, options)
        })
        .collect()
    }

    /// Devices on the image, and those on top of them.
    fn loops(&self, sandbox: &Sandbox, object: &Path) -> Vec<(String, u64, bool)> {
        let sysfs = |device: &str, file: &str| {
            fs::read_to_string(Path::new("/sys/block").join(device).join(file)).unwrap_or_default().trim().to_owned()
        };
        let backing = |device: &String| sysfs(device, "loop/backing_file");
        let devices = sandbox.loops();
        let on_image: Vec<_> =
            devices.iter().filter(|device| Path::new(&backing(device)).starts_with(object)).collect();
        let on_device = |device: &&String| on_image.iter().any(|below| backing(device) == format!("/dev/{below}"));
        let show = |device: &&String, what: String| {
            (what, 512 * sysfs(device, "size").parse::<u64>().expect("sectors"), sysfs(device, "ro") == "1")
        };
        let mut shown: Vec<_> = on_image.iter().map(|device| show(device, self.text(&backing(device)))).collect();
        shown.extend(devices.iter().filter(on_device).map(|device| show(&device, "VOLUME's device".into())));
        shown
    }

    fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.json(item)).collect(),
            Value::Object(fields) => {
                let own = |key: &String| !OWN.contains(&key.as_str());
                let kept = fields.into_iter().filter(|(key, _)| own(key));
                Value::Object(kept.map(|(key, item)| (self.text(&key), self.json(item))).collect())
            }
            other => other,
        }
    }
}
